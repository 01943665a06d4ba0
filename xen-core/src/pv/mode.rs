//! Guest kernel mode and guest user mode: two page-table roots and two GS bases behind one ring.

use crate::domain::VcpuCtx;
use crate::machine::PvCpu;

/// Bits of RFLAGS that matter here.
pub mod rflags {
    /// Always one.
    pub const RESERVED: u64 = 1 << 1;
    /// Trap flag.
    pub const TF: u64 = 1 << 8;
    /// Interrupt flag.
    pub const IF: u64 = 1 << 9;
    /// Direction flag.
    pub const DF: u64 = 1 << 10;
    /// I/O privilege level.
    pub const IOPL: u64 = 3 << 12;
    /// Nested task.
    pub const NT: u64 = 1 << 14;
    /// Resume flag.
    pub const RF: u64 = 1 << 16;
    /// Virtual-8086 mode.
    pub const VM: u64 = 1 << 17;
    /// Alignment check.
    pub const AC: u64 = 1 << 18;
}

/// The guest has no user page table, so there is no user mode to go to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NoUserRoot;

/// Goes from guest user mode to guest kernel mode.
pub fn enter_kernel(cpu: &impl PvCpu, ctx: &mut VcpuCtx) {
    if ctx.kernel_mode {
        return;
    }
    ctx.kernel_mode = true;
    cpu.swap_gs();
    if let Some(root) = ctx.kernel_root {
        cpu.load_root(root);
    }
}

/// Goes from guest kernel mode to guest user mode.
///
/// # Errors
/// There is no user page table; nothing has changed.
pub fn enter_user(cpu: &impl PvCpu, ctx: &mut VcpuCtx) -> Result<(), NoUserRoot> {
    if !ctx.kernel_mode {
        return Ok(());
    }
    let root = ctx.user_root.ok_or(NoUserRoot)?;
    ctx.kernel_mode = false;
    cpu.swap_gs();
    cpu.load_root(root);
    Ok(())
}
