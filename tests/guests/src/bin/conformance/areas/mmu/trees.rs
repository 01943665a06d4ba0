//! Whole tables: pins, promotion of trees, roots, and what a table may hold.

use pv_guest_shim::hypercall_abi::errno::Errno;
use pv_guest_shim::hypercall_abi::xen::{DomId, MmuUpdate, MmuextCmd};
use pv_guest_shim::mmu;
use pv_guest_shim::traps::Registers;

use super::{LOOSE, entry, frame, set_writable};
use crate::call::{frame_op, mmu_update, run as run_code, trap_of, update_va};
use crate::report::{bits, error, number, same};
use crate::{code, pages};

const PINS: [MmuextCmd; 4] = [
    MmuextCmd::PIN_L1_TABLE,
    MmuextCmd::PIN_L2_TABLE,
    MmuextCmd::PIN_L3_TABLE,
    MmuextCmd::PIN_L4_TABLE,
];

/// The checks.
pub fn run() {
    pins();
    contents();
    tree();
    roots();
}

fn pin(level: usize, page: u64) -> i64 {
    frame_op(PINS[level - 1], frame(page))
}

fn unpin(page: u64) -> i64 {
    frame_op(MmuextCmd::UNPIN_TABLE, frame(page))
}

fn pins() {
    for level in 1..=4 {
        let table = pages::take();
        error(
            format_args!("pin {level} of a writable page"),
            pin(level, table),
            Errno::EINVAL,
        );
        number("page becomes read-only", set_writable(table, false), 0);
        number(format_args!("pin {level}"), pin(level, table), 0);
        error(
            format_args!("pin {level} twice"),
            pin(level, table),
            Errno::EINVAL,
        );
        for other in 1..=4 {
            if other != level {
                error(
                    format_args!("pin {other} of a level {level} table"),
                    pin(other, table),
                    Errno::EINVAL,
                );
            }
        }
        error(
            format_args!("write right on a pinned level {level} table"),
            set_writable(table, true),
            Errno::EBUSY,
        );
        let second = pages::take();
        error(
            format_args!("writable alias of a pinned level {level} table"),
            update_va(second, entry(table, mmu::KERNEL_RW), 2),
            Errno::EBUSY,
        );
        number(format_args!("unpin {level}"), unpin(table), 0);
        error(
            format_args!("unpin {level} twice"),
            unpin(table),
            Errno::EINVAL,
        );
        number(
            format_args!("write right on an unpinned level {level} table"),
            set_writable(table, true),
            0,
        );
    }
    for (name, mfn) in [
        ("nothing", 1 << 38),
        ("all ones", u64::MAX),
        ("device memory", 0xb8),
        ("the interrupt controller", 0xfee00),
    ] {
        for cmd in PINS {
            error(
                format_args!("{cmd:?} of {name}"),
                frame_op(cmd, mfn),
                Errno::EINVAL,
            );
        }
        error(
            format_args!("unpin of {name}"),
            frame_op(MmuextCmd::UNPIN_TABLE, mfn),
            Errno::EINVAL,
        );
    }
    error(
        "pin of the loaded root",
        frame_op(MmuextCmd::PIN_L4_TABLE, mmu::boot_root()),
        Errno::EINVAL,
    );
    number(
        "unpin of the loaded root",
        frame_op(MmuextCmd::UNPIN_TABLE, mmu::boot_root()),
        0,
    );
    number(
        "pin of the loaded root again",
        frame_op(MmuextCmd::PIN_L4_TABLE, mmu::boot_root()),
        0,
    );
}

/// Tables that hold what they may not are not pinned, and nothing of them is kept.
fn contents() {
    let [table, other] = core::array::from_fn(|_| pages::take());
    let busy = Errno::EBUSY;
    let cases: [(usize, &str, u64, Option<Errno>); 17] = [
        (1, "a plain page", entry(other, mmu::KERNEL_RW), None),
        (1, "itself, read-only", entry(table, mmu::KERNEL_RO), None),
        (
            1,
            "itself, writable",
            entry(table, mmu::KERNEL_RW),
            Some(busy),
        ),
        (
            1,
            "the root, writable",
            mmu::boot_root() << 12 | mmu::KERNEL_RW,
            Some(busy),
        ),
        (
            1,
            "the root, read-only",
            mmu::boot_root() << 12 | mmu::KERNEL_RO,
            None,
        ),
        (
            1,
            "the interrupt controller",
            0xfee0_0000 | mmu::KERNEL_RW,
            Some(Errno::EPERM),
        ),
        (
            1,
            "all ones",
            mmu::ADDRESS_MASK | mmu::KERNEL_RW,
            Some(Errno::EINVAL),
        ),
        (1, "no entry, but every bit", u64::MAX - 1, None),
        (1, "device memory", 0xb_8000 | mmu::KERNEL_RW, None),
        (2, "a plain page", entry(other, 7), Some(Errno::EINVAL)),
        (
            2,
            "a large page",
            entry(other, 7 | mmu::PSE),
            Some(Errno::EINVAL),
        ),
        (2, "device memory", 0xb_8007, Some(Errno::EINVAL)),
        (3, "a plain page", entry(other, 7), Some(Errno::EINVAL)),
        (
            3,
            "a large page",
            entry(other, 7 | mmu::PSE),
            Some(Errno::EINVAL),
        ),
        (3, "no entry, but every bit", u64::MAX - 1, None),
        (4, "a plain page", entry(other, 7), Some(Errno::EINVAL)),
        (
            4,
            "a global entry",
            entry(other, 7 | mmu::GLOBAL),
            Some(Errno::EINVAL),
        ),
    ];
    for (level, name, value, errno) in cases {
        for slot in [0, 200, 511] {
            pages::write(table + slot * 8, value);
            set_writable(table, false);
            let expected = errno.map_or(0, |errno| -(errno as i64));
            number(
                format_args!("pin {level} with {name} in slot {slot}"),
                pin(level, table),
                expected,
            );
            if errno.is_none() {
                number("unpin", unpin(table), 0);
            }
            number(
                format_args!("table with {name} is plain again"),
                set_writable(table, true),
                0,
            );
            pages::write(table + slot * 8, 0_u64);
        }
    }
    // A failure behind good entries gives their references back.
    pages::write(table, entry(other, mmu::KERNEL_RW));
    pages::write(table + 8, entry(table, mmu::KERNEL_RW));
    set_writable(table, false);
    error(
        "pin 1 with a bad entry behind a good one",
        pin(1, table),
        Errno::EBUSY,
    );
    set_writable(other, false);
    number(
        "page of the good entry has no other writer",
        pin(1, other),
        0,
    );
    number("unpin", unpin(other), 0);
    set_writable(other, true);
    set_writable(table, true);
    pages::write(table, 0_u64);
    pages::write(table + 8, 0_u64);
    // What is in the hypervisor's slots of a root does not matter, and goes.
    for slot in 256..272 {
        pages::write(table + slot * 8, 0xdead_beef_u64);
    }
    set_writable(table, false);
    number(
        "pin 4 with garbage in the hypervisor's slots",
        pin(4, table),
        0,
    );
    let garbage = (256..272)
        .filter(|slot| pages::read::<u64>(table + slot * 8) == 0xdead_beef)
        .count();
    same("hypervisor's slots are overwritten", garbage, 0);
    number("unpin", unpin(table), 0);
    set_writable(table, true);
}

/// A tree in a free slot of the loaded root.
fn tree() {
    const SLOT: u64 = 100;
    let base = SLOT << 39;
    let [l3, l2, l1, page] = core::array::from_fn(|_| pages::take());
    pages::write(page + 16, 0x4242_u64);
    pages::write(l1 + 5 * 8, entry(page, mmu::PRESENT | mmu::WRITABLE));
    pages::write(l2, entry(l1, mmu::PRESENT | mmu::WRITABLE));
    pages::write(l3, entry(l2, mmu::PRESENT | mmu::WRITABLE));
    let slot = (mmu::boot_root() << 12) | (SLOT * 8);
    let hook = |value| {
        mmu_update(
            &[MmuUpdate {
                ptr: slot,
                val: value,
            }],
            DomId::SELF,
        )
    };
    let whole = entry(l3, mmu::PRESENT | mmu::WRITABLE);
    same(
        "tree of writable tables",
        hook(whole),
        (-(Errno::EINVAL as i64), 0),
    );
    set_writable(l3, false);
    set_writable(l2, false);
    same(
        "tree with a writable leaf table",
        hook(whole),
        (-(Errno::EINVAL as i64), 0),
    );
    set_writable(l1, false);
    same("tree", hook(whole), (0, 1));
    let read = code!("mov rax, [rcx]");
    let value = |address| {
        let mut registers = Registers {
            rcx: address,
            ..Registers::default()
        };
        run_code(read, &mut registers)
            .map_err(|trap| (trap.frame.vector, trap.frame.error_code))
            .map(|()| registers.rax)
    };
    let address = base + 5 * 4096 + 16;
    same("read through the tree", value(address), Ok(0x4242));
    bits(
        "leaf gets USER and the marker",
        pages::read::<u64>(l1 + 5 * 8) & !LOOSE,
        entry(page, 3 | mmu::USER | mmu::GUEST_KERNEL),
    );
    bits(
        "level 2 gets USER",
        pages::read::<u64>(l2) & !LOOSE,
        entry(l1, 7),
    );
    bits(
        "level 3 gets USER",
        pages::read::<u64>(l3) & !LOOSE,
        entry(l2, 7),
    );
    bits(
        "level 4 gets USER and A",
        mmu::entry(mmu::boot_root(), base, 4)
            .unwrap_or_default()
            .value
            & !mmu::DIRTY,
        entry(l3, 7 | mmu::ACCESSED),
    );
    number(
        "update_va_mapping in the tree",
        update_va(base, entry(page, mmu::KERNEL_RO), 2),
        0,
    );
    same("read through a new leaf", value(base + 16), Ok(0x4242));
    for (level, table) in [(1, l1), (2, l2), (3, l3)] {
        error(
            format_args!("write right on a level {level} table in use"),
            set_writable(table, true),
            Errno::EBUSY,
        );
        number(
            format_args!("pin {level} of a table in use"),
            pin(level, table),
            0,
        );
        number(
            format_args!("unpin {level} of a table in use"),
            unpin(table),
            0,
        );
        for other in 1..=4 {
            if other != level {
                error(
                    format_args!("pin {other} of a level {level} table in use"),
                    pin(other, table),
                    Errno::EINVAL,
                );
            }
        }
    }
    // The same leaf table below a second entry.
    let second = MmuUpdate {
        ptr: frame(l2) << 12 | 8,
        val: entry(l1, 7),
    };
    same(
        "leaf table twice",
        mmu_update(&[second], DomId::SELF),
        (0, 1),
    );
    same(
        "read through the second",
        value(address + (2 << 20)),
        Ok(0x4242),
    );
    same(
        "leaf table once",
        mmu_update(&[MmuUpdate { val: 0, ..second }], DomId::SELF),
        (0, 1),
    );
    same(
        "read through the second fails",
        value(address + (2 << 20)),
        Err((14, 0)),
    );
    same("read through the first", value(address), Ok(0x4242));
    same(
        "level 3 table as leaf table",
        mmu_update(
            &[MmuUpdate {
                ptr: frame(l2) << 12 | 16,
                val: entry(l3, 7),
            }],
            DomId::SELF,
        )
        .0,
        -(Errno::EINVAL as i64),
    );
    same(
        "leaf table as level 2 table",
        mmu_update(
            &[MmuUpdate {
                ptr: frame(l3) << 12 | 16,
                val: entry(l1, 7),
            }],
            DomId::SELF,
        )
        .0,
        -(Errno::EINVAL as i64),
    );
    // A middle entry that stays while its leaf table is pinned.
    number("leaf table is pinned", pin(1, l1), 0);
    same("tree goes", hook(0), (0, 1));
    same("read through no tree", value(address), Err((14, 0)));
    number("level 3 table is plain again", set_writable(l3, true), 0);
    number("level 2 table is plain again", set_writable(l2, true), 0);
    error(
        "pinned leaf table is not plain",
        set_writable(l1, true),
        Errno::EBUSY,
    );
    number("unpin of the leaf table", unpin(l1), 0);
    number("leaf table is plain again", set_writable(l1, true), 0);
    let trap = trap_of(code!("mov rax, 0x320000005010", "mov rax, [rax]")).unwrap_or_default();
    bits("address of the tree faults", trap.frame.vector, 14);
}

/// Roots: the kernel may load any level 4 table that maps it.
fn roots() {
    let root = pages::take();
    let old = mmu::boot_root();
    for slot in (0..256).chain(272..512) {
        let value = pages::read::<u64>(mmu::pfn_to_virt(mmu::mfn_to_pfn(old)) + slot * 8);
        pages::write(root + slot * 8, value);
    }
    error(
        "root that is writable",
        frame_op(MmuextCmd::NEW_BASEPTR, frame(root)),
        Errno::EINVAL,
    );
    error(
        "user root that is writable",
        frame_op(MmuextCmd::NEW_USER_BASEPTR, frame(root)),
        Errno::EINVAL,
    );
    for (name, mfn) in [
        ("nothing", 1 << 38),
        ("all ones", u64::MAX),
        ("the interrupt controller", 0xfee00),
    ] {
        error(
            format_args!("root {name}"),
            frame_op(MmuextCmd::NEW_BASEPTR, mfn),
            Errno::EINVAL,
        );
        error(
            format_args!("user root {name}"),
            frame_op(MmuextCmd::NEW_USER_BASEPTR, mfn),
            Errno::EINVAL,
        );
    }
    let image = mmu::entry(old, root, 3).unwrap_or_default().machine_address >> 12;
    error(
        "level 3 table as root",
        frame_op(MmuextCmd::NEW_BASEPTR, image),
        Errno::EINVAL,
    );
    error(
        "level 3 table as user root",
        frame_op(MmuextCmd::NEW_USER_BASEPTR, image),
        Errno::EINVAL,
    );
    set_writable(root, false);
    number(
        "root without a pin",
        frame_op(MmuextCmd::NEW_BASEPTR, frame(root)),
        0,
    );
    let cr3 = || {
        let mut registers = Registers::default();
        let _ = run_code(code!("mov rax, cr3"), &mut registers);
        registers.rax
    };
    bits("cr3 is the new root", cr3(), frame(root) << 12);
    error(
        "loaded root is not writable",
        set_writable(root, true),
        Errno::EBUSY,
    );
    number(
        "same root again",
        frame_op(MmuextCmd::NEW_BASEPTR, frame(root)),
        0,
    );
    number("old root", frame_op(MmuextCmd::NEW_BASEPTR, old), 0);
    bits("cr3 is the old root", cr3(), old << 12);
    number("new root is plain again", set_writable(root, true), 0);
    set_writable(root, false);
    number("pin of the new root", pin(4, root), 0);
    let mut registers = Registers {
        rax: frame(root) << 12,
        ..Registers::default()
    };
    same(
        "mov to cr3",
        run_code(code!("mov cr3, rax"), &mut registers).is_ok(),
        true,
    );
    bits("cr3 by mov", cr3(), frame(root) << 12);
    number("unpin of the loaded root", unpin(root), 0);
    error(
        "loaded root without a pin is not writable",
        set_writable(root, true),
        Errno::EBUSY,
    );
    number("old root at last", frame_op(MmuextCmd::NEW_BASEPTR, old), 0);
    number("new root is plain at last", set_writable(root, true), 0);
    number("no user root", frame_op(MmuextCmd::NEW_USER_BASEPTR, 0), 0);
    error(
        "no root",
        frame_op(MmuextCmd::NEW_BASEPTR, 0),
        Errno::EINVAL,
    );
}
