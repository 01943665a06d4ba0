//! Areas in guest-virtual memory that the hypervisor keeps up to date: runstate and the secondary copy of the time.
//!
//! They are written by guest-virtual address, so only while the guest kernel's address space is loaded; an update that
//! comes at another time is remembered (`Vcpu::areas_stale`) and made up for on the way out.

use alloc::sync::Arc;
use core::sync::atomic::Ordering;

use hypercall_abi::errno::Errno;
use hypercall_abi::vcpu::{RUNSTATE_UPDATE, Runstate, VcpuRunstateInfo};
use hypercall_abi::xen::VmassistType;
use zerocopy::IntoBytes;

use crate::domain::{Domain, Vcpu, VcpuCtx};
use crate::guest::{GuestAccess, is_guest_address};
use crate::hypervisor::Hypervisor;
use crate::machine::Machine;

/// Offset of `state_entry_time` in the runstate area.
const ENTRY_TIME_OFFSET: u64 = 8;

/// Whether a guest may register an area here (null: none).
///
/// # Errors
/// `EFAULT` for an address in the hypervisor's part.
pub fn check_address(addr: u64) -> Result<(), Errno> {
    if addr == 0 || is_guest_address(addr) {
        Ok(())
    } else {
        Err(Errno::EFAULT)
    }
}

/// The runstate of `vcpu` as the guest reads it, with the current state's time up to `now_ns`.
#[must_use]
pub fn runstate_info(vcpu: &Vcpu, now_ns: u64) -> VcpuRunstateInfo {
    let runstate = *vcpu.runstate.lock();
    let mut time = runstate.time_ns;
    if let Some(current) = time.get_mut(runstate.state as usize) {
        *current = current.saturating_add(now_ns.saturating_sub(runstate.entry_time_ns));
    }
    VcpuRunstateInfo {
        state: Runstate(runstate.state as i32),
        _pad: [0; 4],
        state_entry_time: runstate.entry_time_ns,
        time,
    }
}

impl<M: Machine> Hypervisor<M> {
    /// Brings the running vCPU's areas up to date if its kernel address space is loaded.
    pub fn refresh_guest_areas(&self, domain: &Arc<Domain>, vcpu: &Arc<Vcpu>, ctx: &VcpuCtx) {
        if !ctx.kernel_mode || !vcpu.areas_stale.load(Ordering::Relaxed) {
            return;
        }
        vcpu.areas_stale.store(false, Ordering::Relaxed);
        self.write_runstate_area(domain, vcpu);
        let area = vcpu.time_area.load(Ordering::Relaxed);
        if area != 0 {
            // A guest that unmapped its own area hurts only itself.
            let _ = self.write_time_area(vcpu, area);
        }
    }

    /// Writes the runstate area of the running vCPU. A fault is the guest's own loss.
    pub fn write_runstate_area(&self, domain: &Domain, vcpu: &Vcpu) {
        let area = vcpu.runstate_area.load(Ordering::Relaxed);
        if area == 0 {
            return;
        }
        let mut info = {
            let runstate = *vcpu.runstate.lock();
            VcpuRunstateInfo {
                state: Runstate(runstate.state as i32),
                _pad: [0; 4],
                state_entry_time: runstate.entry_time_ns,
                time: runstate.time_ns,
            }
        };
        if !domain.assists(VmassistType::RUNSTATE_UPDATE_FLAG.0) {
            let _ = self.machine.write_bytes(area, info.as_bytes());
            return;
        }
        // Readers on other vCPUs retry while the flag is set (public header vcpu.h, XEN_RUNSTATE_UPDATE).
        let Some(entry_time) = area.checked_add(ENTRY_TIME_OFFSET) else {
            return;
        };
        info.state_entry_time |= RUNSTATE_UPDATE;
        let flagged = info.state_entry_time;
        if self
            .machine
            .write_bytes(entry_time, &flagged.to_le_bytes())
            .is_err()
        {
            return;
        }
        let _ = self.machine.write_bytes(area, info.as_bytes());
        let _ = self
            .machine
            .write_bytes(entry_time, &(flagged & !RUNSTATE_UPDATE).to_le_bytes());
    }
}
