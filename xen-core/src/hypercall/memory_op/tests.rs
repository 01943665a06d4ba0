//! memory_op as guests and toolstacks use it.

use core::sync::atomic::Ordering;

use std::vec::Vec;

use hypercall_abi::errno::Errno;
use hypercall_abi::guest_handle::GuestHandle;
use hypercall_abi::hvm::e820::E820Entry as AbiEntry;
use hypercall_abi::memory::{
    ForeignMemoryMap, MachphysMapping, MachphysMfnList, MemAcquireResource, MemResource, MemoryExchange, MemoryMap,
    MemoryOp as Op, MemoryReservation,
};
use hypercall_abi::xen::{DomId, HypercallNr, MmuextCmd};
use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes};

use crate::hypervisor::Hypervisor;
use crate::machine::{Frames, GuestMemory};
use crate::num::{Mfn, Pfn};
use crate::pv::mm::entry::{PRESENT, RW};
use crate::sim::{audit, on_cpu, world, PvGuest, SimMachine};

type Hv = Hypervisor<SimMachine>;

/// Pages for the argument and for lists.
const ARG: Pfn = Pfn(0);
const LIST: Pfn = Pfn(1);
const LIST2: Pfn = Pfn(2);

const fn err(errno: Errno) -> i64 {
    errno.to_ret()
}

impl PvGuest {
    fn memory<T: IntoBytes + Immutable>(&mut self, hv: &Hv, op: Op, arg: &T) -> i64 {
        let at = self.put(hv, ARG, arg);
        self.hypercall(hv, HypercallNr::MEMORY_OP, [op.0.into(), at, 0, 0, 0, 0])
    }

    /// The argument as the call left it.
    fn answer<T: FromBytes + IntoBytes>(&self, hv: &Hv) -> T {
        let mut value = T::new_zeroed();
        on_cpu(self.cpu, || hv.machine.copy_from_guest(self.va(ARG), value.as_mut_bytes())).unwrap();
        value
    }

    fn list(&self, hv: &Hv, pfn: Pfn, values: &[u64]) -> GuestHandle<u64> {
        GuestHandle::from_addr(self.put(hv, pfn, values))
    }

    fn read_list(&self, hv: &Hv, pfn: Pfn, len: u64) -> Vec<u64> {
        (0..len).map(|i| self.load(hv, self.va(pfn) + i * 8).unwrap()).collect()
    }

    fn unmap(&mut self, hv: &Hv, pfn: Pfn) {
        let args = [self.va(pfn), 0, 0, 0, 0, 0];
        assert_eq!(self.hypercall(hv, HypercallNr::UPDATE_VA_MAPPING, args), 0);
    }
}

fn reservation(list: GuestHandle<u64>, nr_extents: u64, extent_order: u32) -> MemoryReservation {
    MemoryReservation { extent_start: list, nr_extents, extent_order, mem_flags: 0, domid: DomId::SELF, _pad: [0; 6] }
}

fn m2p(hv: &Hv, mfn: u64) -> u64 {
    hv.machine.m2p(Mfn(mfn)).unwrap().load(Ordering::Relaxed)
}

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
        assert_eq!(guest.memory(&hv, Op::DECREASE_RESERVATION, &reservation(list, 10, 0)), 10);
        assert_eq!(hv.mem.free_pages(), free + 10);
        assert_eq!(guest.domain.pages.total_pages(), owned - 10);
        assert!(mfns.iter().all(|&mfn| m2p(&hv, mfn) == u64::MAX));
        // They are not the guest's any more.
        let list = guest.list(&hv, LIST, &mfns);
        assert_eq!(guest.memory(&hv, Op::DECREASE_RESERVATION, &reservation(list, 10, 0)), 0);
        let raw: Vec<_> = pfns.iter().map(|pfn| pfn.0).collect();
        let list = guest.list(&hv, LIST, &raw);
        assert_eq!(guest.memory(&hv, Op::POPULATE_PHYSMAP, &reservation(list, 10, 0)), 10);
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
    assert_eq!(guest.memory(&hv, Op::DECREASE_RESERVATION, &reservation(list, 2, 0)), 1);
    assert_eq!(hv.mem.free_pages(), free);
    guest.audit(&hv);
    guest.unmap(&hv, Pfn(10));
    assert_eq!(hv.mem.free_pages(), free + 1);
    guest.audit(&hv);
    // Shared pages are not the guest's to give.
    let list = guest.list(&hv, LIST, &[guest.domain.shared_info.0]);
    assert_eq!(guest.memory(&hv, Op::DECREASE_RESERVATION, &reservation(list, 1, 0)), 0);
}

#[test]
fn reservations_end_where_they_must() {
    let hv = world();
    let mut guest = PvGuest::unprivileged(&hv, 1, 64);
    let owned = guest.domain.pages.total_pages();
    guest.domain.pages.set_max_pages(owned + 4);
    let list = guest.list(&hv, LIST, &[100, 101, 102, 103, 104, 105]);
    assert_eq!(guest.memory(&hv, Op::POPULATE_PHYSMAP, &reservation(list, 6, 0)), 4);
    assert_eq!(guest.memory(&hv, Op::INCREASE_RESERVATION, &reservation(list, 1, 0)), 0);
    guest.domain.pages.set_max_pages(u64::from(u32::MAX));
    // Order beyond a plain domain's, no such domain, no right, unreadable argument or list.
    assert_eq!(guest.memory(&hv, Op::POPULATE_PHYSMAP, &reservation(list, 1, 10)), 0);
    assert_eq!(guest.memory(&hv, Op::POPULATE_PHYSMAP, &reservation(list, u64::MAX, 0)), 0);
    let other = MemoryReservation { domid: DomId(9), ..reservation(list, 1, 0) };
    assert_eq!(guest.memory(&hv, Op::POPULATE_PHYSMAP, &other), 0);
    let other = PvGuest::unprivileged(&hv, 2, 64);
    let foreign = MemoryReservation { domid: other.domain.id, ..reservation(list, 1, 0) };
    assert_eq!(guest.memory(&hv, Op::POPULATE_PHYSMAP, &foreign), 0);
    let hole = GuestHandle::from_addr(0xffff_8300_0000_0000);
    assert_eq!(guest.memory(&hv, Op::POPULATE_PHYSMAP, &reservation(hole, 1, 0)), 0);
    let wraps = GuestHandle::from_addr(u64::MAX - 7);
    assert_eq!(guest.memory(&hv, Op::DECREASE_RESERVATION, &reservation(wraps, 2, 0)), 0);
    let start = 3u64 << 6;
    let args = [u64::from(Op::POPULATE_PHYSMAP.0) | start, 0x1000, 0, 0, 0, 0];
    assert_eq!(guest.hypercall(&hv, HypercallNr::MEMORY_OP, args), 3);
    // Address width and contiguity.
    let low = MemoryReservation { mem_flags: 19, ..reservation(list, 1, 2) };
    assert_eq!(guest.memory(&hv, Op::INCREASE_RESERVATION, &low), 1);
    let first = guest.read_list(&hv, LIST, 1)[0];
    assert!(first % 4 == 0 && first + 4 <= 128, "{first}");
    audit(&hv, &[&guest, &other]);
}

#[test]
fn exchange_gives_contiguous_low_memory_for_idle_pages() {
    let hv = world();
    let mut guest = PvGuest::unprivileged(&hv, 1, 64);
    let pfns: Vec<_> = (10..18).collect();
    let mfns: Vec<_> = pfns.iter().map(|&pfn| guest.mfn(Pfn(pfn)).0).collect();
    let (free, owned) = (hv.mem.free_pages(), guest.domain.pages.total_pages());
    let request = |guest: &PvGuest, bits| MemoryExchange {
        r#in: reservation(guest.list(&hv, LIST, &mfns), 8, 0),
        out: MemoryReservation { mem_flags: bits, ..reservation(guest.list(&hv, LIST2, &[10]), 1, 3) },
        nr_exchanged: 0,
    };
    // Mapped pages cannot go.
    let arg = request(&guest, 20);
    assert_eq!(guest.memory(&hv, Op::EXCHANGE, &arg), err(Errno::EINVAL));
    assert_eq!(guest.answer::<MemoryExchange>(&hv).nr_exchanged, 0);
    guest.audit(&hv);
    for &pfn in &pfns {
        guest.unmap(&hv, Pfn(pfn));
    }
    // Pinned ones neither.
    let pinned = Pfn(17);
    assert_eq!(guest.ext(&hv, MmuextCmd::PIN_L1_TABLE, mfns[7], 0), 0);
    let arg = request(&guest, 20);
    assert_eq!(guest.memory(&hv, Op::EXCHANGE, &arg), err(Errno::EINVAL));
    assert_eq!(guest.ext(&hv, MmuextCmd::UNPIN_TABLE, guest.mfn(pinned).0, 0), 0);
    // No memory is that low: fails at once and changes nothing.
    let arg = request(&guest, 14);
    assert_eq!(guest.memory(&hv, Op::EXCHANGE, &arg), err(Errno::ENOMEM));
    assert_eq!(guest.answer::<MemoryExchange>(&hv).nr_exchanged, 0);
    guest.audit(&hv);
    let arg = request(&guest, 20);
    assert_eq!(guest.memory(&hv, Op::EXCHANGE, &arg), 0);
    assert_eq!(guest.answer::<MemoryExchange>(&hv).nr_exchanged, 8);
    let first = guest.read_list(&hv, LIST2, 1)[0];
    assert!(first % 8 == 0 && first + 8 <= 256);
    for i in 0..8 {
        assert_eq!(m2p(&hv, first + i), 10 + i);
        assert_eq!(hv.mem.owner(Mfn(first + i)), Some(guest.domain.id));
    }
    assert_eq!((hv.mem.free_pages(), guest.domain.pages.total_pages()), (free, owned));
    guest.audit(&hv);
    // And back: one block in, eight pages out.
    let back = MemoryExchange {
        r#in: reservation(guest.list(&hv, LIST, &[first]), 1, 3),
        out: reservation(guest.list(&hv, LIST2, &pfns), 8, 0),
        nr_exchanged: 0,
    };
    assert_eq!(guest.memory(&hv, Op::EXCHANGE, &back), 0);
    guest.audit(&hv);
}

#[test]
fn exchange_refuses_what_does_not_add_up() {
    let hv = world();
    let mut guest = PvGuest::unprivileged(&hv, 1, 64);
    let list = guest.list(&hv, LIST, &[1, 2, 3, 4]);
    let exchange = |old, new, nr_exchanged| MemoryExchange { r#in: old, out: new, nr_exchanged };
    let cases = [
        (exchange(reservation(list, 1, 10), reservation(list, 1, 10), 0), Errno::EPERM),
        (exchange(reservation(list, 3, 0), reservation(list, 1, 1), 0), Errno::EINVAL),
        (exchange(reservation(list, 1 << 62, 9), reservation(list, 0, 0), 0), Errno::EINVAL),
        (exchange(reservation(list, 2, 0), reservation(list, 1, 1), 3), Errno::EINVAL),
        (
            exchange(reservation(list, 2, 0), MemoryReservation { domid: DomId(3), ..reservation(list, 1, 1) }, 0),
            Errno::EINVAL,
        ),
        // XSA-212: the list lies in the hypervisor, or runs into it.
        (
            exchange(reservation(GuestHandle::from_addr(0xffff_8300_0000_0000), 2, 0), reservation(list, 1, 1), 0),
            Errno::EFAULT,
        ),
        (exchange(reservation(list, u64::MAX, 0), reservation(list, u64::MAX, 0), u64::MAX - 1), Errno::EFAULT),
    ];
    for (i, (case, errno)) in cases.iter().enumerate() {
        assert_eq!(guest.memory(&hv, Op::EXCHANGE, case), err(*errno), "case {i}");
    }
    guest.audit(&hv);
}

#[test]
fn limits_and_maps_can_be_asked_for() {
    let hv = world();
    let mut dom0 = PvGuest::dom0(&hv, 64);
    let mut domu = PvGuest::unprivileged(&hv, 1, 64);
    domu.domain.pages.set_max_pages(100);
    assert_eq!(dom0.memory(&hv, Op::MAXIMUM_RAM_PAGE, &0u64), 2048);
    assert_eq!(dom0.memory(&hv, Op::CURRENT_RESERVATION, &1u16), 64);
    assert_eq!(dom0.memory(&hv, Op::MAXIMUM_RESERVATION, &1u16), 100);
    assert_eq!(domu.memory(&hv, Op::MAXIMUM_RESERVATION, &DomId::SELF.0), 100);
    assert_eq!(domu.memory(&hv, Op::CURRENT_RESERVATION, &0u16), err(Errno::EPERM));
    assert_eq!(domu.memory(&hv, Op::CURRENT_RESERVATION, &7u16), err(Errno::ESRCH));
    let max_pfn = 2048 + 1024 + 16;
    hv.machine.words(domu.domain.shared_info)[max_pfn / 8].store(64, Ordering::Relaxed);
    assert_eq!(dom0.memory(&hv, Op::MAXIMUM_GPFN, &1u16), 63);

    assert_eq!(domu.memory(&hv, Op::MACHPHYS_MAPPING, &[0u64; 3]), 0);
    let mapping: MachphysMapping = domu.answer(&hv);
    assert_eq!((mapping.v_start, mapping.v_end), (0xffff_8000_0000_0000, 0xffff_8040_0000_0000));
    assert_eq!(mapping.max_mfn, (1 << 35) - 1);
    assert_eq!(dom0.memory(&hv, Op::MACHPHYS_MAPPING, &[0u64; 3]), 0);
    assert_eq!(dom0.answer::<MachphysMapping>(&hv).max_mfn, 2047);

    hv.mem.set_m2p_chunks([Some(Mfn(512)), None, Some(Mfn(1024))].into());
    let list = dom0.list(&hv, LIST, &[0; 4]);
    let arg = MachphysMfnList { max_extents: 4, _pad0: [0; 4], extent_start: list, nr_extents: 0, _pad1: [0; 4] };
    assert_eq!(dom0.memory(&hv, Op::MACHPHYS_MFN_LIST, &arg), 0);
    assert_eq!(dom0.answer::<MachphysMfnList>(&hv).nr_extents, 3);
    assert_eq!(dom0.read_list(&hv, LIST, 4), [512, 512, 1024, 0]);

    let entry = AbiEntry { addr: 0, size: 0x1000_0000, r#type: 1 };
    let buffer = GuestHandle::from_addr(dom0.put(&hv, LIST, &entry));
    let map = MemoryMap { nr_entries: 1, _pad: [0; 4], buffer };
    assert_eq!(domu.memory(&hv, Op::MEMORY_MAP, &map), err(Errno::ENOSYS));
    let set = ForeignMemoryMap { domid: DomId(1), _pad: [0; 6], map };
    assert_eq!(dom0.memory(&hv, Op::SET_MEMORY_MAP, &set), 0);
    let large = ForeignMemoryMap { map: MemoryMap { nr_entries: 1025, ..map }, ..set };
    assert_eq!(dom0.memory(&hv, Op::SET_MEMORY_MAP, &large), err(Errno::EINVAL));
    let buffer = GuestHandle::from_addr(domu.put(&hv, LIST, &[0u8; 64]));
    let room = MemoryMap { nr_entries: 128, _pad: [0; 4], buffer };
    assert_eq!(domu.memory(&hv, Op::MEMORY_MAP, &room), 0);
    assert_eq!(domu.answer::<MemoryMap>(&hv).nr_entries, 1);
    assert_eq!(domu.load(&hv, domu.va(LIST) + 8), Ok(0x1000_0000));
    assert_eq!(domu.memory(&hv, Op::MACHINE_MEMORY_MAP, &room), err(Errno::EPERM));
    let room = MemoryMap { nr_entries: 0, _pad: [0; 4], buffer };
    assert_eq!(dom0.memory(&hv, Op::MACHINE_MEMORY_MAP, &room), err(Errno::EINVAL));
}

#[test]
fn claims_keep_memory_for_a_domain() {
    let hv = world();
    let mut dom0 = PvGuest::dom0(&hv, 64);
    let domu = PvGuest::unprivileged(&hv, 1, 64);
    let free = hv.mem.free_pages();
    let claim = |total, domid| MemoryReservation { domid, ..reservation(GuestHandle::null(), total, 0) };
    let mut ask = |arg: &MemoryReservation| dom0.memory(&hv, Op::CLAIM_PAGES, arg);
    assert_eq!(ask(&claim(64, DomId(1))), err(Errno::EINVAL), "met already");
    assert_eq!(ask(&claim(64 + free + 1, DomId(1))), err(Errno::ENOMEM));
    assert_eq!(ask(&claim(64 + free, DomId::SELF)), err(Errno::EINVAL));
    assert_eq!(ask(&MemoryReservation { extent_order: 1, ..claim(70, DomId(1)) }), err(Errno::EINVAL));
    assert_eq!(ask(&claim(64 + free, DomId(1))), 0);
    assert_eq!(ask(&claim(65, DomId(1))), err(Errno::EINVAL), "a second one");
    // dom0 gets nothing, the domain everything.
    let list = dom0.list(&hv, LIST, &[200]);
    let own = reservation(list, 1, 0);
    assert_eq!(dom0.memory(&hv, Op::POPULATE_PHYSMAP, &own), 0);
    let theirs = MemoryReservation { domid: DomId(1), ..own };
    assert_eq!(dom0.memory(&hv, Op::POPULATE_PHYSMAP, &theirs), 1);
    assert_eq!(hv.mem.claimed_pages(), free - 1);
    assert_eq!(dom0.memory(&hv, Op::CLAIM_PAGES, &claim(0, DomId(1))), 0);
    let list = dom0.list(&hv, LIST, &[201]);
    assert_eq!(dom0.memory(&hv, Op::POPULATE_PHYSMAP, &reservation(list, 1, 0)), 1);
    audit(&hv, &[&dom0, &domu]);
}

#[test]
fn the_grant_frames_of_another_domain_can_be_had_and_mapped() {
    let hv = world();
    let mut dom0 = PvGuest::dom0(&hv, 64);
    let mut domu = PvGuest::unprivileged(&hv, 1, 64);
    let request = |list, domid| MemAcquireResource {
        domid,
        r#type: MemResource::GRANT_TABLE,
        id: 0,
        nr_frames: 1,
        pad: 0,
        frame: 0,
        frame_list: list,
    };
    let list = dom0.list(&hv, LIST, &[0]);
    let arg = request(list, DomId(1));
    let cases = [
        (MemAcquireResource { pad: 1, ..arg }, Errno::EINVAL),
        (MemAcquireResource { domid: DomId(0), ..arg }, Errno::EPERM),
        (MemAcquireResource { domid: DomId(7), ..arg }, Errno::ESRCH),
        (MemAcquireResource { r#type: MemResource::IOREQ_SERVER, ..arg }, Errno::EOPNOTSUPP),
        (MemAcquireResource { id: 1, ..arg }, Errno::EINVAL),
        (MemAcquireResource { nr_frames: 0, ..arg }, Errno::EINVAL),
        (MemAcquireResource { frame: 1 << 32, ..arg }, Errno::EINVAL),
        (MemAcquireResource { frame: u64::MAX, ..arg }, Errno::EINVAL),
        (MemAcquireResource { frame: 10_000, ..arg }, Errno::EINVAL),
        (MemAcquireResource { frame_list: GuestHandle::null(), ..arg }, Errno::EINVAL),
    ];
    for (i, (case, errno)) in cases.iter().enumerate() {
        assert_eq!(dom0.memory(&hv, Op::ACQUIRE_RESOURCE, case), err(*errno), "case {i}");
    }
    let theirs = request(domu.list(&hv, LIST, &[0]), DomId(0));
    assert_eq!(domu.memory(&hv, Op::ACQUIRE_RESOURCE, &theirs), err(Errno::EPERM));
    let size = MemAcquireResource { nr_frames: 0, frame_list: GuestHandle::null(), ..arg };
    assert_eq!(dom0.memory(&hv, Op::ACQUIRE_RESOURCE, &size), 0);
    assert_eq!(dom0.answer::<MemAcquireResource>(&hv).nr_frames, domu.domain.grants.max_frames());
    assert_eq!(dom0.memory(&hv, Op::ACQUIRE_RESOURCE, &arg), 0);
    let frame = Mfn(dom0.read_list(&hv, LIST, 1)[0]);
    assert_eq!(hv.mem.owner(frame), Some(DomId(1)));
    // dom0 maps it in the owner's name, as privcmd does.
    let at = dom0.pte_addr(Pfn(30));
    assert_eq!(dom0.updates_on(&hv, 1, &[(at, frame.addr() | PRESENT | RW)]), (0, 1));
    audit(&hv, &[&dom0, &domu]);
}

#[test]
fn what_is_not_there_has_its_errno() {
    let hv = world();
    let mut dom0 = PvGuest::dom0(&hv, 64);
    let zeroes = [0u64; 8];
    for (op, result) in [
        (Op::GET_SHARING_FREED_PAGES, 0),
        (Op::GET_SHARING_SHARED_PAGES, 0),
        (Op::RESERVED_DEVICE_MEMORY_MAP, 0),
        (Op::ADD_TO_PHYSMAP, err(Errno::EACCES)),
        (Op::ADD_TO_PHYSMAP_BATCH, err(Errno::EACCES)),
        (Op::REMOVE_FROM_PHYSMAP, err(Errno::EACCES)),
        (Op::GET_VNUMAINFO, err(Errno::EOPNOTSUPP)),
        (Op::PAGING_OP, err(Errno::ENOSYS)),
        (Op::SHARING_OP, err(Errno::ENOSYS)),
        (Op::MACHPHYS_COMPAT_MFN_LIST, err(Errno::ENOSYS)),
        (Op::SET_POD_TARGET, err(Errno::EINVAL)),
        (Op(8), err(Errno::ENOSYS)),
        (Op(63), err(Errno::ENOSYS)),
    ] {
        let mut arg = zeroes;
        if op == Op::SET_POD_TARGET {
            arg[4] = DomId::SELF.0.into();
        }
        assert_eq!(dom0.memory(&hv, op, &arg), result, "{op:?}");
    }
    let args = [u64::from(Op::MAXIMUM_RAM_PAGE.0) | 1 << 6, 0, 0, 0, 0, 0];
    assert_eq!(dom0.hypercall(&hv, HypercallNr::MEMORY_OP, args), err(Errno::EINVAL));
}
