//! The end of a domain that has prepared for it.

use hypercall_abi::errno::Errno;
use hypercall_abi::xen::{HypercallNr, MmuextCmd as C};

use super::super::{drop_roots, get_table, pin_table, relinquish_memory};
use super::{FREE, Hv, err};
use crate::mm::PageType;
use crate::num::Pfn;
use crate::outcome::{Budget, Stop};
use crate::sim::{PvGuest, world};

fn relinquish(hv: &Hv, guest: &mut PvGuest) {
    drop_roots(hv, &mut guest.ctx);
    while let Err(stop) = relinquish_memory(hv, &guest.domain, &mut Budget::new(20)) {
        assert_eq!(stop, Stop::Preempted);
    }
}

#[test]
fn tables_that_the_guest_gave_up_but_pinned_come_back_too() {
    let hv = world();
    let mut guest = PvGuest::unprivileged(&hv, 1, 64);
    for pfn in (FREE..FREE + 6).map(Pfn) {
        assert_eq!(guest.remap(&hv, pfn, false, true), 0);
        assert_eq!(guest.ext(&hv, C::PIN_L1_TABLE, guest.mfn(pfn).0, 0), 0);
    }
    let half = Pfn(FREE + 6);
    assert_eq!(guest.remap(&hv, half, false, true), 0);
    let result = get_table(
        &hv,
        &guest.domain,
        guest.mfn(half),
        PageType::L4,
        &mut Budget::new(10),
    );
    assert_eq!(result, Err(Stop::Preempted));
    for pfn in (FREE..FREE + 7).map(Pfn) {
        // As decrease_reservation does; the pin, or the validation that was begun, keeps the page.
        let page = hv.mem.get_page(guest.mfn(pfn), guest.domain.id).unwrap();
        assert!(hv.mem.drop_allocation(&guest.domain.pages, page.mfn()));
    }
    // A page that somebody else still refers to does not stop the rest either.
    let kept = hv
        .mem
        .get_page(guest.mfn(Pfn(40)), guest.domain.id)
        .unwrap();
    relinquish(&hv, &mut guest);
    assert_eq!(guest.domain.pages.list(&hv.mem), [kept.mfn()]);
    drop(kept);
    assert_eq!(guest.domain.pages.total_pages(), 0);
    guest.audit(&hv);
}

#[test]
fn nothing_is_given_to_a_domain_whose_destruction_has_begun() {
    let hv = world();
    let mut guest = PvGuest::unprivileged(&hv, 1, 64);
    let pfn = Pfn(FREE);
    let args = [guest.va(pfn), 0, 0, 0, 0, 0];
    assert_eq!(
        guest.hypercall(&hv, HypercallNr::UPDATE_VA_MAPPING, args),
        0
    );
    let (free, total) = (hv.mem.free_pages(), guest.domain.pages.total_pages());
    // An exchange on behalf of the domain meets the destruction half way.
    hv.mem.steal(&guest.domain.pages, guest.mfn(pfn)).unwrap();
    guest.domain.pages.close();
    hv.mem.unsteal(&guest.domain.pages, guest.mfn(pfn));
    assert_eq!(hv.mem.free_pages(), free + 1);
    assert_eq!(guest.domain.pages.total_pages(), total - 1);
}

#[test]
fn the_number_of_a_domain_is_taken_while_a_frame_is_its_own() {
    let hv = world();
    let mut guest = PvGuest::unprivileged(&hv, 1, 64);
    let id = guest.domain.id;
    relinquish(&hv, &mut guest);
    hv.release_grants(&guest.domain).unwrap();
    // A backend still has the shared page mapped.
    let mapped = hv.mem.get_page(guest.domain.shared_info, id).unwrap();
    hv.mem.free_shared(mapped.mfn());
    assert!(!hv.mem.close_account(id));
    assert!(hv.mem.open_account(id).is_none());
    drop(mapped);
    assert!(hv.mem.close_account(id));
}

#[test]
fn a_page_of_the_hypervisor_never_becomes_a_table() {
    let hv = world();
    let guest = PvGuest::unprivileged(&hv, 1, 64);
    let shared = hv
        .mem
        .allocate_shared(&hv.machine, &guest.domain.pages)
        .unwrap();
    let seen = hv.mem.get_page(shared, guest.domain.id).unwrap();
    hv.mem.free_shared(shared);
    for kind in [PageType::L1, PageType::L4, PageType::SegDesc] {
        let result = get_table(
            &hv,
            &guest.domain,
            seen.mfn(),
            kind,
            &mut Budget::unlimited(),
        );
        assert_eq!(result, Err(Stop::Fail(Errno::EINVAL)));
    }
}

#[test]
fn one_call_does_not_pile_up_demotions() {
    const TABLES: u64 = 200;
    let hv = world();
    let mut guest = PvGuest::unprivileged(&hv, 1, 300);
    let mut ops = std::vec::Vec::new();
    for pfn in (FREE..FREE + TABLES).map(Pfn) {
        assert_eq!(guest.remap(&hv, pfn, false, true), 0);
        let mfn = guest.mfn(pfn);
        let pinned = pin_table(
            &hv,
            &guest.domain,
            mfn,
            PageType::L1,
            &mut Budget::unlimited(),
        );
        assert_eq!(pinned, Ok(()));
        ops.extend([u64::from(C::UNPIN_TABLE.0), mfn.0, 0]);
    }
    let list = guest.put(&hv, Pfn(FREE + TABLES), &ops[..]);
    hv.machine.yield_after(Some(170));
    let args = [list, TABLES, 0, super::SELF.into(), 0, 0];
    let rest = guest
        .hypercall_once(&hv, HypercallNr::MMUEXT_OP, args)
        .expect_err("preempted");
    assert!(guest.domain.pages.waiting_demotions() <= 64);
    hv.machine.yield_after(None);
    assert_eq!(guest.hypercall(&hv, HypercallNr::MMUEXT_OP, rest), 0);
    assert_eq!(
        guest.ext(&hv, C::UNPIN_TABLE, ops[1], 0),
        err(Errno::EINVAL)
    );
    guest.audit(&hv);
}
