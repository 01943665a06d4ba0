//! `iret` in kernel mode, and a trap in a handler.

use core::sync::atomic::Ordering;

use pv_guest_shim::hypercall_abi::arch_x86::IretContext;
use pv_guest_shim::traps::{self, Registers};
use pv_guest_shim::{hypercall, shared};

use crate::call::{NON_CANONICAL, enter, run as run_code, trap_of};
use crate::report::{bits, holds, same};
use crate::{code, pages};

use super::{KERNEL_CS, KERNEL_SS};

/// The checks.
pub fn run() {
    bad_returns();
    nested();
}

fn context(rip: u64, rsp: u64) -> IretContext {
    IretContext {
        rax: 0x1234,
        r11: 0x11,
        rcx: 0x22,
        flags: 0,
        rip,
        cs: KERNEL_CS,
        rflags: 0,
        rsp,
        ss: KERNEL_SS,
    }
}

/// `iret` to contexts that the processor refuses: the guest gets the fault, in the new context.
fn bad_returns() {
    let stack = pages::take() + 2048;
    let land = code!("ud2");
    let mut none = Registers::default();
    let good = context(land, stack);
    let trap = enter(&good, &mut none);
    bits("iret: vector", trap.frame.vector, 6);
    same(
        "iret: rax rcx r11 rsp rip",
        (
            trap.frame.rax,
            trap.frame.rcx,
            trap.frame.r11,
            trap.frame.rsp,
            trap.frame.rip,
        ),
        (0x1234, 0x22, 0x11, stack, land),
    );
    same("iret without IF masks events", trap.frame.saved_mask(), 1);
    let trap = enter(
        &IretContext {
            rflags: 0x3_7fff & !0x100,
            ..good
        },
        &mut none,
    );
    bits(
        "iret: flags that are kept",
        trap.frame.rflags & !0x1_0000,
        0x4ed7,
    );
    same("iret with IF unmasks events", trap.frame.saved_mask(), 0);
    shared::upcall_mask().store(1, Ordering::Relaxed);
    let trap = enter(
        &IretContext {
            rflags: 0x100,
            rip: code!("nop", "nop", "ud2"),
            ..good
        },
        &mut none,
    );
    bits("iret with TF: vector", trap.frame.vector, 1);
    hypercall::set_debugreg(6, 0);
    let trap = enter(
        &IretContext {
            cs: KERNEL_CS | 0xdead_beef_0000_0000,
            ..good
        },
        &mut none,
    );
    bits("iret ignores the upper half of cs", trap.frame.vector, 6);
    let trap = enter(
        &IretContext {
            ss: KERNEL_SS & !3 | 0xdead_0000,
            ..good
        },
        &mut none,
    );
    bits("iret sets the level of ss", trap.frame.ss, KERNEL_SS);
    let cases: [(&str, IretContext, u64, u64); 8] = [
        (
            "non-canonical rip",
            IretContext {
                rip: NON_CANONICAL,
                ..good
            },
            13,
            0,
        ),
        ("null cs", IretContext { cs: 0, ..good }, 13, 0),
        (
            "cs behind the limit",
            IretContext { cs: 0xfff8, ..good },
            13,
            0xfff8,
        ),
        ("data as cs", IretContext { cs: 0xe028, ..good }, 13, 0xe028),
        ("empty cs", IretContext { cs: 0x40, ..good }, 13, 0x40),
        ("ring 0 cs", IretContext { cs: 0xe008, ..good }, 13, 0xe008),
        ("code as ss", IretContext { ss: 0xe033, ..good }, 13, 0xe030),
        ("null ss", IretContext { ss: 0, ..good }, 13, 0),
    ];
    for (name, context, vector, error_code) in cases {
        let trap = enter(&context, &mut none);
        bits(
            format_args!("iret to {name}: vector"),
            trap.frame.vector,
            vector,
        );
        bits(
            format_args!("iret to {name}: error code"),
            trap.frame.error_code,
            error_code,
        );
        bits(
            format_args!("iret to {name}: rip"),
            trap.frame.rip,
            context.rip,
        );
        bits(
            format_args!("iret to {name}: rsp"),
            trap.frame.rsp,
            context.rsp,
        );
        bits(
            format_args!("iret to {name}: cs"),
            trap.frame.cs & 0xffff,
            context.cs & 0xfffc,
        );
        bits(
            format_args!("iret to {name}: ss"),
            trap.frame.ss,
            context.ss | 3,
        );
    }
}

fn nested() {
    traps::set_handler(
        6,
        Some(|frame| {
            let inner = trap_of(code!("int3")).unwrap_or_default();
            frame.rax = inner.frame.vector;
            frame.rip += 2;
        }),
    );
    let mut registers = Registers {
        rbx: 5,
        ..Registers::default()
    };
    let outer = run_code(code!("ud2"), &mut registers);
    traps::set_handler(6, None);
    same("trap in a handler", outer.is_ok(), true);
    holds(
        "trap in a handler: vector",
        registers.rax,
        registers.rax == 3,
    );
    bits("registers behind both", registers.rbx, 5);
}
