//! Frames that leave the domain and come back.

use pv_guest_shim::hypercall_abi::errno::Errno;
use pv_guest_shim::hypercall_abi::xen::{MmuextCmd, StartInfo};
use pv_guest_shim::mmu;

use crate::call::{frame_op, update_va};
use crate::pages;
use crate::report::{bits, error, holds, number, same};

use super::{op, reservation, reserve, set_p2m, size};

/// The checks.
pub fn run(info: &'static StartInfo) {
    balloon(info);
    increase();
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
