//! `memory_op`: reservations, exchanges, maps, and the domain that asks for itself.

mod balloon;
mod exchange;

use pv_guest_shim::hypercall_abi::errno::Errno;
use pv_guest_shim::hypercall_abi::guest_handle::GuestHandle;
use pv_guest_shim::hypercall_abi::memory::{MachphysMapping, MemoryReservation};
use pv_guest_shim::hypercall_abi::xen::{DomId, HypercallNr, StartInfo};
use pv_guest_shim::mmu;

use crate::call::{BAD_POINTERS, call};
use crate::pages;
use crate::report::{bits, error, holds, number, same};

/// The area.
pub fn run(info: &'static StartInfo) {
    arguments();
    sizes(info);
    machine();
    balloon::run(info);
    exchange::run(info);
    not_for_pv();
}

fn op(op: u64, argument: u64) -> i64 {
    call(HypercallNr::MEMORY_OP, [op, argument])
}

fn arguments() {
    let page = pages::take();
    for number in [8, 29, 30, 31, 63] {
        error(
            format_args!("memory_op {number}"),
            op(number, page),
            Errno::ENOSYS,
        );
    }
    for (kind, pointer) in BAD_POINTERS {
        for number in [3, 4, 5, 9, 10, 11, 12, 14] {
            error(
                format_args!("memory_op {number} at {kind} pointer"),
                op(number, pointer),
                Errno::EFAULT,
            );
        }
        for number in [0, 1, 6] {
            self::number(
                format_args!("memory_op {number} at {kind} pointer"),
                op(number, pointer),
                0,
            );
            self::number(
                format_args!("memory_op {number} from extent 7 at {kind} pointer"),
                op(number | 7 << 6, pointer),
                7,
            );
        }
    }
}

fn sizes(info: &'static StartInfo) {
    let page = pages::take();
    let of = |number: u64, domain: u16| {
        pages::write(page, domain);
        op(number, page)
    };
    number("current_reservation", of(3, 0x7ff0), info.nr_pages as i64);
    number(
        "current_reservation by the own number",
        of(3, 0),
        info.nr_pages as i64,
    );
    holds(
        "maximum_reservation",
        of(4, 0x7ff0),
        of(4, 0x7ff0) >= info.nr_pages as i64,
    );
    for (name, domain) in [("nobody", 77), ("no domain", 0x7ff4)] {
        for number in [3, 4, 14] {
            error(
                format_args!("memory_op {number} of {name}"),
                of(number, domain),
                Errno::ESRCH,
            );
        }
    }
    let highest = (0..info.nr_pages)
        .filter_map(mmu::pfn_to_mfn)
        .max()
        .unwrap_or(0);
    holds("maximum_ram_page", op(2, 0), op(2, 0) > highest as i64);
    let max_pfn = core::mem::offset_of!(pv_guest_shim::hypercall_abi::xen::SharedInfo, arch);
    let word = pv_guest_shim::shared::word(max_pfn);
    word.store(0x1234, core::sync::atomic::Ordering::Relaxed);
    number(
        "maximum_gpfn is what the guest says",
        of(14, 0x7ff0),
        0x1233,
    );
    word.store(0, core::sync::atomic::Ordering::Relaxed);
    number("maximum_gpfn of nothing", of(14, 0x7ff0), 0);
    number("shared pages", op(19, 0), 0);
    number("pages freed by sharing", op(18, 0), 0);
}

fn machine() {
    let page = pages::take();
    number("machphys_mapping", op(12, page), 0);
    let mapping: MachphysMapping = pages::read(page);
    same(
        "machphys_mapping: range",
        (mapping.v_start, mapping.v_end),
        (0xffff_8000_0000_0000, 0xffff_8040_0000_0000),
    );
    number(
        "machphys_mapping: last frame",
        mapping.max_mfn as i64 + 1,
        op(2, 0),
    );
    let buffer = pages::take();
    let map = |number: u64, entries: u32, buffer: u64| {
        pages::write(page, u64::from(entries));
        pages::write(page + 8, buffer);
        (op(number, page), pages::read::<u32>(page))
    };
    let (result, count) = map(10, 200, buffer);
    number("machine_memory_map", result, 0);
    holds(
        "machine_memory_map: entries",
        count,
        (3..199).contains(&count),
    );
    let at = |index: u64| {
        (
            pages::read::<u64>(buffer + index * 20),
            pages::read::<u32>(buffer + index * 20 + 16),
        )
    };
    same("machine_memory_map: first entry", at(0), (0, 1));
    let sorted = (1..u64::from(count)).all(|index| at(index).0 > at(index - 1).0);
    same("machine_memory_map is sorted", sorted, true);
    number(
        "machine_memory_map with one to spare",
        map(10, count + 1, buffer).0,
        0,
    );
    error(
        "machine_memory_map with none to spare",
        map(10, count, buffer).0,
        Errno::EINVAL,
    );
    error(
        "machine_memory_map of nothing",
        map(10, 0, buffer).0,
        Errno::EINVAL,
    );
    number("machine_memory_map to nowhere", map(10, 200, 0).0, 0);
    error(
        "machine_memory_map to a bad pointer",
        map(10, 200, 0xffff_8300_0000_0000).0,
        Errno::EFAULT,
    );
    error("memory_map", map(9, 200, buffer).0, Errno::ENOSYS);
    pages::write(page, 4_u64);
    pages::write(page + 8, buffer);
    pages::write(page + 16, 0_u64);
    number("machphys_mfn_list", op(5, page), 0);
    holds(
        "machphys_mfn_list: extents",
        pages::read::<u32>(page + 16),
        (1..=4).contains(&pages::read::<u32>(page + 16)),
    );
    bits(
        "machphys_mfn_list: first frame of 2 MiB",
        pages::read::<u64>(buffer) & 0x1ff,
        0,
    );
    pages::write(page, 0_u64);
    number("machphys_mfn_list of nothing", op(5, page), 0);
    bits(
        "machphys_mfn_list of nothing: extents",
        pages::read::<u32>(page + 16),
        0,
    );
}

fn reservation(list: u64, count: u64, order: u32, domain: u16) -> MemoryReservation {
    MemoryReservation {
        extent_start: GuestHandle::from_addr(list),
        nr_extents: count,
        extent_order: order,
        mem_flags: 0,
        domid: DomId(domain),
        _pad: [0; 6],
    }
}

fn reserve(number: u64, argument: u64, reservation: MemoryReservation) -> i64 {
    pages::write(argument, reservation);
    op(number, argument)
}

/// Writes the kernel's own entry for a page whose frame changed.
fn set_p2m(info: &'static StartInfo, page: u64, mfn: u64) {
    crate::call::set_p2m(info, mmu::virt_to_pfn(page), mfn);
}

fn size(argument: u64) -> i64 {
    pages::write(argument, 0x7ff0_u16);
    op(3, argument)
}

/// Operations for guests whose addresses are translated.
fn not_for_pv() {
    let page = pages::take();
    // add_to_physmap: domid, size, space, idx, gpfn.
    for space in [0_u32, 1, 2, 3] {
        pages::write(page, 0x7ff0_u32);
        pages::write(page + 4, space);
        error(
            format_args!("add_to_physmap of space {space}"),
            op(7, page),
            Errno::EACCES,
        );
    }
    pages::write(page, 0x7ff0_u64);
    pages::write(page + 8, 0_u64);
    error("remove_from_physmap", op(15, page), Errno::EACCES);
    // acquire_resource: domid, type, id, nr_frames, pad, frame, frame_list.
    let acquire = |domain: u16, kind: u16| {
        pages::write(page, domain);
        pages::write(page + 2, kind);
        pages::write(page + 4, 0_u32);
        pages::write(page + 8, 1_u64);
        pages::write(page + 16, 0_u64);
        pages::write(page + 24, page + 64);
        op(28, page)
    };
    error(
        "acquire_resource of oneself",
        acquire(0x7ff0, 1),
        Errno::ESRCH,
    );
    error(
        "acquire_resource of the own number",
        acquire(0, 1),
        Errno::EPERM,
    );
    error("acquire_resource of nobody", acquire(77, 1), Errno::ESRCH);
    for (kind, pointer) in BAD_POINTERS {
        for number in [7, 15, 26, 27, 28] {
            error(
                format_args!("memory_op {number} at {kind} pointer"),
                op(number, pointer),
                Errno::EFAULT,
            );
        }
    }
}
