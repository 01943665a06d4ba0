//! A domain as toolstacks are told of it (public header domctl.h, `xen_domctl_getdomaininfo`).

use core::sync::atomic::Ordering;

use hypercall_abi::arch_x86::{ArchDomainconfig, X86EmulationFlags};
use hypercall_abi::domctl::{
    DOMINF_SHUTDOWNSHIFT, DomctlGetdomaininfo, Dominf, INVALID_MAX_VCPU_ID,
};

use super::{Domain, Vcpu, VcpuFlags};

/// RUNSTATE_running.
const RUNNING: u32 = 0;

impl Vcpu {
    /// Nanoseconds that it has run.
    #[must_use]
    pub fn cpu_time_ns(&self, now_ns: u64) -> u64 {
        let runstate = *self.runstate.lock();
        let current = if runstate.state == RUNNING {
            now_ns.saturating_sub(runstate.entry_time_ns)
        } else {
            0
        };
        runstate.time_ns[RUNNING as usize].saturating_add(current)
    }

    /// Whether it executes on a processor. One that is only kept loaded while it waits does not.
    #[must_use]
    pub fn is_executing(&self) -> bool {
        self.is_running() && !self.flags().contains(VcpuFlags::BLOCKED)
    }
}

impl Domain {
    /// What `getdomaininfo` and `getdomaininfolist` answer. `address_bits` is the width of machine addresses.
    #[must_use]
    pub fn info(&self, now_ns: u64, address_bits: u32) -> DomctlGetdomaininfo {
        let ending = *self.ending.lock();
        let (mut online, mut cpu_time, mut max_vcpu_id) = (0u32, 0u64, INVALID_MAX_VCPU_ID);
        let mut activity = Dominf::BLOCKED;
        for vcpu in self.vcpus() {
            max_vcpu_id = vcpu.id.0;
            cpu_time = cpu_time.saturating_add(vcpu.cpu_time_ns(now_ns));
            let flags = vcpu.flags();
            if flags.contains(VcpuFlags::DOWN) {
                continue;
            }
            online = online.saturating_add(1);
            if !flags.contains(VcpuFlags::BLOCKED) {
                activity.remove(Dominf::BLOCKED);
            }
            if vcpu.is_executing() {
                activity.insert(Dominf::RUNNING);
            }
        }
        let mut flags = Dominf::empty();
        if online != 0 {
            flags.insert(activity);
        }
        flags.set(Dominf::DYING, ending.dead);
        flags.set(Dominf::SHUTDOWN, ending.stopped);
        flags.set(Dominf::PAUSED, self.pause_count.load(Ordering::SeqCst) != 0);
        flags.set(Dominf::DEBUGGED, self.debugged.load(Ordering::Relaxed));
        flags.set(Dominf::XS_DOMAIN, self.privileges.xenstore);
        // ABI: all ones in the upper half while no code was given.
        let code = ending.shutdown_code.unwrap_or(u32::MAX) << DOMINF_SHUTDOWNSHIFT;
        let mut emulation = X86EmulationFlags::empty();
        // Xen gives a PV hardware domain the interval timer.
        emulation.set(X86EmulationFlags::PIT, self.privileges.hardware);
        if let Some(hvm) = &self.hvm {
            emulation = hvm.emulation;
            flags.insert(Dominf::HVM_GUEST | Dominf::HAP);
        }
        DomctlGetdomaininfo {
            domain: self.id,
            pad1: 0,
            flags: flags.bits() | code,
            tot_pages: self.pages.total_pages(),
            max_pages: self.pages.max_pages(),
            outstanding_pages: self.pages.claimed(),
            shr_pages: 0,
            paged_pages: 0,
            shared_info_frame: self.shared_info.0,
            cpu_time,
            nr_online_vcpus: online,
            max_vcpu_id,
            ssidref: self.ssidref,
            handle: *self.handle.lock(),
            cpupool: 0,
            gpaddr_bits: u8::try_from(address_bits).unwrap_or(u8::MAX),
            pad2: [0; 7],
            arch_config: ArchDomainconfig {
                emulation_flags: emulation.bits(),
                misc_flags: 0,
            },
        }
    }
}
