//! Doors: one file per hypercall.
//!
//! A door decodes arguments, checks permission, copies in and out, and calls the room where the meaning lives. Doors
//! hold no state. [`Call`] is what every handler gets; [`table`](self) routes by number.

use alloc::sync::Arc;

use hypercall_abi::arch_x86::CpuUserRegs;
use hypercall_abi::guest_handle::GuestHandle;

use crate::domain::{Domain, Vcpu, VcpuCtx};
use crate::hypervisor::Hypervisor;
use crate::num::CpuId;
use crate::outcome::RawArgs;

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
