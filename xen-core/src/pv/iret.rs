//! HYPERVISOR_iret: the return from every guest handler (abi-requirements 2.5).

use hypercall_abi::arch_x86::CpuUserRegs;
use hypercall_abi::arch_x86::xen_x86_64::IretContext;
use hypercall_abi::guest_handle::GuestHandle;

use super::mode::{self, rflags};
use super::selectors::ring3;
use crate::domain::{VcpuCtx, VcpuInfo};
use crate::guest::GuestAccess;
use crate::machine::Machine;

/// VGCF_in_syscall: RCX and R11 are not restored.
const IN_SYSCALL: u64 = 1 << 8;

/// Why the guest cannot return. It must be crashed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum IretError {
    /// The frame could not be read.
    BadFrame(u64),
    /// The frame names user mode, and there is no user page table.
    NoUserRoot,
}

/// Loads `regs` from the frame at the guest's stack pointer.
///
/// # Errors
/// The domain must be crashed.
pub fn iret<M: Machine>(
    machine: &M,
    architectural_iopl: bool,
    info: Option<VcpuInfo>,
    ctx: &mut VcpuCtx,
    regs: &mut CpuUserRegs,
) -> Result<(), IretError> {
    let at = regs.rsp;
    let frame: IretContext = machine
        .read(GuestHandle::from_addr(at))
        .map_err(|_| IretError::BadFrame(at))?;
    if frame.cs & 3 == 3 {
        mode::enter_user(machine, ctx).map_err(|_| IretError::NoUserRoot)?;
    }
    if architectural_iopl {
        ctx.iopl = ((frame.rflags & rflags::IOPL) >> 12) as u8;
    }
    regs.rip = frame.rip;
    regs.cs = ring3(frame.cs as u16);
    regs.ss = ring3(frame.ss as u16);
    regs.rsp = frame.rsp;
    regs.rflags = (frame.rflags & !(rflags::IOPL | rflags::VM)) | rflags::IF | rflags::RESERVED;
    regs.rax = frame.rax;
    if frame.flags & IN_SYSCALL == 0 {
        regs.r11 = frame.r11;
        regs.rcx = frame.rcx;
    }
    // RCX and R11 are the guest's again: the way out must not clobber them as SYSRET would.
    regs.entry_vector = 0;
    ctx.nmi_masked = false;
    ctx.mce_masked = false;
    if let Some(info) = info {
        info.set_upcall_mask(machine, frame.rflags & rflags::IF == 0);
    }
    Ok(())
}
