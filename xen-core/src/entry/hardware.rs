//! Guests that run in hardware: the loop that enters them, and what their exits lead to.

use hypercall_abi::arch_x86::CpuUserRegs;
use hypercall_abi::errno::Errno;
use hypercall_abi::hvm::params::HvmParamIndex;

use crate::hvm::{Fatal, GuestView};
use crate::hypervisor::{CpuLocal, Hypervisor, Running};
use crate::machine::{EventKind, ExitReason, HvmEntry, HvmExit, Machine};

/// Length of VMCALL and VMMCALL without prefixes.
const HYPERCALL_LENGTH: u64 = 3;

impl<M: Machine> Hypervisor<M> {
    /// Runs the vCPU that was chosen, if it is one that runs in hardware, and does what its exit asks for. False if the
    /// processor is to resume a paravirtual guest instead.
    pub fn run_in_hardware(&self, cpu: &mut CpuLocal, regs: &mut CpuUserRegs) -> bool {
        let Some(Running { domain, vcpu, ctx }) = cpu.current.as_mut() else {
            return false;
        };
        let (Some(hvm), Some(hvm_domain)) = (ctx.hvm.as_deref_mut(), &domain.hvm) else {
            return false;
        };
        let entry = HvmEntry {
            nested_root: hvm_domain.p2m.root(),
            event: hvm.event.take(),
            interrupt_window: hvm.interrupt_window,
            nmi_window: hvm.nmi_masked,
            task_priority: hvm.lapic.tpr() >> 4,
            intercept_tsc: false,
            tag: u64::from(domain.id.0) << 32 | u64::from(vcpu.id.0) << 1 | 1,
        };
        let exit = self.machine.run_hvm(&entry, &mut hvm.state, regs);
        let tpr = exit.task_priority << 4;
        if tpr != hvm.lapic.tpr() & 0xf0 {
            hvm.lapic.set_tpr(tpr);
        }
        // An event that did not get through goes in again; one that an instruction raised, the instruction raises again.
        hvm.event = exit.unfinished.filter(|event| {
            exit.reason != ExitReason::TaskSwitch
                && match event.kind {
                    EventKind::Software => false,
                    EventKind::Exception => !matches!(event.vector, 3 | 4),
                    _ => true,
                }
        });
        self.answer(cpu, regs, &exit);
        self.leave(cpu, regs);
        true
    }

    fn answer(&self, cpu: &mut CpuLocal, regs: &mut CpuUserRegs, exit: &HvmExit) {
        match exit.reason {
            ExitReason::Interrupt | ExitReason::Nmi | ExitReason::Nothing => {}
            ExitReason::Hypercall => self.hardware_hypercall(cpu, regs, exit.length),
            ExitReason::Invalid => {
                self.crash_current(cpu, regs, format_args!("the processor refuses its state"));
            }
            ExitReason::Other(code) => {
                self.crash_current(cpu, regs, format_args!("exit {code:#x} has no answer"));
            }
            ExitReason::TaskSwitch => {
                self.crash_current(cpu, regs, format_args!("a task switch is not emulated"));
            }
            ExitReason::Shutdown => self.triple_fault(cpu),
            _ => match self.emulate_exit(cpu, regs, exit) {
                None => {}
                Some(Fatal::TripleFault) => self.triple_fault(cpu),
                Some(Fatal::Because(why)) => {
                    self.crash_current(cpu, regs, format_args!("{why}"));
                }
            },
        }
    }

    /// The guest's processor shut down: what that means is a parameter.
    fn triple_fault(&self, cpu: &CpuLocal) {
        let Some(running) = &cpu.current else { return };
        let Some(hvm) = &running.domain.hvm else {
            return;
        };
        let reason = hvm.params.lock().value(HvmParamIndex::TRIPLE_FAULT_REASON);
        log::warn!(
            "domain {} vCPU {}: triple fault, shut down with reason {reason}",
            running.domain.id.0,
            running.vcpu.id.0
        );
        self.shut_down(&running.domain, reason as u32);
    }

    /// VMCALL or VMMCALL.
    fn hardware_hypercall(&self, cpu: &mut CpuLocal, regs: &mut CpuUserRegs, length: Option<u8>) {
        let Some(Running { domain, vcpu, ctx }) = cpu.current.as_mut() else {
            return;
        };
        let (Some(hvm), Some(hvm_domain)) = (ctx.hvm.as_deref(), &domain.hvm) else {
            return;
        };
        let length = length.map_or(HYPERCALL_LENGTH, u64::from);
        let view = GuestView::kernel(hvm_domain.p2m.root(), &hvm.state, regs.rflags);
        let (privileged, wide) = (hvm.state.cpl == 0, hvm.state.is_64bit());
        let before = regs.rip;
        if privileged {
            self.machine.set_guest_view(Some(view));
            let done =
                crate::hypercall::enter_from_hardware(self, cpu.id, domain, vcpu, ctx, regs, wide);
            self.machine.set_guest_view(None);
            if !done {
                self.after_hypercall(cpu, regs);
                return;
            }
        } else {
            regs.rax = Errno::EPERM.to_ret() as u64;
        }
        if let Some(hvm) = ctx.hvm.as_deref_mut() {
            hvm.state.interrupt_shadow = false;
        }
        let next = before.wrapping_add(length);
        regs.rip = if wide { next } else { next & 0xffff_ffff };
        self.after_hypercall(cpu, regs);
    }
}
