//! Pins, promotion, demotion and preemption of both.

use hypercall_abi::errno::Errno;
use hypercall_abi::xen::MmuextCmd as C;

use super::super::entry::{GLOBAL, GUEST_KERNEL, NX, PAT, PCD, PRESENT, RW, USER};
use super::super::{drain, get_table, pin_table, put_table, unpin_table};
use super::{FREE, err, leaf};
use crate::mm::PageType;
use crate::num::Pfn;
use crate::outcome::{Budget, Stop};
use crate::sim::{PvGuest, SimConfig, world, world_with};

#[test]
fn the_first_tables_are_accounted_for() {
    let hv = world();
    let guest = PvGuest::unprivileged(&hv, 1, 64);
    guest.audit(&hv);
    assert_eq!(hv.mem.type_of(guest.mfn(guest.l4)).kind(), PageType::L4);
    // The hypervisor's slots are in, and kernel pages are marked.
    let words = crate::machine::Frames::words(&hv.machine, guest.mfn(guest.l4));
    let slots = crate::machine::PvCpu::hypervisor_l4_slots(&hv.machine);
    for (word, slot) in words[256..272].iter().zip(slots) {
        assert_eq!(word.load(core::sync::atomic::Ordering::Relaxed), slot);
    }
    let pte = crate::machine::Frames::words(&hv.machine, guest.mfn(guest.l1[0]))[5]
        .load(core::sync::atomic::Ordering::Relaxed);
    assert_eq!(pte & (USER | GUEST_KERNEL), USER | GUEST_KERNEL);
}

#[test]
fn a_tree_is_pinned_and_unpinned_and_then_is_memory_again() {
    let hv = world();
    let mut guest = PvGuest::unprivileged(&hv, 1, 64);
    let target = guest.mfn(Pfn(20));
    let tree = guest.write_tree(
        &hv,
        &[
            (0, leaf(target, RW)),
            (7, leaf(target, USER)),
            (9, 0xdead_0000),
        ],
    );
    let [l4, _, _, l1] = tree;
    assert_eq!(guest.ext(&hv, C::PIN_L4_TABLE, guest.mfn(l4).0, 0), 0);
    guest.audit(&hv);
    assert_eq!(hv.mem.type_of(guest.mfn(l1)).count(), 2);
    // In use as tables: no writable mapping, no other type, no second pin.
    for pfn in tree {
        assert_eq!(guest.remap(&hv, pfn, true, true), err(Errno::EBUSY));
    }
    assert_eq!(
        guest.ext(&hv, C::PIN_L4_TABLE, guest.mfn(l4).0, 0),
        err(Errno::EINVAL)
    );
    assert_eq!(
        guest.ext(&hv, C::PIN_L3_TABLE, guest.mfn(l4).0, 0),
        err(Errno::EINVAL)
    );
    assert_eq!(guest.ext(&hv, C::PIN_L1_TABLE, guest.mfn(l1).0, 0), 0);
    guest.audit(&hv);
    assert_eq!(guest.ext(&hv, C::UNPIN_TABLE, guest.mfn(l4).0, 0), 0);
    guest.audit(&hv);
    assert_eq!(
        guest.ext(&hv, C::UNPIN_TABLE, guest.mfn(l4).0, 0),
        err(Errno::EINVAL)
    );
    // The L1 has its own pin.
    assert_eq!(guest.remap(&hv, l1, true, true), err(Errno::EBUSY));
    assert_eq!(guest.ext(&hv, C::UNPIN_TABLE, guest.mfn(l1).0, 0), 0);
    for pfn in tree {
        assert_eq!(guest.remap(&hv, pfn, true, true), 0);
        guest.store(&hv, guest.va(pfn), &[1; 8]).unwrap();
    }
    guest.audit(&hv);
}

#[test]
fn a_page_with_a_writable_mapping_is_no_table() {
    let hv = world();
    let mut guest = PvGuest::unprivileged(&hv, 1, 64);
    for cmd in [
        C::PIN_L1_TABLE,
        C::PIN_L2_TABLE,
        C::PIN_L3_TABLE,
        C::PIN_L4_TABLE,
    ] {
        assert_eq!(
            guest.ext(&hv, cmd, guest.mfn(Pfn(FREE)).0, 0),
            err(Errno::EINVAL)
        );
    }
    assert_eq!(
        guest.ext(&hv, C::PIN_L1_TABLE, 0xffff_ffff, 0),
        err(Errno::EINVAL)
    );
    assert_eq!(
        guest.ext(&hv, C::PIN_L1_TABLE, u64::MAX, 0),
        err(Errno::EINVAL)
    );
    assert_eq!(guest.ext(&hv, C::PIN_L1_TABLE, 3, 0), err(Errno::EINVAL));
    guest.audit(&hv);
}

#[test]
fn hostile_entries_are_refused_at_every_level_and_leave_nothing_behind() {
    let hv = world();
    let mut guest = PvGuest::unprivileged(&hv, 1, 64);
    let target = guest.mfn(Pfn(20));
    let [l4, l3, l2, l1] = guest.write_tree(&hv, &[(0, leaf(target, RW))]);
    let free_before = hv.mem.free_pages();
    let hostile_l1 = [
        leaf(target, PCD),
        leaf(target, PAT),
        // The page is a table, and this mapping would be writable.
        leaf(guest.mfn(l2), RW),
        leaf(guest.mfn(l1), RW),
        // Not this domain's, not RAM, not even a number.
        leaf(crate::num::Mfn(3), 0),
        leaf(crate::num::Mfn(0xfee00), 0),
        0x000f_ffff_ffff_f001,
    ];
    for (n, &entry) in hostile_l1.iter().enumerate() {
        assert_eq!(guest.remap(&hv, l1, true, true), 0);
        guest.write_table(&hv, l1, &[(511, entry)]);
        let result = guest.ext(&hv, C::PIN_L4_TABLE, guest.mfn(l4).0, 0);
        assert!(result < 0, "entry {n}: {entry:#x}");
        guest.audit(&hv);
        for pfn in [l4, l3, l2, l1] {
            assert_eq!(hv.mem.type_of(guest.mfn(pfn)).count(), 0, "{entry:#x}");
        }
    }
    assert_eq!(guest.remap(&hv, l1, true, true), 0);
    guest.write_table(&hv, l1, &[(511, 0)]);
    let below = guest.mfn(l1).addr() | PRESENT | USER;
    for entry in [
        below | PAT,
        below | GLOBAL,
        below | PCD,
        guest.mfn(l2).addr() | PRESENT,
        target.addr() | PRESENT,
    ] {
        assert_eq!(guest.remap(&hv, l2, true, true), 0);
        guest.write_table(&hv, l2, &[(510, entry)]);
        assert_eq!(
            guest.ext(&hv, C::PIN_L2_TABLE, guest.mfn(l2).0, 0),
            err(Errno::EINVAL),
            "{entry:#x}"
        );
        guest.audit(&hv);
    }
    assert_eq!(hv.mem.free_pages(), free_before);
}

#[test]
fn promotion_and_demotion_can_be_preempted_anywhere() {
    for stretch in [1, 2, 3, 7, 100, 511, 512, 513, 700] {
        let hv = world_with(SimConfig {
            frames: 160,
            ..SimConfig::default()
        });
        let mut guest = PvGuest::unprivileged(&hv, 1, 64);
        let target = guest.mfn(Pfn(20));
        let [l4, l3, ..] = guest.write_tree(&hv, &[(0, leaf(target, RW)), (511, leaf(target, NX))]);
        let (domain, root) = (guest.domain.clone(), guest.mfn(l4));
        let mut rounds = 0;
        while pin_table(&hv, &domain, root, PageType::L4, &mut Budget::new(stretch))
            == Err(Stop::Preempted)
        {
            guest.audit(&hv);
            rounds += 1;
        }
        guest.audit(&hv);
        assert!(rounds >= 2040 / (stretch + 1), "{stretch}: {rounds}");
        // Also of a table in the middle, while the tree holds it.
        let mid = guest.mfn(l3);
        while get_table(&hv, &domain, mid, PageType::L3, &mut Budget::new(stretch))
            == Err(Stop::Preempted)
        {}
        put_table(&hv, mid, PageType::L3, &mut Budget::new(stretch)).unwrap();
        unpin_table(&hv, &domain, root).unwrap();
        while drain(&hv, &domain.pages, &mut Budget::new(stretch)) == Err(Stop::Preempted) {
            guest.audit(&hv);
        }
        guest.audit(&hv);
        assert_eq!(hv.mem.type_of(root).count(), 0);
        assert_eq!(hv.mem.type_of(mid).count(), 0);
    }
}

#[test]
fn a_preempted_promotion_gives_way_to_another_use_of_the_page() {
    let hv = world();
    let mut guest = PvGuest::unprivileged(&hv, 1, 64);
    let target = guest.mfn(Pfn(20));
    let tree = guest.write_tree(&hv, &[(0, leaf(target, RW))]);
    let root = guest.mfn(tree[0]);
    for budget in [1, 100, 513, 600, 1100, 1600, 2000] {
        let stopped = pin_table(
            &hv,
            &guest.domain,
            root,
            PageType::L4,
            &mut Budget::new(budget),
        );
        assert_eq!(stopped, Err(Stop::Preempted), "{budget}");
        for pfn in tree {
            let mut result = err(Errno::EBUSY);
            // One refusal is enough to turn the suspended validation round.
            for _ in 0..2 {
                result = guest.remap(&hv, pfn, true, true);
            }
            assert_eq!(result, 0, "{budget} {pfn:?}");
            assert_eq!(guest.remap(&hv, pfn, false, true), 0);
            guest.audit(&hv);
        }
    }
}

#[test]
fn a_preempted_promotion_that_then_fails_is_undone() {
    let hv = world();
    let mut guest = PvGuest::unprivileged(&hv, 1, 64);
    let target = guest.mfn(Pfn(20));
    let [l4, ..] = guest.write_tree(&hv, &[(0, leaf(target, RW)), (511, leaf(target, PCD))]);
    let domain = guest.domain.clone();
    let root = guest.mfn(l4);
    loop {
        match pin_table(&hv, &domain, root, PageType::L4, &mut Budget::new(100)) {
            Err(Stop::Preempted) => guest.audit(&hv),
            result => {
                assert_eq!(result, Err(Stop::Fail(Errno::EINVAL)));
                break;
            }
        }
    }
    while drain(&hv, &domain.pages, &mut Budget::new(100)) == Err(Stop::Preempted) {
        guest.audit(&hv);
    }
    guest.audit(&hv);
    assert_eq!(hv.mem.type_of(root).count(), 0);
}

#[test]
fn a_hypercall_that_is_preempted_ends_like_one_that_is_not() {
    for yields in 0..40 {
        let hv = world();
        let mut guest = PvGuest::unprivileged(&hv, 1, 64);
        let target = guest.mfn(Pfn(20));
        let [l4, _, _, l1] = guest.write_tree(&hv, &[(0, leaf(target, RW))]);
        hv.machine.yield_after(Some(yields));
        assert_eq!(guest.ext(&hv, C::PIN_L4_TABLE, guest.mfn(l4).0, 0), 0);
        guest.audit(&hv);
        assert_eq!(guest.ext(&hv, C::UNPIN_TABLE, guest.mfn(l4).0, 0), 0);
        assert_eq!(guest.remap(&hv, l1, true, true), 0);
        guest.audit(&hv);
    }
}

#[test]
fn destruction_gives_every_page_back() {
    for stretch in [1, 50, 100_000] {
        let hv = world();
        let free = hv.mem.free_pages();
        let mut guest = PvGuest::unprivileged(&hv, 1, 64);
        let target = guest.mfn(Pfn(20));
        let [l4, l3, ..] = guest.write_tree(&hv, &[(0, leaf(target, RW))]);
        assert_eq!(guest.ext(&hv, C::PIN_L4_TABLE, guest.mfn(l4).0, 0), 0);
        assert_eq!(guest.ext(&hv, C::PIN_L3_TABLE, guest.mfn(l3).0, 0), 0);
        // Another validation is left half done.
        let other = guest.mfn(Pfn(30));
        assert_eq!(guest.remap(&hv, Pfn(30), false, true), 0);
        let half = get_table(
            &hv,
            &guest.domain,
            other,
            PageType::L4,
            &mut Budget::new(10),
        );
        assert_eq!(half, Err(Stop::Preempted));
        super::super::drop_roots(&hv, &mut guest.ctx);
        loop {
            match super::super::relinquish_memory(&hv, &guest.domain, &mut Budget::new(stretch)) {
                Ok(()) => break,
                Err(stop) => assert_eq!(stop, Stop::Preempted),
            }
            guest.audit(&hv);
        }
        assert_eq!(guest.domain.pages.total_pages(), 0);
        hv.mem.free_shared(guest.domain.shared_info);
        for frame in guest.domain.grants.frames() {
            hv.mem.free_shared(frame);
        }
        guest.audit(&hv);
        assert_eq!(hv.mem.free_pages(), free);
        assert!(hv.mem.close_account(guest.domain.id));
    }
}
