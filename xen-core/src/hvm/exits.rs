//! What a guest that runs in hardware leaves for, and the answers.

use alloc::sync::Arc;
use core::sync::atomic::Ordering;

use hypercall_abi::arch_x86::CpuUserRegs;

use super::emulate::Exit;
use super::emulate::vector;
use crate::domain::{Domain, Vcpu, VcpuFlags};
use crate::hypervisor::{CpuLocal, Hypervisor, Running};
use crate::machine::{ExitReason, HvmExit, HvmState, Machine, NestedFault};
use crate::num::Pfn;

/// RFLAGS.IF.
const INTERRUPTS: u64 = 1 << 9;

/// Why a guest cannot go on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fatal {
    /// Its processor would shut down.
    TripleFault,
    /// In words.
    Because(&'static str),
}

impl<M: Machine> Hypervisor<M> {
    /// Does for the guest what it left for. Returns why it cannot go on.
    pub(crate) fn emulate_exit(
        &self,
        cpu: &mut CpuLocal,
        regs: &mut CpuUserRegs,
        exit: &HvmExit,
    ) -> Option<Fatal> {
        let Running { domain, vcpu, ctx } = cpu.current.as_mut()?;
        let mut hvm = ctx.hvm.take()?;
        let policy = domain.cpu_policy();
        let mut handled = Exit {
            hv: self,
            domain,
            vcpu,
            hvm: &mut hvm,
            regs,
            policy: &policy,
            xcr0: &mut ctx.xcr0,
            xcr0_accum: &mut ctx.xcr0_accum,
            tsc_aux: &mut ctx.tsc_aux,
            length: exit.length,
            fatal: None,
        };
        handled.dispatch(exit.reason);
        let fatal = handled.fatal;
        ctx.hvm = Some(hvm);
        fatal
    }
}

impl<M: Machine> Exit<'_, M> {
    fn dispatch(&mut self, reason: ExitReason) {
        match reason {
            ExitReason::Exception { vector, error_code } => self.exception(vector, error_code),
            // What waited is looked at on the way in.
            ExitReason::InterruptWindow => self.hvm.interrupt_window = false,
            ExitReason::NmiWindow => {
                self.hvm.nmi_masked = false;
                // The IRET itself comes first.
                self.hvm.state.interrupt_shadow = true;
            }
            ExitReason::Cpuid => self.cpuid(),
            ExitReason::Halt => self.halt(),
            ExitReason::Pause => self.pause(),
            // No device of the guest's sees past the caches.
            ExitReason::CacheFlush => {
                self.step_over();
            }
            ExitReason::ReadTsc => self.read_tsc(),
            ExitReason::ReadMsr => self.read_msr(),
            ExitReason::WriteMsr => self.write_msr(),
            ExitReason::SetXcr => self.set_xcr(),
            ExitReason::SystemRegister => self.system_register(),
            ExitReason::Port(access) => self.port(access),
            ExitReason::Nested(fault) => self.nested_fault(fault),
            ExitReason::NotForGuests => self.inject(vector::UD, None),
            _ => {}
        }
    }

    /// #DB and #AC are intercepted only so that their delivery cannot go on for ever (XSA-156).
    fn exception(&mut self, vector: u8, error_code: u32) {
        let error = matches!(vector, 8 | 10..=14 | 17 | 21).then_some(error_code);
        self.inject(vector, error);
    }

    fn pause(&mut self) {
        if self.step_over() {
            self.vcpu.set_flags(VcpuFlags::YIELDING);
        }
    }

    fn halt(&mut self) {
        if !self.step_over() {
            return;
        }
        if self.regs.rflags & INTERRUPTS == 0 && !self.hvm.nmi_masked {
            // Nothing but a reset would wake it (Xen: the last one to do so powers the domain off).
            self.hv.halt_for_good(self.domain, self.vcpu);
            return;
        }
        self.hvm.halted = true;
    }

    fn read_tsc(&mut self) {
        let Some(instruction) = self.instruction() else {
            return;
        };
        let tsc = self
            .hv
            .machine
            .tsc()
            .wrapping_add(self.hvm.state.tsc_offset);
        self.regs.rax = tsc & 0xffff_ffff;
        self.regs.rdx = tsc >> 32;
        if instruction.mnemonic() == iced_x86::Mnemonic::Rdtscp {
            self.regs.rcx = u64::from(*self.tsc_aux);
        }
        self.advance(instruction.len() as u64);
    }

    fn nested_fault(&mut self, fault: NestedFault) {
        let Some(hvm_domain) = &self.domain.hvm else {
            return;
        };
        let gfn = Pfn(fault.address >> 12);
        let mapped = hvm_domain.p2m.get(&self.hv.machine, gfn);
        if let Some(mapped) = mapped
            && (!fault.write || mapped.kind.is_writable())
        {
            // Somebody was faster.
            self.hv.machine.forget_hvm_translations();
            return;
        }
        if fault.table_walk || fault.fetch {
            // Tables and code in what is no memory cannot be emulated.
            self.general_protection();
            return;
        }
        self.memory_access(fault.address);
    }
}

impl<M: Machine> Hypervisor<M> {
    /// A vCPU stopped with interrupts off: it is down. When all are, the domain has powered off.
    pub(crate) fn halt_for_good(&self, domain: &Arc<Domain>, vcpu: &Arc<Vcpu>) {
        /// SHUTDOWN_poweroff.
        const POWER_OFF: u32 = 0;
        vcpu.set_flags(VcpuFlags::DOWN);
        self.retire_vcpu(vcpu);
        let none_left = domain
            .vcpus()
            .all(|vcpu| vcpu.flags().contains(VcpuFlags::DOWN));
        if none_left {
            self.shut_down(domain, POWER_OFF);
        }
    }

    /// The time-stamp counter of a guest as system time in ns.
    pub(crate) fn guest_tsc_to_ns(&self, tsc: u64, offset: u64) -> u64 {
        let host = tsc.wrapping_sub(offset);
        let (base, ns) = self.machine.time_base();
        let scale = self.machine.tsc_scale();
        let ticks = host.wrapping_sub(base);
        let negative = ticks.cast_signed() < 0;
        let ticks = ticks.cast_signed().unsigned_abs();
        let shifted = if scale.shift >= 0 {
            u128::from(ticks) << scale.shift
        } else {
            u128::from(ticks) >> -scale.shift
        };
        let delta = ((shifted * u128::from(scale.mul)) >> 32) as u64;
        if negative {
            ns.saturating_sub(delta)
        } else {
            ns.saturating_add(delta)
        }
    }

    /// Publishes what others must know of a local APIC, and arms its timer.
    pub(crate) fn publish_lapic(&self, vcpu: &Arc<Vcpu>, hvm: &super::HvmVcpu) {
        let Some(mailbox) = vcpu.hvm.as_deref() else {
            return;
        };
        mailbox
            .identity
            .store(hvm.lapic.identity().pack(), Ordering::SeqCst);
        let offset = hvm.state.tsc_offset;
        let deadline = hvm
            .lapic
            .timer_deadline(|tsc| self.guest_tsc_to_ns(tsc, offset));
        self.set_lapic_deadline(vcpu, deadline.map_or(0, |ns| ns.max(1)));
    }
}

/// What a guest may do with a register that exists for its kernel only.
pub(super) const fn is_kernel(state: &HvmState) -> bool {
    state.cpl == 0
}
