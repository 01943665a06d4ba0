//! Instructions that a guest in ring 3 cannot execute and we execute for it.
//!
//! Contract: abi-requirements 5 (privileged operations) and 3.7 (writes to read-only page tables). A short list of
//! instructions, each decoded from one snapshot of its bytes (XSA-105, XSA-110); everything else is the guest's fault.

mod control;
mod cpuid;
mod fetch;
pub mod forced;
mod io;
pub mod msr;
mod port_space;
pub mod priv_op;
pub mod ro_fault;

pub use port_space::permitted as port_permitted;

use alloc::sync::Arc;

use hypercall_abi::arch_x86::CpuUserRegs;

use crate::domain::{Domain, PendingException, Vcpu, VcpuCtx};
use crate::emulate::decode::CodeWidth;
use crate::hypervisor::Hypervisor;
use crate::machine::{GuestFault, Machine};
use crate::pv::mode::rflags;

/// #DB.
const VECTOR_DB: u8 = 1;
/// #UD.
const VECTOR_UD: u8 = 6;
/// #GP.
const VECTOR_GP: u8 = 13;
/// #PF.
const VECTOR_PF: u8 = 14;
/// DR6.BS: single step.
const DR6_SINGLE_STEP: u64 = 1 << 14;

/// A guest that stopped at an instruction.
struct Trap<'a, M> {
    hv: &'a Hypervisor<M>,
    domain: &'a Arc<Domain>,
    vcpu: &'a Arc<Vcpu>,
    ctx: &'a mut VcpuCtx,
    regs: &'a mut CpuUserRegs,
}

impl<M: Machine> Trap<'_, M> {
    /// Steps over an instruction that is done.
    fn retire(&mut self, length: usize, width: CodeWidth) {
        retire(self.ctx, self.regs, length, width);
    }
}

/// Steps over an instruction that is done: RF is consumed, and TF asks for a single-step #DB.
fn retire(ctx: &mut VcpuCtx, regs: &mut CpuUserRegs, length: usize, width: CodeWidth) {
    let next = regs.rip.wrapping_add(length as u64);
    regs.rip = if width == CodeWidth::Bits64 {
        next
    } else {
        next & 0xffff_ffff
    };
    regs.rflags &= !rflags::RF;
    if regs.rflags & rflags::TF != 0 {
        raise_debug(ctx, DR6_SINGLE_STEP);
    }
}

/// Adds causes to the virtual DR6 and records a #DB.
fn raise_debug(ctx: &mut VcpuCtx, causes: u64) {
    ctx.debug_regs[6] |= causes;
    ctx.inject_fault(VECTOR_DB, None);
}

const fn general_protection_fault() -> PendingException {
    PendingException {
        vector: VECTOR_GP,
        error_code: Some(0),
        cr2: 0,
    }
}

const fn undefined_instruction() -> PendingException {
    PendingException {
        vector: VECTOR_UD,
        error_code: None,
        cr2: 0,
    }
}

/// The #PF that hardware would have raised. Bit 2 of the code (user) is set as by hardware; delivery corrects it for the
/// guest's kernel.
fn page_fault(fault: GuestFault, fetch: bool) -> PendingException {
    let code = u32::from(fault.present) | u32::from(fault.write) << 1 | 4 | u32::from(fetch) << 4;
    PendingException {
        vector: VECTOR_PF,
        error_code: Some(code),
        cr2: fault.addr,
    }
}

#[cfg(test)]
mod tests;
