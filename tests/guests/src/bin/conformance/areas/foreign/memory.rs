//! Reservations and other memory calls on another domain.

use pv_guest_shim::hypercall_abi::domctl::{
    DomctlCmd, DomctlGetpageframeinfo3, DomctlIomemPermission, DomctlMaxMem, DomctlMemoryMapping,
    DomctlPagingMempool, DomctlVnuma,
};
use pv_guest_shim::hypercall_abi::errno::Errno;
use pv_guest_shim::hypercall_abi::guest_handle::GuestHandle;
use pv_guest_shim::hypercall_abi::memory::{
    ForeignMemoryMap, MemAccessOpArg, MemPagingOpArg, MemSharingOpArg, ReservedDeviceMemoryMap,
    Vmemrange, VnumaTopologyInfo, VnumaVcpuToVnode, VnumaVdistance, VnumaVmemrange,
};
use pv_guest_shim::hypercall_abi::sysctl::{SYSCTL_INTERFACE_VERSION, Sysctl, SysctlCmd};
use pv_guest_shim::hypercall_abi::xen::{DomId, HypercallNr, MmuextCmd};
use pv_guest_shim::mmu;
use zerocopy::{FromZeros, IntoBytes};

use super::domain::{Domain, PAGES, domctl, memory_op, reserve};
use super::{failed, map};
use crate::call::{call, mmuext};
use crate::pages;
use crate::report::{bits, error, holds, number, same};

/// The checks.
pub fn run(domain: &Domain) {
    sizes(domain);
    reservations(domain);
    claims(domain);
    not_for_pv(domain);
    types(domain);
    devices(domain);
    vnuma(domain);
}

fn of(op: u64, domain: DomId) -> i64 {
    let mut arg = domain.0;
    memory_op(op, &mut arg)
}

fn sizes(domain: &Domain) {
    number("current_reservation", of(3, domain.id), PAGES as i64);
    number("maximum_reservation", of(4, domain.id), PAGES as i64 + 8);
    number("maximum_gpfn", of(14, domain.id), 0);
    let mut map = ForeignMemoryMap::new_zeroed();
    map.domid = domain.id;
    number("set_memory_map of nothing", memory_op(13, &mut map), 0);
    map.map.nr_entries = 1025;
    error(
        "set_memory_map of 1025",
        memory_op(13, &mut map),
        Errno::EINVAL,
    );
    map.map.nr_entries = 1;
    map.domid = DomId(77);
    error(
        "set_memory_map of nobody",
        memory_op(13, &mut map),
        Errno::ESRCH,
    );
    let frame = domain.frames[3];
    bits(
        "frame table of a populated frame",
        mmu::mfn_to_pfn(frame),
        3,
    );
}

fn reservations(domain: &Domain) {
    let list = pages::take();
    let limit = |pages: u64| {
        domctl(DomctlCmd::MAX_MEM, domain.id, |op| {
            op.u.set_max_mem(DomctlMaxMem {
                max_memkb: pages * 4,
            });
        })
        .0
    };
    pages::write(list, 100_u64);
    pages::write(list + 8, 101_u64);
    number("limit", limit(PAGES + 1), 0);
    number(
        "populate beyond the limit",
        reserve(6, list, 2, 0, 0, domain.id),
        1,
    );
    let frame: u64 = pages::read(list);
    number("size", of(3, domain.id), PAGES as i64 + 1);
    number("limit below what there is", limit(4), 0);
    number(
        "increase at the limit",
        reserve(0, list, 1, 0, 0, domain.id),
        0,
    );
    pages::write(list, frame);
    number("decrease", reserve(1, list, 1, 0, 0, domain.id), 1);
    pages::write(list, frame);
    number(
        "decrease of what went",
        reserve(1, list, 1, 0, 0, domain.id),
        0,
    );
    number("limit again", limit(PAGES + 8), 0);
    pages::write(list, 100_u64);
    for (name, order, domain, done) in [
        ("for another", 0, domain.id, 1),
        ("of order 18", 18, domain.id, 1),
        ("of order 19", 19, domain.id, 0),
        ("for oneself", 0, DomId::SELF, 0),
    ] {
        number(
            format_args!("populate on demand {name}"),
            reserve(6, list, 1, order, 1 << 16, domain),
            done,
        );
    }
    bits(
        "populate on demand gives nothing",
        pages::read::<u64>(list),
        100,
    );
    number("size then", of(3, domain.id), PAGES as i64);
    pages::write(list, mmu::virt_to_mfn(list));
    number(
        "decrease of the own page",
        reserve(1, list, 1, 0, 0, domain.id),
        0,
    );
    for (name, order) in [("19", 19), ("63", 63)] {
        pages::write(list, 100_u64);
        number(
            format_args!("populate of order {name}"),
            reserve(6, list, 1, order, 0, domain.id),
            0,
        );
    }
    for (name, flags, op, result) in [
        ("increase on demand", 1 << 16, 0, 1),
        ("populate below 2^12", 12, 6, 0),
        ("populate below 2^13", 13, 6, 0),
        ("populate below 2^63", 63, 6, 1),
        ("populate on node 0", 1 << 8, 6, 1),
        ("populate on node 0 exactly", 1 << 8 | 1 << 17, 6, 1),
        ("populate on node 1 if possible", 2 << 8, 6, 1),
        ("populate on node 1 exactly", 2 << 8 | 1 << 17, 6, 0),
        ("populate on node 63 exactly", 64 << 8 | 1 << 17, 6, 0),
        ("populate on node 64 if possible", 65 << 8, 6, 0),
        ("populate exactly on no node", 1 << 17, 6, 1),
        ("populate on virtual node 0", 1 << 8 | 1 << 18, 6, 1),
        ("populate on an unknown flag", 1 << 19, 6, 1),
        ("decrease below 2^12", 12, 1, 0),
        ("decrease of node 64", 65 << 8, 1, 0),
    ] {
        pages::write(list, 100_u64);
        let done = reserve(op, list, 1, 0, flags, domain.id);
        number(name, done, result);
        if done == 1 {
            number(
                format_args!("{name}: undone"),
                reserve(1, list, 1, 0, 0, domain.id),
                1,
            );
        }
    }
    number("size at the end", of(3, domain.id), PAGES as i64);
    // A mapped page leaves the domain at once and stays until the mapping goes.
    let window = pages::take();
    let frame = domain.frames[15];
    same(
        "map a page",
        map(window, frame, mmu::KERNEL_RW, domain.id),
        (0, 1),
    );
    pages::write(list, frame);
    number(
        "decrease of a mapped page",
        reserve(1, list, 1, 0, 0, domain.id),
        1,
    );
    number("size with it", of(3, domain.id), PAGES as i64);
    pages::write(list, frame);
    number(
        "decrease of it again",
        reserve(1, list, 1, 0, 0, domain.id),
        1,
    );
    same("let it go", map(window, 0, 0, DomId::SELF), (0, 1));
    number("size without it", of(3, domain.id), PAGES as i64 - 1);
}

fn physinfo() -> (u64, u64) {
    let mut op = Sysctl::new_zeroed();
    op.cmd = SysctlCmd::PHYSINFO;
    op.interface_version = SYSCTL_INTERFACE_VERSION;
    let result = call(HypercallNr::SYSCTL, [op.as_mut_bytes().as_mut_ptr() as u64]);
    number("physinfo", result, 0);
    let info = op.u.as_physinfo();
    (info.free_pages, info.outstanding_pages)
}

fn claims(domain: &Domain) {
    let claim = |pages: u64| reserve(24, 0, pages, 0, 0, domain.id);
    let owned = of(3, domain.id) as u64;
    let (free, _) = physinfo();
    number("claim of nothing", claim(0), 0);
    error("claim of what it has", claim(owned), Errno::EINVAL);
    error("claim beyond its limit", claim(PAGES + 9), Errno::EINVAL);
    number("claim", claim(owned + 3), 0);
    error("second claim", claim(owned + 4), Errno::EINVAL);
    same("claimed pages", physinfo(), (free, 3));
    let list = pages::take();
    pages::write(list, 200_u64);
    number(
        "populate from the claim",
        reserve(6, list, 1, 0, 0, domain.id),
        1,
    );
    same("claimed pages then", physinfo(), (free - 1, 2));
    number("decrease", reserve(1, list, 1, 0, 0, domain.id), 1);
    same("what goes back is claimed again", physinfo(), (free, 3));
    number("claim is cancelled", claim(0), 0);
    same("nothing is claimed", physinfo(), (free, 0));
    for (name, result) in [
        ("claim with a list", reserve(24, list, 20, 0, 0, domain.id)),
        ("claim of order 1", reserve(24, 0, 20, 1, 0, domain.id)),
        ("claim with flags", reserve(24, 0, 20, 0, 1, domain.id)),
        ("claim for nobody", reserve(24, 0, 20, 0, 0, DomId(77))),
        ("claim for oneself", reserve(24, 0, 20, 0, 0, DomId::SELF)),
    ] {
        error(name, result, Errno::EINVAL);
    }
    let limit = |kib: u64| {
        domctl(DomctlCmd::MAX_MEM, domain.id, |op| {
            op.u.set_max_mem(DomctlMaxMem { max_memkb: kib });
        })
        .0
    };
    number("no limit", limit(u64::MAX), 0);
    error(
        "claim of more than is free",
        claim(free + 0x10_0000),
        Errno::ENOMEM,
    );
    number("limit as before", limit((PAGES + 8) * 4), 0);
}

/// What is for guests that the hypervisor translates for, and what is not there.
fn not_for_pv(domain: &Domain) {
    let by = |words: [u64; 6]| words;
    let id = u64::from(domain.id.0);
    for (name, op, mut words, errno) in [
        (
            "add_to_physmap of shared_info",
            7,
            by([id, 0, 0, 0, 0, 0]),
            Errno::EACCES,
        ),
        (
            "add_to_physmap of another's frame",
            7,
            by([id | 4 << 32, 0, 0, 0, 0, 0]),
            Errno::ENOSYS,
        ),
        (
            "add_to_physmap for nobody",
            7,
            by([77, 0, 0, 0, 0, 0]),
            Errno::ESRCH,
        ),
        (
            "remove_from_physmap",
            15,
            by([id, 0, 0, 0, 0, 0]),
            Errno::EACCES,
        ),
        (
            "remove_from_physmap for nobody",
            15,
            by([77, 0, 0, 0, 0, 0]),
            Errno::ESRCH,
        ),
        (
            "add_to_physmap_batch of nothing",
            23,
            by([id, 0, 0, 0, 0, 0]),
            Errno::EACCES,
        ),
        ("set_pod_target", 16, by([0, 0, 0, 0, id, 0]), Errno::EINVAL),
        ("get_pod_target", 17, by([0, 0, 0, 0, id, 0]), Errno::EINVAL),
        (
            "get_pod_target for nobody",
            17,
            by([0, 0, 0, 0, 77, 0]),
            Errno::ESRCH,
        ),
    ] {
        error(name, memory_op(op, &mut words), errno);
    }
    for op in 0..3 {
        let mut arg = MemPagingOpArg::new_zeroed();
        arg.op.0 = op;
        arg.domain = domain.id;
        error(
            format_args!("paging_op {op}"),
            memory_op(20, &mut arg),
            Errno::ENOSYS,
        );
    }
    for op in 0..6 {
        let mut arg = MemAccessOpArg::new_zeroed();
        arg.op.0 = op;
        arg.domid = domain.id;
        error(
            format_args!("access_op {op}"),
            memory_op(21, &mut arg),
            Errno::EINVAL,
        );
    }
    let mut arg = MemAccessOpArg::new_zeroed();
    error(
        "access_op of oneself",
        memory_op(21, &mut arg),
        Errno::EPERM,
    );
    arg.domid = DomId(77);
    error("access_op of nobody", memory_op(21, &mut arg), Errno::ESRCH);
    let mut arg = MemSharingOpArg::new_zeroed();
    arg.domain = domain.id;
    error("sharing_op", memory_op(22, &mut arg), Errno::ENOSYS);
    let mut arg = ReservedDeviceMemoryMap::new_zeroed();
    number("reserved_device_memory_map", memory_op(27, &mut arg), 0);
    arg.flags = 2;
    error(
        "reserved_device_memory_map with flags",
        memory_op(27, &mut arg),
        Errno::EINVAL,
    );
    for (name, cmd) in [
        (
            "get_paging_mempool_size",
            DomctlCmd::GET_PAGING_MEMPOOL_SIZE,
        ),
        (
            "set_paging_mempool_size",
            DomctlCmd::SET_PAGING_MEMPOOL_SIZE,
        ),
    ] {
        let (result, _) = domctl(cmd, domain.id, |op| {
            op.u.set_paging_mempool(DomctlPagingMempool { size: 1 << 20 });
        });
        error(name, result, Errno::EOPNOTSUPP);
    }
}

fn types(domain: &Domain) {
    let list = pages::take();
    let [l1, l2, l3, l4] = [1, 2, 3, 4].map(|at| domain.frames[at]);
    let info = |count: u64| {
        domctl(DomctlCmd::GETPAGEFRAMEINFO3, domain.id, |op| {
            op.u.set_getpageframeinfo3(DomctlGetpageframeinfo3 {
                num: count,
                array: GuestHandle::from_addr(list),
            });
        })
        .0
    };
    let type_of = |frame: u64| {
        pages::write(list, frame);
        let result = info(1);
        (result, pages::read::<u64>(list))
    };
    let pin = |cmd: MmuextCmd, frame: u64| mmuext(&[mmu::frame_op(cmd, frame, 0)], domain.id);
    same("type of a page", type_of(domain.frames[0]), (0, 0));
    same("pin", pin(MmuextCmd::PIN_L4_TABLE, l4), (0, 1));
    for (level, table) in [(1u64, l1), (2, l2), (3, l3)] {
        same(
            format_args!("type of an L{level} table"),
            type_of(table),
            (0, level << 28),
        );
    }
    same("type of a pinned table", type_of(l4), (0, 0xc000_0000));
    same("unpin", pin(MmuextCmd::UNPIN_TABLE, l4), (0, 1));
    same("type of what was a table", type_of(l4), (0, 0));
    same(
        "type of the own page",
        type_of(mmu::virt_to_mfn(list)),
        (0, 0xf000_0000),
    );
    same("type of no frame", type_of(u64::MAX), (0, 0xf000_0000));
    same(
        "type of a frame that left",
        type_of(domain.frames[15]),
        (0, 0xf000_0000),
    );
    let (_, op) = domctl(DomctlCmd::GETDOMAININFO, domain.id, |_| {});
    let shared = op.u.as_getdomaininfo().shared_info_frame;
    same("type of the shared page", type_of(shared), (0, 0xf000_0000));
    number("types of nothing", info(0), 0);
    error("types of 1025", info(1025), Errno::E2BIG);
    let window = pages::take();
    same(
        "map the shared page",
        map(window, shared, mmu::KERNEL_RW, domain.id),
        (0, 1),
    );
    same(
        "unmap the shared page",
        map(window, 0, 0, DomId::SELF),
        (0, 1),
    );
    same(
        "pin the shared page",
        pin(MmuextCmd::PIN_L1_TABLE, shared),
        failed(Errno::EINVAL),
    );
}

fn devices(domain: &Domain) {
    const FIRST: u64 = 0xfd00_0000 >> 12;
    let permission = |first: u64, count: u64, allow: u8| {
        domctl(DomctlCmd::IOMEM_PERMISSION, domain.id, |op| {
            let mut arg = DomctlIomemPermission::new_zeroed();
            (arg.first_mfn, arg.nr_mfns, arg.allow_access) = (first, count, allow);
            op.u.set_iomem_permission(arg);
        })
        .0
    };
    let mapping = |gfn: u64, first: u64, count: u64| {
        domctl(DomctlCmd::MEMORY_MAPPING, domain.id, |op| {
            let mut arg = DomctlMemoryMapping::new_zeroed();
            (arg.first_gfn, arg.first_mfn, arg.nr_mfns, arg.add_mapping) = (gfn, first, count, 1);
            op.u.set_memory_mapping(arg);
        })
        .0
    };
    let window = pages::take();
    let frame = |owner: u16| map(window, FIRST, mmu::KERNEL_RW, DomId(owner));
    same(
        "device frame of the other's",
        frame(domain.id.0),
        failed(Errno::EPERM),
    );
    same("device frame of anybody's", frame(0x7ff1), (0, 1));
    number("memory_mapping without rights", mapping(0, FIRST, 1), 0);
    number("memory_mapping of the APIC", mapping(0, 0xfee00, 1), 0);
    number("iomem_permission", permission(FIRST, 4, 1), 0);
    same("device frame with its rights", frame(domain.id.0), (0, 1));
    number("memory_mapping", mapping(0, FIRST, 4), 0);
    error(
        "memory_mapping of nothing",
        mapping(0, FIRST, 0),
        Errno::EINVAL,
    );
    error(
        "memory_mapping that wraps",
        mapping(0, u64::MAX, 2),
        Errno::EINVAL,
    );
    error(
        "memory_mapping beyond addresses",
        mapping(0, 1 << 52, 1),
        Errno::EINVAL,
    );
    error(
        "memory_mapping to what wraps",
        mapping(u64::MAX, FIRST, 2),
        Errno::EINVAL,
    );
    number("rights go", permission(FIRST + 1, 1, 0), 0);
    same(
        "device frame without rights again",
        map(pages::take(), FIRST + 1, mmu::KERNEL_RW, domain.id),
        failed(Errno::EPERM),
    );
    number("rights of the other go", permission(FIRST, 4, 0), 0);
    error(
        "iomem_permission of nothing",
        permission(FIRST, 0, 1),
        Errno::EINVAL,
    );
    error(
        "iomem_permission that wraps",
        permission(u64::MAX, 2, 1),
        Errno::EINVAL,
    );
    error(
        "iomem_permission of the APIC",
        permission(0xfee00, 1, 1),
        Errno::EPERM,
    );
    same("unmap the device", map(window, 0, 0, DomId::SELF), (0, 1));
}

fn vnuma(domain: &Domain) {
    let (words, ranges) = (pages::take(), pages::take());
    let topology = |nodes: u32, vcpus: u32, count: u32| {
        let mut arg = VnumaTopologyInfo::new_zeroed();
        arg.domid = domain.id;
        (arg.nr_vnodes, arg.nr_vcpus, arg.nr_vmemranges) = (nodes, vcpus, count);
        arg.vdistance = VnumaVdistance::from_h(GuestHandle::from_addr(words + 1024));
        arg.vcpu_to_vnode = VnumaVcpuToVnode::from_h(GuestHandle::from_addr(words + 2048));
        arg.vmemrange = VnumaVmemrange::from_h(GuestHandle::from_addr(ranges + 1024));
        let result = memory_op(26, &mut arg);
        (result, arg.nr_vnodes, arg.nr_vcpus, arg.nr_vmemranges)
    };
    error(
        "get_vnumainfo of none",
        topology(4, 4, 4).0,
        Errno::EOPNOTSUPP,
    );
    let set = |nodes: u32, vcpus: u32, count: u32, pad: u32| {
        domctl(DomctlCmd::SETVNUMAINFO, domain.id, |op| {
            op.u.set_vnuma(DomctlVnuma {
                nr_vnodes: nodes,
                nr_vmemranges: count,
                nr_vcpus: vcpus,
                pad,
                vdistance: GuestHandle::from_addr(words),
                vcpu_to_vnode: GuestHandle::from_addr(words + 512),
                vnode_to_pnode: GuestHandle::from_addr(words + 768),
                vmemrange: GuestHandle::from_addr(ranges),
            });
        })
        .0
    };
    for (at, distance) in [10u32, 20, 21, 10].into_iter().enumerate() {
        pages::write(words + at as u64 * 4, distance);
    }
    pages::write(words + 512, 1_u32);
    let range = Vmemrange {
        start: 0,
        end: 0x10_0000,
        flags: 0,
        nid: 1,
    };
    pages::write(ranges, range);
    error(
        "setvnumainfo of other vCPUs",
        set(2, 2, 1, 0),
        Errno::EINVAL,
    );
    error("setvnumainfo with padding", set(2, 1, 1, 1), Errno::EINVAL);
    error("setvnumainfo of 33 nodes", set(33, 1, 1, 0), Errno::EINVAL);
    error(
        "setvnumainfo of 171 ranges",
        set(2, 1, 171, 0),
        Errno::EINVAL,
    );
    error(
        "setvnumainfo of a vCPU nowhere",
        set(1, 1, 1, 0),
        Errno::E2BIG,
    );
    pages::write(words + 768, 64_u32);
    error("setvnumainfo on node 64", set(2, 1, 1, 0), Errno::E2BIG);
    pages::write(words + 768, 0_u32);
    pages::write(ranges, Vmemrange { flags: 1, ..range });
    error("setvnumainfo with flags", set(2, 1, 1, 0), Errno::EINVAL);
    pages::write(ranges, range);
    number("setvnumainfo", set(2, 1, 1, 0), 0);
    same(
        "get_vnumainfo without room",
        topology(1, 1, 1),
        (-(Errno::ENOBUFS as i64), 2, 1, 1),
    );
    same("get_vnumainfo", topology(9, 9, 9), (0, 2, 1, 1));
    let distances: [u32; 4] = core::array::from_fn(|at| pages::read(words + 1024 + at as u64 * 4));
    same("get_vnumainfo: distances", distances, [10, 20, 21, 10]);
    bits("get_vnumainfo: node", pages::read::<u32>(words + 2048), 1);
    bits(
        "get_vnumainfo: range",
        pages::read::<u64>(ranges + 1024 + 8),
        0x10_0000,
    );
    let list = pages::take();
    for (name, node, result) in [("0", 0u32, 1), ("1", 1, 1), ("2", 2, 0)] {
        pages::write(list, 300_u64);
        let flags = (node + 1) << 8 | 1 << 18 | 1 << 17;
        let done = reserve(6, list, 1, 0, flags, domain.id);
        number(
            format_args!("populate on virtual node {name}"),
            done,
            result,
        );
        if done == 1 {
            reserve(1, list, 1, 0, 0, domain.id);
        }
    }
    holds(
        "size at the end",
        of(3, domain.id),
        of(3, domain.id) == PAGES as i64 - 1,
    );
}
