//! Limits, maps and resources that can be asked for.

use core::sync::atomic::Ordering;

use hypercall_abi::errno::Errno;
use hypercall_abi::guest_handle::GuestHandle;
use hypercall_abi::hvm::e820::E820Entry as AbiEntry;
use hypercall_abi::memory::{
    ForeignMemoryMap, MachphysMapping, MachphysMfnList, MemAcquireResource, MemResource, MemoryMap,
    MemoryOp as Op,
};
use hypercall_abi::xen::{DomId, HypercallNr};

use super::{LIST, err};
use crate::machine::Frames;
use crate::num::{Mfn, Pfn};
use crate::pv::mm::entry::{PRESENT, RW};
use crate::sim::{PvGuest, audit, world};

#[test]
fn limits_and_maps_can_be_asked_for() {
    let hv = world();
    let mut dom0 = PvGuest::dom0(&hv, 64);
    let mut domu = PvGuest::unprivileged(&hv, 1, 64);
    domu.domain.pages.set_max_pages(100);
    assert_eq!(dom0.memory(&hv, Op::MAXIMUM_RAM_PAGE, &0u64), 2048);
    assert_eq!(dom0.memory(&hv, Op::CURRENT_RESERVATION, &1u16), 64);
    assert_eq!(dom0.memory(&hv, Op::MAXIMUM_RESERVATION, &1u16), 100);
    assert_eq!(
        domu.memory(&hv, Op::MAXIMUM_RESERVATION, &DomId::SELF.0),
        100
    );
    assert_eq!(
        domu.memory(&hv, Op::CURRENT_RESERVATION, &0u16),
        err(Errno::EPERM)
    );
    assert_eq!(
        domu.memory(&hv, Op::CURRENT_RESERVATION, &7u16),
        err(Errno::ESRCH)
    );
    let max_pfn = 2048 + 1024 + 16;
    hv.machine.words(domu.domain.shared_info)[max_pfn / 8].store(64, Ordering::Relaxed);
    assert_eq!(dom0.memory(&hv, Op::MAXIMUM_GPFN, &1u16), 63);

    assert_eq!(domu.memory(&hv, Op::MACHPHYS_MAPPING, &[0u64; 3]), 0);
    let mapping: MachphysMapping = domu.answer(&hv);
    assert_eq!(
        (mapping.v_start, mapping.v_end),
        (0xffff_8000_0000_0000, 0xffff_8040_0000_0000)
    );
    assert_eq!(mapping.max_mfn, (1 << 35) - 1);
    assert_eq!(dom0.memory(&hv, Op::MACHPHYS_MAPPING, &[0u64; 3]), 0);
    assert_eq!(dom0.answer::<MachphysMapping>(&hv).max_mfn, 2047);

    hv.mem
        .set_m2p_chunks([Some(Mfn(512)), None, Some(Mfn(1024))].into());
    let list = dom0.list(&hv, LIST, &[0; 4]);
    let arg = MachphysMfnList {
        max_extents: 4,
        _pad0: [0; 4],
        extent_start: list,
        nr_extents: 0,
        _pad1: [0; 4],
    };
    assert_eq!(dom0.memory(&hv, Op::MACHPHYS_MFN_LIST, &arg), 0);
    assert_eq!(dom0.answer::<MachphysMfnList>(&hv).nr_extents, 3);
    assert_eq!(dom0.read_list(&hv, LIST, 4), [512, 512, 1024, 0]);

    let entry = AbiEntry {
        addr: 0,
        size: 0x1000_0000,
        r#type: 1,
    };
    let buffer = GuestHandle::from_addr(dom0.put(&hv, LIST, &entry));
    let map = MemoryMap {
        nr_entries: 1,
        _pad: [0; 4],
        buffer,
    };
    assert_eq!(domu.memory(&hv, Op::MEMORY_MAP, &map), err(Errno::ENOSYS));
    let set = ForeignMemoryMap {
        domid: DomId(1),
        _pad: [0; 6],
        map,
    };
    assert_eq!(dom0.memory(&hv, Op::SET_MEMORY_MAP, &set), 0);
    let large = ForeignMemoryMap {
        map: MemoryMap {
            nr_entries: 1025,
            ..map
        },
        ..set
    };
    assert_eq!(
        dom0.memory(&hv, Op::SET_MEMORY_MAP, &large),
        err(Errno::EINVAL)
    );
    let buffer = GuestHandle::from_addr(domu.put(&hv, LIST, &[0u8; 64]));
    let room = MemoryMap {
        nr_entries: 128,
        _pad: [0; 4],
        buffer,
    };
    assert_eq!(domu.memory(&hv, Op::MEMORY_MAP, &room), 0);
    assert_eq!(domu.answer::<MemoryMap>(&hv).nr_entries, 1);
    assert_eq!(domu.load(&hv, domu.va(LIST) + 8), Ok(0x1000_0000));
    assert_eq!(
        domu.memory(&hv, Op::MACHINE_MEMORY_MAP, &room),
        err(Errno::EPERM)
    );
    let room = MemoryMap {
        nr_entries: 0,
        _pad: [0; 4],
        buffer,
    };
    assert_eq!(
        dom0.memory(&hv, Op::MACHINE_MEMORY_MAP, &room),
        err(Errno::EINVAL)
    );
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
        (
            MemAcquireResource {
                domid: DomId(0),
                ..arg
            },
            Errno::EPERM,
        ),
        (
            MemAcquireResource {
                domid: DomId(7),
                ..arg
            },
            Errno::ESRCH,
        ),
        (
            MemAcquireResource {
                r#type: MemResource::IOREQ_SERVER,
                ..arg
            },
            Errno::EINVAL,
        ),
        (MemAcquireResource { id: 1, ..arg }, Errno::EINVAL),
        (
            MemAcquireResource {
                nr_frames: 0,
                ..arg
            },
            Errno::EINVAL,
        ),
        (
            MemAcquireResource {
                frame: 1 << 32,
                ..arg
            },
            Errno::EINVAL,
        ),
        (
            MemAcquireResource {
                frame: u64::MAX,
                ..arg
            },
            Errno::EINVAL,
        ),
        (
            MemAcquireResource {
                frame: 10_000,
                ..arg
            },
            Errno::EINVAL,
        ),
        (
            MemAcquireResource {
                frame_list: GuestHandle::null(),
                ..arg
            },
            Errno::EINVAL,
        ),
    ];
    for (i, (case, errno)) in cases.iter().enumerate() {
        assert_eq!(
            dom0.memory(&hv, Op::ACQUIRE_RESOURCE, case),
            err(*errno),
            "case {i}"
        );
    }
    let theirs = request(domu.list(&hv, LIST, &[0]), DomId(0));
    assert_eq!(
        domu.memory(&hv, Op::ACQUIRE_RESOURCE, &theirs),
        err(Errno::EPERM)
    );
    let size = MemAcquireResource {
        nr_frames: 0,
        frame_list: GuestHandle::null(),
        ..arg
    };
    assert_eq!(dom0.memory(&hv, Op::ACQUIRE_RESOURCE, &size), 0);
    assert_eq!(
        dom0.answer::<MemAcquireResource>(&hv).nr_frames,
        domu.domain.grants.max_frames()
    );
    assert_eq!(dom0.memory(&hv, Op::ACQUIRE_RESOURCE, &arg), 0);
    let frame = Mfn(dom0.read_list(&hv, LIST, 1)[0]);
    assert_eq!(hv.mem.owner(frame), Some(DomId(1)));
    // dom0 maps it in the owner's name, as privcmd does.
    let at = dom0.pte_addr(Pfn(30));
    assert_eq!(
        dom0.updates_on(&hv, 1, &[(at, frame.addr() | PRESENT | RW)]),
        (0, 1)
    );
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
    assert_eq!(
        dom0.hypercall(&hv, HypercallNr::MEMORY_OP, args),
        err(Errno::EINVAL)
    );
}
