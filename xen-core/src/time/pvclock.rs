//! System time as guests compute it: `struct vcpu_time_info`.

use core::sync::atomic::{AtomicU64, Ordering, fence};

use hypercall_abi::errno::Errno;
use hypercall_abi::xen::{PvclockFlags, VcpuTimeInfo};
use zerocopy::IntoBytes;

use crate::domain::Vcpu;
use crate::guest::GuestAccess;
use crate::hypervisor::Hypervisor;
use crate::machine::{Clock, Machine};

const LOW_HALF: u64 = 0xffff_ffff;

/// The time now, with version 0.
fn time_info(clock: &impl Clock) -> VcpuTimeInfo {
    let (tsc_timestamp, system_time) = clock.time_base();
    let scale = clock.tsc_scale();
    let flags = if clock.tsc_is_reliable() {
        PvclockFlags::TSC_STABLE_BIT.bits()
    } else {
        0
    };
    VcpuTimeInfo {
        version: 0,
        pad0: 0,
        tsc_timestamp,
        system_time,
        tsc_to_system_mul: scale.mul,
        tsc_shift: scale.shift,
        flags,
        pad1: [0; 2],
    }
}

/// Replaces the lower half of a word that the guest may change at the same time; the upper half becomes 0.
fn store_version(word: &AtomicU64, version: u32) {
    word.store(u64::from(version), Ordering::Release);
}

impl<M: Machine> Hypervisor<M> {
    /// Brings the time in `vcpu_info` up to date. Called by the processor that runs the vCPU, or while none does.
    pub fn publish_time(&self, vcpu: &Vcpu) {
        let Some(info) = vcpu.info() else { return };
        let mut time = time_info(&self.machine);
        if let Some(mailbox) = vcpu.hvm.as_deref() {
            // The guest computes with its own counter.
            let offset = mailbox.tsc_offset.load(Ordering::Relaxed);
            time.tsc_timestamp = time.tsc_timestamp.wrapping_add(offset);
        }
        let [version, tsc, system_time, scale] = info.time_words(&self.machine);
        // The guest reads again while the version is odd or has changed (public header xen.h).
        let odd = ((version.load(Ordering::Relaxed) & LOW_HALF) as u32).wrapping_add(1) | 1;
        store_version(version, odd);
        fence(Ordering::Release);
        tsc.store(time.tsc_timestamp, Ordering::Relaxed);
        system_time.store(time.system_time, Ordering::Relaxed);
        let packed = u64::from(time.tsc_to_system_mul)
            | u64::from(time.tsc_shift as u8) << 32
            | u64::from(time.flags) << 40;
        scale.store(packed, Ordering::Relaxed);
        store_version(version, odd.wrapping_add(1));
        vcpu.areas_stale.store(true, Ordering::Relaxed);
    }

    /// Writes the secondary copy of the time at guest address `area` (VCPUOP_register_vcpu_time_memory_area), with the
    /// same protocol. The vCPU's kernel address space is loaded.
    ///
    /// # Errors
    /// `EFAULT` where the guest cannot write.
    pub fn write_time_area(&self, vcpu: &Vcpu, area: u64) -> Result<(), Errno> {
        let mut time = time_info(&self.machine);
        let version = vcpu.info().map_or(0, |info| {
            let [version, ..] = info.time_words(&self.machine);
            version.load(Ordering::Relaxed) as u32
        });
        // Odd while the body is written, then even and different from the last time.
        let odd = version.wrapping_sub(1) | 1;
        self.machine.write_bytes(area, &odd.to_le_bytes())?;
        fence(Ordering::SeqCst);
        time.version = odd;
        self.machine.write_bytes(area, time.as_bytes())?;
        fence(Ordering::SeqCst);
        self.machine
            .write_bytes(area, &odd.wrapping_add(1).to_le_bytes())
    }
}
