//! Stale translations: what must be gone before a page changes its meaning.

use hypercall_abi::errno::Errno;
use hypercall_abi::xen::MmuextCmd as C;

use super::super::entry::RW;
use super::{err, leaf, FREE};
use crate::mm::AllocOptions;
use crate::num::{CpuId, Pfn};
use crate::sim::{world, world_with, PvGuest, SimConfig};

#[test]
fn a_page_becomes_a_table_only_without_stale_writable_translations() {
    let hv = world();
    let mut guest = PvGuest::unprivileged(&hv, 1, 64);
    let pfn = Pfn(FREE);
    // The guest writes, so the translation is cached; it does not flush when it gives the mapping up.
    guest.store(&hv, guest.va(pfn), &[0; 8]).unwrap();
    assert_eq!(guest.remap(&hv, pfn, false, false), 0);
    guest.store(&hv, guest.va(pfn), &[0; 8]).expect("still cached, and harmless so far");
    assert_eq!(guest.ext(&hv, C::PIN_L1_TABLE, guest.mfn(pfn).0, 0), 0);
    guest.store(&hv, guest.va(pfn), &[0; 8]).expect_err("the translation must be gone");
    guest.audit(&hv);
}

#[test]
fn other_processors_are_flushed_too() {
    let hv = world_with(SimConfig { cpus: 3, ..SimConfig::default() });
    let mut guest = PvGuest::unprivileged(&hv, 1, 64);
    let pfn = Pfn(FREE);
    guest.run_on(&hv, CpuId(2));
    guest.store(&hv, guest.va(pfn), &[0; 8]).unwrap();
    guest.run_on(&hv, CpuId(1));
    assert_eq!(guest.remap(&hv, pfn, false, true), 0);
    assert_eq!(guest.ext(&hv, C::PIN_L1_TABLE, guest.mfn(pfn).0, 0), 0);
    guest.cpu = CpuId(2);
    guest.store(&hv, guest.va(pfn), &[0; 8]).expect_err("processor 2 must have been flushed");
}

#[test]
fn a_freed_page_is_not_reachable_when_it_has_a_new_owner() {
    let hv = world();
    let other = PvGuest::unprivileged(&hv, 2, 64);
    let mut guest = PvGuest::unprivileged(&hv, 1, 64);
    let pfn = Pfn(FREE);
    let mfn = guest.mfn(pfn);
    guest.store(&hv, guest.va(pfn), b"secret!!").unwrap();
    let at = guest.pte_addr(pfn);
    assert_eq!(guest.update(&hv, at, 0), 0);
    let page = hv.mem.get_page(mfn, guest.domain.id).unwrap();
    assert!(hv.mem.drop_allocation(&guest.domain.pages, mfn));
    drop(page);
    // Nothing has been flushed: the guest still reaches the page through its TLB, which is free and nobody's.
    let mut taken = None;
    for _ in 0..hv.mem.free_pages() {
        let got = hv.mem.allocate(&hv.machine, &other.domain.pages, 0, AllocOptions::default()).unwrap();
        if got == mfn {
            taken = Some(got);
            break;
        }
    }
    assert_eq!(taken, Some(mfn));
    guest.load(&hv, guest.va(pfn)).expect_err("the translation must be gone");
    let words = crate::machine::Frames::words(&hv.machine, mfn);
    assert!(words.iter().all(|word| word.load(core::sync::atomic::Ordering::Relaxed) == 0));
}

#[test]
fn former_tables_are_flushed_from_the_walkers_caches() {
    let hv = world();
    let mut guest = PvGuest::unprivileged(&hv, 1, 64);
    let target = guest.mfn(Pfn(20));
    let [l4, ..] = guest.write_tree(&hv, &[(0, leaf(target, RW))]);
    assert_eq!(guest.ext(&hv, C::PIN_L4_TABLE, guest.mfn(l4).0, 0), 0);
    let before = hv.machine.tlb_flushes();
    assert_eq!(guest.ext(&hv, C::UNPIN_TABLE, guest.mfn(l4).0, 0), 0);
    assert_eq!(hv.machine.tlb_flushes(), before + 1, "one flush for the whole tree");
}

#[test]
fn flushes_are_not_repeated_without_need() {
    let hv = world();
    let mut guest = PvGuest::unprivileged(&hv, 1, 64);
    let pages: std::vec::Vec<_> = (FREE..FREE + 20).map(Pfn).collect();
    for &pfn in &pages {
        assert_eq!(guest.remap(&hv, pfn, false, false), 0);
    }
    let before = hv.machine.tlb_flushes();
    for &pfn in &pages {
        assert_eq!(guest.ext(&hv, C::PIN_L1_TABLE, guest.mfn(pfn).0, 0), 0);
    }
    assert_eq!(hv.machine.tlb_flushes(), before + 1);
}

#[test]
fn the_loaded_root_is_given_up_after_the_switch() {
    let hv = world();
    let mut guest = PvGuest::unprivileged(&hv, 1, 64);
    let old = guest.mfn(guest.l4);
    let root = Pfn(FREE);
    let entry = super::super::entry::index(crate::sim::DIRECT_MAP, 4);
    let l3 = guest.mfn(Pfn(62)).addr() | super::TABLE;
    guest.write_table(&hv, root, &[(entry, l3)]);
    assert_eq!(guest.ext(&hv, C::NEW_BASEPTR, guest.mfn(root).0, 0), 0);
    assert_eq!(hv.machine.loaded_root(CpuId(0)), Some(guest.mfn(root)));
    assert_eq!(hv.mem.type_of(old).count(), 0);
    guest.audit(&hv);
    // The old root is memory again; a page that is none is refused and changes nothing.
    assert_eq!(guest.remap(&hv, Pfn(63), true, true), 0);
    assert_eq!(guest.ext(&hv, C::NEW_BASEPTR, old.0, 0), err(Errno::EINVAL));
    assert_eq!(hv.machine.loaded_root(CpuId(0)), Some(guest.mfn(root)));
    assert_eq!(guest.ext(&hv, C::NEW_USER_BASEPTR, guest.mfn(root).0, 0), 0);
    assert_eq!(guest.ctx.user_root, Some(guest.mfn(root)));
    guest.audit(&hv);
    assert_eq!(guest.ext(&hv, C::NEW_USER_BASEPTR, 0, 0), 0);
    assert_eq!(guest.ctx.user_root, None);
    guest.audit(&hv);
}
