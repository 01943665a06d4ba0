//! TRUSTED: the references that an entry of a page table holds on what it points to.

use hypercall_abi::errno::Errno;
use hypercall_abi::xen::DomId;

use super::entry;
use crate::domain::Domain;
use crate::domain::access::iomem_permitted;
use crate::hypervisor::Hypervisor;
use crate::machine::Machine;
use crate::mm::{Got, Memory, PageRef, PageType};
use crate::num::Mfn;
use crate::outcome::{Budget, Stop};

/// Takes the references of a present L1 entry in a table of `domain` that maps a page of `page_owner`. Returns the
/// entry as it goes into the table.
///
/// # Errors
/// `EINVAL` for flags the guest may not set, `EPERM` for device memory it may not map, `EACCES` for cache attributes
/// on the hypervisor's pages, `EBUSY` for pages that are not `page_owner`'s or, if writable, are tables.
pub(super) fn get_l1<M: Machine>(
    hv: &Hypervisor<M>,
    domain: &Domain,
    page_owner: DomId,
    value: u64,
) -> Result<u64, Errno> {
    if entry::is_disallowed(value, 1, domain.privileges.hardware) {
        return Err(Errno::EINVAL);
    }
    let target = entry::target(value);
    if hv.mem.is_device(target) {
        if target == entry::INVALID_TARGET {
            return Err(Errno::EINVAL);
        }
        // Whoever the frame is asked of must have rights on it too; nobody in particular means the caller.
        let asked = page_owner == DomId::IO
            || page_owner == domain.id
            || hv
                .domains
                .get(page_owner)
                .is_some_and(|owner| iomem_permitted(&hv.mem, &owner, target));
        if !asked || !iomem_permitted(&hv.mem, domain, target) {
            return Err(Errno::EPERM);
        }
        let read_only = hv.mem.iomem_is_read_only(target) || hv.irqs.is_msix_table(target);
        let value = if read_only {
            entry::without_write(value)
        } else {
            value
        };
        return Ok(entry::adjust(entry::uncached(value), 1));
    }
    let page = mapped_page(hv, domain, page_owner, target).ok_or(Errno::EBUSY)?;
    if !entry::is_write_back(value) {
        if hv.mem.is_special(target) {
            return Err(Errno::EACCES);
        }
        hv.mem.note_noncoherent(target);
    }
    if entry::is_writable(value) && hv.mem.try_get_type(target, PageType::Writable) != Got::Taken {
        return Err(Errno::EBUSY);
    }
    let _ = page.into_raw();
    Ok(entry::adjust(value, 1))
}

/// A reference on a page that is mapped as one of `page_owner`'s.
fn mapped_page<'a, M: Machine>(
    hv: &'a Hypervisor<M>,
    domain: &Domain,
    page_owner: DomId,
    mfn: Mfn,
) -> Option<PageRef<'a>> {
    let page = hv.mem.get_any_page(mfn)?;
    let real_owner = hv.mem.owner(mfn)?;
    if real_owner == page_owner {
        return Some(page);
    }
    // ABI: who enters pages in another domain's table in the control domain's name may enter anybody's.
    let in_its_name = page_owner != domain.id
        && hv
            .domains
            .get(page_owner)
            .is_some_and(|owner| owner.privileges.control);
    in_its_name.then_some(page)
}

/// Takes the references of a present entry of level 2 to 4 in the table `holder` of `domain`, promoting the target if
/// need be. Returns the entry as it goes into the table.
pub(super) fn get_upper<M: Machine>(
    hv: &Hypervisor<M>,
    domain: &Domain,
    holder: Mfn,
    level: u32,
    value: u64,
    budget: &mut Budget,
) -> Result<u64, Stop> {
    if entry::is_disallowed(value, level, false) {
        return Err(Errno::EINVAL.into());
    }
    let target = entry::target(value);
    if target == holder {
        // Not a matter of what the page is this moment: another processor may have demoted it since the caller looked, and
        // [`put`] goes by the number alone.
        if !hv.mem.linear_tables() {
            return Err(Errno::EINVAL.into());
        }
        get_linear(&hv.mem, domain, holder, level, value)?;
        return Ok(entry::adjust(value, level));
    }
    match super::get_table(hv, domain, target, PageType::table(level - 1), budget) {
        Err(Stop::Fail(Errno::EINVAL)) if hv.mem.linear_tables() => {
            get_linear(&hv.mem, domain, holder, level, value)?;
        }
        result => result?,
    }
    Ok(entry::adjust(value, level))
}

/// An entry that points to a table of its own level: read-only, the target in use already, and never in chains.
fn get_linear(
    mem: &Memory,
    domain: &Domain,
    holder: Mfn,
    level: u32,
    value: u64,
) -> Result<(), Errno> {
    if entry::is_writable(value) || level == 1 {
        return Err(Errno::EINVAL);
    }
    let target = entry::target(value);
    if target == holder {
        // Holds nothing: it goes when the table goes.
        return Ok(());
    }
    let page = mem.get_page(target, domain.id).ok_or(Errno::EINVAL)?;
    if !mem.add_linear(holder, target) {
        return Err(Errno::EINVAL);
    }
    if !mem.get_valid_type(target, PageType::table(level)) {
        mem.remove_linear(holder, target);
        return Err(Errno::EINVAL);
    }
    let _ = page.into_raw();
    Ok(())
}

/// Gives back the references of an entry that was in the table `holder` of this level. Returns the page that has
/// thereby lost its last type reference and waits for demotion, its mark owning the entry's references.
#[must_use]
pub(super) fn put(mem: &Memory, holder: Mfn, level: u32, value: u64) -> Option<Mfn> {
    if !entry::is_present(value) {
        return None;
    }
    let target = entry::target(value);
    if level == 1 {
        if mem.is_device(target) {
            return None;
        }
        if entry::is_writable(value) {
            mem.put_writable(target);
        } else {
            mem.put_page(target);
        }
        return None;
    }
    if target == holder {
        return None;
    }
    if mem.type_of(target).kind() == PageType::table(level) {
        mem.remove_linear(holder, target);
    }
    match mem.put_type(target) {
        crate::mm::Put::Done => {
            mem.put_page(target);
            None
        }
        crate::mm::Put::Demote => Some(target),
    }
}
