//! Grants by the other domain, whose table the first one writes as a toolstack does.

use pv_guest_shim::grant;
use pv_guest_shim::hypercall_abi::errno::Errno;
use pv_guest_shim::hypercall_abi::grant_table::{
    GntStatus, GnttabCacheFlush, GnttabCacheFlushA, GnttabCopy, GnttabMapGrantRef, GnttabOp,
    GnttabUnmapAndReplace, GnttabUnmapGrantRef,
};
use pv_guest_shim::hypercall_abi::guest_handle::GuestHandle;
use pv_guest_shim::hypercall_abi::memory::{MemAcquireResource, MemResource};
use pv_guest_shim::hypercall_abi::xen::{DomId, MmuextCmd};
use pv_guest_shim::mmu;
use zerocopy::FromZeros;

use super::domain::{Domain, memory_op, reserve};
use super::{failed, map};
use crate::call::mmuext;
use crate::pages;
use crate::report::{bits, error, number, same};

const DEVICE: u32 = 1;
const HOST: u32 = 2;
const READ_ONLY: u32 = 4;
const PTE: u32 = 16;

/// The other domain's table, mapped.
struct Table {
    domain: DomId,
    window: u64,
}

impl Table {
    fn new(domain: &Domain) -> Self {
        let (list, window) = (pages::take(), pages::take());
        let mut arg = MemAcquireResource {
            domid: domain.id,
            r#type: MemResource(1),
            id: 0,
            nr_frames: 1,
            pad: 0,
            frame: 0,
            frame_list: GuestHandle::from_addr(list),
        };
        number("grant table", memory_op(28, &mut arg), 0);
        let frame: u64 = pages::read(list);
        same(
            "grant table is mapped",
            map(window, frame, mmu::KERNEL_RW, domain.id),
            (0, 1),
        );
        Self {
            domain: domain.id,
            window,
        }
    }

    fn offer(&self, reference: u32, flags: u16, grantee: u16, frame: u64) {
        let word = frame << 32 | u64::from(grantee) << 16 | u64::from(flags);
        pages::write(self.window + u64::from(reference) * 8, word);
    }

    fn flags(&self, reference: u32) -> u16 {
        pages::read(self.window + u64::from(reference) * 8)
    }

    fn map(&self, address: u64, flags: u32, reference: u32) -> GnttabMapGrantRef {
        let mut arg = GnttabMapGrantRef {
            host_addr: address,
            flags,
            r#ref: reference,
            dom: self.domain,
            status: GntStatus(77),
            handle: 0x7777,
            dev_bus_addr: 0,
        };
        number("map grant", grant::op(GnttabOp::MAP_GRANT_REF, &mut arg), 0);
        arg
    }
}

fn unmap(address: u64, bus_address: u64, handle: u32) -> GntStatus {
    let mut arg = GnttabUnmapGrantRef {
        host_addr: address,
        dev_bus_addr: bus_address,
        handle,
        status: GntStatus(77),
        _pad: [0; 2],
    };
    number(
        "unmap grant",
        grant::op(GnttabOp::UNMAP_GRANT_REF, &mut arg),
        0,
    );
    arg.status
}

/// The checks.
pub fn run(domain: &Domain) {
    let table = Table::new(domain);
    maps(&table, domain);
    revoked(&table, domain);
    replaced(&table, domain);
    copies(&table, domain);
    flushes(&table, domain);
    same(
        "grant table is unmapped",
        map(table.window, 0, 0, DomId::SELF),
        (0, 1),
    );
}

fn maps(table: &Table, domain: &Domain) {
    let window = pages::take();
    let frame = domain.frames[10];
    table.offer(8, 1, 0, frame);
    let mapped = table.map(window, HOST, 8);
    same(
        "map: status",
        (mapped.status, mapped.dev_bus_addr),
        (GntStatus::OKAY, frame << 12),
    );
    pages::write(window, 0xabcc_u64);
    bits("map: marks", table.flags(8), 1 | 8 | 16);
    let pin = || {
        mmuext(
            &[mmu::frame_op(MmuextCmd::PIN_L1_TABLE, frame, 0)],
            domain.id,
        )
    };
    same(
        "a page that is granted and written is no table",
        pin(),
        failed(Errno::EINVAL),
    );
    let device = table.map(0, DEVICE | READ_ONLY, 8);
    same("device map", device.status, GntStatus::OKAY);
    same("unmap", unmap(window, 0, mapped.handle), GntStatus::OKAY);
    bits("unmap: marks", table.flags(8), 1 | 8);
    same("a page that is only read may be a table", pin(), (0, 1));
    same(
        "a table cannot be mapped for writing",
        table.map(window, HOST, 8).status,
        GntStatus::GENERAL_ERROR,
    );
    same(
        "unpin",
        mmuext(
            &[mmu::frame_op(MmuextCmd::UNPIN_TABLE, frame, 0)],
            domain.id,
        ),
        (0, 1),
    );
    same(
        "device unmap",
        unmap(0, frame << 12, device.handle),
        GntStatus::OKAY,
    );
    bits("device unmap: marks", table.flags(8), 1);
    let by_entry = mmu::leaf(window).unwrap_or_default().machine_address;
    let mapped = table.map(by_entry, HOST | PTE, 8);
    same("map by entry", mapped.status, GntStatus::OKAY);
    bits("map by entry: value", pages::read::<u64>(window), 0xabcc);
    same(
        "unmap by address what was mapped by entry",
        unmap(window, 0, mapped.handle),
        GntStatus::GENERAL_ERROR,
    );
    same(
        "unmap by entry",
        unmap(by_entry, 0, mapped.handle),
        GntStatus::OKAY,
    );
    table.offer(9, 1 | 4, 0, frame);
    same(
        "write what may be read",
        table.map(window, HOST, 9).status,
        GntStatus::GENERAL_ERROR,
    );
    let mapped = table.map(window, HOST | READ_ONLY, 9);
    same("read what may be read", mapped.status, GntStatus::OKAY);
    same("unmap it", unmap(window, 0, mapped.handle), GntStatus::OKAY);
    table.offer(10, 1, 5, frame);
    same(
        "what is another's to map",
        table.map(window, HOST, 10).status,
        GntStatus::GENERAL_ERROR,
    );
    table.offer(10, 1, 0, mmu::virt_to_mfn(window));
    same(
        "what is not the granter's",
        table.map(window, HOST, 10).status,
        GntStatus::BAD_PAGE,
    );
    same(
        "beyond the table",
        table.map(window, HOST, 512 * 4).status,
        GntStatus::BAD_GNTREF,
    );
    same(
        "neither host nor device",
        table.map(window, READ_ONLY, 8).status,
        GntStatus::BAD_GNTREF,
    );
}

/// What is mapped stays mapped when the grant is taken back, or the page is.
fn revoked(table: &Table, domain: &Domain) {
    let (window, list) = (pages::take(), pages::take());
    let frame = domain.frames[11];
    table.offer(11, 1, 0, frame);
    let mapped = table.map(window, HOST, 11);
    same("map to be revoked", mapped.status, GntStatus::OKAY);
    pages::write(window, 0x77_u64);
    table.offer(11, 0, 0, 0);
    let second = pages::take();
    let again = table.map(second, HOST, 11);
    same(
        "a revoked grant of which one is mapped",
        again.status,
        GntStatus::OKAY,
    );
    same(
        "unmap the second",
        unmap(second, 0, again.handle),
        GntStatus::OKAY,
    );
    pages::write(list, frame);
    number(
        "decrease of a granted page",
        reserve(1, list, 1, 0, 0, domain.id),
        1,
    );
    bits("it is still there", pages::read::<u64>(window), 0x77);
    same("unmap", unmap(window, 0, mapped.handle), GntStatus::OKAY);
}

fn replaced(table: &Table, domain: &Domain) {
    let (window, spare) = (pages::take(), pages::take());
    let frame = domain.frames[12];
    pages::write(spare, 0x1111_u64);
    table.offer(12, 1, 0, frame);
    let replace = |address: u64, new: u64, handle: u32| {
        let mut arg = GnttabUnmapAndReplace::new_zeroed();
        (arg.host_addr, arg.new_addr, arg.handle) = (address, new, handle);
        number(
            "unmap_and_replace",
            grant::op(GnttabOp::UNMAP_AND_REPLACE, &mut arg),
            0,
        );
        arg.status
    };
    let mapped = table.map(window, HOST, 12);
    same(
        "replace by a bad address",
        replace(window, 0x1000, mapped.handle),
        GntStatus::GENERAL_ERROR,
    );
    same(
        "replace",
        replace(window, spare, mapped.handle),
        GntStatus::OKAY,
    );
    bits("replaced", pages::read::<u64>(window), 0x1111);
    bits("moved away", mmu::leaf(spare).unwrap_or_default().value, 0);
    bits("replaced: marks", table.flags(12), 1);
    let mapped = table.map(spare, HOST, 12);
    same(
        "replace by nothing",
        replace(spare, 0, mapped.handle),
        GntStatus::OKAY,
    );
    bits(
        "nothing is there",
        mmu::leaf(spare).unwrap_or_default().value,
        0,
    );
    let by_entry = mmu::leaf(spare).unwrap_or_default().machine_address;
    let mapped = table.map(by_entry, HOST | PTE, 12);
    same(
        "replace an entry",
        replace(by_entry, window, mapped.handle),
        GntStatus::GENERAL_ERROR,
    );
    same(
        "replace an entry by nothing",
        replace(by_entry, 0, mapped.handle),
        GntStatus::OKAY,
    );
}

fn copies(table: &Table, domain: &Domain) {
    let (window, own) = (pages::take(), pages::take());
    let frame = domain.frames[13];
    same(
        "map the page",
        map(window, frame, mmu::KERNEL_RW, domain.id),
        (0, 1),
    );
    table.offer(13, 1, 0, frame);
    table.offer(14, 1 | 4, 0, frame);
    pages::write(own, 0x1234_5678_u64);
    pages::write(window, 0x9999_u64);
    let mine = mmu::virt_to_mfn(own);
    let copy = |from: (u16, u64), to: (u16, u64), flags: u16| {
        let mut arg = GnttabCopy::new_zeroed();
        arg.source.domid = DomId(from.0);
        arg.source.u.set_gmfn(from.1);
        arg.dest.domid = DomId(to.0);
        arg.dest.u.set_gmfn(to.1);
        (arg.len, arg.flags) = (8, flags);
        number("copy", grant::op(GnttabOp::COPY, &mut arg), 0);
        arg.status
    };
    let theirs = domain.id.0;
    same(
        "copy to a grant",
        copy((0x7ff0, mine), (theirs, 13), 2),
        GntStatus::OKAY,
    );
    bits("copied to a grant", pages::read::<u64>(window), 0x1234_5678);
    pages::write(window, 0x4321_u64);
    same(
        "copy from a grant",
        copy((theirs, 14), (0x7ff0, mine), 1),
        GntStatus::OKAY,
    );
    bits("copied from a grant", pages::read::<u64>(own), 0x4321);
    same(
        "copy to a read-only grant",
        copy((0x7ff0, mine), (theirs, 14), 2),
        GntStatus::GENERAL_ERROR,
    );
    same(
        "copy from a frame of the other's",
        copy((theirs, frame), (0x7ff0, mine), 0),
        GntStatus::PERMISSION_DENIED,
    );
    same(
        "copy to a frame of the other's",
        copy((0x7ff0, mine), (theirs, frame), 0),
        GntStatus::PERMISSION_DENIED,
    );
    same(
        "copy from the other's frame as the own",
        copy((0x7ff0, frame), (0x7ff0, mine), 0),
        GntStatus::BAD_PAGE,
    );
    same(
        "copy from grant to grant",
        copy((theirs, 14), (theirs, 13), 3),
        GntStatus::OKAY,
    );
    same(
        "copy from nobody",
        copy((77, 8), (0x7ff0, mine), 1),
        GntStatus::BAD_DOMAIN,
    );
    same(
        "copy from beyond the table",
        copy((theirs, 512 * 4), (0x7ff0, mine), 1),
        GntStatus::BAD_GNTREF,
    );
    bits(
        "no marks are left",
        table.flags(13) | table.flags(14),
        1 | 4,
    );
    same("unmap the page", map(window, 0, 0, DomId::SELF), (0, 1));
}

fn flushes(table: &Table, domain: &Domain) {
    let frame = domain.frames[10];
    let flush = |address: u64, offset: u16, length: u16, op: u32| {
        let mut arg = GnttabCacheFlush::new_zeroed();
        arg.a = GnttabCacheFlushA::from_dev_bus_addr(address);
        (arg.offset, arg.length, arg.op) = (offset, length, op);
        grant::op(GnttabOp::CACHE_FLUSH, &mut arg)
    };
    let own = mmu::virt_to_mfn(pages::take()) << 12;
    number("flush", flush(own, 0, 64, 1), 0);
    number("flush and invalidate", flush(own, 0, 64, 3), 0);
    error("invalidate", flush(own, 0, 64, 2), Errno::EOPNOTSUPP);
    number("flush of nothing", flush(own, 0, 0, 1), 0);
    number("no flush", flush(own, 0, 64, 0), 0);
    error(
        "flush by reference",
        flush(8, 0, 64, 1 | 1 << 31),
        Errno::EINVAL,
    );
    error("unknown flush", flush(own, 0, 64, 4), Errno::EINVAL);
    error(
        "flush beyond the page",
        flush(own, 4090, 64, 1),
        Errno::EINVAL,
    );
    error(
        "flush behind the page",
        flush(own, 4096, 0, 1),
        Errno::EINVAL,
    );
    error(
        "flush of no memory",
        flush(0xfd00_0000, 0, 64, 1),
        Errno::EINVAL,
    );
    error(
        "flush of the other's page",
        flush(frame << 12, 0, 64, 1),
        Errno::EINVAL,
    );
    let window = pages::take();
    let mapped = table.map(window, HOST | READ_ONLY, 8);
    number(
        "flush of the other's mapped page",
        flush(frame << 12, 0, 64, 1),
        0,
    );
    same("unmap", unmap(window, 0, mapped.handle), GntStatus::OKAY);
}
