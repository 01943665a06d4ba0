//! mmu_update, update_va_mapping and emulated writes.

use core::sync::atomic::Ordering;

use hypercall_abi::errno::Errno;
use hypercall_abi::xen::{HypercallNr, MmuextCmd as C};

use super::super::entry::{ACCESSED, DIRTY, GLOBAL, GUEST_KERNEL, NX, PAT, PCD, PRESENT, RW, USER};
use super::super::{L1Operation, L1Written, emulated_write};
use super::{FREE, Hv, SELF, TABLE, err, leaf};
use crate::machine::Frames;
use crate::num::{Mfn, Pfn};
use crate::sim::{PvGuest, world};

fn word(hv: &Hv, addr: u64) -> u64 {
    hv.machine.words(Mfn::from_addr(addr))[(addr & 0xfff) as usize / 8].load(Ordering::SeqCst)
}

#[test]
fn an_l1_entry_is_stored_with_the_hypervisors_bits() {
    let hv = world();
    let mut guest = PvGuest::unprivileged(&hv, 1, 64);
    let (at, target) = (guest.pte_addr(Pfn(30)), guest.mfn(Pfn(20)));
    assert_eq!(guest.update(&hv, at, leaf(target, USER)), 0);
    assert_eq!(word(&hv, at), leaf(target, USER | GLOBAL));
    assert_eq!(guest.update(&hv, at, leaf(target, NX)), 0);
    assert_eq!(word(&hv, at), leaf(target, USER | GUEST_KERNEL | NX));
    guest.audit(&hv);
    assert_eq!(guest.update(&hv, at, 0x1234_5678_0000), 0);
    assert_eq!(word(&hv, at), 0x1234_5678_0000);
    guest.audit(&hv);
    // The page that was there before has lost a mapping and nothing else.
    assert_eq!(guest.remap(&hv, Pfn(30), true, true), 0);
    guest.audit(&hv);
}

#[test]
fn the_count_of_finished_requests_is_exact() {
    let hv = world();
    let mut guest = PvGuest::unprivileged(&hv, 1, 64);
    let at = |guest: &PvGuest, pfn| guest.pte_addr(Pfn(pfn));
    let good = leaf(guest.mfn(Pfn(20)), RW);
    let bad = leaf(Mfn(3), RW);
    let requests: std::vec::Vec<_> = (10..20)
        .map(|pfn| (at(&guest, pfn), if pfn == 16 { bad } else { good }))
        .collect();
    for yields in [None, Some(0), Some(1), Some(5)] {
        hv.machine.yield_after(yields);
        assert_eq!(
            guest.updates_on(&hv, SELF, &requests),
            (err(Errno::EBUSY), 6)
        );
        assert_eq!(
            guest.updates_on(&hv, SELF, &requests[6..]),
            (err(Errno::EBUSY), 0)
        );
        assert_eq!(guest.updates_on(&hv, SELF, &requests[7..]), (0, 3));
        hv.machine.yield_after(None);
        guest.audit(&hv);
    }
    // Written also when nothing was asked for.
    let done = guest.put(&hv, Pfn(1), &77u32);
    assert_eq!(
        guest.hypercall(
            &hv,
            HypercallNr::MMU_UPDATE,
            [0, 0, done, SELF.into(), 0, 0]
        ),
        0
    );
    assert_eq!(guest.load(&hv, done).unwrap() as u32, 0);
    // A list that cannot be read.
    let result = guest.hypercall(
        &hv,
        HypercallNr::MMU_UPDATE,
        [0x1000, 1, 0, SELF.into(), 0, 0],
    );
    assert_eq!(result, err(Errno::EFAULT));
}

#[test]
fn commands_have_their_errors() {
    let hv = world();
    let mut guest = PvGuest::unprivileged(&hv, 1, 64);
    let at = guest.pte_addr(Pfn(30));
    for cmd in 4..8 {
        assert_eq!(guest.update(&hv, at | cmd, 0), err(Errno::ENOSYS));
    }
    let mfn = guest.mfn(Pfn(30));
    assert_eq!(guest.update(&hv, mfn.addr() | 1, 99), 0);
    assert_eq!(hv.machine.m2p(mfn).unwrap().load(Ordering::Relaxed), 99);
    assert_eq!(guest.update(&hv, Mfn(3).addr() | 1, 99), err(Errno::EINVAL));
    // An ordinary page takes a plain store.
    assert_eq!(guest.update(&hv, mfn.addr() + 16, 0xabcd), 0);
    assert_eq!(guest.load(&hv, guest.va(Pfn(30)) + 16), Ok(0xabcd));
    assert_eq!(guest.update(&hv, 0x10, 0), err(Errno::EINVAL));
    assert_eq!(
        guest.update(&hv, 0xffff_ffff_ffff_fff8, 0),
        err(Errno::EINVAL)
    );
    guest.audit(&hv);
}

#[test]
fn accessed_and_dirty_are_kept_when_asked_for() {
    let hv = world();
    let mut guest = PvGuest::unprivileged(&hv, 1, 64);
    let at = guest.pte_addr(Pfn(30));
    let value = leaf(guest.mfn(Pfn(30)), RW);
    guest.store(&hv, guest.va(Pfn(30)), &[1]).unwrap();
    assert_eq!(word(&hv, at) & (ACCESSED | DIRTY), ACCESSED | DIRTY);
    assert_eq!(guest.update(&hv, at | 2, value), 0);
    assert_eq!(word(&hv, at) & (ACCESSED | DIRTY), ACCESSED | DIRTY);
    assert_eq!(guest.update(&hv, at, value), 0);
    assert_eq!(word(&hv, at) & (ACCESSED | DIRTY), 0);
    guest.audit(&hv);
}

#[test]
fn no_path_lets_superpages_or_foreign_bits_in() {
    let hv = world();
    let mut guest = PvGuest::unprivileged(&hv, 1, 64);
    let target = guest.mfn(Pfn(20));
    let [l4, l3, l2, l1] = guest.write_tree(&hv, &[(0, leaf(target, RW))]);
    assert_eq!(guest.ext(&hv, C::PIN_L4_TABLE, guest.mfn(l4).0, 0), 0);
    let slots = [(l4, 1, l3), (l3, 3, l2), (l2, 0, l1)];
    for (table, index, below) in slots {
        let at = guest.mfn(table).addr() + index * 8;
        let now = guest.mfn(below).addr() | TABLE;
        for bit in [PAT, GLOBAL, PCD] {
            // The same entry but for one bit: the short way must refuse it as well (XSA-148).
            assert_eq!(guest.update(&hv, at, now | bit), err(Errno::EINVAL));
        }
        assert_eq!(guest.update(&hv, at, now | NX), 0);
        assert_eq!(guest.update(&hv, at, now & !RW), 0);
        // Another level's table, or itself.
        assert_eq!(
            guest.update(&hv, at, guest.mfn(table).addr() | PRESENT | USER),
            err(Errno::EINVAL)
        );
        guest.audit(&hv);
    }
    for slot in [256, 260, 271] {
        let at = guest.mfn(l4).addr() + slot * 8;
        assert_eq!(guest.update(&hv, at, 0), err(Errno::EINVAL));
        assert_eq!(
            guest.update(&hv, at, guest.mfn(l3).addr() | TABLE),
            err(Errno::EINVAL)
        );
    }
    // Making an entry writable takes a reference, whatever else stays the same (XSA-182).
    let at = guest.pte_addr(l1);
    assert_eq!(
        guest.update(&hv, at, leaf(guest.mfn(l1), RW | ACCESSED)),
        err(Errno::EBUSY)
    );
    guest.audit(&hv);
}

#[test]
fn replacing_an_upper_entry_moves_references() {
    for yields in [None, Some(0), Some(3)] {
        let hv = world();
        let mut guest = PvGuest::unprivileged(&hv, 1, 64);
        let target = guest.mfn(Pfn(20));
        let [l4, _, l2, l1] = guest.write_tree(&hv, &[(0, leaf(target, RW))]);
        assert_eq!(guest.ext(&hv, C::PIN_L4_TABLE, guest.mfn(l4).0, 0), 0);
        let other = Pfn(FREE + 5);
        guest.write_table(&hv, other, &[(1, leaf(target, RW))]);
        let base = guest.mfn(l2).addr();
        hv.machine.yield_after(yields);
        assert_eq!(guest.update(&hv, base, guest.mfn(other).addr() | TABLE), 0);
        guest.audit(&hv);
        assert_eq!(guest.update(&hv, base + 511 * 8, 0), 0);
        guest.audit(&hv);
        // The old L1 is nobody's table any more.
        assert_eq!(guest.remap(&hv, l1, true, true), 0);
        assert_eq!(guest.remap(&hv, other, true, true), err(Errno::EBUSY));
        guest.audit(&hv);
    }
}

#[test]
fn update_va_mapping_names_the_entry_by_address() {
    let hv = world();
    let mut guest = PvGuest::unprivileged(&hv, 1, 64);
    let nr = HypercallNr::UPDATE_VA_MAPPING;
    let va = guest.va(Pfn(30));
    let value = leaf(guest.mfn(Pfn(20)), 0);
    assert_eq!(guest.hypercall(&hv, nr, [va, value, 2, 0, 0, 0]), 0);
    assert_eq!(guest.load(&hv, va), guest.load(&hv, guest.va(Pfn(20))));
    for bad in [
        0xffff_8000_0000_0000,
        0xffff_8300_0000_0000,
        0x1234,
        0x0001_0000_0000_0000,
        u64::MAX,
    ] {
        assert_eq!(
            guest.hypercall(&hv, nr, [bad, value, 2, 0, 0, 0]),
            err(Errno::EINVAL)
        );
    }
    // A bitmap that cannot be read: the entry has changed all the same.
    assert_eq!(
        guest.hypercall(&hv, nr, [va, 0, 0x1000 | 1, 0, 0, 0]),
        err(Errno::EFAULT)
    );
    assert_eq!(word(&hv, guest.pte_addr(Pfn(30))), 0);
    // Nothing is flushed when the update fails (XSA-279).
    let before = hv.machine.tlb_flushes();
    assert_eq!(
        guest.hypercall(&hv, nr, [va, leaf(Mfn(3), 0), 1, 0, 0, 0]),
        err(Errno::EBUSY)
    );
    assert_eq!(hv.machine.tlb_flushes(), before);
    let mask = guest.put(&hv, Pfn(3), &1u64);
    assert_eq!(guest.hypercall(&hv, nr, [va, value, mask | 1, 0, 0, 0]), 0);
    guest.audit(&hv);
}

#[test]
fn emulated_writes_are_checked_like_any_other() {
    let hv = world();
    let guest = PvGuest::unprivileged(&hv, 1, 64);
    let table = guest.mfn(guest.l1[0]);
    let write = |index, op| emulated_write(&hv, &guest.domain, table, index, op);
    let old = word(&hv, guest.pte_addr(Pfn(30)));
    let target = guest.mfn(Pfn(20));
    assert_eq!(
        write(30, L1Operation::Store(leaf(target, RW))),
        Ok(L1Written::Stored(old))
    );
    let now = word(&hv, guest.pte_addr(Pfn(30)));
    guest.audit(&hv);
    let new = leaf(target, 0);
    // A comparison that fails leaves entry and references alone.
    let mismatch = L1Operation::CompareExchange { old, new };
    assert_eq!(write(30, mismatch), Ok(L1Written::Mismatch(now)));
    guest.audit(&hv);
    assert_eq!(
        write(30, L1Operation::CompareExchange { old: now, new }),
        Ok(L1Written::Stored(now))
    );
    assert_eq!(
        write(30, L1Operation::Store(leaf(table, RW))),
        Err(Errno::EBUSY)
    );
    assert_eq!(
        write(30, L1Operation::Store(leaf(target, PCD))),
        Err(Errno::EINVAL)
    );
    assert_eq!(
        write(30, L1Operation::Store(leaf(Mfn(3), 0))),
        Err(Errno::EBUSY)
    );
    // Not an L1 table.
    let other = emulated_write(
        &hv,
        &guest.domain,
        guest.mfn(guest.l4),
        0,
        L1Operation::Store(0),
    );
    assert_eq!(other, Err(Errno::EINVAL));
    guest.audit(&hv);
}
