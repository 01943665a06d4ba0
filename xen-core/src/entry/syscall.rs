//! SYSCALL and SYSENTER: hypercalls from the guest kernel, system calls of its user mode bounced to it.

use hypercall_abi::arch_x86::CpuUserRegs;

use super::vector;
use crate::domain::{Callback, PendingException};
use crate::hypervisor::{CpuLocal, Hypervisor, Running};
use crate::machine::Machine;
use crate::pv::bounce::{self, ASSIST_ARCHITECTURAL_IOPL, Bounce};
use crate::pv::mode::rflags;
use crate::pv::selectors::{FLAT_CS32, FLAT_CS64, FLAT_SS};

/// Length of the SYSCALL instruction.
const SYSCALL_LEN: u64 = 2;

impl<M: Machine> Hypervisor<M> {
    /// 64-bit SYSCALL.
    pub(super) fn syscall(&self, cpu: &mut CpuLocal, regs: &mut CpuUserRegs) {
        let Some(Running { domain, vcpu, ctx }) = cpu.current.as_mut() else {
            return;
        };
        regs.cs = FLAT_CS64;
        regs.ss = FLAT_SS;
        if ctx.kernel_mode {
            crate::hypercall::enter(self, cpu.id, domain, vcpu, ctx, regs);
            self.count_call_for_audit();
            self.after_hypercall(cpu, regs);
            return;
        }
        let handler = ctx.callbacks.syscall;
        self.system_call(cpu, regs, handler);
    }

    /// SYSCALL executed by 32-bit code of user mode.
    pub(super) fn syscall32(&self, cpu: &mut CpuLocal, regs: &mut CpuUserRegs) {
        let Some(running) = cpu.current.as_ref() else {
            return;
        };
        regs.cs = FLAT_CS32;
        regs.ss = FLAT_SS;
        let handler = running.ctx.callbacks.syscall32;
        self.system_call(cpu, regs, handler);
    }

    /// SYSENTER: the processor kept neither RIP nor RSP.
    pub(super) fn sysenter(&self, cpu: &mut CpuLocal, regs: &mut CpuUserRegs) {
        let Some(Running { ctx, .. }) = cpu.current.as_mut() else {
            return;
        };
        let handler = ctx.callbacks.sysenter;
        if handler.address == 0 || ctx.kernel_mode {
            ctx.inject_fault(vector::GP, Some(0));
            return;
        }
        regs.cs = 3;
        regs.ss = FLAT_SS;
        regs.rip = 0;
        regs.rsp = 0;
        self.system_call(cpu, regs, handler);
    }

    fn system_call(&self, cpu: &mut CpuLocal, regs: &mut CpuUserRegs, handler: Callback) {
        let Some(Running { domain, vcpu, ctx }) = cpu.current.as_mut() else {
            return;
        };
        if handler.address == 0 {
            // As a processor without SCE would: #UD at the instruction.
            regs.rip = regs.rip.wrapping_sub(SYSCALL_LEN);
            ctx.inject(PendingException {
                vector: vector::UD,
                error_code: None,
                cr2: 0,
            });
            return;
        }
        let bounce = Bounce {
            handler,
            error_code: None,
        };
        let iopl = domain.assists(ASSIST_ARCHITECTURAL_IOPL);
        match bounce::deliver(&self.machine, iopl, vcpu.info(), ctx, regs, bounce) {
            Ok(()) => regs.rflags &= !rflags::DF,
            Err(error) => {
                self.crash_current(cpu, regs, format_args!("system call callback: {error:?}"));
            }
        }
    }
}
