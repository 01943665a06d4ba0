//! The failsafe callback: what the guest gets when one of its data segments cannot be loaded.

use hypercall_abi::arch_x86::CpuUserRegs;

use super::bounce::{self, BounceError};
use crate::domain::{Segments, VcpuCtx, VcpuInfo};
use crate::machine::Machine;

/// Builds the failsafe frame: RCX, R11, DS, ES, FS, GS as the guest had them, then the common part.
///
/// # Errors
/// The guest cannot take it: it must be crashed.
pub fn deliver<M: Machine>(
    machine: &M,
    architectural_iopl: bool,
    info: Option<VcpuInfo>,
    ctx: &mut VcpuCtx,
    regs: &mut CpuUserRegs,
    had: &Segments,
) -> Result<(), BounceError> {
    let handler = ctx.callbacks.failsafe;
    if handler.address == 0 {
        return Err(BounceError::NoHandler);
    }
    let top = [
        regs.rcx,
        regs.r11,
        had.ds.into(),
        had.es.into(),
        had.fs.into(),
        had.gs.into(),
    ];
    bounce::build_frame(machine, architectural_iopl, info, ctx, regs, handler, &top)
}
