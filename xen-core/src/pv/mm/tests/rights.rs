//! Whose pages may be mapped by whom.

use core::sync::atomic::Ordering;

use hypercall_abi::errno::Errno;
use hypercall_abi::xen::{DomId, HypercallNr, MmuextCmd as C};

use super::super::entry::{PAT, PCD, PWT, RW, USER};
use super::{FREE, Hv, SELF, err, leaf};
use crate::machine::Frames;
use crate::num::{Mfn, Pfn};
use crate::sim::{PvGuest, audit, world};

fn word(hv: &Hv, addr: u64) -> u64 {
    hv.machine.words(Mfn::from_addr(addr))[(addr & 0xfff) as usize / 8].load(Ordering::SeqCst)
}

#[test]
fn foreign_pages_need_the_right_and_the_right_name() {
    let hv = world();
    let mut dom0 = PvGuest::dom0(&hv, 64);
    let mut domu = PvGuest::unprivileged(&hv, 1, 64);
    let foreign = leaf(domu.mfn(Pfn(20)), RW);
    let at = dom0.pte_addr(Pfn(30));
    assert_eq!(dom0.update(&hv, at, foreign), err(Errno::EBUSY));
    assert_eq!(dom0.updates_on(&hv, 1, &[(at, foreign)]), (0, 1));
    audit(&hv, &[&dom0, &domu]);
    // A table of the other domain cannot be mapped writable.
    let table = leaf(domu.mfn(domu.l4), RW);
    assert_eq!(
        dom0.updates_on(&hv, 1, &[(at, table)]),
        (err(Errno::EBUSY), 0)
    );
    assert_eq!(dom0.updates_on(&hv, 1, &[(at, table & !RW)]), (0, 1));
    // Own number, unknown number.
    assert_eq!(dom0.updates_on(&hv, 0, &[(at, 0)]), (err(Errno::ESRCH), 0));
    assert_eq!(dom0.updates_on(&hv, 77, &[(at, 0)]).0, err(Errno::ESRCH));
    // No rights.
    let theirs = leaf(dom0.mfn(Pfn(20)), 0);
    let at = domu.pte_addr(Pfn(30));
    assert_eq!(
        domu.updates_on(&hv, 0, &[(at, theirs)]).0,
        err(Errno::EPERM)
    );
    assert_eq!(
        domu.updates_on(&hv, DomId::XEN.0.into(), &[(at, 0)]).0,
        err(Errno::EPERM)
    );
    assert_eq!(
        domu.updates_on(&hv, SELF | (1 << 16), &[(at, 0)]).0,
        err(Errno::EPERM)
    );
    assert_eq!(domu.updates_on(&hv, SELF | (2 << 16), &[(at, 0)]).0, 0);
    audit(&hv, &[&dom0, &domu]);
    // dom0 changes a table of the other domain.
    let at = domu.pte_addr(Pfn(31));
    assert_eq!(
        dom0.updates_on(&hv, 1 | (2 << 16), &[(at, leaf(domu.mfn(Pfn(20)), RW))]),
        (0, 1)
    );
    let machphys = domu.mfn(Pfn(20)).addr() | 1;
    assert_eq!(
        dom0.updates_on(&hv, 1 | (2 << 16), &[(machphys, 5)]).0,
        err(Errno::EPERM)
    );
    assert_eq!(dom0.updates_on(&hv, 1, &[(machphys, 5)]).0, 0);
    audit(&hv, &[&dom0, &domu]);
}

#[test]
fn pins_of_foreign_tables_and_what_only_oneself_may_do() {
    let hv = world();
    let mut dom0 = PvGuest::dom0(&hv, 64);
    let domu = PvGuest::unprivileged(&hv, 1, 64);
    let root = domu.mfn(domu.l4).0;
    assert_eq!(dom0.ext_on(&hv, 1, C::PIN_L4_TABLE, root, 0), 0);
    assert_eq!(
        dom0.ext_on(&hv, 1, C::PIN_L4_TABLE, root, 0),
        err(Errno::EINVAL)
    );
    assert_eq!(
        dom0.ext_on(&hv, SELF, C::UNPIN_TABLE, root, 0),
        err(Errno::EINVAL)
    );
    assert_eq!(dom0.ext_on(&hv, 1, C::UNPIN_TABLE, root, 0), 0);
    let free = domu.mfn(Pfn(20));
    hv.machine.words(free)[3].store(77, Ordering::Relaxed);
    assert_eq!(dom0.ext_on(&hv, 1, C::CLEAR_PAGE, free.0, 0), 0);
    assert_eq!(hv.machine.words(free)[3].load(Ordering::Relaxed), 0);
    hv.machine.words(free)[3].store(78, Ordering::Relaxed);
    assert_eq!(
        dom0.ext_on(&hv, 1, C::COPY_PAGE, domu.mfn(Pfn(21)).0, free.0),
        0
    );
    assert_eq!(
        hv.machine.words(domu.mfn(Pfn(21)))[3].load(Ordering::Relaxed),
        78
    );
    assert_eq!(
        dom0.ext_on(&hv, 1, C::CLEAR_PAGE, root, 0),
        err(Errno::EINVAL)
    );
    for cmd in [
        C::NEW_BASEPTR,
        C::TLB_FLUSH_LOCAL,
        C::TLB_FLUSH_ALL,
        C::SET_LDT,
        C::NEW_USER_BASEPTR,
        C::INVLPG_ALL,
    ] {
        assert_eq!(dom0.ext_on(&hv, 1, cmd, 0, 0), err(Errno::EPERM), "{cmd:?}");
    }
    assert_eq!(
        dom0.ext_on(&hv, 0, C::TLB_FLUSH_LOCAL, 0, 0),
        err(Errno::ESRCH)
    );
    assert_eq!(
        dom0.ext_on(&hv, DomId::IO.0.into(), C::PIN_L1_TABLE, 0, 0),
        err(Errno::EINVAL)
    );
    audit(&hv, &[&dom0, &domu]);
}

#[test]
fn operations_have_their_errors() {
    let hv = world();
    let mut guest = PvGuest::unprivileged(&hv, 1, 64);
    for (cmd, errno) in [
        (C::MARK_SUPER, Errno::EOPNOTSUPP),
        (C::UNMARK_SUPER, Errno::EOPNOTSUPP),
        (C(14), Errno::ENOSYS),
        (C(21), Errno::ENOSYS),
        (C::FLUSH_CACHE, Errno::EACCES),
        (C::FLUSH_CACHE_GLOBAL, Errno::EINVAL),
    ] {
        assert_eq!(guest.ext(&hv, cmd, 0, 0), err(errno), "{cmd:?}");
    }
    for cmd in [
        C::TLB_FLUSH_LOCAL,
        C::TLB_FLUSH_ALL,
        C::INVLPG_LOCAL,
        C::INVLPG_ALL,
    ] {
        for addr in [0, 0xffff_8300_0000_0000, 0x8000_0000_0000_0000] {
            assert_eq!(guest.ext(&hv, cmd, addr, 0), 0);
        }
    }
    assert_eq!(
        guest.ext(&hv, C::TLB_FLUSH_MULTI, 0, 0x1000),
        err(Errno::EINVAL)
    );
    let mask = guest.put(&hv, Pfn(FREE), &1u64);
    assert_eq!(guest.ext(&hv, C::TLB_FLUSH_MULTI, 0, mask), 0);
    assert_eq!(guest.ext(&hv, C::INVLPG_MULTI, guest.va(Pfn(9)), mask), 0);
}

#[test]
fn device_memory_is_the_hardware_domains_and_uncached() {
    let hv = world();
    let mut dom0 = PvGuest::dom0(&hv, 64);
    let mut domu = PvGuest::unprivileged(&hv, 1, 64);
    let device = Mfn(0xfeb00);
    let (at0, atu) = (dom0.pte_addr(Pfn(30)), domu.pte_addr(Pfn(30)));
    assert_eq!(dom0.update(&hv, at0, leaf(device, RW | USER)), 0);
    assert_eq!(word(&hv, at0) & (PCD | PWT | PAT), PCD | PWT);
    assert_eq!(dom0.update(&hv, at0, leaf(device, RW | USER | PAT)), 0);
    assert_eq!(word(&hv, at0) & (PCD | PWT | PAT), PAT);
    assert_eq!(
        dom0.updates_on(&hv, DomId::IO.0.into(), &[(at0, leaf(device, RW))]),
        (0, 1)
    );
    assert_eq!(domu.update(&hv, atu, leaf(device, RW)), err(Errno::EPERM));
    assert_eq!(
        domu.updates_on(&hv, DomId::IO.0.into(), &[(atu, leaf(device, RW))])
            .0,
        err(Errno::EPERM)
    );
    // On behalf of a domain without rights.
    assert_eq!(
        dom0.updates_on(&hv, 1, &[(at0, leaf(device, RW))]).0,
        err(Errno::EPERM)
    );
    // The local APIC, frames beyond the processor's addresses, no frame at all.
    assert_eq!(
        dom0.update(&hv, at0, leaf(Mfn(0xfee00), RW)),
        err(Errno::EPERM)
    );
    assert_eq!(
        dom0.update(&hv, at0, leaf(Mfn(1 << 28), RW)),
        err(Errno::EPERM)
    );
    assert_eq!(
        dom0.update(&hv, at0, 0x000f_ffff_ffff_f000 | 3),
        err(Errno::EINVAL)
    );
    // The hypervisor's memory is RAM, but nobody's.
    assert_eq!(dom0.update(&hv, at0, leaf(Mfn(3), 0)), err(Errno::EBUSY));
    audit(&hv, &[&dom0, &domu]);
}

#[test]
fn uncached_ram_is_written_back_before_it_becomes_a_table() {
    let hv = world();
    let mut dom0 = PvGuest::dom0(&hv, 64);
    let (pfn, at) = (Pfn(FREE), dom0.pte_addr(Pfn(FREE)));
    let mfn = dom0.mfn(pfn);
    assert_eq!(dom0.update(&hv, at, leaf(mfn, RW | PCD)), 0);
    assert_eq!(dom0.update(&hv, at, leaf(mfn, 0)), 0);
    assert_eq!(hv.machine.cache_flushes(), 0);
    assert_eq!(dom0.ext(&hv, C::PIN_L1_TABLE, mfn.0, 0), 0);
    assert_eq!(hv.machine.cache_flushes(), 1);
    dom0.audit(&hv);
    // Nor on the hypervisor's own pages.
    let shared = dom0.domain.shared_info;
    let at = dom0.pte_addr(Pfn(30));
    assert_eq!(
        dom0.update(&hv, at, leaf(shared, RW | PCD)),
        err(Errno::EACCES)
    );
    assert_eq!(dom0.update(&hv, at, leaf(shared, RW)), 0);
    assert_eq!(
        dom0.ext(&hv, C::PIN_L1_TABLE, shared.0, 0),
        err(Errno::EINVAL)
    );
    dom0.audit(&hv);
}

#[test]
fn an_exchange_that_is_undone_does_not_forget_uncached_mappings() {
    let hv = world();
    let mut dom0 = PvGuest::dom0(&hv, 64);
    let (pfn, at) = (Pfn(FREE), dom0.pte_addr(Pfn(FREE)));
    let mfn = dom0.mfn(pfn);
    assert_eq!(dom0.update(&hv, at, leaf(mfn, RW | PCD)), 0);
    assert_eq!(dom0.update(&hv, at, 0), 0);
    hv.mem.steal(&dom0.domain.pages, mfn).unwrap();
    hv.mem.unsteal(&dom0.domain.pages, mfn);
    assert_eq!(dom0.ext(&hv, C::PIN_L1_TABLE, mfn.0, 0), 0);
    assert_eq!(hv.machine.cache_flushes(), 1);
    dom0.audit(&hv);
}

#[test]
fn the_hypervisors_read_only_pages_are_read_only() {
    let hv = world();
    let mut dom0 = PvGuest::dom0(&hv, 64);
    hv.mem.share_read_only(Mfn(2), 3);
    let at = dom0.pte_addr(Pfn(30));
    let xen = DomId::XEN.0.into();
    assert_eq!(dom0.updates_on(&hv, xen, &[(at, leaf(Mfn(3), 0))]), (0, 1));
    dom0.audit(&hv);
    assert_eq!(
        dom0.updates_on(&hv, xen, &[(at, leaf(Mfn(3), RW))]).0,
        err(Errno::EBUSY)
    );
    assert_eq!(
        dom0.updates_on(&hv, xen, &[(at, leaf(Mfn(5), 0))]).0,
        err(Errno::EBUSY)
    );
    assert_eq!(dom0.update(&hv, Mfn(3).addr(), 1), err(Errno::EINVAL));
    dom0.audit(&hv);
}

#[test]
fn update_va_mapping_otherdomain_maps_foreign_pages() {
    let hv = world();
    let mut dom0 = PvGuest::dom0(&hv, 64);
    let domu = PvGuest::unprivileged(&hv, 1, 64);
    let nr = HypercallNr::UPDATE_VA_MAPPING_OTHERDOMAIN;
    let value = leaf(domu.mfn(Pfn(20)), RW);
    let va = dom0.va(Pfn(30));
    assert_eq!(dom0.hypercall(&hv, nr, [va, value, 2, 1, 0, 0]), 0);
    assert_eq!(
        dom0.hypercall(&hv, nr, [va, value, 2, 0, 0, 0]),
        err(Errno::ESRCH)
    );
    let value = leaf(domu.mfn(Pfn(21)), RW);
    assert_eq!(
        dom0.hypercall(&hv, nr, [va, value, 2, SELF.into(), 0, 0]),
        err(Errno::EBUSY)
    );
    audit(&hv, &[&dom0, &domu]);
}
