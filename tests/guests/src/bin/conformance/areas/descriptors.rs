//! Descriptor tables: `set_gdt`, `update_descriptor`, `MMUEXT_SET_LDT`, and loads through them.

use pv_guest_shim::hypercall_abi::errno::Errno;
use pv_guest_shim::hypercall_abi::xen::{DomId, HypercallNr, MmuextCmd, MmuextOp, StartInfo};
use pv_guest_shim::mmu;
use pv_guest_shim::traps::{Registers, Trap};
use zerocopy::FromZeros;

use crate::call::{BAD_POINTERS, HYPERVISOR, call, frame_op, mmuext, run as run_code, update_va};
use crate::report::{bits, error, number, same};
use crate::{code, pages};

const CODE64: u64 = 0x00af_fb00_0000_ffff;
const DATA: u64 = 0x00cf_f300_0000_ffff;
const ABSENT_DATA: u64 = 0x00cf_7300_0000_ffff;
const CODE64_RING0: u64 = 0x00af_9b00_0000_ffff;
const DATA_RING1: u64 = 0x00cf_b300_0000_ffff;

/// The area.
pub fn run(_: &'static StartInfo) {
    gdt();
    refused_descriptors();
    update_descriptor();
    ldt();
    number("GDT is removed", set_gdt(0, 0), 0);
}

fn set_gdt(frames: u64, entries: u64) -> i64 {
    call(HypercallNr::SET_GDT, [frames, entries])
}

fn read_only(page: u64) -> i64 {
    let entry = mmu::leaf(page).unwrap_or_default().value;
    update_va(page, entry & !mmu::WRITABLE, 2)
}

fn writable(page: u64) -> i64 {
    let entry = mmu::leaf(page).unwrap_or_default().value;
    update_va(page, entry | mmu::WRITABLE, 2)
}

/// Loads DS. What it holds then, or the trap.
fn load(selector: u64) -> Result<u64, (u64, u64, u64)> {
    let mut registers = Registers {
        rcx: selector,
        ..Registers::default()
    };
    let trap = |trap: Trap| (trap.frame.vector, trap.frame.error_code, trap.cr2);
    run_code(
        code!("mov ds, ecx", "mov eax, ds", "xor ecx, ecx", "mov ds, ecx"),
        &mut registers,
    )
    .map_err(trap)
    .map(|()| registers.rax)
}

fn faults(selector: u64) -> Result<u64, (u64, u64)> {
    load(selector).map_err(|(vector, error_code, _)| (vector, error_code))
}

/// Jumps to code under a selector. The vector there, and its CS.
fn far(selector: u64) -> (u64, u64) {
    let mut registers = Registers {
        rbx: code!("ud2"),
        rcx: selector,
        ..Registers::default()
    };
    let trap = run_code(
        code!("push rcx", "push rbx", ".byte 0x48, 0xcb"),
        &mut registers,
    )
    .err()
    .unwrap_or_default();
    (trap.frame.vector, trap.frame.cs & 0xffff)
}

fn gdt() {
    let (list, table) = (pages::take(), pages::take());
    let mfn = mmu::virt_to_mfn(table);
    pages::write(list, mfn);
    for (index, value) in (1..).zip([CODE64, DATA, ABSENT_DATA, CODE64_RING0, DATA_RING1]) {
        pages::write(table + index * 8, value);
    }
    error(
        "set_gdt of a writable frame",
        set_gdt(list, 512),
        Errno::EINVAL,
    );
    number("GDT becomes read-only", read_only(table), 0);
    number("set_gdt", set_gdt(list, 512), 0);
    same("load of data", load(0x13), Ok(0x13));
    same("load of data with level 0", load(0x10), Ok(0x10));
    same("load of absent data", faults(0x1b), Err((11, 0x18)));
    same("load of an empty descriptor", faults(0x33), Err((13, 0x30)));
    same("load behind the frame", faults(0x1003), Err((13, 0x1000)));
    bits(
        "code of level 0 is raised to 3",
        pages::read::<u64>(table + 4 * 8),
        CODE64_RING0 | 3 << 45,
    );
    bits(
        "data of level 1 is raised to 3",
        pages::read::<u64>(table + 5 * 8),
        DATA_RING1 | 3 << 45,
    );
    same("load of data that was level 1", load(0x2b), Ok(0x2b));
    same("jump to code", far(0xb), (6, 8));
    same("jump to code that was level 0", far(0x23), (6, 0x20));
    same("jump to data", far(0x13).0, 13);
    same("load of the hypervisor's data", load(0xe02b), Ok(0xe02b));
    let leaf = mmu::leaf(table).unwrap_or_default().value;
    error(
        "writable mapping of a GDT frame",
        update_va(table, leaf | mmu::WRITABLE, 2),
        Errno::EBUSY,
    );
    for cmd in [
        MmuextCmd::PIN_L1_TABLE,
        MmuextCmd::PIN_L2_TABLE,
        MmuextCmd::PIN_L3_TABLE,
        MmuextCmd::PIN_L4_TABLE,
    ] {
        error(
            format_args!("{cmd:?} of a GDT frame"),
            frame_op(cmd, mfn),
            Errno::EINVAL,
        );
    }
    for entries in [7169, 8192, 0xffff_ffff] {
        error(
            format_args!("set_gdt of {entries}"),
            set_gdt(list, entries),
            Errno::EINVAL,
        );
    }
    same("GDT stays when refused", load(0x13), Ok(0x13));
    for (kind, pointer) in BAD_POINTERS {
        error(
            format_args!("set_gdt at {kind} pointer"),
            set_gdt(pointer, 512),
            Errno::EFAULT,
        );
    }
    for (name, frame) in [
        ("no frame", u64::MAX),
        ("a frame behind memory", 1 << 36),
        ("a page table", mmu::boot_root()),
        ("device memory", 0xfee00),
        ("frame 0", 0),
    ] {
        pages::write(list, frame);
        error(
            format_args!("set_gdt with {name}"),
            set_gdt(list, 512),
            Errno::EINVAL,
        );
    }
    same("GDT stays when frames are refused", load(0x13), Ok(0x13));
    pages::write(list, mfn);
    pages::write(list + 8, u64::MAX);
    error(
        "set_gdt with a bad second frame",
        set_gdt(list, 513),
        Errno::EINVAL,
    );
    for frame in 0..14 {
        pages::write(list + frame * 8, mfn);
    }
    number("set_gdt of all entries", set_gdt(list, 7168), 0);
    same("load through the last frame", load(0xd013), Ok(0xd013));
    number("set_gdt of one entry", set_gdt(list, 1), 0);
    same(
        "load behind the count but in the frame",
        load(0x13),
        Ok(0x13),
    );
    same(
        "load behind the frame of a small table",
        faults(0xd013),
        Err((13, 0xd010)),
    );
    number("set_gdt of nothing", set_gdt(list, 0), 0);
    same("load without a table", faults(0x13), Err((13, 0x10)));
    number("frame is free again", writable(table), 0);
}

/// A table with one descriptor that is not for guests is refused as a whole.
fn refused_descriptors() {
    let (list, table) = (pages::take(), pages::take());
    let mfn = mmu::virt_to_mfn(table);
    pages::write(list, mfn);
    let system = |kind: u64| 1 << 47 | 3 << 45 | kind << 40 | 0xffff;
    for kind in 0..16 {
        let fits = kind == 0 || kind == 12;
        pages::write(table + 0x800, system(kind));
        number("table becomes read-only", read_only(table), 0);
        let result = set_gdt(list, 512);
        let expected = if fits { 0 } else { -(Errno::EINVAL as i64) };
        number(
            format_args!("GDT with system descriptor {kind}"),
            result,
            expected,
        );
        number("GDT is removed", set_gdt(0, 0), 0);
        number("table becomes writable", writable(table), 0);
        pages::write(table + 0x800, system(kind) & !(1 << 47));
        read_only(table);
        number(
            format_args!("GDT with absent system descriptor {kind}"),
            set_gdt(list, 512),
            0,
        );
        set_gdt(0, 0);
        writable(table);
    }
    pages::write(table + 0x800, 0_u64);
    // What is behind the count is looked at too: it is in the frame.
    pages::write(table + 511 * 8, system(9));
    read_only(table);
    error(
        "GDT with a task behind the count",
        set_gdt(list, 1),
        Errno::EINVAL,
    );
    writable(table);
}

fn update_descriptor() {
    let update = |address: u64, value: u64| call(HypercallNr::UPDATE_DESCRIPTOR, [address, value]);
    let (list, table) = (pages::take(), pages::take());
    let machine = mmu::virt_to_mfn(table) << 12;
    number(
        "update_descriptor in a plain page",
        update(machine + 16, DATA),
        0,
    );
    bits(
        "update_descriptor in a plain page: value",
        pages::read::<u64>(table + 16),
        DATA,
    );
    pages::write(list, machine >> 12);
    read_only(table);
    number("set_gdt for updates", set_gdt(list, 512), 0);
    same("load of what was written before", load(0x13), Ok(0x13));
    number(
        "update_descriptor in a GDT",
        update(machine + 24, DATA_RING1),
        0,
    );
    bits(
        "update_descriptor raises the level",
        pages::read::<u64>(table + 24),
        DATA_RING1 | 3 << 45,
    );
    same("load of an update", load(0x1b), Ok(0x1b));
    number("update_descriptor to zero", update(machine + 24, 0), 0);
    same("load of what went", faults(0x1b), Err((13, 0x18)));
    for kind in [1, 2, 3, 9, 11, 14, 15] {
        let value = 1 << 47 | 3 << 45 | kind << 40;
        error(
            format_args!("update_descriptor to system descriptor {kind}"),
            update(machine + 24, value),
            Errno::EINVAL,
        );
    }
    bits(
        "refused descriptor is not written",
        pages::read::<u64>(table + 24),
        0,
    );
    for offset in [1, 4, 7] {
        error(
            "update_descriptor that is not aligned",
            update(machine + 24 + offset, DATA),
            Errno::EINVAL,
        );
    }
    for (name, address) in [
        ("nowhere", !7),
        ("behind memory", 1 << 48),
        ("a page table", mmu::boot_root() << 12),
        ("device memory", 0xfee0_0000),
        ("the hypervisor's frame 0", 0),
    ] {
        error(
            format_args!("update_descriptor in {name}"),
            update(address, DATA),
            Errno::EINVAL,
        );
    }
    set_gdt(0, 0);
    writable(table);
}

fn set_ldt(address: u64, entries: u32) -> i64 {
    let mut op = MmuextOp::new_zeroed();
    op.cmd = MmuextCmd::SET_LDT;
    op.arg1.set_linear_addr(address);
    op.arg2.set_nr_ents(entries);
    mmuext(&[op], DomId::SELF).0
}

fn ldt() {
    let table = pages::take();
    let second = pages::take();
    pages::write(table + 8, CODE64);
    pages::write(table + 16, DATA);
    pages::write(table + 24, ABSENT_DATA);
    pages::write(table + 40, DATA_RING1);
    same("load without an LDT", faults(0xf), Err((13, 0xc)));
    for (name, address, entries) in [
        ("not aligned", table + 8, 512),
        ("too long", table, 8193),
        ("far too long", table, u32::MAX),
        ("in the hypervisor", HYPERVISOR, 512),
        ("not aligned and huge", 1, u32::MAX),
    ] {
        error(
            format_args!("LDT {name}"),
            set_ldt(address, entries),
            Errno::EINVAL,
        );
    }
    number("LDT of a writable page", set_ldt(table, 512), 0);
    let fault = load(0x17);
    same(
        "load through a writable LDT",
        fault.map_err(|(vector, ..)| vector),
        Err(14),
    );
    bits(
        "load through a writable LDT: cr2",
        fault.err().unwrap_or_default().2,
        table + 16,
    );
    number("LDT becomes read-only", read_only(table), 0);
    same("load through the LDT", load(0x17), Ok(0x17));
    same(
        "load of absent data in the LDT",
        faults(0x1f),
        Err((11, 0x1c)),
    );
    same(
        "load of an empty descriptor in the LDT",
        faults(0x27),
        Err((13, 0x24)),
    );
    same("load of level 1 in the LDT", load(0x2f), Ok(0x2f));
    bits(
        "LDT: level 1 is raised to 3",
        pages::read::<u64>(table + 40),
        DATA_RING1 | 3 << 45,
    );
    same("jump through the LDT", far(0xf), (6, 0xc));
    same("load behind the LDT", faults(0x1007), Err((13, 0x1004)));
    let leaf = mmu::leaf(table).unwrap_or_default().value;
    error(
        "writable mapping of an LDT page",
        update_va(table, leaf | mmu::WRITABLE, 2),
        Errno::EBUSY,
    );
    let update = |value| {
        call(
            HypercallNr::UPDATE_DESCRIPTOR,
            [(mmu::virt_to_mfn(table) << 12) + 32, value],
        )
    };
    number("update_descriptor in the LDT", update(DATA), 0);
    same("load of an update in the LDT", load(0x27), Ok(0x27));
    number("same LDT again", set_ldt(table, 512), 0);
    number("LDT of two pages", set_ldt(table, 1024), 0);
    let expected = mmu::leaf(second).map(|leaf| leaf.value);
    read_only(second);
    same(
        "load of an empty descriptor in the second page",
        faults(0x1007),
        Err((13, 0x1004)),
    );
    number("no LDT", set_ldt(0, 0), 0);
    same("load without an LDT again", faults(0x17), Err((13, 0x14)));
    number("LDT page is free again", writable(table), 0);
    number("second LDT page is free again", writable(second), 0);
    same(
        "second LDT page is as before",
        mmu::leaf(second).map(|leaf| leaf.value & !0x60),
        expected.map(|value| value & !0x60),
    );
    number(
        "LDT at an address without a mapping",
        set_ldt(crate::call::UNMAPPED, 512),
        0,
    );
    let fault = load(0x17);
    same(
        "load through an LDT without a mapping",
        fault.map_err(|(vector, _, cr2)| (vector, cr2)),
        Err((14, crate::call::UNMAPPED + 16)),
    );
    number("no LDT at last", set_ldt(0, 0), 0);
}
