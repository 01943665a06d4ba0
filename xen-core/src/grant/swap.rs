//! Exchanging two entries of a grant table (GNTTABOP_swap_grant_ref).

use core::sync::atomic::Ordering;

use hypercall_abi::grant_table::GntStatus;

use crate::domain::Domain;
use crate::hypervisor::Hypervisor;
use crate::machine::Machine;
use crate::num::GrantRef;

impl<M: Machine> Hypervisor<M> {
    /// Exchanges two of the domain's entries, neither of which is in use.
    pub fn swap_grants(&self, domain: &Domain, a: GrantRef, b: GrantRef) -> GntStatus {
        let given = domain.grants.given.lock();
        let (Some(first), Some(second)) =
            (given.word(&self.machine, a), given.word(&self.machine, b))
        else {
            return GntStatus::BAD_GNTREF;
        };
        let idle = |reference| {
            given
                .active(reference)
                .is_some_and(|active| active.pins.is_empty())
        };
        if !idle(a) || !idle(b) {
            return GntStatus::EAGAIN;
        }
        if a != b {
            let old = second.load(Ordering::SeqCst);
            second.store(first.swap(old, Ordering::SeqCst), Ordering::SeqCst);
        }
        GntStatus::OKAY
    }
}
