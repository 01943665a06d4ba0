//! Doors: one file per hypercall.
//!
//! A door decodes arguments, checks permission, copies in and out, and calls the room where the meaning lives. Doors
//! hold no state. [`Call`] is what every handler gets; [`table`](self) routes by number.

mod callback_op;
mod iret;
mod kexec_op;
mod multicall;
mod nmi_op;
mod sched_op;
mod set_segment_base;
mod set_timer_op;
mod set_trap_table;
mod stack_switch;
mod table;
mod vcpu_op;
mod vm_assist;
mod xen_version;

mod console_io;
mod debugreg;
mod domctl;
mod event_channel_op;
mod foreign;
mod fpu_taskswitch;
mod grant_table_op;
mod hardware;
mod hvm_op;
mod mca;
mod memory_op;
mod mmu_update;
mod mmuext_op;
mod physdev_op;
mod platform_op;
mod set_gdt;
mod sysctl;
mod update_descriptor;
mod update_va_mapping;

pub use hardware::enter_from_hardware;
pub use vm_assist::VALID_ASSISTS;

use alloc::sync::Arc;

use hypercall_abi::arch_x86::CpuUserRegs;
use hypercall_abi::guest_handle::GuestHandle;
use hypercall_abi::xen::HypercallNr;

use crate::domain::{Domain, Vcpu, VcpuCtx};
use crate::hypervisor::Hypervisor;
use crate::machine::Machine;
use crate::num::CpuId;
use crate::outcome::{Outcome, RawArgs, Stop};

/// Argument registers with the widths that the ABI gives them.
#[derive(Clone, Copy, Debug)]
pub struct Args(pub RawArgs);

impl Args {
    /// A full register.
    #[must_use]
    pub const fn ulong(self, i: usize) -> u64 {
        self.0[i]
    }

    /// An `unsigned int`: upper garbage is cut off, not refused.
    #[must_use]
    #[expect(clippy::cast_possible_truncation, reason = "the ABI truncates")]
    pub const fn uint(self, i: usize) -> u32 {
        self.0[i] as u32
    }

    /// A guest pointer.
    #[must_use]
    pub const fn handle<T>(self, i: usize) -> GuestHandle<T> {
        GuestHandle::from_addr(self.0[i])
    }
}

/// One hypercall in progress.
#[derive(Debug)]
pub struct Call<'a, M> {
    /// The hypervisor.
    pub hv: &'a Hypervisor<M>,
    /// The executing processor.
    pub cpu: CpuId,
    /// The caller's domain.
    pub domain: &'a Arc<Domain>,
    /// The caller.
    pub vcpu: &'a Arc<Vcpu>,
    /// The caller's private half.
    pub ctx: &'a mut VcpuCtx,
    /// The caller's registers.
    pub regs: &'a mut CpuUserRegs,
}

/// Length of the SYSCALL instruction, which a continuation executes again.
const SYSCALL_LEN: u64 = 2;

/// A guest kernel executed SYSCALL: number in RAX, arguments in RDI, RSI, RDX, R10, R8 (and R9), result to RAX.
pub fn enter<M: Machine>(
    hv: &Hypervisor<M>,
    cpu: CpuId,
    domain: &Arc<Domain>,
    vcpu: &Arc<Vcpu>,
    ctx: &mut VcpuCtx,
    regs: &mut CpuUserRegs,
) {
    let nr = HypercallNr(regs.rax);
    let args = [regs.rdi, regs.rsi, regs.rdx, regs.r10, regs.r8, regs.r9];
    let mut call = Call {
        hv,
        cpu,
        domain,
        vcpu,
        ctx,
        regs,
    };
    match call.route(nr, Args(args)) {
        Ok(Outcome::Done(value)) => regs.rax = value,
        Ok(Outcome::NoReturn) => {}
        Ok(Outcome::Again(args)) => {
            let registers = [
                &mut regs.rdi,
                &mut regs.rsi,
                &mut regs.rdx,
                &mut regs.r10,
                &mut regs.r8,
            ];
            let used = table::argument_count(nr);
            for (register, arg) in registers.into_iter().zip(args).take(used) {
                *register = arg;
            }
            regs.rip = regs.rip.wrapping_sub(SYSCALL_LEN);
        }
        Err(Stop::Preempted) => regs.rip = regs.rip.wrapping_sub(SYSCALL_LEN),
        Err(Stop::Fail(errno)) => regs.rax = errno.to_ret() as u64,
    }
}

#[cfg(test)]
mod tests {
    use hypercall_abi::xen::MulticallEntry;
    use zerocopy::FromZeros;

    use super::*;
    use crate::num::Pfn;
    use crate::sim::{PvGuest, world};

    /// A continuation of a call with two arguments leaves the other registers to the guest, R9 in any case.
    #[test]
    fn a_continuation_changes_only_the_registers_of_its_call() {
        let hv = world();
        let mut guest = PvGuest::dom0(&hv, 64);
        let mut entry = MulticallEntry::new_zeroed();
        entry.op = HypercallNr::XEN_VERSION.0;
        let at = guest.put(&hv, Pfn(3), &[entry; 4]);
        hv.machine.yield_after(Some(1));
        let again = guest.hypercall_once(&hv, HypercallNr::MULTICALL, [at, 4, 12, 13, 14, 15]);
        let [next, left, rest @ ..] = again.expect_err("it was preempted");
        assert_eq!((next, left), (at + 2 * 64, 2));
        assert_eq!(rest, [12, 13, 14, 15]);
    }
}
