//! Pins: a table that stays a table although nothing refers to it.
//!
//! Contract: MMUEXT_PIN_L1_TABLE to MMUEXT_UNPIN_TABLE.

use hypercall_abi::errno::Errno;

use super::get_table;
use crate::domain::Domain;
use crate::hypervisor::Hypervisor;
use crate::machine::Machine;
use crate::mm::PageType;
use crate::num::Mfn;
use crate::outcome::{Budget, Stop};

/// Pins a page of `domain` as a table of this type.
///
/// # Errors
/// `EINVAL` if it is pinned already; as [`get_table`].
pub fn pin_table<M: Machine>(
    hv: &Hypervisor<M>,
    domain: &Domain,
    mfn: Mfn,
    kind: PageType,
    budget: &mut Budget,
) -> Result<(), Stop> {
    get_table(hv, domain, mfn, kind, budget)?;
    if hv.mem.set_pinned(mfn) {
        // A foreign domain can be in destruction, which takes pins off as it passes: one that comes behind it must go
        // by itself. Whoever clears the mark gives the references back.
        if domain.pages.is_closed() && hv.mem.clear_pinned(mfn) {
            hv.mem.put_page_and_type(mfn);
        }
        return Ok(());
    }
    // The pin's own reference keeps this from being the last one.
    hv.mem.put_page_and_type(mfn);
    Err(Errno::EINVAL.into())
}

/// Takes the pin off a page of `domain`. If nothing else refers to the table, its demotion is left to
/// [`drain`](super::drain).
///
/// # Errors
/// `EINVAL` if the page is not the domain's or not pinned.
pub fn unpin_table<M: Machine>(hv: &Hypervisor<M>, domain: &Domain, mfn: Mfn) -> Result<(), Errno> {
    let _page = hv.mem.get_page(mfn, domain.id).ok_or(Errno::EINVAL)?;
    if !hv.mem.clear_pinned(mfn) {
        return Err(Errno::EINVAL);
    }
    hv.mem.put_page_and_type(mfn);
    Ok(())
}
