//! Debug registers: `set_debugreg`, `get_debugreg`, `mov` to and from them, breakpoints and watchpoints.

use pv_guest_shim::hypercall::{get_debugreg, set_debugreg};
use pv_guest_shim::hypercall_abi::errno::Errno;
use pv_guest_shim::hypercall_abi::xen::StartInfo;
use pv_guest_shim::traps::{Registers, Trap};

use crate::call::{HYPERVISOR, NON_CANONICAL, UNMAPPED, run as run_code, trap_of};
use crate::report::{bits, error, number, same};
use crate::{code, pages};

/// The area.
pub fn run(_: &'static StartInfo) {
    hypercalls();
    instructions();
    breakpoints();
    watchpoints();
    for register in [7, 6, 0, 1, 2, 3] {
        number(
            format_args!("dr{register} is cleared"),
            set_debugreg(register, 0),
            0,
        );
    }
}

fn hypercalls() {
    let page = pages::take();
    for register in 0..4 {
        number(
            format_args!("set dr{register}"),
            set_debugreg(register, page + register),
            0,
        );
        bits(
            format_args!("get dr{register}"),
            get_debugreg(register) as u64,
            page + register,
        );
        number(
            format_args!("set dr{register} without a mapping"),
            set_debugreg(register, UNMAPPED),
            0,
        );
        for (name, address) in [
            ("in the hypervisor", HYPERVISOR),
            ("at the hypervisor's start", 0xffff_8000_0000_0000),
            ("at the hypervisor's end", 0xffff_87ff_ffff_ffff),
        ] {
            error(
                format_args!("set dr{register} {name}"),
                set_debugreg(register, address),
                Errno::EPERM,
            );
        }
        error(
            format_args!("set dr{register} non-canonical"),
            set_debugreg(register, NON_CANONICAL),
            Errno::EPERM,
        );
        bits(
            format_args!("dr{register} stays"),
            get_debugreg(register) as u64,
            UNMAPPED,
        );
        number(
            format_args!("clear dr{register}"),
            set_debugreg(register, 0),
            0,
        );
    }
    number("set dr6", set_debugreg(6, 0xffff_ffff), 0);
    bits("get dr6", get_debugreg(6) as u64, 0xffff_efff);
    number("set dr4, which is dr6", set_debugreg(4, 0), 0);
    bits("get dr6 behind dr4", get_debugreg(6) as u64, 0xffff_0ff0);
    bits("get dr4", get_debugreg(4) as u64, 0xffff_0ff0);
    for register in [4, 5, 6, 7] {
        error(
            format_args!("set dr{register} with upper bits"),
            set_debugreg(register, 1 << 32),
            Errno::EINVAL,
        );
    }
    error("set dr7 with GD", set_debugreg(7, 1 << 13), Errno::EPERM);
    number("set dr7", set_debugreg(7, 0), 0);
    bits("get dr7", get_debugreg(7) as u64, 0x400);
    bits("get dr5", get_debugreg(5) as u64, 0x400);
    number("set dr7 with reserved bits", set_debugreg(7, 0xd800), 0);
    bits("dr7 reserved bits", get_debugreg(7) as u64, 0x400);
    // I/O breakpoints need CR4.DE, and 8 bytes do not go with execution.
    number(
        "set dr7 with an I/O breakpoint",
        set_debugreg(7, 2 << 16),
        0,
    );
    bits(
        "dr7 with an I/O breakpoint that is off",
        get_debugreg(7) as u64,
        0x400 | 2 << 16,
    );
    error(
        "set dr7 with an I/O breakpoint that is on",
        set_debugreg(7, 2 << 16 | 1),
        Errno::EPERM,
    );
    number(
        "set dr7 with a long breakpoint",
        set_debugreg(7, 4 << 16 | 1),
        0,
    );
    set_debugreg(7, 0);
    for register in [8, 9, 31, 0xffff_ffff] {
        error(
            format_args!("set dr{register}"),
            set_debugreg(register, 0),
            Errno::ENODEV,
        );
        error(
            format_args!("get dr{register}"),
            get_debugreg(register),
            Errno::ENODEV,
        );
    }
    number("register is 32 bits", set_debugreg(1 << 32, page), 0);
    bits("register is 32 bits: dr0", get_debugreg(0) as u64, page);
    set_debugreg(0, 0);
}

fn instructions() {
    let page = pages::take();
    let vector = |trap: Trap| (trap.frame.vector, trap.frame.error_code);
    let run = |code, rax| {
        let mut registers = Registers {
            rax,
            ..Registers::default()
        };
        run_code(code, &mut registers)
            .map_err(vector)
            .map(|()| registers.rax)
    };
    same("mov to dr1", run(code!("mov dr1, rax"), page), Ok(page));
    same("mov from dr1", run(code!("mov rax, dr1"), 0), Ok(page));
    same(
        "mov to dr1 of the hypervisor",
        run(code!("mov dr1, rax"), HYPERVISOR),
        Err((13, 0)),
    );
    same("mov from dr7", run(code!("mov rax, dr7"), 0), Ok(0x400));
    same("mov to dr7", run(code!("mov dr7, rax"), 0x400), Ok(0x400));
    same(
        "mov to dr7 with GD",
        run(code!("mov dr7, rax"), 0x2000),
        Err((13, 0)),
    );
    same(
        "mov to dr6 with upper bits",
        run(code!("mov dr6, rax"), 1 << 32),
        Err((13, 0)),
    );
    same(
        "mov from dr6",
        run(code!("mov rax, dr6"), 0),
        Ok(0xffff_0ff0),
    );
    set_debugreg(1, 0);
}

fn breakpoints() {
    let code = code!("nop", "nop", "nop");
    number("breakpoint address", set_debugreg(0, code + 1), 0);
    number("breakpoint on", set_debugreg(7, 1), 0);
    let trap = trap_of(code).unwrap_or_default();
    bits("breakpoint: vector", trap.frame.vector, 1);
    bits("breakpoint: rip", trap.frame.rip, code + 1);
    bits("breakpoint: dr6", get_debugreg(6) as u64, 0xffff_0ff1);
    set_debugreg(6, 0);
    let trap = trap_of(code).unwrap_or_default();
    bits("breakpoint again: vector", trap.frame.vector, 1);
    // Status bits pile up until the kernel clears them.
    set_debugreg(1, code + 2);
    set_debugreg(7, 4);
    let trap = trap_of(code).unwrap_or_default();
    bits("second breakpoint: rip", trap.frame.rip, code + 2);
    bits("both breakpoints: dr6", get_debugreg(6) as u64, 0xffff_0ff3);
    number("breakpoints off", set_debugreg(7, 0), 0);
    set_debugreg(6, 0);
    same(
        "no breakpoint",
        trap_of(code).map(|trap| trap.frame.vector),
        None,
    );
}

fn watchpoints() {
    let page = pages::take();
    let write = code!("mov [rcx], rax", "nop");
    let read = code!("mov rax, [rcx]", "nop");
    let run = |code, rcx| {
        let mut registers = Registers {
            rcx,
            ..Registers::default()
        };
        run_code(code, &mut registers)
            .err()
            .map(|trap| (trap.frame.vector, trap.frame.rip))
    };
    number("watch address", set_debugreg(2, page + 8), 0);
    // dr2: writes of 8 bytes.
    number("watch writes", set_debugreg(7, 1 << 4 | 0b1001 << 24), 0);
    same("watched write", run(write, page + 8), Some((1, write + 3)));
    bits("watched write: dr6", get_debugreg(6) as u64, 0xffff_0ff4);
    set_debugreg(6, 0);
    same("write beside the watch", run(write, page + 16), None);
    same("read of a watched word", run(read, page + 8), None);
    number(
        "watch reads and writes",
        set_debugreg(7, 1 << 4 | 0b1011 << 24),
        0,
    );
    same("watched read", run(read, page + 8), Some((1, read + 3)));
    set_debugreg(7, 0);
    set_debugreg(6, 0);
    same("no watch", run(write, page + 8), None);
}
