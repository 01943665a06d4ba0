//! `memory_op`: reservations, exchanges, maps, and the domain that asks for itself.

use pv_guest_shim::hypercall_abi::errno::Errno;
use pv_guest_shim::hypercall_abi::guest_handle::GuestHandle;
use pv_guest_shim::hypercall_abi::memory::{MachphysMapping, MemoryExchange, MemoryReservation};
use pv_guest_shim::hypercall_abi::xen::{DomId, HypercallNr, MmuextCmd, StartInfo};
use pv_guest_shim::mmu;

use crate::call::{BAD_POINTERS, call, frame_op, update_va};
use crate::pages;
use crate::report::{bits, error, holds, number, same};

/// The area.
pub fn run(info: &'static StartInfo) {
    arguments();
    sizes(info);
    machine();
    balloon(info);
    increase();
    exchange(info);
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

fn balloon(info: &'static StartInfo) {
    let (argument, list, page) = (pages::take(), pages::take(), pages::take());
    let before = size(argument);
    let pfn = mmu::virt_to_pfn(page);
    let mfn = mmu::virt_to_mfn(page);
    pages::write(list, mfn);
    pages::write(list + 8, 1_u64 << 38);
    number(
        "decrease of nothing",
        reserve(1, argument, reservation(list, 0, 0, 0x7ff0)),
        0,
    );
    number(
        "decrease for nobody",
        reserve(1, argument, reservation(list, 1, 0, 77)),
        0,
    );
    number(
        "decrease from a bad list",
        reserve(
            1,
            argument,
            reservation(0xffff_8300_0000_0000, 1, 0, 0x7ff0),
        ),
        0,
    );
    number(
        "decrease from no list",
        reserve(1, argument, reservation(0, 1, 0, 0x7ff0)),
        0,
    );
    pages::write(argument, reservation(list, 3, 0, 0x7ff0));
    number("decrease from extent 5 of 3", op(1 | 5 << 6, argument), 5);
    for (name, frame) in [
        ("nothing", 1 << 38),
        ("all ones", u64::MAX),
        ("device memory", 0xfee00),
    ] {
        pages::write(list, frame);
        number(
            format_args!("decrease of {name}"),
            reserve(1, argument, reservation(list, 1, 0, 0x7ff0)),
            0,
        );
    }
    number("size is as before", size(argument), before);
    pages::write(list, mfn);
    update_va(page, 0, 2);
    number(
        "decrease of one and a bad one",
        reserve(1, argument, reservation(list, 2, 0, 0x7ff0)),
        1,
    );
    number("size is one less", size(argument), before - 1);
    bits("frame table says invalid", mmu::mfn_to_pfn(mfn), u64::MAX);
    error(
        "frame is not ours",
        update_va(page, mfn << 12 | mmu::KERNEL_RW, 2),
        Errno::EBUSY,
    );
    number(
        "decrease of what went",
        reserve(1, argument, reservation(list, 1, 0, 0x7ff0)),
        0,
    );
    pages::write(list, pfn);
    number(
        "populate",
        reserve(6, argument, reservation(list, 1, 0, 0x7ff0)),
        1,
    );
    let new = pages::read::<u64>(list);
    number("size is as at first", size(argument), before);
    bits("frame table has the new frame", mmu::mfn_to_pfn(new), pfn);
    number(
        "new frame is mapped",
        update_va(page, new << 12 | mmu::KERNEL_RW, 2),
        0,
    );
    set_p2m(info, page, new);
    let empty = (0..512).all(|at| pages::read::<u64>(page + at * 8) == 0);
    same("new frame is zero", empty, true);
    for order in [19, 20, 63, 0xffff_ffff] {
        number(
            format_args!("populate of order {order}"),
            reserve(6, argument, reservation(list, 1, order, 0x7ff0)),
            0,
        );
        number(
            format_args!("decrease of order {order}"),
            reserve(1, argument, reservation(list, 1, order, 0x7ff0)),
            0,
        );
    }
    number(
        "populate for nobody",
        reserve(6, argument, reservation(list, 1, 0, 77)),
        0,
    );
    number(
        "populate of nothing",
        reserve(6, argument, reservation(list, 0, 0, 0x7ff0)),
        0,
    );
    number(
        "populate from a bad list",
        reserve(
            6,
            argument,
            reservation(0xffff_8300_0000_0000, 1, 0, 0x7ff0),
        ),
        0,
    );
    // A mapped frame leaves the domain at once, but stays until the mapping goes.
    let mfn = new;
    pages::write(page, 0x77_u64);
    pages::write(list, mfn);
    number(
        "decrease of a mapped frame",
        reserve(1, argument, reservation(list, 1, 0, 0x7ff0)),
        1,
    );
    bits("mapped frame can be read", pages::read::<u64>(page), 0x77);
    bits("mapped frame: frame table", mmu::mfn_to_pfn(mfn), pfn);
    number("mapping goes", update_va(page, 0, 2), 0);
    bits(
        "frame without mapping: frame table",
        mmu::mfn_to_pfn(mfn),
        u64::MAX,
    );
    number("size behind the mapping", size(argument), before - 1);
    pages::write(list, pfn);
    number(
        "populate again",
        reserve(6, argument, reservation(list, 1, 0, 0x7ff0)),
        1,
    );
    let new = pages::read::<u64>(list);
    number(
        "mapping comes back",
        update_va(page, new << 12 | mmu::KERNEL_RW, 2),
        0,
    );
    set_p2m(info, page, new);
    number("pinned page", table_that_goes(info, argument, list), 0);
}

/// A pinned table can leave the domain too: the pin keeps the frame.
fn table_that_goes(info: &'static StartInfo, argument: u64, list: u64) -> i64 {
    let page = pages::take();
    let mfn = mmu::virt_to_mfn(page);
    update_va(page, mfn << 12 | mmu::KERNEL_RO, 2);
    number(
        "pin before the decrease",
        frame_op(MmuextCmd::PIN_L1_TABLE, mfn),
        0,
    );
    pages::write(list, mfn);
    number(
        "decrease of a pinned table",
        reserve(1, argument, reservation(list, 1, 0, 0x7ff0)),
        1,
    );
    number("mapping of the table goes", update_va(page, 0, 2), 0);
    let pfn = mmu::virt_to_pfn(page);
    pages::write(list, pfn);
    number(
        "populate behind the table",
        reserve(6, argument, reservation(list, 1, 0, 0x7ff0)),
        1,
    );
    let new = pages::read::<u64>(list);
    set_p2m(info, page, new);
    update_va(page, new << 12 | mmu::KERNEL_RW, 2)
}

fn increase() {
    let (argument, list) = (pages::take(), pages::take());
    let before = size(argument);
    pages::write(list, 0_u64);
    number(
        "increase",
        reserve(0, argument, reservation(list, 1, 0, 0x7ff0)),
        1,
    );
    let mfn = pages::read::<u64>(list);
    holds("increase: frame", mfn, mfn != 0);
    number("increase: size", size(argument), before + 1);
    number(
        "increase is undone",
        reserve(1, argument, reservation(list, 1, 0, 0x7ff0)),
        1,
    );
    number(
        "increase without a list",
        reserve(0, argument, reservation(0, 1, 0, 0x7ff0)),
        1,
    );
    number(
        "increase of nothing",
        reserve(0, argument, reservation(list, 0, 0, 0x7ff0)),
        0,
    );
    number(
        "increase for nobody",
        reserve(0, argument, reservation(list, 1, 0, 77)),
        0,
    );
    number(
        "increase of order 19",
        reserve(0, argument, reservation(list, 1, 19, 0x7ff0)),
        0,
    );
}

fn exchange(info: &'static StartInfo) {
    let [argument, inputs, outputs, first, second] = core::array::from_fn(|_| pages::take());
    let before = size(argument);
    let with = |input: MemoryReservation, output: MemoryReservation| {
        pages::write(
            argument,
            MemoryExchange {
                r#in: input,
                out: output,
                nr_exchanged: 0,
            },
        );
        let result = op(11, argument);
        (result, pages::read::<MemoryExchange>(argument).nr_exchanged)
    };
    let fails = |errno: Errno| (-(errno as i64), 0);
    let one = |list| reservation(list, 1, 0, 0x7ff0);
    pages::write(inputs, mmu::virt_to_mfn(first));
    pages::write(outputs, mmu::virt_to_pfn(first));
    same(
        "exchange of a mapped frame",
        with(one(inputs), one(outputs)),
        fails(Errno::EINVAL),
    );
    same(
        "exchange with other sizes",
        with(one(inputs), reservation(outputs, 2, 0, 0x7ff0)),
        fails(Errno::EINVAL),
    );
    same(
        "exchange with other orders",
        with(one(inputs), reservation(outputs, 1, 1, 0x7ff0)),
        fails(Errno::EINVAL),
    );
    same(
        "exchange between domains",
        with(one(inputs), reservation(outputs, 1, 0, 0)),
        fails(Errno::EINVAL),
    );
    same(
        "exchange for nobody",
        with(
            reservation(inputs, 1, 0, 77),
            reservation(outputs, 1, 0, 77),
        ),
        fails(Errno::ESRCH),
    );
    same(
        "exchange of order 19",
        with(
            reservation(inputs, 1, 19, 0x7ff0),
            reservation(outputs, 1, 19, 0x7ff0),
        ),
        fails(Errno::EPERM),
    );
    same(
        "exchange from a bad list",
        with(one(0xffff_8300_0000_0000), one(outputs)),
        fails(Errno::EFAULT),
    );
    same(
        "exchange of nothing",
        with(
            reservation(inputs, 0, 0, 0x7ff0),
            reservation(outputs, 0, 0, 0x7ff0),
        ),
        (0, 0),
    );
    update_va(first, 0, 0);
    let narrow = MemoryReservation {
        mem_flags: 13,
        ..one(outputs)
    };
    same(
        "exchange for an address that is too low",
        with(one(inputs), narrow),
        fails(Errno::ENOMEM),
    );
    number(
        "frame is still ours",
        update_va(first, mmu::virt_to_mfn(first) << 12 | mmu::KERNEL_RW, 2),
        0,
    );
    update_va(first, 0, 0);
    same("exchange", with(one(inputs), one(outputs)), (0, 1));
    let new = pages::read::<u64>(outputs);
    bits(
        "exchange: frame table",
        mmu::mfn_to_pfn(new),
        mmu::virt_to_pfn(first),
    );
    number(
        "exchange: mapping",
        update_va(first, new << 12 | mmu::KERNEL_RW, 2),
        0,
    );
    set_p2m(info, first, new);
    number("exchange: size", size(argument), before);
    pages::write(inputs, 1_u64 << 38);
    same(
        "exchange of no frame",
        with(one(inputs), one(outputs)),
        fails(Errno::EINVAL),
    );
    // Two single frames for a pair.
    update_va(first, 0, 0);
    update_va(second, 0, 0);
    pages::write(inputs, mmu::virt_to_mfn(first));
    pages::write(inputs + 8, mmu::virt_to_mfn(second));
    pages::write(outputs, mmu::virt_to_pfn(first));
    let pair = with(
        reservation(inputs, 2, 0, 0x7ff0),
        reservation(outputs, 1, 1, 0x7ff0),
    );
    same("exchange for a pair", pair, (0, 2));
    let new = pages::read::<u64>(outputs);
    same(
        "pair: frame table",
        (mmu::mfn_to_pfn(new), mmu::mfn_to_pfn(new + 1)),
        (mmu::virt_to_pfn(first), mmu::virt_to_pfn(first) + 1),
    );
    bits("pair is aligned", new & 1, 0);
    for (page, mfn) in [(first, new), (second, new + 1)] {
        number(
            "pair: mapping",
            update_va(page, mfn << 12 | mmu::KERNEL_RW, 2),
            0,
        );
        set_p2m(info, page, mfn);
    }
    // And back.
    update_va(first, 0, 0);
    update_va(second, 0, 0);
    pages::write(inputs, new);
    pages::write(outputs, mmu::virt_to_pfn(first));
    pages::write(outputs + 8, mmu::virt_to_pfn(second));
    let single = with(
        reservation(inputs, 1, 1, 0x7ff0),
        reservation(outputs, 2, 0, 0x7ff0),
    );
    same("exchange of a pair", single, (0, 1));
    for (at, page) in (0..).zip([first, second]) {
        let mfn = pages::read::<u64>(outputs + at * 8);
        bits(
            "singles: frame table",
            mmu::mfn_to_pfn(mfn),
            mmu::virt_to_pfn(page),
        );
        number(
            "singles: mapping",
            update_va(page, mfn << 12 | mmu::KERNEL_RW, 2),
            0,
        );
        set_p2m(info, page, mfn);
    }
    number("size at last", size(argument), before);
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
