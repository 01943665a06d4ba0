//! Grants of the first version, with oneself as the other side: map, unmap, copy, and every status.

use pv_guest_shim::grant::{self, flags, offer, withdraw};
use pv_guest_shim::hypercall_abi::errno::Errno;
use pv_guest_shim::hypercall_abi::grant_table::{
    GntStatus, GnttabCopy, GnttabGetVersion, GnttabMapGrantRef, GnttabOp, GnttabQuerySize,
    GnttabSetVersion, GnttabSetupTable, GnttabUnmapGrantRef,
};
use pv_guest_shim::hypercall_abi::xen::{DomId, HypercallNr, MmuextCmd, StartInfo};
use pv_guest_shim::mmu;
use zerocopy::FromZeros;

use crate::call::{BAD_POINTERS, call, frame_op, update_va};
use crate::pages;
use crate::report::{bits, error, holds, number, same};

const HOST: u32 = 2;
const DEVICE: u32 = 1;
const READ_ONLY: u32 = 4;
const APPLICATION: u32 = 8;
const PTE: u32 = 16;
const SELF: DomId = DomId(0);
/// The first reference that is nobody's.
const REF: u32 = 8;

/// The area.
pub fn run(_: &'static StartInfo) {
    arguments();
    sizes();
    same("setup_table", grant::init(), Ok(GntStatus::OKAY));
    maps();
    refused_maps();
    refused_unmaps();
    by_entry();
    copies();
    refused_copies();
}

fn raw(op: u64, pointer: u64, count: u64) -> i64 {
    call(HypercallNr::GRANT_TABLE_OP, [op, pointer, count])
}

fn arguments() {
    let page = pages::take();
    for op in [13, 14, 255] {
        error(
            format_args!("grant op {op}"),
            raw(op, page, 1),
            Errno::ENOSYS,
        );
    }
    for op in [0, 1, 2, 5, 6, 8, 10] {
        for (kind, pointer) in BAD_POINTERS {
            error(
                format_args!("grant op {op} at {kind} pointer"),
                raw(op, pointer, 1),
                Errno::EFAULT,
            );
        }
        if !matches!(op, 2 | 6 | 8 | 10) {
            number(
                format_args!("grant op {op} of nothing"),
                raw(op, page, 0),
                0,
            );
        }
        error(
            format_args!("grant op {op} of 2^31"),
            raw(op, page, 1 << 31),
            Errno::EINVAL,
        );
    }
    for op in [2, 6] {
        error(
            format_args!("grant op {op} of two"),
            raw(op, page, 2),
            Errno::EINVAL,
        );
        error(
            format_args!("grant op {op} of none"),
            raw(op, page, 0),
            Errno::EINVAL,
        );
    }
}

fn sizes() {
    let query = |domain: u16| {
        let mut query = GnttabQuerySize::new_zeroed();
        query.dom = DomId(domain);
        let result = grant::op(GnttabOp::QUERY_SIZE, &mut query);
        (result, query.status, query.nr_frames, query.max_nr_frames)
    };
    let (result, status, frames, limit) = query(0x7ff0);
    same("query_size", (result, status), (0, GntStatus::OKAY));
    same("query_size: limit", limit, 64);
    holds("query_size: frames", frames, (1..=64).contains(&frames));
    same("query_size by the own number", query(0).1, GntStatus::OKAY);
    same("query_size of nobody", query(77).1, GntStatus::BAD_DOMAIN);
    let version = |domain: u16| {
        let mut version = GnttabGetVersion {
            dom: DomId(domain),
            pad: 0,
            version: 9,
        };
        (
            grant::op(GnttabOp::GET_VERSION, &mut version),
            version.version,
        )
    };
    same("get_version", version(0x7ff0), (0, 1));
    error("get_version of nobody", version(77).0, Errno::ESRCH);
    let set = |version: u32| {
        let mut arg = GnttabSetVersion { version };
        (grant::op(GnttabOp::SET_VERSION, &mut arg), arg.version)
    };
    same("set_version 1", set(1), (0, 1));
    for version in [0, 3, u32::MAX] {
        error(
            format_args!("set_version {version}"),
            set(version).0,
            Errno::EINVAL,
        );
    }
    let list = pages::take();
    let setup = |domain: u16, frames: u32, list: u64| {
        let mut setup = GnttabSetupTable::new_zeroed();
        setup.dom = DomId(domain);
        setup.nr_frames = frames;
        setup.frame_list = pv_guest_shim::hypercall_abi::guest_handle::GuestHandle::from_addr(list);
        (grant::op(GnttabOp::SETUP_TABLE, &mut setup), setup.status)
    };
    same(
        "setup_table of 65 frames",
        setup(0x7ff0, 65, list),
        (0, GntStatus::GENERAL_ERROR),
    );
    same(
        "setup_table of nobody",
        setup(77, 1, list),
        (0, GntStatus::BAD_DOMAIN),
    );
    same(
        "setup_table of 2 frames",
        setup(0x7ff0, 2, list),
        (0, GntStatus::OKAY),
    );
    holds(
        "setup_table: frames",
        (pages::read::<u64>(list), pages::read::<u64>(list + 8)),
        pages::read::<u64>(list + 8) != 0,
    );
    same(
        "setup_table to a bad list",
        setup(0x7ff0, 1, 0xffff_8300_0000_0000),
        (-(Errno::EFAULT as i64), GntStatus::OKAY),
    );
}

fn map(address: u64, flags: u32, reference: u32, domain: DomId) -> GnttabMapGrantRef {
    let mut arg = GnttabMapGrantRef {
        host_addr: address,
        flags,
        r#ref: reference,
        dom: domain,
        status: GntStatus(77),
        handle: 0x7777,
        dev_bus_addr: 0x8888,
    };
    number("map", grant::op(GnttabOp::MAP_GRANT_REF, &mut arg), 0);
    arg
}

fn unmap(address: u64, bus_address: u64, handle: u32) -> GntStatus {
    let mut arg = GnttabUnmapGrantRef {
        host_addr: address,
        dev_bus_addr: bus_address,
        handle,
        status: GntStatus(77),
        _pad: [0; 2],
    };
    number("unmap", grant::op(GnttabOp::UNMAP_GRANT_REF, &mut arg), 0);
    arg.status
}

fn maps() {
    let [page, window] = core::array::from_fn(|_| pages::take());
    let mfn = mmu::virt_to_mfn(page);
    let original = mmu::leaf(window).unwrap_or_default().value;
    pages::write(page, 0x1234_u64);
    offer(REF, 1, SELF, mfn);
    let mapped = map(window, HOST, REF, SELF);
    same("map: status", mapped.status, GntStatus::OKAY);
    bits("map: bus address", mapped.dev_bus_addr, mfn << 12);
    bits("map: flags of the entry", flags(REF), 1 | 8 | 16);
    let leaf = mmu::leaf(window).unwrap_or_default().value;
    bits("map: frame", leaf & mmu::ADDRESS_MASK, mfn << 12);
    bits(
        "map: flags of the mapping",
        leaf & !mmu::ADDRESS_MASK,
        mmu::KERNEL_RW | mmu::GUEST_KERNEL | mmu::NX,
    );
    bits("map: value", pages::read::<u64>(window), 0x1234);
    pages::write(window + 8, 0x5678_u64);
    bits("map: write", pages::read::<u64>(page + 8), 0x5678);
    let second = map(pages::take(), HOST | READ_ONLY, REF, SELF);
    same("second map, read-only", second.status, GntStatus::OKAY);
    holds(
        "handles differ",
        (mapped.handle, second.handle),
        mapped.handle != second.handle,
    );
    let address = pages::take() - mmu::PAGE_SIZE;
    let leaf = mmu::leaf(address).unwrap_or_default().value;
    bits(
        "read-only map: flags of the mapping",
        leaf & !mmu::ADDRESS_MASK,
        mmu::KERNEL_RO | mmu::GUEST_KERNEL | mmu::NX,
    );
    same("unmap", unmap(window, 0, mapped.handle), GntStatus::OKAY);
    bits(
        "unmap: mapping",
        mmu::leaf(window).unwrap_or_default().value,
        0,
    );
    bits("unmap: flags of the entry", flags(REF), 1 | 8);
    same(
        "unmap twice",
        unmap(window, 0, mapped.handle),
        GntStatus::BAD_HANDLE,
    );
    same(
        "unmap of the second",
        unmap(address, 0, second.handle),
        GntStatus::OKAY,
    );
    bits("unmap of the second: flags of the entry", flags(REF), 1);
    let device = map(0, DEVICE, REF, SELF);
    same(
        "device map",
        (device.status, device.dev_bus_addr),
        (GntStatus::OKAY, mfn << 12),
    );
    same(
        "device unmap with another address",
        unmap(0, 0x1000, device.handle),
        GntStatus::BAD_DEV_ADDR,
    );
    same(
        "device unmap",
        unmap(0, mfn << 12, device.handle),
        GntStatus::OKAY,
    );
    bits("device unmap: flags of the entry", flags(REF), 1);
    let user = map(window, HOST | APPLICATION, REF, SELF);
    let leaf = mmu::leaf(window).unwrap_or_default().value;
    bits(
        "application map: flags of the mapping",
        leaf & !mmu::ADDRESS_MASK,
        mmu::KERNEL_RW | mmu::GLOBAL | mmu::NX,
    );
    same(
        "application unmap",
        unmap(window, 0, user.handle),
        GntStatus::OKAY,
    );
    let both = map(window, HOST | DEVICE | 0b101 << 16, REF, SELF);
    let leaf = mmu::leaf(window).unwrap_or_default().value;
    bits("available bits of the mapping", leaf & 0xe00, 0b101 << 9);
    same(
        "unmap of the device side",
        unmap(0, mfn << 12, both.handle),
        GntStatus::OKAY,
    );
    same(
        "unmap of the host side",
        unmap(window, 0, both.handle),
        GntStatus::OKAY,
    );
    same(
        "unmap of neither",
        unmap(window, 0, both.handle),
        GntStatus::BAD_HANDLE,
    );
    // A writable map holds the frame back from becoming a table.
    let held = map(window, HOST, REF, SELF);
    let own = mmu::leaf(page).unwrap_or_default().value;
    update_va(page, own & !mmu::WRITABLE, 2);
    error(
        "frame of a writable map is no table",
        frame_op(MmuextCmd::PIN_L1_TABLE, mfn),
        Errno::EINVAL,
    );
    same(
        "unmap before the pin",
        unmap(window, 0, held.handle),
        GntStatus::OKAY,
    );
    update_va(page, own, 2);
    withdraw(REF);
    number("window comes back", update_va(window, original, 2), 0);
}

fn refused_maps() {
    let [page, window] = core::array::from_fn(|_| pages::take());
    let mfn = mmu::virt_to_mfn(page);
    offer(REF, 1, SELF, mfn);
    let status =
        |flags, reference, domain: u16| map(window, flags, reference, DomId(domain)).status;
    same(
        "map of the special number",
        status(HOST, REF, 0x7ff0),
        GntStatus::BAD_DOMAIN,
    );
    same(
        "map of nobody",
        status(HOST, REF, 77),
        GntStatus::BAD_DOMAIN,
    );
    same("map of no kind", status(0, REF, 0), GntStatus::BAD_GNTREF);
    same(
        "map of a reference behind the table",
        status(HOST, 512 * 64, 0),
        GntStatus::BAD_GNTREF,
    );
    same(
        "map of reference 0xffffffff",
        status(HOST, u32::MAX, 0),
        GntStatus::BAD_GNTREF,
    );
    same(
        "map of an empty entry",
        status(HOST, REF + 1, 0),
        GntStatus::GENERAL_ERROR,
    );
    offer(REF, 1, DomId(5), mfn);
    same(
        "map of somebody else's entry",
        status(HOST, REF, 0),
        GntStatus::GENERAL_ERROR,
    );
    offer(REF, 1 | 4, SELF, mfn);
    same(
        "writable map of a read-only entry",
        status(HOST, REF, 0),
        GntStatus::GENERAL_ERROR,
    );
    offer(REF, 2, SELF, mfn);
    same(
        "map of a transfer",
        status(HOST, REF, 0),
        GntStatus::GENERAL_ERROR,
    );
    offer(REF, 3, SELF, mfn);
    same(
        "map of a transitive entry",
        status(HOST, REF, 0),
        GntStatus::GENERAL_ERROR,
    );
    for (name, frame) in [
        ("nothing", 0x3fff_ffff),
        ("all ones", 0xffff_ffff),
        ("the interrupt controller", 0xfee00),
    ] {
        offer(REF, 1, SELF, frame);
        let got = status(HOST, REF, 0);
        holds(
            format_args!("map of {name}"),
            got,
            got == GntStatus::BAD_PAGE || got == GntStatus::GENERAL_ERROR,
        );
        bits(
            format_args!("map of {name}: flags of the entry"),
            flags(REF),
            1,
        );
    }
    offer(REF, 1, SELF, mmu::boot_root());
    same(
        "writable map of a table",
        status(HOST, REF, 0),
        GntStatus::GENERAL_ERROR,
    );
    bits("writable map of a table: flags of the entry", flags(REF), 1);
    offer(REF, 1, SELF, mfn);
    for (name, address) in [
        ("in the hypervisor", 0xffff_8300_0000_0000),
        ("without tables", 0x7000_0000_0000),
        ("non-canonical", 0x8000_0000_0000),
    ] {
        same(
            format_args!("map {name}"),
            map(address, HOST, REF, SELF).status,
            GntStatus::GENERAL_ERROR,
        );
        bits(
            format_args!("map {name}: flags of the entry"),
            flags(REF),
            1,
        );
    }
    withdraw(REF);
}

fn refused_unmaps() {
    let [page, window, other] = core::array::from_fn(|_| pages::take());
    let mfn = mmu::virt_to_mfn(page);
    offer(REF, 1, SELF, mfn);
    for handle in [0, 1, 0xffff, 0xffff_ffff] {
        same(
            format_args!("unmap of handle {handle:#x}"),
            unmap(window, 0, handle),
            GntStatus::BAD_HANDLE,
        );
    }
    let original = mmu::leaf(window).unwrap_or_default().value;
    let mapped = map(window, HOST, REF, SELF);
    same(
        "unmap at another address",
        unmap(other, 0, mapped.handle),
        GntStatus::GENERAL_ERROR,
    );
    same(
        "unmap in the hypervisor",
        unmap(0xffff_8300_0000_0000, 0, mapped.handle),
        GntStatus::GENERAL_ERROR,
    );
    same(
        "unmap without tables",
        unmap(0x7000_0000_0000, 0, mapped.handle),
        GntStatus::GENERAL_ERROR,
    );
    bits("entry is still in use", flags(REF), 1 | 8 | 16);
    same(
        "unmap at last",
        unmap(window, 0, mapped.handle),
        GntStatus::OKAY,
    );
    bits("entry is not in use", flags(REF), 1);
    update_va(window, original, 2);
    withdraw(REF);
}

/// Maps whose address is that of a page-table entry.
fn by_entry() {
    let [page, window] = core::array::from_fn(|_| pages::take());
    let mfn = mmu::virt_to_mfn(page);
    let entry = mmu::leaf(window).unwrap_or_default();
    offer(REF, 1, SELF, mfn);
    let mapped = map(entry.machine_address, HOST | PTE, REF, SELF);
    same("map by entry", mapped.status, GntStatus::OKAY);
    bits(
        "map by entry: frame",
        mmu::leaf(window).unwrap_or_default().value & mmu::ADDRESS_MASK,
        mfn << 12,
    );
    same(
        "unmap by entry",
        unmap(entry.machine_address, 0, mapped.handle),
        GntStatus::OKAY,
    );
    bits(
        "unmap by entry: mapping",
        mmu::leaf(window).unwrap_or_default().value,
        0,
    );
    for (name, address) in [
        ("that is not aligned", entry.machine_address | 4),
        ("in a plain page", mfn << 12),
        ("in a root", mmu::boot_root() << 12),
        ("in nothing", 1 << 50),
    ] {
        same(
            format_args!("map by entry {name}"),
            map(address, HOST | PTE, REF, SELF).status,
            GntStatus::GENERAL_ERROR,
        );
        bits(
            format_args!("map by entry {name}: flags of the entry"),
            flags(REF),
            1,
        );
    }
    withdraw(REF);
    update_va(window, entry.value, 2);
}

fn copy(source: (bool, u64, u16, u16), dest: (bool, u64, u16, u16), len: u16) -> GntStatus {
    let mut arg = GnttabCopy::new_zeroed();
    for (side, (by_ref, target, domain, offset)) in
        [(&mut arg.source, source), (&mut arg.dest, dest)]
    {
        if by_ref {
            side.u.set_ref(target as u32);
        } else {
            side.u.set_gmfn(target);
        }
        side.domid = DomId(domain);
        side.offset = offset;
    }
    arg.len = len;
    arg.flags = u16::from(source.0) | u16::from(dest.0) << 1;
    arg.status = GntStatus(77);
    number("copy", grant::op(GnttabOp::COPY, &mut arg), 0);
    arg.status
}

fn copies() {
    let [from, to] = core::array::from_fn(|_| pages::take());
    let (from_mfn, to_mfn) = (mmu::virt_to_mfn(from), mmu::virt_to_mfn(to));
    pages::write(from + 16, 0x1122_3344_5566_7788_u64);
    let own = |mfn, offset| (false, mfn, 0x7ff0, offset);
    same(
        "copy of frames",
        copy(own(from_mfn, 16), own(to_mfn, 3), 8),
        GntStatus::OKAY,
    );
    bits(
        "copy of frames: value",
        pages::read::<u64>(to) >> 24 | pages::read::<u64>(to + 8) << 40,
        0x1122_3344_5566_7788,
    );
    offer(REF, 1 | 4, SELF, from_mfn);
    offer(REF + 1, 1, SELF, to_mfn);
    same(
        "copy of references",
        copy(
            (true, REF.into(), 0, 16),
            (true, (REF + 1).into(), 0, 32),
            8,
        ),
        GntStatus::OKAY,
    );
    bits(
        "copy of references: value",
        pages::read::<u64>(to + 32),
        0x1122_3344_5566_7788,
    );
    same(
        "flags behind a copy",
        (flags(REF), flags(REF + 1)),
        (1 | 4, 1),
    );
    same(
        "copy of a whole page",
        copy(own(from_mfn, 0), (true, (REF + 1).into(), 0, 0), 4096),
        GntStatus::OKAY,
    );
    bits(
        "copy of a whole page: value",
        pages::read::<u64>(to + 16),
        0x1122_3344_5566_7788,
    );
    same(
        "copy of nothing",
        copy(own(from_mfn, 0), own(to_mfn, 0), 0),
        GntStatus::OKAY,
    );
    same(
        "copy to a read-only entry",
        copy(own(to_mfn, 0), (true, REF.into(), 0, 0), 8),
        GntStatus::GENERAL_ERROR,
    );
    withdraw(REF);
    withdraw(REF + 1);
}

fn refused_copies() {
    let [from, to] = core::array::from_fn(|_| pages::take());
    let (from_mfn, to_mfn) = (mmu::virt_to_mfn(from), mmu::virt_to_mfn(to));
    let own = |mfn, offset| (false, mfn, 0x7ff0, offset);
    same(
        "copy over the end of the source",
        copy(own(from_mfn, 4090), own(to_mfn, 0), 8),
        GntStatus::BAD_COPY_ARG,
    );
    same(
        "copy over the end of the destination",
        copy(own(from_mfn, 0), own(to_mfn, 4090), 8),
        GntStatus::BAD_COPY_ARG,
    );
    same(
        "copy of 65535",
        copy(own(from_mfn, 0xffff), own(to_mfn, 0xffff), 0xffff),
        GntStatus::BAD_COPY_ARG,
    );
    same(
        "copy of a frame by the own number",
        copy((false, from_mfn, 0, 0), own(to_mfn, 0), 8),
        GntStatus::PERMISSION_DENIED,
    );
    same(
        "copy to a frame by the own number",
        copy(own(from_mfn, 0), (false, to_mfn, 0, 0), 8),
        GntStatus::PERMISSION_DENIED,
    );
    same(
        "copy of nobody's frame",
        copy((false, from_mfn, 77, 0), own(to_mfn, 0), 8),
        GntStatus::BAD_DOMAIN,
    );
    same(
        "copy of no frame",
        copy(own(1 << 38, 0), own(to_mfn, 0), 8),
        GntStatus::BAD_PAGE,
    );
    same(
        "copy to no frame",
        copy(own(from_mfn, 0), own(1 << 38, 0), 8),
        GntStatus::BAD_PAGE,
    );
    same(
        "copy to a table",
        copy(own(from_mfn, 0), own(mmu::boot_root(), 0), 8),
        GntStatus::GENERAL_ERROR,
    );
    same(
        "copy of a table",
        copy(own(mmu::boot_root(), 0), own(to_mfn, 0), 8),
        GntStatus::OKAY,
    );
    same(
        "copy of an empty entry",
        copy((true, 20, 0, 0), own(to_mfn, 0), 8),
        GntStatus::GENERAL_ERROR,
    );
    same(
        "copy of an entry behind the table",
        copy((true, 1 << 20, 0, 0), own(to_mfn, 0), 8),
        GntStatus::BAD_GNTREF,
    );
    same(
        "copy of nobody's entry",
        copy((true, 20, 77, 0), own(to_mfn, 0), 8),
        GntStatus::BAD_DOMAIN,
    );
}
