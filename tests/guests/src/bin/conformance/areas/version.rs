//! `xen_version`, hypercall numbers that do not exist, and the registers across hypercalls.

use pv_guest_shim::hypercall_abi::errno::Errno;
use pv_guest_shim::hypercall_abi::xen::{HypercallNr, StartInfo};
use pv_guest_shim::traps::Registers;

use crate::call::{BAD_POINTERS, HYPERVISOR, call, run as run_code};
use crate::report::{bits, error, holds, number, same};
use crate::{code, pages};

const VERSION: HypercallNr = HypercallNr::XEN_VERSION;

/// Bytes that each command of `xen_version` writes; 0 for none.
const OUTPUT: [(u64, &str, usize); 9] = [
    (1, "extraversion", 16),
    (2, "compile_info", 144),
    (3, "capabilities", 1024),
    (4, "changeset", 64),
    (5, "platform_parameters", 8),
    (6, "get_features", 8),
    (8, "guest_handle", 16),
    (9, "commandline", 1024),
    (10, "build_id", 4),
];

/// The area.
pub fn run(_: &'static StartInfo) {
    values();
    bad_pointers();
    unknown_numbers();
    preserved_registers();
}

fn values() {
    let page = pages::take();
    number("version", call(VERSION, [0, 0]), 0x0004_0011);
    number(
        "version ignores its argument",
        call(VERSION, [0, HYPERVISOR]),
        0x0004_0011,
    );
    number(
        "version command is 32 bits",
        call(VERSION, [1 << 32, 0]),
        0x0004_0011,
    );
    number("pagesize", call(VERSION, [7, 0]), 4096);
    error(
        "pagesize with an argument",
        call(VERSION, [7, page]),
        Errno::EINVAL,
    );
    for command in [11, 12, 31, 0x7fff_ffff, 0xffff_ffff] {
        error(
            format_args!("xen_version {command:#x}"),
            call(VERSION, [command, page]),
            Errno::ENOSYS,
        );
    }
    for (command, name, size) in OUTPUT {
        for at in (0..4096).step_by(8) {
            pages::write(page + at, 0xa5a5_a5a5_a5a5_a5a5_u64);
        }
        pages::write(page, 0_u64);
        let result = call(VERSION, [command, page]);
        if command != 10 {
            number(name, result, 0);
            let after = (page + size as u64).next_multiple_of(8);
            bits(
                format_args!("{name} writes {size} bytes"),
                pages::read::<u64>(after),
                0xa5a5_a5a5_a5a5_a5a5,
            );
        }
        if matches!(command, 1 | 3 | 4 | 9) {
            let last = pages::read::<u8>(page + size as u64 - 1);
            bits(format_args!("{name} ends with NUL"), last, 0);
        }
    }
    call(VERSION, [5, page]);
    bits(
        "platform_parameters value",
        pages::read::<u64>(page),
        0xffff_8000_0000_0000,
    );
    call(VERSION, [3, page]);
    let capabilities: [u8; 15] = core::array::from_fn(|at| pages::read(page + at as u64));
    same("capabilities value", capabilities, *b"xen-3.0-x86_64 ");
    call(VERSION, [8, page]);
    bits(
        "guest_handle value",
        pages::read::<u64>(page) | pages::read::<u64>(page + 8),
        0,
    );
    pages::write(page, 0_u64);
    call(VERSION, [6, page]);
    bits("get_features 0", pages::read::<u32>(page + 4), 0x0002_28f0);
    for index in [1_u32, 2, 0xffff_ffff] {
        pages::write(page, u64::from(index));
        error(
            format_args!("get_features {index:#x}"),
            call(VERSION, [6, page]),
            Errno::EINVAL,
        );
    }
    let size = call(VERSION, [10, 0]);
    holds(
        "build_id size",
        size,
        size == -(Errno::ENODATA as i64) || size > 0,
    );
    if size > 0 {
        pages::write(page, 0_u32);
        error(
            "build_id without room",
            call(VERSION, [10, page]),
            Errno::EINVAL,
        );
        pages::write(page, 1_u32);
        error(
            "build_id with too little room",
            call(VERSION, [10, page]),
            Errno::ENOBUFS,
        );
        pages::write(page, size as u32);
        number("build_id", call(VERSION, [10, page]), size);
    }
}

fn bad_pointers() {
    for (command, name, _) in OUTPUT {
        for (kind, pointer) in BAD_POINTERS {
            if command == 10 && kind == "null" {
                continue;
            }
            error(
                format_args!("{name} to {kind} pointer"),
                call(VERSION, [command, pointer]),
                Errno::EFAULT,
            );
        }
    }
    // Ends in the hypervisor's range, or wraps around.
    for (command, name, size) in [(3, "capabilities", 1024_u64), (2, "compile_info", 144)] {
        let before = 0xffff_8000_0000_0000 - size / 2;
        error(
            format_args!("{name} across the hypervisor's start"),
            call(VERSION, [command, before]),
            Errno::EFAULT,
        );
        error(
            format_args!("{name} across the end"),
            call(VERSION, [command, 0_u64.wrapping_sub(size / 2)]),
            Errno::EFAULT,
        );
    }
    let read_only = pv_guest_shim::mmu::boot_root();
    let table = pv_guest_shim::mmu::pfn_to_virt(pv_guest_shim::mmu::mfn_to_pfn(read_only));
    error(
        "extraversion to a read-only page",
        call(VERSION, [1, table + 256 * 8]),
        Errno::EFAULT,
    );
}

fn unknown_numbers() {
    for nr in [
        11,
        38,
        43,
        44,
        45,
        46,
        47,
        50,
        55,
        56,
        63,
        64,
        65,
        255,
        256,
        0x7fff_ffff,
        0xffff_ffff,
        1 << 32,
        u64::MAX,
        1 << 63,
    ] {
        error(
            format_args!("hypercall {nr:#x}"),
            call(HypercallNr(nr), [0; 5]),
            Errno::ENOSYS,
        );
    }
    error(
        "hypercall number is 64 bits",
        call(HypercallNr(17 | 1 << 32), [0; 5]),
        Errno::ENOSYS,
    );
}

/// All but RAX, RCX and R11 survive; RCX and R11 are what SYSCALL leaves.
fn preserved_registers() {
    let mut registers = Registers {
        rax: VERSION.0,
        rbx: 0x1111,
        rcx: 0x2222,
        rdx: 0x3333,
        rsi: 0,
        rdi: 0,
        rbp: 0x6666,
        r8: 0x8888,
        r9: 0x9999,
        r10: 0xaaaa,
        r11: 0xbbbb,
        r12: 0xcccc,
        r13: 0xdddd,
        r14: 0xeeee,
        r15: 0xffff,
        rflags: 0,
    };
    let before = registers;
    let trap = run_code(code!("syscall"), &mut registers);
    same("hypercall does not trap", trap.is_ok(), true);
    bits("hypercall result in rax", registers.rax, 0x0004_0011);
    let after = Registers {
        rax: before.rax,
        rcx: before.rcx,
        r11: before.r11,
        rflags: 0,
        ..registers
    };
    same("registers across a hypercall", after, before);
    let mut registers = Registers {
        rax: VERSION.0,
        ..Registers::default()
    };
    let flags = code!(
        "push 0x40ed7",
        "popfq",
        "syscall",
        "pushfq",
        "pop rbx",
        "push 0x202",
        "popfq"
    );
    let trap = run_code(flags, &mut registers);
    same("hypercall with flags does not trap", trap.is_ok(), true);
    // IF stays on, and everything else of AC DF OF SF ZF AF PF CF comes back.
    bits("flags across a hypercall", registers.rbx, 0x40ed7);
}
