//! Control registers and XCR0 in kernel mode.

use pv_guest_shim::hypercall_abi::errno::Errno;
use pv_guest_shim::traps::Registers;
use pv_guest_shim::{hypercall, mmu, shared};

use crate::call::{run as run_code, trap_of};
use crate::code;
use crate::report::{bits, error, holds, same};

use super::cpuid::forced;
use super::{allow, vector};

/// The checks.
pub fn run() {
    control_registers();
}

fn control_registers() {
    let cr0 = allow("mov from cr0", code!("mov rax, cr0")).rax;
    bits(
        "cr0 shows PE MP ET NE WP PG but not TS",
        cr0 & 0x8001_003b,
        0x8001_0033,
    );
    let write = code!("mov cr0, rax");
    let mut registers = Registers {
        rax: cr0,
        ..Registers::default()
    };
    same(
        "cr0 written back",
        run_code(write, &mut registers).is_ok(),
        true,
    );
    registers.rax = cr0 | 8;
    same("cr0 with TS", run_code(write, &mut registers).is_ok(), true);
    bits(
        "cr0 shows TS",
        allow("mov from cr0", code!("mov rax, cr0")).rax,
        cr0 | 8,
    );
    bits(
        "#NM with TS from cr0",
        trap_of(code!("fnop")).unwrap_or_default().frame.vector,
        7,
    );
    bits(
        "#NM clears TS in cr0",
        allow("mov from cr0", code!("mov rax, cr0")).rax,
        cr0,
    );
    hypercall::fpu_taskswitch(1);
    bits(
        "fpu_taskswitch sets TS in cr0",
        allow("mov from cr0", code!("mov rax, cr0")).rax,
        cr0 | 8,
    );
    allow("clts", code!("clts"));
    bits(
        "clts clears TS in cr0",
        allow("mov from cr0", code!("mov rax, cr0")).rax,
        cr0,
    );
    allow("fnop after clts", code!("fnop"));
    for bit in [0, 1, 2, 4, 5, 16, 18, 29, 30, 31, 63] {
        let mut registers = Registers {
            rax: cr0 ^ 1 << bit,
            ..Registers::default()
        };
        let trap = run_code(write, &mut registers).map_err(vector);
        same(
            format_args!("cr0 with bit {bit} changed"),
            trap,
            Err((13, 0)),
        );
    }
    let write = code!("mov cr2, rax");
    let mut registers = Registers {
        rax: 0x1234_5678_9abc,
        ..Registers::default()
    };
    same("mov to cr2", run_code(write, &mut registers).is_ok(), true);
    bits(
        "mov from cr2",
        allow("mov from cr2", code!("mov rax, cr2")).rax,
        0x1234_5678_9abc,
    );
    bits(
        "cr2 in the shared page",
        shared::snapshot().vcpu_info[0].arch.cr2,
        0x1234_5678_9abc,
    );
    let cr3 = allow("mov from cr3", code!("mov rax, cr3")).rax;
    bits("cr3", cr3, mmu::boot_root() << 12);
    let write = code!("mov cr3, rax");
    let mut registers = Registers {
        rax: cr3,
        ..Registers::default()
    };
    same(
        "cr3 written back",
        run_code(write, &mut registers).is_ok(),
        true,
    );
    for value in [1 << 48, u64::MAX, 1 << 51] {
        let mut registers = Registers {
            rax: value,
            ..Registers::default()
        };
        let trap = run_code(write, &mut registers).map_err(vector);
        same(format_args!("cr3 {value:#x}"), trap, Err((13, 0)));
    }
    cr4();
    refuse_cr("mov to cr1", code!("mov cr1, rax"));
    refuse_cr("mov from cr1", code!("mov rax, cr1"));
    refuse_cr("mov from cr7", code!(".byte 0x0f, 0x20, 0xf8"));
}

/// Control registers that do not exist: #UD or #GP, by processor and decoder.
fn refuse_cr(name: &str, code: u64) {
    let vector = trap_of(code).unwrap_or_default().frame.vector;
    holds(name, vector, matches!(vector, 6 | 13));
}

/// CR4 as the kernel sees it.
fn read() -> u64 {
    allow("mov from cr4", code!("mov rax, cr4")).rax
}

fn write(value: u64) -> Result<(), (u64, u64)> {
    let mut registers = Registers {
        rax: value,
        ..Registers::default()
    };
    run_code(code!("mov cr4, rax"), &mut registers).map_err(vector)
}

/// RDFSBASE where the processor has it: the kernel turns it on.
fn fsgsbase_enabled(initial: u64, fsgsbase: u64) {
    same("cr4 with FSGSBASE", write(initial | 1 << 16), Ok(()));
    bits("cr4 shows FSGSBASE", read(), initial | 1 << 16);
    same(
        "rdfsbase with FSGSBASE",
        trap_of(fsgsbase).map(|trap| trap.frame.vector),
        None,
    );
    same("cr4 written back", write(initial), Ok(()));
    same(
        "rdfsbase without FSGSBASE again",
        trap_of(fsgsbase).map(|trap| trap.frame.vector),
        Some(6),
    );
}

/// XCR0 where the processor has it: the kernel sets it when CR4.OSXSAVE is on.
fn xcr0(initial: u64) {
    same("cr4 with OSXSAVE", write(initial | 1 << 18), Ok(()));
    bits("cr4 shows OSXSAVE", read(), initial | 1 << 18);
    let mut registers = Registers::default();
    same(
        "xgetbv",
        run_code(code!("xgetbv"), &mut registers).is_ok(),
        true,
    );
    let xcr0 = registers.rax;
    bits("xcr0 has x87", xcr0 & 1, 1);
    let xsetbv = |index: u64, value: u64| {
        let mut registers = Registers {
            rcx: index,
            rax: value & 0xffff_ffff,
            rdx: value >> 32,
            ..Registers::default()
        };
        run_code(code!("xsetbv"), &mut registers).map_err(vector)
    };
    same("xsetbv x87 SSE", xsetbv(0, 3), Ok(()));
    same("xsetbv as before", xsetbv(0, xcr0), Ok(()));
    for (index, value) in [
        (0, 0),
        (0, 2),
        (0, 5),
        (0, 1 << 63),
        (0, 1 << 40 | 1),
        (1, 3),
        (2, 1),
    ] {
        same(
            format_args!("xsetbv {index} {value:#x}"),
            xsetbv(index, value),
            Err((13, 0)),
        );
    }
    same("cr4 without OSXSAVE", write(initial), Ok(()));
    same("xsetbv without OSXSAVE", xsetbv(0, 3), Err((6, 0)));
}

fn cr4() {
    let initial = read();
    bits(
        "cr4 shows PAE MCE OSFXSR OSXMMEXCPT",
        initial & 0x660,
        0x660,
    );
    bits(
        "cr4 hides VME PVI PSE PGE PCE UMIP LA57 VMXE SMXE PCIDE SMEP SMAP PKE",
        initial & 0x0072_7993,
        0,
    );
    for bit in [0, 1, 4, 7, 8, 11, 12, 13, 14, 17, 20, 21, 22, 24, 63] {
        same(
            format_args!("cr4 with bit {bit}"),
            write(initial | 1 << bit),
            Ok(()),
        );
        bits(format_args!("cr4 with bit {bit} ignored"), read(), initial);
    }
    same("cr4 without PAE", write(initial & !0x20), Ok(()));
    bits("cr4 without PAE ignored", read(), initial);
    let fsgsbase = code!("rdfsbase rax");
    let without = trap_of(fsgsbase).map(|trap| trap.frame.vector);
    same("rdfsbase without FSGSBASE", without, Some(6));
    if forced(7, 0)[1] & 1 != 0 {
        fsgsbase_enabled(initial, fsgsbase);
    }
    same("cr4 with DE", write(initial | 8), Ok(()));
    bits("cr4 shows DE", read(), initial | 8);
    error(
        "get_debugreg 4 with DE",
        hypercall::get_debugreg(4),
        Errno::ENODEV,
    );
    same("cr4 without DE", write(initial), Ok(()));
    same("cr4 with TSD", write(initial | 4), Ok(()));
    allow("rdtsc with TSD in kernel mode", code!("rdtsc"));
    same("cr4 without TSD", write(initial), Ok(()));
    if forced(1, 0)[2] & 1 << 26 != 0 {
        xcr0(initial);
    }
}
