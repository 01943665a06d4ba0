//! Mapping and unmapping of grants.

use pv_guest_shim::grant::{self, flags, offer, withdraw};
use pv_guest_shim::hypercall_abi::errno::Errno;
use pv_guest_shim::hypercall_abi::grant_table::{
    GntStatus, GnttabMapGrantRef, GnttabOp, GnttabUnmapGrantRef,
};
use pv_guest_shim::hypercall_abi::xen::{DomId, MmuextCmd};
use pv_guest_shim::mmu;

use crate::call::{frame_op, update_va};
use crate::pages;
use crate::report::{bits, error, holds, number, same};

use super::{REF, SELF};

/// The checks.
pub fn run() {
    maps();
    refused_maps();
    refused_unmaps();
    by_entry();
}

const DEVICE: u32 = 1;

const READ_ONLY: u32 = 4;

const APPLICATION: u32 = 8;

const PTE: u32 = 16;

const HOST: u32 = 2;

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
