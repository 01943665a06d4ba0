//! TRUSTED: may one domain act on another, or on the machine? The one file with the policy.
//!
//! Contract: Xen's stock policy. A control domain may do everything to every domain; everybody else acts on himself.

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

/// Whether `domain` may map a frame that is not RAM: the hardware domain any that the hypervisor does not keep.
#[must_use]
pub fn iomem_permitted(mem: &Memory, domain: &Domain, mfn: Mfn) -> bool {
    domain.privileges.hardware && mem.is_device(mfn) && mem.iomem_is_free(mfn)
}
