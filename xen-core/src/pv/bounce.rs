//! Entering the guest kernel on the guest's behalf: exceptions, events, system calls.
//!
//! The frame (new RSP upward) is RCX, R11, [error code,] RIP, CS and the saved event mask, RFLAGS, RSP, SS; the
//! layout is what PV kernels pop first thing in every handler (abi-requirements 2.6).

use hypercall_abi::arch_x86::CpuUserRegs;

use super::mode::{self, rflags};
use super::selectors::{FLAT_CS64, FLAT_SS};
use crate::domain::{Callback, VcpuCtx, VcpuInfo};
use crate::guest::{HYPERVISOR_END, HYPERVISOR_START};
use crate::machine::Machine;

/// VMASST_TYPE_architectural_iopl.
pub const ASSIST_ARCHITECTURAL_IOPL: u32 = 4;

/// Why a frame could not be built. The domain cannot go on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum BounceError {
    /// No handler was registered.
    NoHandler,
    /// The stack lies in or next to the hypervisor's part of the address space.
    StackInHypervisor(u64),
    /// The stack could not be written at this address.
    StackFault(u64),
    /// The vCPU has no vcpu_info yet (ids from 32 up before VCPUOP_register_vcpu_info).
    NoVcpuInfo,
}

/// Where to go, and with what.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Bounce {
    /// Entry point and whether events are masked there.
    pub handler: Callback,
    /// Error code of the exceptions that have one.
    pub error_code: Option<u32>,
}

/// Builds the frame on the guest kernel's stack and points `regs` at the handler.
///
/// # Errors
/// The guest cannot take it: it must be crashed.
pub fn deliver<M: Machine>(
    machine: &M,
    architectural_iopl: bool,
    info: Option<VcpuInfo>,
    ctx: &mut VcpuCtx,
    regs: &mut CpuUserRegs,
    bounce: Bounce,
) -> Result<(), BounceError> {
    if bounce.handler.address == 0 {
        return Err(BounceError::NoHandler);
    }
    let mut words = [0u64; 3];
    words[0] = regs.rcx;
    words[1] = regs.r11;
    let mut count = 2;
    if let Some(code) = bounce.error_code {
        words[2] = u64::from(code);
        count = 3;
    }
    build_frame(
        machine,
        architectural_iopl,
        info,
        ctx,
        regs,
        bounce.handler,
        &words[..count],
    )
}

/// Pushes the part of the frame that all entries share, below it `top` (ascending from the new RSP), and enters the
/// handler. Used by [`deliver`] and by the failsafe callback, whose frame also carries selectors.
///
/// # Errors
/// As [`deliver`].
pub(super) fn build_frame<M: Machine>(
    machine: &M,
    architectural_iopl: bool,
    info: Option<VcpuInfo>,
    ctx: &mut VcpuCtx,
    regs: &mut CpuUserRegs,
    handler: Callback,
    top: &[u64],
) -> Result<(), BounceError> {
    let info = info.ok_or(BounceError::NoVcpuInfo)?;
    let from_kernel = ctx.kernel_mode;
    let stack = if from_kernel { regs.rsp } else { ctx.kernel_sp } & !15;
    if stack > HYPERVISOR_START && stack < HYPERVISOR_END + 64 {
        return Err(BounceError::StackInHypervisor(stack));
    }
    mode::enter_kernel(machine, ctx);

    let mask = info.upcall_mask_byte(machine);
    // A frame from kernel mode shows RPL 0, so that the guest can tell its two modes apart.
    let cs = if from_kernel { regs.cs & !3 } else { regs.cs };
    let mut flags = regs.rflags & !(rflags::IF | rflags::IOPL);
    if mask == 0 {
        flags |= rflags::IF;
    }
    if architectural_iopl {
        flags |= u64::from(ctx.iopl & 3) << 12;
    }
    let mut frame = [0u64; 12];
    let frame_len = top.len() + 5;
    frame[..top.len()].copy_from_slice(top);
    frame[top.len()..frame_len].copy_from_slice(&[
        regs.rip,
        u64::from(cs) | u64::from(mask) << 32,
        flags,
        regs.rsp,
        u64::from(regs.ss),
    ]);
    let mut bytes = [0u8; 96];
    for (chunk, word) in bytes.chunks_exact_mut(8).zip(&frame[..frame_len]) {
        chunk.copy_from_slice(&word.to_le_bytes());
    }
    let new_rsp = stack.wrapping_sub(frame_len as u64 * 8);
    machine
        .copy_to_guest(new_rsp, &bytes[..frame_len * 8])
        .map_err(|fault| BounceError::StackFault(fault.addr))?;

    if handler.mask_events {
        info.set_upcall_mask(machine, true);
    }
    regs.rip = handler.address;
    regs.cs = FLAT_CS64;
    regs.ss = FLAT_SS;
    regs.rsp = new_rsp;
    // DF stays for exceptions: PV handlers clear it themselves; only what would trap or confuse the handler goes.
    regs.rflags &= !(rflags::AC | rflags::VM | rflags::RF | rflags::NT | rflags::TF | rflags::IOPL);
    regs.rflags |= rflags::IF | rflags::RESERVED;
    Ok(())
}
