//! `mmu_update`: commands, owners, counts, and what each kind of page takes.

use pv_guest_shim::hypercall_abi::errno::Errno;
use pv_guest_shim::hypercall_abi::xen::{DomId, HypercallNr, MmuUpdate};
use pv_guest_shim::mmu;

use super::{LOOSE, entry, frame, leaf, set_writable};
use crate::call::{BAD_POINTERS, call, mmu_update, update_va};
use crate::pages;
use crate::report::{bits, error, number, same};

/// The checks.
pub fn run() {
    arguments();
    commands();
    owners();
    upper_levels();
    preserved_bits();
}

fn one(ptr: u64, val: u64) -> (i64, u32) {
    mmu_update(&[MmuUpdate { ptr, val }], DomId::SELF)
}

fn failed(errno: Errno) -> (i64, u32) {
    (-(errno as i64), 0)
}

fn arguments() {
    let list = pages::take();
    let done = pages::take();
    let update = |list: u64, count: u64, done: u64, foreign: u64| {
        call(HypercallNr::MMU_UPDATE, [list, count, done, foreign])
    };
    pages::write(done, 0x55_u64);
    number("mmu_update of nothing", update(list, 0, done, 0x7ff0), 0);
    bits("mmu_update of nothing: done", pages::read::<u64>(done), 0);
    number(
        "mmu_update of nothing without done",
        update(0, 0, 0, 0x7ff0),
        0,
    );
    for (kind, pointer) in BAD_POINTERS {
        pages::write(done, 0x55_u32);
        error(
            format_args!("mmu_update at {kind} pointer"),
            update(pointer, 1, done, 0x7ff0),
            Errno::EFAULT,
        );
        let expected = if matches!(kind, "hypervisor" | "non-canonical" | "end") {
            pages::read::<u32>(done)
        } else {
            0
        };
        bits(
            format_args!("mmu_update at {kind} pointer: done"),
            pages::read::<u32>(done),
            expected,
        );
    }
    let page = pages::take();
    pages::write(
        list,
        MmuUpdate {
            ptr: frame(page) << 12,
            val: 7,
        },
    );
    number("mmu_update without done", update(list, 1, 0, 0x7ff0), 0);
    bits(
        "mmu_update without done: value",
        pages::read::<u64>(page),
        7,
    );
    number(
        "mmu_update count is 32 bits",
        update(list, 1 << 32, 0, 0x7ff0),
        0,
    );
    number(
        "mmu_update owner is 32 bits",
        update(list, 1, 0, 1 << 32 | 0x7ff0),
        0,
    );
    number(
        "mmu_update with a bad done",
        update(list, 1, 0xffff_8300_0000_0000, 0x7ff0),
        0,
    );
    let read_only = pages::take();
    set_writable(read_only, false);
    let result = update(list, 1, read_only, 0x7ff0);
    number("mmu_update with a read-only done", result, 0);
    set_writable(read_only, true);
}

fn commands() {
    let page = pages::take();
    let machine = frame(page) << 12;
    same("store to a plain page", one(machine + 8, 0x1234), (0, 1));
    bits(
        "store to a plain page: value",
        pages::read::<u64>(page + 8),
        0x1234,
    );
    same(
        "store with A and D kept",
        one((machine + 8) | 2, 0x55),
        (0, 1),
    );
    bits(
        "store with A and D kept: value",
        pages::read::<u64>(page + 8),
        0x55,
    );
    same(
        "store without translation",
        one((machine + 8) | 3, 0x56),
        (0, 1),
    );
    for command in 4..8 {
        same(
            format_args!("command {command}"),
            one(machine + command, 1),
            failed(Errno::ENOSYS),
        );
    }
    let pfn = mmu::virt_to_pfn(page);
    same("frame table entry", one(machine | 1, 0x7777), (0, 1));
    bits(
        "frame table entry: value",
        mmu::mfn_to_pfn(frame(page)),
        0x7777,
    );
    same("frame table entry is back", one(machine | 1, pfn), (0, 1));
    bits(
        "frame table entry is back: value",
        mmu::mfn_to_pfn(frame(page)),
        pfn,
    );
    for (name, mfn) in [
        ("nothing", 1 << 38),
        ("all ones", u64::MAX >> 12),
        ("the interrupt controller", 0xfee00),
        ("device memory", 0xb8),
    ] {
        same(
            format_args!("frame table entry of {name}"),
            one(mfn << 12 | 1, 0),
            failed(Errno::EINVAL),
        );
        same(
            format_args!("store to {name}"),
            one(mfn << 12, 0),
            failed(Errno::EINVAL),
        );
    }
    let target = leaf(page);
    same(
        "same entry",
        one(target.machine_address, target.value),
        (0, 1),
    );
    let good = MmuUpdate {
        ptr: machine,
        val: 1,
    };
    let bad = MmuUpdate {
        ptr: machine | 4,
        val: 1,
    };
    same(
        "failure in the middle",
        mmu_update(&[good, good, bad, good], DomId::SELF),
        (-(Errno::ENOSYS as i64), 2),
    );
    same("several", mmu_update(&[good; 40], DomId::SELF), (0, 40));
    same(
        "refused entry behind a taken one",
        mmu_update(
            &[
                good,
                MmuUpdate {
                    ptr: target.machine_address,
                    val: mmu::boot_root() << 12 | mmu::KERNEL_RW,
                },
            ],
            DomId::SELF,
        ),
        (-(Errno::EBUSY as i64), 1),
    );
}

fn owners() {
    let page = pages::take();
    let target = leaf(page);
    let store = MmuUpdate {
        ptr: target.machine_address,
        val: target.value,
    };
    let with = |domain: u16| mmu_update(&[store], DomId(domain));
    same("owner self", with(0x7ff0), (0, 1));
    // Whether `done` is written here is not told by the result.
    error("owner by the own number", with(0).0, Errno::ESRCH);
    error("owner nobody", with(77).0, Errno::ESRCH);
    error("owner of copies", with(0x7ff3).0, Errno::ESRCH);
    error("owner invalid", with(0x7ff4).0, Errno::ESRCH);
    error("owner idle", with(0x7fff).0, Errno::ESRCH);
    let list = pages::take();
    pages::write(list, store);
    let update = |foreign: u64| call(HypercallNr::MMU_UPDATE, [list, 1, 0, foreign]);
    number("table of the own number", update(1 << 16 | 0x7ff0), 0);
    error("table of nobody", update(78 << 16 | 0x7ff0), Errno::ESRCH);
    error(
        "table of self by the special number",
        update(0x7ff1 << 16 | 0x7ff0),
        Errno::ESRCH,
    );
    same(
        "device memory of the device owner",
        mmu_update(
            &[MmuUpdate {
                ptr: target.machine_address,
                val: 0xb_8000 | mmu::KERNEL_RW,
            }],
            DomId::IO,
        ),
        (0, 1),
    );
    same("memory is back", with(0x7ff0), (0, 1));
    same(
        "own memory of the device owner",
        mmu_update(
            &[MmuUpdate {
                ptr: target.machine_address,
                val: entry(pages::take(), mmu::KERNEL_RW),
            }],
            DomId::IO,
        ),
        failed(Errno::EBUSY),
    );
    number("memory stays", update_va(page, target.value, 2), 0);
}

fn upper_levels() {
    let page = pages::take();
    let root = mmu::boot_root();
    for slot in [256, 257, 260, 271] {
        same(
            format_args!("hypervisor's slot {slot}"),
            one((root << 12) | (slot * 8), 0),
            failed(Errno::EINVAL),
        );
        same(
            format_args!("hypervisor's slot {slot} with an entry"),
            one((root << 12) | (slot * 8), entry(page, 7)),
            failed(Errno::EINVAL),
        );
    }
    for slot in [0, 255, 272, 510] {
        same(
            format_args!("empty slot {slot}"),
            one((root << 12) | (slot * 8), 0),
            (0, 1),
        );
        same(
            format_args!("absent slot {slot}"),
            one((root << 12) | (slot * 8), 0xff_fffe),
            (0, 1),
        );
        same(
            format_args!("empty slot {slot} again"),
            one((root << 12) | (slot * 8), 0),
            (0, 1),
        );
    }
    for level in 2..=4 {
        let target = mmu::entry(root, page, level).unwrap_or_default();
        same(
            format_args!("same entry of level {level}"),
            one(target.machine_address, target.value),
            (0, 1),
        );
        same(
            format_args!("level {level} without USER"),
            one(target.machine_address, target.value & !mmu::USER),
            (0, 1),
        );
        let now = mmu::entry(root, page, level).unwrap_or_default();
        bits(
            format_args!("level {level} gets USER"),
            now.value & mmu::USER,
            mmu::USER,
        );
        same(
            format_args!("level {level} with available bits"),
            one(target.machine_address, target.value | 7 << 9 | 0x7ff << 52),
            (0, 1),
        );
        same(
            format_args!("level {level} as before"),
            one(target.machine_address, target.value),
            (0, 1),
        );
        for (name, flags) in [
            ("PSE", mmu::PSE),
            ("GLOBAL", mmu::GLOBAL),
            ("PWT", mmu::PWT),
            ("PCD", mmu::PCD),
        ] {
            same(
                format_args!("level {level} with {name}"),
                one(target.machine_address, target.value | flags),
                failed(Errno::EINVAL),
            );
        }
        for (name, value) in [
            ("a plain page", entry(page, 7)),
            ("nothing", 1 << 38 | 7),
            ("all ones", mmu::ADDRESS_MASK | 7),
            ("device memory", 0xb_8007),
            ("the interrupt controller", 0xfee0_0007),
            ("the root", root << 12 | 7),
        ] {
            if level == 4 && name == "the root" {
                continue;
            }
            same(
                format_args!("level {level} with {name}"),
                one(target.machine_address, value),
                failed(Errno::EINVAL),
            );
        }
        let free = target.machine_address & !0xfff | if level == 4 { 3 * 8 } else { 511 * 8 };
        let free = if level == 3 {
            target.machine_address & !0xfff
        } else {
            free
        };
        same(
            format_args!("free entry of level {level} with PSE"),
            one(free, entry(page, 7 | mmu::PSE)),
            failed(Errno::EINVAL),
        );
        same(
            format_args!("free entry of level {level} with a plain page"),
            one(free, entry(page, 7)),
            failed(Errno::EINVAL),
        );
        let now = mmu::entry(root, page, level).unwrap_or_default();
        bits(
            format_args!("level {level} is as before"),
            now.value & !LOOSE,
            target.value & !LOOSE,
        );
    }
}

fn preserved_bits() {
    let page = pages::take();
    let target = leaf(page);
    let clean = target.value & !LOOSE;
    same(
        "entry without A and D",
        one(target.machine_address, clean),
        (0, 1),
    );
    bits("entry without A and D: value", leaf(page).value & LOOSE, 0);
    update_va(page, clean, 2);
    pages::write(page, 1_u64);
    bits("processor sets A and D", leaf(page).value & LOOSE, LOOSE);
    same(
        "entry with A and D kept",
        one(target.machine_address | 2, clean),
        (0, 1),
    );
    bits("A and D are kept", leaf(page).value & LOOSE, LOOSE);
    same("entry as given", one(target.machine_address, clean), (0, 1));
    bits("A and D are gone", leaf(page).value & LOOSE, 0);
    same(
        "entry is back",
        one(target.machine_address, target.value),
        (0, 1),
    );
}
