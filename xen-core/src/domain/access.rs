//! TRUSTED: may one domain act on another, or on the machine? The one file with the policy.
//!
//! Contract: Xen's stock policy. A control domain may do everything to every domain; everybody else acts on himself.

use core::ops::Range;

use super::Domain;
use crate::hypervisor::Hypervisor;
use crate::machine::Machine;
use crate::mm::Memory;
use crate::num::Mfn;

impl<M: Machine> Hypervisor<M> {
    /// Whether `caller` may map pages of `target`, change its page tables and its reservation.
    #[must_use]
    pub fn may_map(&self, caller: &Domain, target: &Domain) -> bool {
        caller.privileges.control || caller.id == target.id
    }
}

/// Whether `caller` may administer the machine and its domains (domctl, sysctl, platform_op).
#[must_use]
pub const fn may_administer(caller: &Domain) -> bool {
    caller.privileges.control
}

/// Whether `caller` may ask which domains exist and how they are (`getdomaininfo`, `getdomaininfolist`): the control
/// domain, and whoever serves xenstore.
#[must_use]
pub const fn may_list(caller: &Domain) -> bool {
    caller.privileges.control || caller.privileges.xenstore
}

/// Whether `domain` may give others the use of these frames: the hardware domain any that the hypervisor does not keep.
#[must_use]
pub fn iomem_range_permitted(mem: &Memory, domain: &Domain, frames: &Range<u64>) -> bool {
    mem.iomem_range_is_free(frames)
        && (domain.privileges.hardware || domain.rights.lock().frames.contains(frames))
}

/// Whether `domain` may map a frame that is not RAM: the hardware domain any that the hypervisor does not keep, others
/// those that they were given.
#[must_use]
pub fn iomem_permitted(mem: &Memory, domain: &Domain, mfn: Mfn) -> bool {
    let given = || {
        let frame = mfn.0..mfn.0.saturating_add(1);
        domain.rights.lock().frames.contains(&frame)
    };
    mem.is_device(mfn) && mem.iomem_is_free(mfn) && (domain.privileges.hardware || given())
}
