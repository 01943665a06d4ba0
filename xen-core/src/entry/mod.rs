//! What the machine calls when a guest traps, and the way back.
//!
//! One function comes in, [`Hypervisor::guest_trap`], with the guest's registers; when it returns, the registers are
//! those of whoever runs next. Everything in between runs with interrupts off and to completion.

mod crash;
mod exception;
mod hardware;
mod page_fault;
mod syscall;
#[cfg(test)]
mod tests;

use alloc::sync::Arc;
use core::ops::ControlFlow;

use hypercall_abi::arch_x86::CpuUserRegs;

use crate::domain::{Callback, Vcpu, VcpuCtx, VcpuFlags};
use crate::hypervisor::{CpuLocal, Hypervisor, Running};
use crate::machine::Machine;
use crate::mce::Urgency;
use crate::num::{CpuId, Vector};
use crate::pv::bounce::{self, ASSIST_ARCHITECTURAL_IOPL, Bounce};
use crate::pv::mode::rflags;
use crate::sched::Decision;

/// `entry_vector` of a 64-bit SYSCALL.
pub const ENTRY_SYSCALL: u32 = 0x100;
/// `entry_vector` of a SYSCALL from 32-bit code.
pub const ENTRY_SYSCALL32: u32 = 0x101;
/// `entry_vector` of SYSENTER.
pub const ENTRY_SYSENTER: u32 = 0x102;

/// Exception vectors (SDM volume 3, table 6-1).
pub mod vector {
    /// Debug.
    pub const DB: u8 = 1;
    /// Non-maskable interrupt.
    pub const NMI: u8 = 2;
    /// Invalid opcode.
    pub const UD: u8 = 6;
    /// Device not available.
    pub const NM: u8 = 7;
    /// General protection.
    pub const GP: u8 = 13;
    /// Page fault.
    pub const PF: u8 = 14;
    /// Machine check.
    pub const MC: u8 = 18;
}

/// The entry of the guest's handler for NMIs or machine checks. Without a handler they are discarded.
fn unmaskable(ctx: &VcpuCtx, vector: u8) -> Option<Bounce> {
    let trap = ctx.traps[usize::from(vector)];
    (trap.address != 0).then_some(Bounce {
        handler: Callback {
            address: trap.address,
            mask_events: trap.flags & 4 != 0,
        },
        error_code: None,
    })
}

impl<M: Machine> Hypervisor<M> {
    /// A guest left ring 3: `regs.entry_vector` says how. On return `regs` is the state to resume.
    pub fn guest_trap(&self, cpu: &mut CpuLocal, regs: &mut CpuUserRegs) {
        match regs.entry_vector {
            ENTRY_SYSCALL => self.syscall(cpu, regs),
            ENTRY_SYSCALL32 => self.syscall32(cpu, regs),
            ENTRY_SYSENTER => self.sysenter(cpu, regs),
            vector @ 0..=31 => self.exception(cpu, regs, vector as u8),
            0x80 => self.software_interrupt(cpu, regs, 0x80, 0),
            vector => self.handle_vector(cpu.id, Vector(vector as u8)),
        }
        self.leave(cpu, regs);
    }

    /// The first entry into a guest on this processor.
    pub fn start(&self, cpu: &mut CpuLocal, regs: &mut CpuUserRegs) {
        self.sched.cpu_online(cpu.id);
        self.start_polling_machine_checks();
        self.leave(cpu, regs);
    }

    /// What a hypercall found out about its caller that only the caller's processor can act on.
    pub(crate) fn after_hypercall(&self, cpu: &mut CpuLocal, regs: &CpuUserRegs) {
        let fatal = cpu
            .current
            .as_mut()
            .and_then(|running| running.ctx.fatal.take());
        if let Some(fatal) = fatal {
            self.crash_current(cpu, regs, format_args!("{fatal:?}"));
        }
    }

    /// Does all that is due, and picks who runs, until `regs` can be resumed.
    pub(crate) fn leave(&self, cpu: &mut CpuLocal, regs: &mut CpuUserRegs) {
        loop {
            self.take_arrivals(cpu);
            self.audit_if_due(cpu);
            self.feed_heap();
            if self.reschedule(cpu, regs).is_continue() {
                continue;
            }
            if self.deliver_pending(cpu, regs).is_continue() {
                continue;
            }
            if self.machine.must_yield() {
                continue;
            }
            break;
        }
        if let Some(running) = &cpu.current {
            self.report_registers(cpu.id, &running.vcpu, &running.ctx, regs);
        }
        if cpu
            .current
            .as_ref()
            .is_some_and(|running| running.ctx.hvm.is_some())
        {
            return;
        }
        // XSA-202: whatever happened, a PV guest runs with interrupts open and no I/O privilege.
        regs.rflags = (regs.rflags & !(rflags::IOPL | rflags::VM)) | rflags::IF | rflags::RESERVED;
    }

    /// Handles what the machine has noted: interrupts, NMIs and machine checks.
    fn take_arrivals(&self, cpu: &CpuLocal) {
        while let Some(vector) = self.machine.take_interrupt() {
            self.handle_vector(cpu.id, vector);
        }
        if self.machine.take_nmi() {
            self.platform_nmi();
        }
        self.forget_dead();
        if self.machine.take_machine_check() && self.collect_machine_checks(cpu.id, Urgency::Raised)
        {
            // The guest that ran is the one that the error hit: it decides what to give up.
            if let Some(running) = &cpu.current {
                running.vcpu.set_flags(VcpuFlags::MCE_PENDING);
            }
        }
    }

    /// Chooses who runs on this processor; halts it while nobody can. `Continue` = look again.
    fn reschedule(&self, cpu: &mut CpuLocal, regs: &mut CpuUserRegs) -> ControlFlow<()> {
        let current = cpu.current.as_ref().map(|running| running.vcpu.clone());
        let runnable = current.as_ref().filter(|vcpu| vcpu.is_runnable());
        let mut may_go_on = false;
        if let Some(current) = runnable {
            match self.sched.decide(cpu.id, current, self.machine.now_ns()) {
                Decision::Stay => return ControlFlow::Break(()),
                Decision::StayForSlice => {
                    self.slice_begun(cpu.id);
                    return ControlFlow::Break(());
                }
                Decision::Switch => may_go_on = true,
                Decision::Leave => {}
            }
        }
        if let Some(next) = self.sched.pick(cpu.id, self.machine.now_ns()) {
            self.take_off(cpu, regs);
            if self.switch_in(cpu, regs, &next) {
                self.sched.start_slice(cpu.id, &next, self.machine.now_ns());
            } else {
                self.could_not_run(cpu.id, &next);
            }
            self.slice_begun(cpu.id);
            return ControlFlow::Continue(());
        }
        if may_go_on {
            self.program_timer(cpu.id);
            return ControlFlow::Break(());
        }
        // A blocked vCPU stays loaded while nobody else wants the processor: most waits are short. One that was
        // taken down, paused or shut down goes at once, since others wait for it to be off; so does one that can run,
        // but not here or not now.
        let keep = current.as_ref().is_some_and(|vcpu| {
            let flags = vcpu.flags();
            flags.contains(VcpuFlags::BLOCKED)
                && !flags.intersects(VcpuFlags::NOT_RUNNABLE.difference(VcpuFlags::BLOCKED))
                && self.sched.allowed(vcpu).contains(cpu.id)
        });
        if keep {
            self.note_runstate(cpu, crate::pv::switch::BLOCKED);
        } else if current.is_some() {
            self.take_off(cpu, regs);
            // It may have become runnable again: look before halting.
            return ControlFlow::Continue(());
        }
        // A slice that ended while nobody runs would wake the processor again and again.
        if self.sched.end_slice(cpu.id) {
            self.program_timer(cpu.id);
        }
        self.sched.idle.begin(cpu.id, self.machine.now_ns());
        self.machine.idle();
        self.sched.idle.end(cpu.id, self.machine.now_ns());
        if keep {
            self.take_arrivals(cpu);
            let awake = cpu
                .current
                .as_ref()
                .is_some_and(|running| running.vcpu.is_runnable());
            if awake {
                self.note_runstate(cpu, crate::pv::switch::RUNNING);
                if let Some(running) = &cpu.current {
                    self.resume_periodic(&running.vcpu);
                }
            }
        }
        ControlFlow::Continue(())
    }

    /// Takes the current vCPU off, and lets it wait for its turn if it is runnable. It may have become so a moment ago:
    /// who woke it still saw it on this processor, and left the rest to it.
    fn take_off(&self, cpu: &mut CpuLocal, regs: &CpuUserRegs) {
        let previous = cpu.current.as_ref().map(|running| running.vcpu.clone());
        self.switch_out(cpu, regs);
        if let Some(previous) = previous {
            self.put_back(cpu.id, &previous);
        }
    }

    /// `vcpu` was chosen and cannot be put on: its context is being replaced (VCPUOP_initialise), or its domain is gone.
    fn could_not_run(&self, cpu: CpuId, vcpu: &Arc<Vcpu>) {
        vcpu.set_running(None);
        if let Some(domain) = vcpu.domain.upgrade() {
            self.note_stopped(&domain);
            self.put_back(cpu, vcpu);
        }
    }

    fn note_runstate(&self, cpu: &CpuLocal, state: u32) {
        if let Some(running) = &cpu.current
            && running.vcpu.runstate.lock().state != state
        {
            running.vcpu.enter_runstate(state, self.machine.now_ns());
        }
    }

    /// Exception, machine check, NMI, event upcall: in this order, each enters the guest kernel. `Continue` = look again.
    fn deliver_pending(&self, cpu: &mut CpuLocal, regs: &mut CpuUserRegs) -> ControlFlow<()> {
        let Some(running) = cpu.current.as_mut() else {
            return ControlFlow::Continue(());
        };
        if running.ctx.hvm.is_some() {
            return self.deliver_in_hardware(cpu, regs);
        }
        let Running { domain, vcpu, ctx } = running;
        let machine = &self.machine;
        let iopl = domain.assists(ASSIST_ARCHITECTURAL_IOPL);
        if let Some(exception) = ctx.pending_exception.take() {
            return self.deliver_exception(cpu, regs, exception);
        }
        let mut bounce = None;
        let flags = vcpu.flags();
        if flags.contains(VcpuFlags::MCE_PENDING) && !ctx.mce_masked {
            vcpu.clear_flags(VcpuFlags::MCE_PENDING);
            bounce = unmaskable(ctx, vector::MC);
            ctx.mce_masked = bounce.is_some();
        }
        if bounce.is_none() && flags.contains(VcpuFlags::NMI_PENDING) && !ctx.nmi_masked {
            vcpu.clear_flags(VcpuFlags::NMI_PENDING);
            bounce = unmaskable(ctx, vector::NMI);
            ctx.nmi_masked = bounce.is_some();
        }
        let info = vcpu.info();
        if bounce.is_none() && info.is_some_and(|info| info.upcall_due(machine)) {
            let handler = Callback {
                mask_events: true,
                ..ctx.callbacks.event
            };
            bounce = Some(Bounce {
                handler,
                error_code: None,
            });
        }
        self.refresh_guest_areas(domain, vcpu, ctx);
        let Some(bounce) = bounce else {
            return ControlFlow::Break(());
        };
        if let Err(error) = bounce::deliver(machine, iopl, info, ctx, regs, bounce) {
            self.crash_current(cpu, regs, format_args!("event callback: {error:?}"));
        }
        ControlFlow::Continue(())
    }
}
