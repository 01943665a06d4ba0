//! Tables that refer to tables of their own level.

use hypercall_abi::errno::Errno;
use hypercall_abi::xen::MmuextCmd as C;

use super::super::entry::{PRESENT, RW, USER};
use super::{FREE, Hv, err};
use crate::num::Pfn;
use crate::sim::{PvGuest, world};

fn l2_pages(hv: &Hv, guest: &mut PvGuest) -> [Pfn; 3] {
    let pages = [Pfn(FREE), Pfn(FREE + 1), Pfn(FREE + 2)];
    for pfn in pages {
        guest.write_table(hv, pfn, &[]);
        assert_eq!(guest.ext(hv, C::PIN_L2_TABLE, guest.mfn(pfn).0, 0), 0);
    }
    pages
}

#[test]
fn they_are_refused_by_default() {
    let hv = world();
    let mut guest = PvGuest::unprivileged(&hv, 1, 64);
    let [a, b, _] = l2_pages(&hv, &mut guest);
    for target in [a, b] {
        let (at, value) = (
            guest.mfn(a).addr(),
            guest.mfn(target).addr() | PRESENT | USER,
        );
        assert_eq!(guest.update(&hv, at, value), err(Errno::EINVAL));
    }
    guest.audit(&hv);
}

#[test]
fn they_are_read_only_and_never_in_chains() {
    let hv = world();
    hv.mem.set_linear_tables(true);
    let mut guest = PvGuest::unprivileged(&hv, 1, 64);
    let [a, b, c] = l2_pages(&hv, &mut guest);
    let [table_a, table_b, table_c] = [a, b, c].map(|pfn| guest.mfn(pfn).addr());
    let [to_a, to_b, to_c] = [table_a, table_b, table_c].map(|addr| addr | PRESENT | USER);
    let mut set = |table: u64, index: u64, value| {
        let result = guest.update(&hv, table + index * 8, value);
        guest.audit(&hv);
        result
    };
    assert_eq!(set(table_a, 0, to_a), 0, "itself");
    assert_eq!(set(table_a, 1, to_b | RW), err(Errno::EINVAL));
    assert_eq!(set(table_a, 1, to_b), 0);
    assert_eq!(
        set(table_a, 1, to_b | RW),
        err(Errno::EINVAL),
        "the short way"
    );
    assert_eq!(set(table_a, 2, to_b), 0);
    // `b` is a target now and may have no such entries; `a` has some and may be no target.
    assert_eq!(set(table_b, 0, to_c), err(Errno::EINVAL));
    assert_eq!(set(table_c, 0, to_a), err(Errno::EINVAL));
    assert_eq!(set(table_a, 1, 0), 0);
    assert_eq!(set(table_a, 2, 0), 0);
    assert_eq!(set(table_b, 0, to_c), 0);
    for pfn in [c, b, a] {
        assert_eq!(guest.ext(&hv, C::UNPIN_TABLE, guest.mfn(pfn).0, 0), 0);
        guest.audit(&hv);
    }
    for pfn in [a, b, c] {
        assert_eq!(hv.mem.type_of(guest.mfn(pfn)).count(), 0);
        assert_eq!(hv.mem.type_of(guest.mfn(pfn)).linear(), 0);
    }
}
