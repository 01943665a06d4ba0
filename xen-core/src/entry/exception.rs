//! Exceptions in ring 3, on their way to the guest's own handlers.

use core::ops::ControlFlow;

use hypercall_abi::arch_x86::CpuUserRegs;

use super::vector;
use crate::boot::options::NmiPolicy;
use crate::domain::{Callback, PendingException, VcpuFlags};
use crate::hypervisor::{CpuLocal, Hypervisor, Running};
use crate::machine::Machine;
use crate::pv::bounce::{self, ASSIST_ARCHITECTURAL_IOPL, Bounce, BounceError};
use crate::pv::emulate::forced;
use crate::pv::emulate::priv_op::{self, GpOutcome};

/// TI_GET_IF: the trap masks events.
const TRAP_MASK_EVENTS: u8 = 4;

/// Whether the processor pushes an error code for this vector.
const fn has_error_code(vector: u8) -> bool {
    matches!(vector, 8 | 10..=14 | 17 | 21)
}

impl<M: Machine> Hypervisor<M> {
    /// An exception of vector `vector` happened in ring 3.
    pub(super) fn exception(&self, cpu: &mut CpuLocal, regs: &mut CpuUserRegs, vector: u8) {
        let Some(Running { domain, vcpu, ctx }) = cpu.current.as_mut() else {
            return;
        };
        match vector {
            vector::PF => {
                let addr = self.machine.fault_address();
                self.page_fault(cpu, regs, addr);
            }
            vector::GP => {
                match priv_op::general_protection(self, domain, vcpu, ctx, regs, regs.error_code) {
                    GpOutcome::Emulated => {}
                    GpOutcome::SoftwareInterrupt { vector, next_rip } => {
                        let length = next_rip.wrapping_sub(regs.rip);
                        self.software_interrupt(cpu, regs, vector, length);
                    }
                    GpOutcome::Inject => ctx.inject_fault(vector::GP, Some(regs.error_code)),
                    GpOutcome::InjectOther(exception) => ctx.inject(exception),
                }
            }
            vector::UD => {
                if !forced::invalid_opcode(self, domain, vcpu, ctx, regs) {
                    ctx.inject_fault(vector::UD, None);
                }
            }
            vector::DB => {
                // DR6 accumulates in the virtual register until the guest clears it.
                let dr6 = self.machine.dr6();
                ctx.debug_regs[6] |= dr6 & 0xe00f;
                ctx.inject_fault(vector::DB, None);
            }
            vector::NM => {
                // Eager FPU switching: the only reason for #NM is the guest's own TS.
                ctx.task_switched = false;
                self.machine.set_task_switched(false);
                ctx.inject_fault(vector::NM, None);
            }
            // The hypervisor's own; the machine side has dealt with them.
            vector::NMI | vector::MC => {}
            _ => {
                let code = has_error_code(vector).then_some(regs.error_code);
                ctx.inject_fault(vector, code);
            }
        }
    }

    /// `int n` with a gate that the guest may use: `length` more bytes of instruction to step over, no error code.
    pub(super) fn software_interrupt(
        &self,
        cpu: &mut CpuLocal,
        regs: &mut CpuUserRegs,
        vector: u8,
        length: u64,
    ) {
        let Some(Running { domain, vcpu, ctx }) = cpu.current.as_mut() else {
            return;
        };
        let trap = ctx.traps[usize::from(vector)];
        // A guest kernel counts as ring 1 and a guest user as ring 3.
        let cpl = if ctx.kernel_mode { 1 } else { 3 };
        // ABI: the direct gate of vector 0x80 asks only whether there is a handler.
        let allowed = length == 0 || trap.flags & 3 >= cpl;
        if trap.address == 0 || !allowed {
            // The fault belongs to the instruction, which the direct gate of vector 0x80 has already passed.
            if length == 0 {
                regs.rip = regs.rip.wrapping_sub(2);
            }
            ctx.inject_fault(vector::GP, Some(u32::from(vector) * 8 + 2));
            return;
        }
        regs.rip = regs.rip.wrapping_add(length);
        let handler = Callback {
            address: trap.address,
            mask_events: trap.flags & TRAP_MASK_EVENTS != 0,
        };
        let iopl = domain.assists(ASSIST_ARCHITECTURAL_IOPL);
        let bounce = Bounce {
            handler,
            error_code: None,
        };
        if let Err(error) = bounce::deliver(&self.machine, iopl, vcpu.info(), ctx, regs, bounce) {
            self.crash_current(cpu, regs, format_args!("int {vector:#x}: {error:?}"));
        }
    }

    /// Enters the guest's handler for `exception`.
    pub(super) fn deliver_exception(
        &self,
        cpu: &mut CpuLocal,
        regs: &mut CpuUserRegs,
        exception: PendingException,
    ) -> ControlFlow<()> {
        let Some(Running { domain, vcpu, ctx }) = cpu.current.as_mut() else {
            return ControlFlow::Continue(());
        };
        let PendingException {
            vector,
            mut error_code,
            cr2,
        } = exception;
        let trap = ctx.traps[usize::from(vector)];
        if vector == vector::PF {
            // Both modes are ring 3 to the processor; the guest wants to know about its own two.
            if let Some(code) = &mut error_code {
                *code = if ctx.kernel_mode {
                    *code & !4
                } else {
                    *code | 4
                };
            }
            if let Some(info) = vcpu.info() {
                info.set_cr2(&self.machine, cr2);
            }
        }
        let handler = Callback {
            address: trap.address,
            mask_events: trap.flags & TRAP_MASK_EVENTS != 0,
        };
        let iopl = domain.assists(ASSIST_ARCHITECTURAL_IOPL);
        let bounce = Bounce {
            handler,
            error_code,
        };
        match bounce::deliver(&self.machine, iopl, vcpu.info(), ctx, regs, bounce) {
            Ok(()) => {}
            Err(BounceError::NoHandler) => {
                let code = error_code.unwrap_or(0);
                self.crash_current(
                    cpu,
                    regs,
                    format_args!("unhandled exception: vector {vector}, error code {code:#x}, address {cr2:#x}"),
                );
            }
            Err(error) => {
                self.crash_current(cpu, regs, format_args!("exception {vector}: {error:?}"));
            }
        }
        ControlFlow::Continue(())
    }

    /// A non-maskable interrupt of the machine: the hardware domain's first vCPU gets it.
    pub(super) fn platform_nmi(&self) {
        match self.options.nmi {
            NmiPolicy::Dom0 => {}
            NmiPolicy::Ignore => return,
            NmiPolicy::Fatal => panic!("non-maskable interrupt, and nmi=fatal"),
        }
        let Some(domain) = self.domains.hardware() else {
            return;
        };
        if let Some(vcpu) = domain.vcpu(crate::num::VcpuId(0)) {
            vcpu.set_flags(VcpuFlags::NMI_PENDING);
            self.wake(vcpu);
        }
    }
}
