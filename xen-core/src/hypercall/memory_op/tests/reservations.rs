//! Balloons, limits and claims.

use std::vec::Vec;

use hypercall_abi::errno::Errno;
use hypercall_abi::guest_handle::GuestHandle;
use hypercall_abi::memory::{MemoryOp as Op, MemoryReservation};
use hypercall_abi::xen::{DomId, HypercallNr};

use super::super::reservation::enter_m2p;
use super::{LIST, err, m2p, reservation};
use crate::num::{Mfn, Pfn};
use crate::sim::{PvGuest, audit, world};

#[test]
fn the_balloon_gives_back_and_takes_again() {
    for yields in [None, Some(0), Some(2)] {
        let hv = world();
        let mut guest = PvGuest::unprivileged(&hv, 1, 64);
        let (free, owned) = (hv.mem.free_pages(), guest.domain.pages.total_pages());
        let pfns: Vec<_> = (10..20).map(Pfn).collect();
        let mfns: Vec<_> = pfns.iter().map(|&pfn| guest.mfn(pfn).0).collect();
        for &pfn in &pfns {
            guest.unmap(&hv, pfn);
        }
        hv.machine.yield_after(yields);
        let list = guest.list(&hv, LIST, &mfns);
        assert_eq!(
            guest.memory(&hv, Op::DECREASE_RESERVATION, &reservation(list, 10, 0)),
            10
        );
        assert_eq!(hv.mem.free_pages(), free + 10);
        assert_eq!(guest.domain.pages.total_pages(), owned - 10);
        assert!(mfns.iter().all(|&mfn| m2p(&hv, mfn) == u64::MAX));
        // They are not the guest's any more.
        let list = guest.list(&hv, LIST, &mfns);
        assert_eq!(
            guest.memory(&hv, Op::DECREASE_RESERVATION, &reservation(list, 10, 0)),
            0
        );
        let raw: Vec<_> = pfns.iter().map(|pfn| pfn.0).collect();
        let list = guest.list(&hv, LIST, &raw);
        assert_eq!(
            guest.memory(&hv, Op::POPULATE_PHYSMAP, &reservation(list, 10, 0)),
            10
        );
        hv.machine.yield_after(None);
        for (pfn, mfn) in raw.iter().zip(guest.read_list(&hv, LIST, 10)) {
            assert_eq!(m2p(&hv, mfn), *pfn);
            assert_eq!(hv.mem.owner(Mfn(mfn)), Some(guest.domain.id));
        }
        assert_eq!(hv.mem.free_pages(), free);
        guest.audit(&hv);
    }
}

#[test]
fn pages_that_are_still_mapped_are_freed_with_the_last_mapping() {
    let hv = world();
    let mut guest = PvGuest::unprivileged(&hv, 1, 64);
    let free = hv.mem.free_pages();
    let mfn = guest.mfn(Pfn(10));
    let list = guest.list(&hv, LIST, &[mfn.0, mfn.0]);
    assert_eq!(
        guest.memory(&hv, Op::DECREASE_RESERVATION, &reservation(list, 2, 0)),
        2
    );
    assert_eq!(hv.mem.free_pages(), free);
    guest.audit(&hv);
    guest.unmap(&hv, Pfn(10));
    assert_eq!(hv.mem.free_pages(), free + 1);
    guest.audit(&hv);
    // Shared pages are not the guest's to give.
    let list = guest.list(&hv, LIST, &[guest.domain.shared_info.0]);
    assert_eq!(
        guest.memory(&hv, Op::DECREASE_RESERVATION, &reservation(list, 1, 0)),
        0
    );
}

#[test]
fn reservations_end_where_they_must() {
    let hv = world();
    let mut guest = PvGuest::unprivileged(&hv, 1, 64);
    let owned = guest.domain.pages.total_pages();
    guest.domain.pages.set_max_pages(owned + 4);
    let list = guest.list(&hv, LIST, &[100, 101, 102, 103, 104, 105]);
    assert_eq!(
        guest.memory(&hv, Op::POPULATE_PHYSMAP, &reservation(list, 6, 0)),
        4
    );
    assert_eq!(
        guest.memory(&hv, Op::INCREASE_RESERVATION, &reservation(list, 1, 0)),
        0
    );
    guest.domain.pages.set_max_pages(u64::from(u32::MAX));
    // Order beyond a plain domain's, no such domain, no right, unreadable argument or list.
    assert_eq!(
        guest.memory(&hv, Op::POPULATE_PHYSMAP, &reservation(list, 1, 10)),
        0
    );
    assert_eq!(
        guest.memory(&hv, Op::POPULATE_PHYSMAP, &reservation(list, u64::MAX, 0)),
        0
    );
    let other = MemoryReservation {
        domid: DomId(9),
        ..reservation(list, 1, 0)
    };
    assert_eq!(guest.memory(&hv, Op::POPULATE_PHYSMAP, &other), 0);
    let other = PvGuest::unprivileged(&hv, 2, 64);
    let foreign = MemoryReservation {
        domid: other.domain.id,
        ..reservation(list, 1, 0)
    };
    assert_eq!(guest.memory(&hv, Op::POPULATE_PHYSMAP, &foreign), 0);
    let hole = GuestHandle::from_addr(0xffff_8300_0000_0000);
    assert_eq!(
        guest.memory(&hv, Op::POPULATE_PHYSMAP, &reservation(hole, 1, 0)),
        0
    );
    let wraps = GuestHandle::from_addr(u64::MAX - 7);
    assert_eq!(
        guest.memory(&hv, Op::DECREASE_RESERVATION, &reservation(wraps, 2, 0)),
        0
    );
    let start = 3u64 << 6;
    let args = [
        u64::from(Op::POPULATE_PHYSMAP.0) | start,
        0x1000,
        0,
        0,
        0,
        0,
    ];
    assert_eq!(guest.hypercall(&hv, HypercallNr::MEMORY_OP, args), 3);
    // Address width and contiguity.
    let low = MemoryReservation {
        mem_flags: 19,
        ..reservation(list, 1, 2)
    };
    assert_eq!(guest.memory(&hv, Op::INCREASE_RESERVATION, &low), 1);
    let first = guest.read_list(&hv, LIST, 1)[0];
    assert!(first.is_multiple_of(4) && first + 4 <= 128, "{first}");
    audit(&hv, &[&guest, &other]);
}

#[test]
fn claims_keep_memory_for_a_domain() {
    let hv = world();
    let mut dom0 = PvGuest::dom0(&hv, 64);
    let domu = PvGuest::unprivileged(&hv, 1, 64);
    let free = hv.mem.free_pages();
    let claim = |total, domid| MemoryReservation {
        domid,
        ..reservation(GuestHandle::null(), total, 0)
    };
    let mut ask = |arg: &MemoryReservation| dom0.memory(&hv, Op::CLAIM_PAGES, arg);
    assert_eq!(ask(&claim(64, DomId(1))), err(Errno::EINVAL), "met already");
    assert_eq!(ask(&claim(64 + free + 1, DomId(1))), err(Errno::ENOMEM));
    assert_eq!(ask(&claim(64 + free, DomId::SELF)), err(Errno::EINVAL));
    assert_eq!(
        ask(&MemoryReservation {
            extent_order: 1,
            ..claim(70, DomId(1))
        }),
        err(Errno::EINVAL)
    );
    assert_eq!(ask(&claim(64 + free, DomId(1))), 0);
    assert_eq!(
        ask(&claim(65, DomId(1))),
        err(Errno::EINVAL),
        "a second one"
    );
    // dom0 gets nothing, the domain everything.
    let list = dom0.list(&hv, LIST, &[200]);
    let own = reservation(list, 1, 0);
    assert_eq!(dom0.memory(&hv, Op::POPULATE_PHYSMAP, &own), 0);
    let theirs = MemoryReservation {
        domid: DomId(1),
        ..own
    };
    assert_eq!(dom0.memory(&hv, Op::POPULATE_PHYSMAP, &theirs), 1);
    assert_eq!(hv.mem.claimed_pages(), free - 1);
    assert_eq!(dom0.memory(&hv, Op::CLAIM_PAGES, &claim(0, DomId(1))), 0);
    let list = dom0.list(&hv, LIST, &[201]);
    assert_eq!(
        dom0.memory(&hv, Op::POPULATE_PHYSMAP, &reservation(list, 1, 0)),
        1
    );
    audit(&hv, &[&dom0, &domu]);
}

#[test]
fn a_page_that_has_gone_to_another_domain_keeps_its_number() {
    let hv = world();
    let guest = PvGuest::unprivileged(&hv, 1, 64);
    let other = PvGuest::unprivileged(&hv, 2, 64);
    let (own, foreign) = (guest.mfn(Pfn(10)), other.mfn(Pfn(10)));
    let before = m2p(&hv, foreign.0);
    for mfn in [own, foreign] {
        enter_m2p(&hv, guest.domain.id, mfn, Pfn(7));
    }
    assert_eq!(m2p(&hv, own.0), 7);
    assert_eq!(m2p(&hv, foreign.0), before);
    assert_ne!(before, 7);
    audit(&hv, &[&guest, &other]);
}
