//! Exceptions of user mode, and returns to it that fail.

use pv_guest_shim::hypercall_abi::arch_x86::xen_x86_64::FLAT_RING3_CS64;
use pv_guest_shim::hypercall_abi::arch_x86::{IretContext, TrapInfo};
use pv_guest_shim::hypercall_abi::xen::HypercallNr;
use pv_guest_shim::traps::{self, Registers};
use pv_guest_shim::{hypercall, mmu};

use crate::call::{HYPERVISOR, NON_CANONICAL, UNMAPPED, call, enter, update_va};
use crate::report::{bits, holds, same};
use crate::{code, pages};

use super::{context, enter_user, expect};

/// The checks.
pub fn run(stack: u64) {
    exceptions(stack);
    page_faults(stack);
    software_interrupts(stack);
    instructions(stack);
    bad_returns(stack);
}

fn exceptions(stack: u64) {
    let cases = [
        ("#DE", code!("xor ecx, ecx", "div cl"), 0, 0, 2),
        ("int3", code!("int3"), 3, 0, 1),
        ("#UD", code!("ud2"), 6, 0, 0),
        ("hlt", code!("hlt"), 13, 0, 0),
        ("cli", code!("cli"), 13, 0, 0),
        ("rdmsr", code!("rdmsr"), 13, 0, 0),
        ("wrmsr", code!("wrmsr"), 13, 0, 0),
        ("mov from cr0", code!("mov rax, cr0"), 13, 0, 0),
        ("mov from cr4", code!("mov rax, cr4"), 13, 0, 0),
        ("mov to cr3", code!("mov cr3, rax"), 13, 0, 0),
        ("clts", code!("clts"), 13, 0, 0),
        ("wbinvd", code!("wbinvd"), 13, 0, 0),
        ("invlpg", code!("invlpg [rsp]"), 13, 0, 0),
        ("mov from dr7", code!("mov rax, dr7"), 13, 0, 0),
        ("in", code!("in al, dx"), 13, 0, 0),
        ("out", code!("out dx, al"), 13, 0, 0),
        ("xsetbv", code!("xsetbv"), 13, 0, 0),
        (
            "bad selector",
            code!("mov ecx, 0xfffb", "mov ds, ecx"),
            13,
            0xfff8,
            5,
        ),
        (
            "non-canonical read",
            code!("mov rcx, 0x800000000000", "mov rcx, [rcx]"),
            13,
            0,
            10,
        ),
    ];
    for (name, code, vector, error_code, offset) in cases {
        let trap = enter_user(code, stack);
        if name == "xsetbv" {
            let vector = trap.frame.vector;
            holds("user xsetbv", vector, matches!(vector, 6 | 13));
            continue;
        }
        expect(name, &trap, vector, error_code, code + offset, stack);
    }
    hypercall::fpu_taskswitch(1);
    let code = code!("fnop", "ud2");
    let trap = enter_user(code, stack);
    expect("#NM", &trap, 7, 0, code, stack);
    let trap = enter_user(code, stack);
    expect("fnop behind #NM", &trap, 6, 0, code + 2, stack);
    let code = code!("nop", "nop", "ud2");
    let trap = enter(
        &IretContext {
            rflags: 0x100,
            ..context(code, stack)
        },
        &mut Registers::default(),
    );
    expect("single step", &trap, 1, 0, code + 1, stack);
    hypercall::set_debugreg(6, 0);
    // A stack that the user cannot have does not matter to the frame.
    for rsp in [0, HYPERVISOR, UNMAPPED, NON_CANONICAL, u64::MAX] {
        let code = code!("ud2");
        let trap = enter_user(code, rsp);
        expect(
            if rsp == 0 {
                "#UD with stack 0"
            } else {
                "#UD with a bad stack"
            },
            &trap,
            6,
            0,
            code,
            rsp,
        );
    }
}

fn page_faults(stack: u64) {
    let cases = [
        ("read", code!("mov rax, [rcx]"), 4),
        ("write", code!("mov [rcx], rax"), 6),
        ("jump", code!("jmp rcx"), 0x14),
    ];
    for (name, code, error_code) in cases {
        for address in [UNMAPPED, 8, 0xffff_9000_0000_0000] {
            let context = IretContext {
                rcx: address,
                ..context(code, stack)
            };
            let trap = enter(&context, &mut Registers::default());
            let rip = if name == "jump" { address } else { code };
            expect(name, &trap, 14, error_code, rip, stack);
            bits(format_args!("user {name}: cr2"), trap.cr2, address);
        }
    }
    let context = IretContext {
        rcx: HYPERVISOR,
        ..context(code!("mov rax, [rcx]"), stack)
    };
    let trap = enter(&context, &mut Registers::default());
    bits("user read of the hypervisor: vector", trap.frame.vector, 14);
    bits(
        "user read of the hypervisor: error code",
        trap.frame.error_code & !1,
        4,
    );
    bits("user read of the hypervisor: cr2", trap.cr2, HYPERVISOR);
    let page = pages::take();
    let entry = mmu::leaf(page).unwrap_or_default().value;
    update_va(page, entry & !mmu::WRITABLE, 2);
    let code = code!("mov [rcx], rax");
    let trap = enter(
        &IretContext {
            rcx: page,
            ..self::context(code, stack)
        },
        &mut Registers::default(),
    );
    expect("write to a read-only page", &trap, 14, 7, code, stack);
    update_va(page, entry, 2);
}

fn software_interrupts(stack: u64) {
    let code = code!(".byte 0xcd, 0x80");
    let trap = enter_user(code, stack);
    expect("int 0x80", &trap, 0x80, 0, code + 2, stack);
    let code = code!(".byte 0xcd, 0x21");
    let trap = enter_user(code, stack);
    bits("user int 0x21 without right: vector", trap.frame.vector, 13);
    bits("user int 0x21 without right: rip", trap.frame.rip, code);
    // See the exceptions of kernel mode: QEMU's error code is for vector 2 n.
    let vector = if trap.frame.error_code == 0x212 {
        0x42
    } else {
        0x21
    };
    bits(
        "user int 0x21 without right: error code",
        trap.frame.error_code & 7,
        2,
    );
    for (dpl, allowed) in [(0, false), (1, false), (2, false), (3, true)] {
        let info = TrapInfo {
            vector,
            flags: dpl,
            cs: FLAT_RING3_CS64,
            _pad: [0; 4],
            address: traps::entry_point(0x21),
        };
        hypercall::set_trap_table(&mut [info, TrapInfo { address: 0, ..info }]);
        let trap = enter_user(code, stack);
        let (vector, rip) = if allowed {
            (0x21, code + 2)
        } else {
            (13, code)
        };
        bits(
            format_args!("user int 0x21 of level {dpl}: vector"),
            trap.frame.vector,
            vector,
        );
        bits(
            format_args!("user int 0x21 of level {dpl}: rip"),
            trap.frame.rip,
            rip,
        );
    }
    traps::init();
}

fn instructions(stack: u64) {
    let code = code!(
        "mov eax, 0x40000000",
        ".byte 0x0f, 0x0b, 0x78, 0x65, 0x6e",
        "cpuid",
        "ud2"
    );
    let trap = enter_user(code, stack);
    bits("user forced cpuid: vector", trap.frame.vector, 6);
    bits("user forced cpuid: rip", trap.frame.rip, code + 12);
    bits("user forced cpuid: ebx", trap.frame.rbx, 0x566e_6558);
    // I/O by IOPL and by bitmap.
    let page = pages::take();
    let physdev = |command: u64| call(HypercallNr::PHYSDEV_OP, [command, page]);
    let code = code!("mov edx, 0xed", "in al, dx", "ud2");
    for (iopl, vector) in [(0_u32, 13), (1, 13), (2, 13), (3, 6)] {
        pages::write(page, iopl);
        physdev(6);
        let trap = enter_user(code, stack);
        bits(
            format_args!("user in with IOPL {iopl}"),
            trap.frame.vector,
            vector,
        );
        let trap = enter_user(code!("cli", "ud2"), stack);
        bits(
            format_args!("user cli with IOPL {iopl}"),
            trap.frame.vector,
            vector,
        );
        let trap = enter_user(code!("pushfq", "pop rax", "ud2"), stack);
        bits("user flags show no IOPL", trap.frame.rax & 0x3000, 0);
    }
    pages::write(page, 0_u32);
    physdev(6);
    let bitmap = pages::take();
    pages::write(page, bitmap);
    pages::write(page + 8, 0x400_u64);
    physdev(7);
    let trap = enter_user(code, stack);
    bits("user in by the bitmap", trap.frame.vector, 6);
    pages::write(page + 8, 0_u64);
    physdev(7);
    let trap = enter_user(code, stack);
    bits("user in without the bitmap", trap.frame.vector, 13);
    // TSD is the kernel's to set.
    let cr4 = |set: bool| {
        let mut registers = Registers {
            rbx: u64::from(set) * 4,
            ..Registers::default()
        };
        crate::call::run(
            code!("mov rax, cr4", "and rax, -5", "or rax, rbx", "mov cr4, rax"),
            &mut registers,
        )
        .is_ok()
    };
    let code = code!("rdtsc", "ud2");
    same("cr4 with TSD", cr4(true), true);
    bits(
        "user rdtsc with TSD",
        enter_user(code, stack).frame.vector,
        13,
    );
    same("cr4 without TSD", cr4(false), true);
    bits(
        "user rdtsc without TSD",
        enter_user(code, stack).frame.vector,
        6,
    );
}

fn bad_returns(stack: u64) {
    let land = code!("ud2");
    let good = context(land, stack);
    let cases = [
        (
            "non-canonical rip",
            IretContext {
                rip: NON_CANONICAL,
                ..good
            },
            13,
            0,
        ),
        ("null cs", IretContext { cs: 3, ..good }, 13, 0),
        (
            "cs behind the limit",
            IretContext { cs: 0xfffb, ..good },
            13,
            0xfff8,
        ),
        ("data as cs", IretContext { cs: 0xe02b, ..good }, 13, 0xe028),
        ("ring 0 cs", IretContext { cs: 0xe00b, ..good }, 13, 0xe008),
        ("code as ss", IretContext { ss: 0xe033, ..good }, 13, 0xe030),
        ("null ss", IretContext { ss: 0, ..good }, 13, 0),
        ("local cs", IretContext { cs: 7, ..good }, 13, 4),
    ];
    for (name, context, vector, error_code) in cases {
        let trap = enter(&context, &mut Registers::default());
        bits(
            format_args!("user iret to {name}: vector"),
            trap.frame.vector,
            vector,
        );
        bits(
            format_args!("user iret to {name}: error code"),
            trap.frame.error_code,
            error_code,
        );
        bits(
            format_args!("user iret to {name}: rip"),
            trap.frame.rip,
            context.rip,
        );
        bits(
            format_args!("user iret to {name}: cs"),
            trap.frame.cs & 0xffff,
            context.cs,
        );
        bits(
            format_args!("user iret to {name}: ss"),
            trap.frame.ss,
            context.ss | 3,
        );
        same(
            format_args!("user iret to {name}: comes from user mode"),
            trap.frame.from_user(),
            true,
        );
    }
    for rip in [HYPERVISOR, UNMAPPED] {
        let trap = enter(&IretContext { rip, ..good }, &mut Registers::default());
        bits("user iret to no code: vector", trap.frame.vector, 14);
        bits(
            "user iret to no code: error code",
            trap.frame.error_code & !1,
            0x14,
        );
        bits("user iret to no code: cr2", trap.cr2, rip);
    }
}
