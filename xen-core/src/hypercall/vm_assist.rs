//! `vm_assist`: optional behaviours of the hypervisor.

use core::sync::atomic::Ordering;

use hypercall_abi::errno::Errno;
use hypercall_abi::xen::{VmassistCmd, VmassistType};

use super::Call;
use crate::machine::Machine;
use crate::outcome::{HypercallResult, Outcome};

/// The types a 64-bit PV guest may name.
pub const VALID_ASSISTS: u64 = 1 << VmassistType::TYPE_4GB_SEGMENTS.0
    | 1 << VmassistType::TYPE_4GB_SEGMENTS_NOTIFY.0
    | 1 << VmassistType::WRITABLE_PAGETABLES.0
    | 1 << VmassistType::PAE_EXTENDED_CR3.0
    | 1 << VmassistType::ARCHITECTURAL_IOPL.0
    | 1 << VmassistType::RUNSTATE_UPDATE_FLAG.0
    | 1 << VmassistType::M2P_STRICT.0;

impl<M: Machine> Call<'_, M> {
    pub(super) fn vm_assist(&mut self, cmd: u32, assist: u32) -> HypercallResult {
        if assist >= 64 || VALID_ASSISTS & 1 << assist == 0 {
            return Err(Errno::EINVAL.into());
        }
        match VmassistCmd(cmd) {
            VmassistCmd::ENABLE => self
                .domain
                .vm_assist
                .fetch_or(1 << assist, Ordering::Relaxed),
            VmassistCmd::DISABLE => self
                .domain
                .vm_assist
                .fetch_and(!(1 << assist), Ordering::Relaxed),
            _ => return Err(Errno::ENOSYS.into()),
        };
        Ok(Outcome::Done(0))
    }
}
