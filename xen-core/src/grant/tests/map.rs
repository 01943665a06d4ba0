//! Mapping and unmapping.

use hypercall_abi::grant_table::{GntStatus, GntmapFlags, GrantType};
use hypercall_abi::xen::DomId;

use super::{DEVICE, HOST, PAGES, PTE, Pair, READONLY};
use crate::num::{Mfn, Pfn};
use crate::sim::PvGuest;

#[test]
fn a_mapped_page_is_shared_until_it_is_unmapped() {
    let mut pair = Pair::new();
    pair.grant(9, Pfn(3), false);
    let at = pair.back.va(Pfn(10));
    let op = pair.map(at, HOST, 9);
    assert_eq!(op.status, GntStatus::OKAY);
    assert_eq!(op.dev_bus_addr, pair.front.mfn(Pfn(3)).addr());
    assert_eq!(pair.marks(9), (true, true));
    pair.back
        .store(&pair.hv, at + 8, &7u64.to_le_bytes())
        .expect("writable");
    pair.front.run_on(&pair.hv, pair.front.cpu);
    assert_eq!(pair.front.load(&pair.hv, pair.front.va(Pfn(3)) + 8), Ok(7));
    pair.audit(&[]);
    pair.back.run_on(&pair.hv, pair.back.cpu);
    pair.back
        .store(&pair.hv, at + 8, &8u64.to_le_bytes())
        .expect("translation is cached");
    assert_eq!(pair.unmap(op.handle, at, 0), GntStatus::OKAY);
    assert_eq!(pair.marks(9), (false, false));
    assert!(
        pair.back
            .store(&pair.hv, at + 8, &9u64.to_le_bytes())
            .is_err()
    );
    assert_eq!(pair.unmap(op.handle, at, 0), GntStatus::BAD_HANDLE);
    pair.audit(&[]);
}

#[test]
fn no_translation_is_left_when_unmap_returns() {
    let mut pair = Pair::new();
    pair.grant(9, Pfn(3), false);
    let at = pair.back.va(Pfn(10));
    let handle = pair.map(at, HOST, 9).handle;
    pair.back.store(&pair.hv, at, &[1]).expect("writable");
    let flushes = pair.hv.machine.tlb_flushes();
    // Without a reload of the tables: what the processor has cached stays unless it is flushed.
    let args = pair.back.va(super::ARGUMENTS);
    let op = hypercall_abi::grant_table::GnttabUnmapGrantRef {
        host_addr: at,
        dev_bus_addr: 0,
        handle,
        status: GntStatus(1),
        _pad: [0; 2],
    };
    pair.back.put(&pair.hv, super::ARGUMENTS, &op);
    let nr = hypercall_abi::xen::HypercallNr::GRANT_TABLE_OP;
    assert_eq!(pair.back.hypercall(&pair.hv, nr, [1, args, 1, 0, 0, 0]), 0);
    assert!(pair.hv.machine.tlb_flushes() > flushes);
    assert!(pair.back.store(&pair.hv, at, &[2]).is_err());
}

#[test]
fn a_read_only_grant_is_mapped_only_read_only() {
    let mut pair = Pair::new();
    pair.grant(9, Pfn(3), true);
    let at = pair.back.va(Pfn(10));
    assert_eq!(pair.map(at, HOST, 9).status, GntStatus::GENERAL_ERROR);
    assert_eq!(pair.marks(9), (false, false));
    let op = pair.map(at, HOST | READONLY, 9);
    assert_eq!(op.status, GntStatus::OKAY);
    assert_eq!(pair.marks(9), (true, false));
    assert!(pair.back.store(&pair.hv, at, &[1]).is_err());
    assert!(pair.back.load(&pair.hv, at).is_ok());
    assert_eq!(pair.unmap(op.handle, at, 0), GntStatus::OKAY);
    assert_eq!(pair.marks(9), (false, false));
    pair.audit(&[]);
}

#[test]
fn each_kind_of_mapping_ends_by_itself() {
    let mut pair = Pair::new();
    pair.grant(9, Pfn(3), false);
    let frame = pair.front.mfn(Pfn(3));
    let at = pair.back.pte_addr(Pfn(10));
    let op = pair.map(at, HOST | DEVICE | PTE, 9);
    assert_eq!(op.status, GntStatus::OKAY);
    pair.audit(&[(frame, true)]);
    assert_eq!(
        pair.unmap(op.handle, at, frame.addr() + 0x1000),
        GntStatus::BAD_DEV_ADDR
    );
    assert_eq!(pair.unmap(op.handle, 0, 0), GntStatus::OKAY);
    pair.audit(&[(frame, true)]);
    assert_eq!(pair.unmap(op.handle, at, 0), GntStatus::OKAY);
    assert_eq!(pair.marks(9), (true, true));
    pair.audit(&[(frame, true)]);
    assert_eq!(pair.unmap(op.handle, 0, frame.addr()), GntStatus::OKAY);
    assert_eq!(pair.marks(9), (false, false));
    pair.audit(&[]);
}

#[test]
fn what_cannot_be_mapped_is_told_apart_by_status() {
    let mut pair = Pair::new();
    let at = pair.back.va(Pfn(10));
    let back = pair.back.domain.id;
    pair.grant(9, Pfn(3), false);
    assert_eq!(pair.map(at, 0, 9).status, GntStatus::BAD_GNTREF);
    assert_eq!(pair.map(at, READONLY, 9).status, GntStatus::BAD_GNTREF);
    assert_eq!(pair.map(at, HOST, 512).status, GntStatus::BAD_GNTREF);
    assert_eq!(pair.map(at, HOST, u32::MAX).status, GntStatus::BAD_GNTREF);
    pair.grant_raw(
        10,
        GrantType::PERMIT_ACCESS.0,
        DomId(6),
        pair.front.mfn(Pfn(3)),
    );
    assert_eq!(pair.map(at, HOST, 10).status, GntStatus::GENERAL_ERROR);
    pair.grant_raw(10, GrantType::TRANSITIVE.0, back, pair.front.mfn(Pfn(3)));
    assert_eq!(pair.map(at, HOST, 10).status, GntStatus::GENERAL_ERROR);
    pair.grant_raw(10, GrantType::PERMIT_ACCESS.0, back, pair.back.mfn(Pfn(3)));
    assert_eq!(pair.map(at, HOST, 10).status, GntStatus::BAD_PAGE);
    pair.grant_raw(10, GrantType::PERMIT_ACCESS.0, back, Mfn(0xffff_ffff));
    assert_eq!(pair.map(at, HOST, 10).status, GntStatus::BAD_PAGE);
    // A page table of the granter can be read and not written.
    let table = pair.front.l1[0];
    pair.grant(10, table, false);
    assert_eq!(pair.map(at, HOST, 10).status, GntStatus::GENERAL_ERROR);
    assert_eq!(pair.marks(10), (false, false));
    let readable = pair.map(at, HOST | READONLY, 10);
    assert_eq!(readable.status, GntStatus::OKAY);
    assert_eq!(pair.unmap(readable.handle, at, 0), GntStatus::OKAY);
    // Nowhere to map to.
    assert_eq!(pair.map(0x1000, HOST, 9).status, GntStatus::GENERAL_ERROR);
    assert_eq!(
        pair.map(0xffff_8000_0000_0000, HOST, 9).status,
        GntStatus::GENERAL_ERROR
    );
    let pte = pair.back.pte_addr(Pfn(10));
    assert_eq!(
        pair.map(pte + 4, HOST | PTE, 9).status,
        GntStatus::GENERAL_ERROR
    );
    assert_eq!(
        pair.map(pair.front.pte_addr(Pfn(10)), HOST | PTE, 9).status,
        GntStatus::GENERAL_ERROR
    );
    assert_eq!(
        pair.map(pair.back.mfn(Pfn(4)).addr(), HOST | PTE, 9).status,
        GntStatus::GENERAL_ERROR
    );
    assert_eq!(
        pair.map(u64::MAX - 7, HOST | PTE, 9).status,
        GntStatus::GENERAL_ERROR
    );
    assert_eq!(pair.marks(9), (false, false));
    assert_eq!(pair.back.domain.grants.mappings(), 0);
    pair.audit(&[]);
}

#[test]
fn the_granter_is_named_by_number_only() {
    let mut pair = Pair::new();
    let at = pair.back.va(Pfn(10));
    for (dom, status) in [
        (DomId::SELF, GntStatus::BAD_DOMAIN),
        (DomId(99), GntStatus::BAD_DOMAIN),
    ] {
        let op = hypercall_abi::grant_table::GnttabMapGrantRef {
            host_addr: at,
            flags: HOST,
            r#ref: 0,
            dom,
            status: GntStatus(1),
            handle: 0,
            dev_bus_addr: 0,
        };
        let cmd = hypercall_abi::grant_table::GnttabOp::MAP_GRANT_REF;
        assert_eq!(
            super::call(&pair.hv, &mut pair.back, cmd, op).status,
            status
        );
    }
}

#[test]
fn handles_run_out() {
    let mut pair = Pair::new();
    pair.grant(9, Pfn(3), false);
    let limit = 32 * 256;
    for _ in 0..limit {
        assert_eq!(pair.map(0, DEVICE, 9).status, GntStatus::OKAY);
    }
    assert_eq!(pair.map(0, DEVICE, 9).status, GntStatus::NO_SPACE);
    let frame = pair.front.mfn(Pfn(3));
    assert_eq!(pair.unmap(100, 0, frame.addr()), GntStatus::OKAY);
    let again = pair.map(0, DEVICE, 9);
    assert_eq!((again.status, again.handle), (GntStatus::OKAY, 100));
}

#[test]
fn an_overwritten_entry_keeps_its_pin_and_the_books_straight() {
    let mut pair = Pair::new();
    pair.grant(9, Pfn(3), false);
    let at = pair.back.va(Pfn(10));
    let handle = pair.map(at, HOST, 9).handle;
    let nr = hypercall_abi::xen::HypercallNr::UPDATE_VA_MAPPING;
    assert_eq!(pair.back.hypercall(&pair.hv, nr, [at, 0, 0, 0, 0, 0]), 0);
    pair.audit(&[]);
    assert_eq!(pair.unmap(handle, at, 0), GntStatus::GENERAL_ERROR);
    assert_eq!(pair.marks(9), (true, true));
    pair.audit(&[]);
}

#[test]
fn an_entry_that_maps_something_else_is_not_cleared() {
    let mut pair = Pair::new();
    pair.grant(9, Pfn(3), false);
    pair.grant(10, Pfn(4), false);
    let (at, other) = (pair.back.va(Pfn(10)), pair.back.va(Pfn(11)));
    let handle = pair.map(at, HOST, 9).handle;
    let second = pair.map(other, HOST, 10).handle;
    assert_eq!(pair.unmap(handle, other, 0), GntStatus::GENERAL_ERROR);
    assert_eq!(
        pair.unmap(handle, pair.back.va(Pfn(12)), 0),
        GntStatus::GENERAL_ERROR
    );
    assert_eq!(pair.unmap(handle, at, 0), GntStatus::OKAY);
    assert_eq!(pair.unmap(second, other, 0), GntStatus::OKAY);
    pair.audit(&[]);
}

#[test]
fn guest_bits_and_application_maps_show_in_the_entry() {
    use crate::machine::Frames;
    let mut pair = Pair::new();
    pair.grant(9, Pfn(3), false);
    let at = pair.back.pte_addr(Pfn(10));
    let flags = HOST | PTE | GntmapFlags::APPLICATION_MAP.bits() | 1 << 16;
    let handle = pair.map(at, flags, 9).handle;
    let entry = pair.hv.machine.words(Mfn::from_addr(at))[(at & 0xfff) as usize / 8]
        .load(core::sync::atomic::Ordering::SeqCst);
    // Present, writable, user, accessed, dirty, global, first available bit, no execution.
    assert_eq!(entry, pair.front.mfn(Pfn(3)).addr() | 0x8000_0000_0000_0367);
    assert_eq!(pair.unmap(handle, at, 0), GntStatus::OKAY);
}

#[test]
fn a_mapping_can_be_replaced_by_another() {
    let mut pair = Pair::new();
    pair.grant(9, Pfn(3), false);
    let (at, by) = (pair.back.va(Pfn(10)), pair.back.va(Pfn(11)));
    let handle = pair.map(at, HOST, 9).handle;
    pair.back.put(&pair.hv, Pfn(11), &0x55u64);
    let op = hypercall_abi::grant_table::GnttabUnmapAndReplace {
        host_addr: at,
        new_addr: by,
        handle,
        status: GntStatus(1),
        _pad: [0; 2],
    };
    let cmd = hypercall_abi::grant_table::GnttabOp::UNMAP_AND_REPLACE;
    assert_eq!(
        super::call(&pair.hv, &mut pair.back, cmd, op).status,
        GntStatus::OKAY
    );
    assert_eq!(pair.back.load(&pair.hv, at), Ok(0x55));
    assert!(pair.back.load(&pair.hv, by).is_err());
    assert_eq!(pair.marks(9), (false, false));
    pair.audit(&[]);
}

#[test]
fn a_mapper_that_ends_lets_go_of_everything() {
    let mut pair = Pair::new();
    for reference in 9..29 {
        pair.grant(reference, Pfn(3), false);
        assert_eq!(pair.map(0, DEVICE, reference).status, GntStatus::OKAY);
    }
    pair.grant(30, Pfn(4), false);
    assert_eq!(
        pair.map(pair.back.va(Pfn(10)), HOST, 30).status,
        GntStatus::OKAY
    );
    pair.hv.machine.yield_after(Some(0));
    assert!(pair.hv.release_grants(&pair.back.domain).is_err());
    pair.hv.machine.yield_after(None);
    pair.hv.release_grants(&pair.back.domain).expect("end");
    for reference in (9..29).chain([30]) {
        assert_eq!(pair.marks(reference), (false, false));
    }
    // What the page tables hold goes with them.
    pair.audit(&[]);
    assert_eq!(pair.map(0, DEVICE, 9).status, GntStatus::NO_SPACE);
}

#[test]
fn a_granter_that_ends_leaves_its_pages_to_the_mapper() {
    let mut pair = Pair::new();
    pair.grant(9, Pfn(3), false);
    let frame = pair.front.mfn(Pfn(3));
    let at = pair.back.va(Pfn(10));
    let op = pair.map(at, HOST | DEVICE, 9);
    pair.hv.release_grants(&pair.front.domain).expect("end");
    assert!(pair.front.domain.grants.frames().is_empty());
    pair.back.store(&pair.hv, at, &[1]).expect("still mapped");
    assert_eq!(pair.map(at, HOST, 9).status, GntStatus::BAD_GNTREF);
    pair.hv.domains.remove(pair.front.domain.id);
    assert_eq!(pair.unmap(op.handle, at, frame.addr()), GntStatus::OKAY);
    assert_eq!(pair.back.domain.grants.mappings(), 0);
}

#[test]
fn a_guest_can_map_its_own_grant() {
    let hv = crate::sim::world();
    let guest = PvGuest::unprivileged(&hv, 5, PAGES);
    let front = PvGuest::dom0(&hv, PAGES);
    let mut pair = Pair {
        hv,
        back: guest,
        front,
    };
    core::mem::swap(&mut pair.back, &mut pair.front);
    // The frontend grants to itself.
    let own = pair.front.domain.id;
    pair.grant_raw(9, GrantType::PERMIT_ACCESS.0, own, pair.front.mfn(Pfn(3)));
    core::mem::swap(&mut pair.back, &mut pair.front);
    let op = hypercall_abi::grant_table::GnttabMapGrantRef {
        host_addr: pair.back.va(Pfn(10)),
        flags: HOST,
        r#ref: 9,
        dom: own,
        status: GntStatus(1),
        handle: 0,
        dev_bus_addr: 0,
    };
    let cmd = hypercall_abi::grant_table::GnttabOp::MAP_GRANT_REF;
    assert_eq!(
        super::call(&pair.hv, &mut pair.back, cmd, op).status,
        GntStatus::OKAY
    );
    pair.audit(&[]);
}
