//! `console_io`, `vm_assist` and `multicall`.

use core::mem::size_of;

use pv_guest_shim::hypercall_abi::arch_x86::IretContext;
use pv_guest_shim::hypercall_abi::arch_x86::xen_x86_64::{FLAT_KERNEL_CS64, FLAT_KERNEL_SS64};
use pv_guest_shim::hypercall_abi::errno::Errno;
use pv_guest_shim::hypercall_abi::xen::{HypercallNr, MulticallEntry, StartInfo};
use pv_guest_shim::traps::{self, Registers};

use crate::call::{BAD_POINTERS, HYPERVISOR, call, run as run_code};
use crate::report::{bits, error, number, same};
use crate::{code, pages};

/// The area.
pub fn run(_: &'static StartInfo) {
    console_io();
    vm_assist();
    multicall();
    multicall_pointers();
    multicall_iret();
}

fn console_io() {
    let io = |command, count, buffer| call(HypercallNr::CONSOLE_IO, [command, count, buffer]);
    let page = pages::take();
    number("console write of nothing", io(0, 0, page), 0);
    number("console write of nothing from nowhere", io(0, 0, 0), 0);
    number("console read of nothing", io(1, 0, page), 0);
    number("console read without input", io(1, 16, page), 0);
    number("console command is 32 bits", io(1 << 32, 0, page), 0);
    number("console count is 32 bits", io(0, 1 << 32, page), 0);
    for (kind, pointer) in BAD_POINTERS {
        error(
            format_args!("console write from {kind} pointer"),
            io(0, 8, pointer),
            Errno::EFAULT,
        );
    }
    error("console read of 2^31", io(1, 1 << 31, page), Errno::E2BIG);
    for command in [2, 3, 0xffff_ffff] {
        error(
            format_args!("console command {command:#x}"),
            io(command, 0, page),
            Errno::ENOSYS,
        );
    }
}

/// `get_features` bit 4.
fn extended_cr3() -> bool {
    let page = pages::take();
    call(HypercallNr::XEN_VERSION, [6, page]);
    pages::read::<u32>(page + 4) & 1 << 4 != 0
}

fn vm_assist() {
    let assist = |command: u64, kind: u64| call(HypercallNr::VM_ASSIST, [command, kind]);
    for kind in [0, 1, 2, 3, 4, 5, 32] {
        number(format_args!("assist enable {kind}"), assist(0, kind), 0);
        number(
            format_args!("assist enable {kind} again"),
            assist(0, kind),
            0,
        );
        if kind == 3 {
            same("extended cr3 is a feature", extended_cr3(), true);
        }
        number(format_args!("assist disable {kind}"), assist(1, kind), 0);
        number(
            format_args!("assist disable {kind} again"),
            assist(1, kind),
            0,
        );
        if kind == 3 {
            same("extended cr3 is no feature", extended_cr3(), false);
        }
    }
    for kind in [6, 7, 8, 31, 33, 63, 64, 0xffff_ffff] {
        error(
            format_args!("assist enable {kind}"),
            assist(0, kind),
            Errno::EINVAL,
        );
        error(
            format_args!("assist disable {kind}"),
            assist(1, kind),
            Errno::EINVAL,
        );
    }
    number("assist kind is 32 bits", assist(0, 1 << 32 | 3), 0);
    for command in [2, 3, 0xffff_ffff] {
        error(
            format_args!("assist command {command:#x}"),
            assist(command, 2),
            Errno::ENOSYS,
        );
    }
    error(
        "assist of an invalid kind by an invalid command",
        assist(2, 64),
        Errno::EINVAL,
    );
}

/// Writes the entry with this index of a batch.
fn entry(batch: u64, index: u64, op: u64, args: [u64; 6]) {
    let entry = MulticallEntry {
        op,
        result: 0x5a5a,
        args,
    };
    pages::write(batch + index * size_of::<MulticallEntry>() as u64, entry);
}

fn result(batch: u64, index: u64) -> i64 {
    pages::read::<MulticallEntry>(batch + index * size_of::<MulticallEntry>() as u64).result as i64
}

fn batch(entries: u64, count: u64) -> i64 {
    call(HypercallNr::MULTICALL, [entries, count])
}

fn multicall() {
    let page = pages::take();
    let version = HypercallNr::XEN_VERSION.0;
    number("multicall of nothing", batch(page, 0), 0);
    number("multicall of nothing from nowhere", batch(0, 0), 0);
    entry(page, 0, version, [0; 6]);
    entry(page, 1, 999, [1, 2, 3, 4, 5, 6]);
    entry(page, 2, HypercallNr::MULTICALL.0, [page, 1, 0, 0, 0, 0]);
    entry(page, 3, version, [7, 0, 0, 0, 0, 0]);
    entry(page, 4, version, [11, 0, 0, 0, 0, 0]);
    entry(page, 5, version | 1 << 32, [0; 6]);
    entry(page, 6, HypercallNr::CONSOLE_IO.0, [0, 1, 0, 0, 0, 0]);
    entry(page, 7, version, [0; 6]);
    entry(page, 8, version, [0; 6]);
    number("multicall", batch(page, 8), 0);
    number("multicall result", result(page, 0), 0x0004_0011);
    error("multicall unknown number", result(page, 1), Errno::ENOSYS);
    error("multicall does not nest", result(page, 2), Errno::EINVAL);
    number("multicall goes on behind a failure", result(page, 3), 4096);
    error("multicall errno", result(page, 4), Errno::ENOSYS);
    error(
        "multicall number is 64 bits",
        result(page, 5),
        Errno::ENOSYS,
    );
    error("multicall fault in a call", result(page, 6), Errno::EFAULT);
    number(
        "multicall goes on behind a fault",
        result(page, 7),
        0x0004_0011,
    );
    number("multicall stops at its count", result(page, 8), 0x5a5a);
    let unknown: MulticallEntry = pages::read(page + size_of::<MulticallEntry>() as u64);
    same(
        "multicall leaves arguments alone",
        (unknown.op, unknown.args),
        (999, [1, 2, 3, 4, 5, 6]),
    );
    number("multicall count is 32 bits", batch(page, 1 << 32), 0);
    for at in 0..64 {
        entry(page, at, version, [0; 6]);
    }
    number("multicall of 64", batch(page, 64), 0);
    number(
        "multicall of 64: last result",
        result(page, 63),
        0x0004_0011,
    );
}

fn multicall_pointers() {
    for (kind, pointer) in BAD_POINTERS {
        error(
            format_args!("multicall at {kind} pointer"),
            batch(pointer, 1),
            Errno::EFAULT,
        );
    }
    error(
        "multicall into the hypervisor",
        batch(HYPERVISOR, 1 << 26),
        Errno::EFAULT,
    );
    // The entries behind the page's end are not mapped: those before are carried out.
    let page = pages::take();
    let next = pages::take();
    let mapped = pv_guest_shim::mmu::leaf(next).unwrap_or_default().value;
    crate::call::update_va(next, 0, 2);
    let last = page + 4096 - size_of::<MulticallEntry>() as u64;
    entry(last, 0, HypercallNr::XEN_VERSION.0, [0; 6]);
    error(
        "multicall across the end of a mapping",
        batch(last, 2),
        Errno::EFAULT,
    );
    number(
        "multicall before the end of a mapping",
        result(last, 0),
        0x0004_0011,
    );
    number(
        "mapping comes back",
        crate::call::update_va(next, mapped, 2),
        0,
    );
    // A read-only batch is read, but its result cannot be written.
    entry(page, 0, HypercallNr::XEN_VERSION.0, [0; 6]);
    let writable = pv_guest_shim::mmu::leaf(page).unwrap_or_default().value;
    crate::call::update_va(page, writable & !2, 2);
    error(
        "multicall in a read-only page",
        batch(page, 1),
        Errno::EFAULT,
    );
    number(
        "multicall in a read-only page: result",
        result(page, 0),
        0x5a5a,
    );
    crate::call::update_va(page, writable, 2);
}

/// `iret` as a call of a batch: the frame is at RSP of the multicall.
fn multicall_iret() {
    let page = pages::take();
    let frame = pages::take();
    entry(page, 0, HypercallNr::IRET.0, [0; 6]);
    entry(page, 1, HypercallNr::XEN_VERSION.0, [0; 6]);
    let context = IretContext {
        rax: 0x1234,
        r11: 0x11,
        rcx: 0x22,
        flags: 0,
        rip: code!("ud2"),
        cs: u64::from(FLAT_KERNEL_CS64) & !3,
        rflags: 0,
        rsp: frame + 2048,
        ss: FLAT_KERNEL_SS64.into(),
    };
    pages::write(frame, context);
    let mut registers = Registers {
        rax: HypercallNr::MULTICALL.0,
        rdi: page,
        rsi: 2,
        rbx: frame,
        ..Registers::default()
    };
    let trap = run_code(code!("mov rsp, rbx", "syscall", "ud2"), &mut registers);
    let trap = trap.err().unwrap_or_default();
    bits("iret in a multicall", trap.frame.vector, 6);
    bits("iret in a multicall: rip", trap.frame.rip, context.rip);
    bits("iret in a multicall: rsp", trap.frame.rsp, context.rsp);
    bits("iret in a multicall: rax", trap.frame.rax, 0x1234);
    bits("iret in a multicall: rcx", trap.frame.rcx, 0x22);
    number("iret in a multicall: result", result(page, 0), 0x1234);
    number("multicall ends with an iret", result(page, 1), 0x5a5a);
    traps::init();
}
