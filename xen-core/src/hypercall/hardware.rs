//! Hypercalls of guests that run in hardware (abi-hvm 3): VMCALL and VMMCALL of their kernels.

use alloc::sync::Arc;

use hypercall_abi::arch_x86::CpuUserRegs;
use hypercall_abi::errno::Errno;
use hypercall_abi::xen::HypercallNr;

use super::{Args, Call, table};
use crate::domain::{Domain, Vcpu, VcpuCtx};
use crate::hypervisor::Hypervisor;
use crate::machine::Machine;
use crate::num::CpuId;
use crate::outcome::{HypercallResult, Outcome, Stop};

/// A guest that runs in hardware executed VMCALL or VMMCALL. True if it goes on behind the instruction, with the result
/// in RAX; otherwise it executes it again, with the arguments that are left.
///
/// 64-bit code has number and arguments where [`enter`](super::enter) has them, other code the number in EAX and the arguments in EBX,
/// ECX, EDX, ESI, EDI.
pub fn enter_from_hardware<M: Machine>(
    hv: &Hypervisor<M>,
    cpu: CpuId,
    domain: &Arc<Domain>,
    vcpu: &Arc<Vcpu>,
    ctx: &mut VcpuCtx,
    regs: &mut CpuUserRegs,
    wide: bool,
) -> bool {
    let low = |register: u64| register & u64::from(u32::MAX);
    let (nr, args) = if wide {
        let args = [regs.rdi, regs.rsi, regs.rdx, regs.r10, regs.r8, regs.r9];
        (HypercallNr(regs.rax), args)
    } else {
        let args = [regs.rbx, regs.rcx, regs.rdx, regs.rsi, regs.rdi, regs.rbp].map(low);
        (HypercallNr(low(regs.rax)), args)
    };
    let mut call = Call {
        hv,
        cpu,
        domain,
        vcpu,
        ctx,
        regs,
    };
    let result = if wide {
        call.route_from_hardware(nr, Args(args))
    } else {
        call.route_from_32bit(nr, Args(args))
    };
    let value = match result {
        Ok(Outcome::Done(value)) => value,
        Ok(Outcome::NoReturn) => return true,
        Ok(Outcome::Again(args)) => {
            let registers = if wide {
                [
                    &mut regs.rdi,
                    &mut regs.rsi,
                    &mut regs.rdx,
                    &mut regs.r10,
                    &mut regs.r8,
                ]
            } else {
                [
                    &mut regs.rbx,
                    &mut regs.rcx,
                    &mut regs.rdx,
                    &mut regs.rsi,
                    &mut regs.rdi,
                ]
            };
            let used = table::argument_count(nr);
            for (register, arg) in registers.into_iter().zip(args).take(used) {
                *register = arg;
            }
            return false;
        }
        Err(Stop::Preempted) => return false,
        Err(Stop::Fail(errno)) => errno.to_ret() as u64,
    };
    regs.rax = if wide { value } else { low(value) };
    true
}

impl<M: Machine> Call<'_, M> {
    /// Calls the handler of hypercall `nr` for a guest that runs in hardware: what would change tables or traps of its
    /// processor is `ENOSYS`, since it has that processor for itself.
    pub(super) fn route_from_hardware(&mut self, nr: HypercallNr, a: Args) -> HypercallResult {
        use HypercallNr as H;
        match nr {
            H::HVM_OP => self.hvm_op(a.uint(0), a.handle(1)),
            H::PLATFORM_OP
            | H::MEMORY_OP
            | H::MULTICALL
            | H::SET_TIMER_OP
            | H::XEN_VERSION
            | H::CONSOLE_IO
            | H::VM_ASSIST
            | H::VCPU_OP
            | H::MMUEXT_OP
            | H::SCHED_OP
            | H::EVENT_CHANNEL_OP
            | H::PHYSDEV_OP
            | H::GRANT_TABLE_OP
            | H::SYSCTL
            | H::DOMCTL => self.route(nr, a),
            _ => Err(Errno::ENOSYS.into()),
        }
    }

    /// The same for 16- and 32-bit code, whose structures have words of 32 bits.
    pub(super) fn route_from_32bit(&mut self, nr: HypercallNr, a: Args) -> HypercallResult {
        use HypercallNr as H;
        match nr {
            // Alike in both widths.
            H::HVM_OP | H::EVENT_CHANNEL_OP => self.route_from_hardware(nr, a),
            _ => Err(Errno::ENOSYS.into()),
        }
    }
}
