//! CPUID in a guest that runs in hardware.

use core::sync::atomic::Ordering;

use super::emulate::Exit;
use crate::cpu_policy::{HvmCpuidInputs, TscFacts, hvm_cpuid};
use crate::machine::{HvmState, Machine, TscScale};

/// MSR_MISC_FEATURES_ENABLES: CPUID faults outside the kernel.
const CPUID_FAULTING: u64 = 1;
/// CR4.OSXSAVE.
const CR4_OSXSAVE: u64 = 1 << 18;
/// CR4.PKE.
const CR4_PKE: u64 = 1 << 22;

impl<M: Machine> Exit<'_, M> {
    pub(super) fn cpuid(&mut self) {
        if self.hvm.state.cpl > 0 && self.hvm.misc_features & CPUID_FAULTING != 0 {
            self.general_protection();
            return;
        }
        let machine = &self.hv.machine;
        let khz = u32::try_from(machine.tsc_khz()).unwrap_or(u32::MAX);
        let state = &self.hvm.state;
        let inputs = HvmCpuidInputs {
            vcpu: self.vcpu.id.0,
            domid: self.domain.id.0,
            apic_enabled: self.hvm.lapic.is_enabled_hw(),
            osxsave: state.cr4 & CR4_OSXSAVE != 0,
            pke: state.cr4 & CR4_PKE != 0,
            long_mode: state.efer & HvmState::EFER_LMA != 0,
            // Emulators let a guest set it without leaving.
            xcr0: machine.xcr0(),
            apic_register_virt: false,
            x2apic_virt: false,
            tsc: TscFacts {
                emulated: false,
                reliable: machine.tsc_is_reliable(),
                mode: self.domain.tsc_mode.load(Ordering::Relaxed),
                khz,
                host_khz: khz,
                incarnation: self.domain.tsc_incarnation.load(Ordering::Relaxed),
                offset_ns: 0,
                scale: TscScale::default(),
            },
        };
        let (leaf, subleaf) = (self.regs.rax as u32, self.regs.rcx as u32);
        let out = hvm_cpuid(self.policy, leaf, subleaf, &inputs);
        if self.step_over() {
            self.regs.rax = out.a.into();
            self.regs.rbx = out.b.into();
            self.regs.rcx = out.c.into();
            self.regs.rdx = out.d.into();
        }
    }
}
