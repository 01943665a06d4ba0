//! Taking all memory from a domain that is being destroyed.

use super::drain;
use crate::domain::Domain;
use crate::hypervisor::Hypervisor;
use crate::machine::Machine;
use crate::outcome::{Budget, Stop};

/// Unpins the domain's tables, finishes suspended validations and drops the allocation of every page. None of its
/// vCPUs may run any more, and what else held references (roots, grants, shared areas) should have been given up;
/// pages that others still map stay in the domain's list until they let go.
///
/// # Errors
/// `Preempted`: call again.
pub fn relinquish_memory<M: Machine>(
    hv: &Hypervisor<M>,
    domain: &Domain,
    budget: &mut Budget,
) -> Result<(), Stop> {
    let pages = &domain.pages;
    pages.close();
    drain(hv, pages, budget)?;
    while let Some(mfn) = pages.first_unvisited(&hv.mem) {
        if !budget.spend(1) {
            return Err(Stop::Preempted);
        }
        let Some(page) = hv.mem.get_page(mfn, domain.id) else {
            // Its last reference is being given back right now by somebody else.
            core::hint::spin_loop();
            continue;
        };
        if hv.mem.clear_pinned(mfn) {
            hv.mem.put_page_and_type(mfn);
        }
        hv.mem.cancel_validation(mfn);
        // A page that the guest itself gave up may still be here, pinned.
        let _ = hv.mem.drop_allocation(pages, mfn);
        pages.set_visited(&hv.mem, mfn);
        drop(page);
        drain(hv, pages, budget)?;
    }
    Ok(())
}
