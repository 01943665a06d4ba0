//! User mode: how the kernel gets there, and what brings it back. The user table shares the kernel image's slot.

use core::sync::atomic::Ordering;

use pv_guest_shim::hypercall_abi::arch_x86::xen_x86_64::{
    FLAT_RING3_CS32, FLAT_RING3_CS64, FLAT_RING3_SS64,
};
use pv_guest_shim::hypercall_abi::arch_x86::{IretContext, TrapInfo};
use pv_guest_shim::hypercall_abi::callback::CallbackType;
use pv_guest_shim::hypercall_abi::xen::{
    DomId, HypercallNr, MmuUpdate, MmuextCmd, MulticallEntry, StartInfo,
};
use pv_guest_shim::traps::{self, Registers, Trap};
use pv_guest_shim::{hypercall, mmu, shared};

use crate::call::{
    HYPERVISOR, NON_CANONICAL, UNMAPPED, call, enter, frame_op, mmu_update, update_va,
};
use crate::report::{bits, holds, number, same};
use crate::{code, pages};

const USER_CS: u64 = FLAT_RING3_CS64 as u64;
const USER_SS: u64 = FLAT_RING3_SS64 as u64;
/// Where the pages for compatibility mode are.
const LOW: u64 = 0x40_0000;

/// The area.
pub fn run(_: &'static StartInfo) {
    let Some(root) = build_root() else { return };
    let stack = pages::take() + 2048;
    syscalls(stack);
    exceptions(stack);
    page_faults(stack);
    software_interrupts(stack);
    instructions(stack);
    segment_bases(stack);
    events(stack);
    bad_returns(stack);
    multicall_iret(stack);
    compatibility(root, stack);
    number(
        "user table is removed",
        frame_op(MmuextCmd::NEW_USER_BASEPTR, 0),
        0,
    );
    number(
        "user table is unpinned",
        frame_op(MmuextCmd::UNPIN_TABLE, mmu::virt_to_mfn(root)),
        0,
    );
    traps::init();
}

/// A level 4 table with the image's slot, pinned and loaded. Its address.
fn build_root() -> Option<u64> {
    let root = pages::take();
    let image = mmu::entry(mmu::boot_root(), root, 4)?;
    pages::write(root + 511 * 8, image.value);
    let entry = mmu::leaf(root)?;
    number(
        "user table becomes read-only",
        update_va(root, entry.value & !mmu::WRITABLE, 2),
        0,
    );
    let mfn = mmu::virt_to_mfn(root);
    number(
        "user table is pinned",
        frame_op(MmuextCmd::PIN_L4_TABLE, mfn),
        0,
    );
    number(
        "user table is loaded",
        frame_op(MmuextCmd::NEW_USER_BASEPTR, mfn),
        0,
    );
    Some(root)
}

fn context(rip: u64, rsp: u64) -> IretContext {
    IretContext {
        rax: 0x1234,
        r11: 0x11,
        rcx: 0x22,
        flags: 0,
        rip,
        cs: USER_CS,
        rflags: 0,
        rsp,
        ss: USER_SS,
    }
}

fn enter_user(code: u64, stack: u64) -> Trap {
    enter(&context(code, stack), &mut Registers::default())
}

fn expect(name: &str, trap: &Trap, vector: u64, error_code: u64, rip: u64, stack: u64) {
    bits(
        format_args!("user {name}: vector"),
        trap.frame.vector,
        vector,
    );
    bits(
        format_args!("user {name}: error code"),
        trap.frame.error_code,
        error_code,
    );
    bits(format_args!("user {name}: rip"), trap.frame.rip, rip);
    bits(
        format_args!("user {name}: cs"),
        trap.frame.cs,
        USER_CS | 1 << 32,
    );
    bits(format_args!("user {name}: ss"), trap.frame.ss, USER_SS);
    bits(format_args!("user {name}: rsp"), trap.frame.rsp, stack);
    bits(
        format_args!("user {name}: IF IOPL"),
        trap.frame.rflags & 0x3200,
        0,
    );
}

fn syscalls(stack: u64) {
    let code = code!("mov eax, 17", "syscall");
    let mut registers = Registers {
        rdi: 0x77,
        rbx: 5,
        ..Registers::default()
    };
    let trap = enter(&context(code, stack), &mut registers);
    expect("syscall", &trap, traps::SYSCALL, 0, code + 7, stack);
    same(
        "user syscall: rax rdi rbx",
        (trap.frame.rax, trap.frame.rdi, trap.frame.rbx),
        (17, 0x77, 5),
    );
    bits("user syscall: rcx is rip", trap.frame.rcx, code + 7);
    bits("user syscall: r11 is rflags", trap.frame.r11, 0x202);
    same("user syscall: mask in the handler", trap.handler_mask, 1);
    let code = code!("push 0x40ed7", "popfq", "syscall");
    let trap = enter_user(code, stack);
    bits(
        "user syscall with flags: vector",
        trap.frame.vector,
        traps::SYSCALL,
    );
    bits(
        "user syscall with flags: frame",
        trap.frame.rflags & !0x200,
        0x40cd7 & !0x200,
    );
    bits("user syscall with flags: r11", trap.frame.r11, 0x40ed7);
    bits(
        "user syscall with flags: AC DF NT TF in the handler",
        trap.handler_flags & 0x4_4500,
        0,
    );
    let register = |flags| {
        let address = traps::callback_entry_point(CallbackType::SYSCALL).unwrap_or(0);
        traps::register_callback(CallbackType::SYSCALL, flags, address)
    };
    let code = code!("syscall");
    for (flags, mask) in [(0, 0), (1, 1)] {
        register(flags);
        let trap = enter(
            &IretContext {
                rflags: 0x200,
                ..context(code, stack)
            },
            &mut Registers::default(),
        );
        shared::upcall_mask().store(1, Ordering::Relaxed);
        same(
            format_args!("user syscall with callback flags {flags}: mask"),
            trap.handler_mask,
            mask,
        );
        bits(
            "user syscall: IF in the frame",
            trap.frame.rflags & 0x200,
            0x200,
        );
        same(
            "user syscall: mask in the frame",
            trap.frame.saved_mask(),
            0,
        );
    }
    traps::register_callback(CallbackType::SYSCALL, 0, 0);
    let trap = enter_user(code, stack);
    expect("syscall without a handler", &trap, 6, 0, code, stack);
    traps::init();
    let trap = enter(
        &IretContext {
            flags: 0x100,
            ..context(code, stack)
        },
        &mut Registers::default(),
    );
    bits(
        "user return as from a syscall",
        trap.frame.vector,
        traps::SYSCALL,
    );
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

fn segment_bases(stack: u64) {
    let (first, second) = (pages::take(), pages::take());
    pages::write(first, 0x1111_u64);
    pages::write(second, 0x2222_u64);
    call(HypercallNr::SET_SEGMENT_BASE, [0, first]);
    call(HypercallNr::SET_SEGMENT_BASE, [1, first]);
    call(HypercallNr::SET_SEGMENT_BASE, [2, second]);
    let read = code!("mov rax, gs:[0]", "mov rbx, fs:[0]", "ud2");
    let kernel = |read| {
        let mut registers = Registers::default();
        let trap = crate::call::run(read, &mut registers)
            .err()
            .unwrap_or_default();
        (trap.frame.rax, trap.frame.rbx)
    };
    same("kernel GS FS", kernel(read), (0x2222, 0x1111));
    let trap = enter_user(read, stack);
    same(
        "user GS FS",
        (trap.frame.rax, trap.frame.rbx),
        (0x1111, 0x1111),
    );
    same(
        "kernel GS FS behind user mode",
        kernel(read),
        (0x2222, 0x1111),
    );
    call(HypercallNr::SET_SEGMENT_BASE, [1, second]);
    let trap = enter_user(read, stack);
    same(
        "user GS FS changed",
        (trap.frame.rax, trap.frame.rbx),
        (0x2222, 0x1111),
    );
    // A selector that user mode loads is the kernel's to find, with its base.
    let trap = enter_user(
        code!(
            "xor ecx, ecx",
            "mov gs, ecx",
            "mov ecx, 0xe02b",
            "mov ds, ecx",
            "ud2"
        ),
        stack,
    );
    bits("user loads segments", trap.frame.vector, 6);
    let mut registers = Registers::default();
    let _ = crate::call::run(
        code!("mov eax, ds", "xor ecx, ecx", "mov ds, ecx"),
        &mut registers,
    );
    bits("kernel finds user's DS", registers.rax, 0xe02b);
    same(
        "kernel GS FS behind a load in user mode",
        kernel(read),
        (0x2222, 0x1111),
    );
    for which in [0, 1, 2] {
        call(HypercallNr::SET_SEGMENT_BASE, [which, 0]);
    }
}

/// An event that is pending at the return to user mode comes at once, on the kernel's stack.
fn events(stack: u64) {
    let code = code!("ud2");
    shared::upcall_pending().store(1, Ordering::Relaxed);
    let trap = enter(
        &IretContext {
            rflags: 0x200,
            ..context(code, stack)
        },
        &mut Registers::default(),
    );
    bits("user event: vector", trap.frame.vector, traps::EVENT);
    bits("user event: cs", trap.frame.cs, USER_CS);
    bits("user event: rip", trap.frame.rip, code);
    bits("user event: rsp", trap.frame.rsp, stack);
    same("user event: mask in the handler", trap.handler_mask, 1);
    shared::upcall_mask().store(1, Ordering::Relaxed);
    let trap = enter_user(code, stack);
    bits("user masked event does not come", trap.frame.vector, 6);
    same(
        "pending stays for the kernel to clear",
        shared::upcall_pending().load(Ordering::Relaxed),
        1,
    );
    shared::upcall_pending().store(0, Ordering::Relaxed);
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

fn multicall_iret(stack: u64) {
    let page = pages::take();
    let version = MulticallEntry {
        op: HypercallNr::XEN_VERSION.0,
        result: 0x5a5a,
        args: [0; 6],
    };
    pages::write(
        page,
        MulticallEntry {
            op: HypercallNr::IRET.0,
            ..version
        },
    );
    pages::write(page + 64, version);
    let code = code!("ud2");
    let frame = pages::take();
    pages::write(frame, context(code, stack));
    let mut registers = Registers {
        rax: HypercallNr::MULTICALL.0,
        rdi: page,
        rsi: 2,
        rbx: frame,
        ..Registers::default()
    };
    let trap = crate::call::run(code!("mov rsp, rbx", "syscall", "ud2"), &mut registers)
        .err()
        .unwrap_or_default();
    expect("iret in a multicall", &trap, 6, 0, code, stack);
    bits("user iret in a multicall: rax", trap.frame.rax, 0x1234);
    bits(
        "user iret in a multicall: the next call",
        pages::read::<MulticallEntry>(page + 64).result,
        0x5a5a,
    );
}

/// 32-bit code needs a page below 4 GiB: tables for slot 0 of the user table.
fn compatibility(root: u64, stack: u64) {
    let [l3, l2, l1, page] = core::array::from_fn(|_| pages::take());
    // int 0x80; syscall; sysenter; ud2; into
    let program: [u8; 16] = [
        0xcd, 0x80, 0x0f, 0x0b, 0x0f, 0x05, 0x0f, 0x0b, 0x0f, 0x34, 0x0f, 0x0b, 0xce, 0x0f, 0x0b,
        0xf4,
    ];
    for (at, byte) in (0..).zip(program) {
        pages::write(page + at, byte);
    }
    let link = |address| mmu::virt_to_mfn(address) << 12 | mmu::KERNEL_RW;
    pages::write(l1, link(page));
    pages::write(l2 + 2 * 8, link(l1));
    pages::write(l3, link(l2));
    for table in [l3, l2, l1] {
        let entry = mmu::leaf(table).unwrap_or_default().value;
        number(
            "low table becomes read-only",
            update_va(table, entry & !mmu::WRITABLE, 2),
            0,
        );
    }
    let update = |value| {
        mmu_update(
            &[MmuUpdate {
                ptr: mmu::virt_to_mfn(root) << 12,
                val: value,
            }],
            DomId::SELF,
        )
    };
    same("low slot is filled", update(link(l3)), (0, 1));
    let start = |offset: u64| IretContext {
        rip: LOW + offset,
        cs: FLAT_RING3_CS32.into(),
        rsp: LOW + 2048,
        ..context(0, stack)
    };
    let compat = |name: &str, offset, vector, error_code, behind: u64| {
        let trap = enter(&start(offset), &mut Registers::default());
        bits(
            format_args!("32-bit {name}: vector"),
            trap.frame.vector,
            vector,
        );
        bits(
            format_args!("32-bit {name}: error code"),
            trap.frame.error_code,
            error_code,
        );
        bits(
            format_args!("32-bit {name}: rip"),
            trap.frame.rip,
            LOW + offset + behind,
        );
        bits(
            format_args!("32-bit {name}: cs"),
            trap.frame.cs,
            u64::from(FLAT_RING3_CS32) | 1 << 32,
        );
        bits(
            format_args!("32-bit {name}: rsp"),
            trap.frame.rsp,
            LOW + 2048,
        );
        trap
    };
    compat("int 0x80", 0, 0x80, 0, 2);
    compat("#UD", 2, 6, 0, 0);
    compat("hlt", 15, 13, 0, 0);
    // SYSCALL in 32-bit code exists on AMD only; SYSENTER in long mode on Intel only, elsewhere it has no target.
    let trap = enter(&start(4), &mut Registers::default());
    holds(
        "32-bit syscall",
        trap.frame.vector,
        matches!(trap.frame.vector, traps::SYSCALL32 | 6),
    );
    if trap.frame.vector == traps::SYSCALL32 {
        same(
            "32-bit syscall: rip cs ss",
            (trap.frame.rip, trap.frame.cs, trap.frame.ss),
            (LOW + 6, u64::from(FLAT_RING3_CS32) | 1 << 32, USER_SS),
        );
        traps::register_callback(CallbackType::SYSCALL32, 0, 0);
        compat("syscall without a handler", 4, 6, 0, 0);
        traps::init();
    }
    let trap = enter(&start(8), &mut Registers::default());
    let vector = trap.frame.vector;
    holds(
        "32-bit sysenter",
        vector,
        matches!(vector, traps::SYSENTER | 6 | 13),
    );
    if vector == traps::SYSENTER {
        traps::register_callback(CallbackType::SYSENTER, 0, 0);
        let trap = enter(&start(8), &mut Registers::default());
        bits("32-bit sysenter without a handler", trap.frame.vector, 13);
        traps::init();
    }
    let into = IretContext {
        rflags: 0x800,
        ..start(12)
    };
    let trap = enter(&into, &mut Registers::default());
    bits("32-bit into: vector", trap.frame.vector, 4);
    bits("32-bit into: rip", trap.frame.rip, LOW + 13);
    let trap = enter(
        &IretContext {
            rflags: 0,
            ..start(12)
        },
        &mut Registers::default(),
    );
    bits("32-bit into without OF: rip", trap.frame.rip, LOW + 13);
    bits("32-bit into without OF: vector", trap.frame.vector, 6);
    same("low slot is emptied", update(0), (0, 1));
    let trap = enter(&start(2), &mut Registers::default());
    bits("32-bit code is gone: vector", trap.frame.vector, 14);
    bits(
        "32-bit code is gone: error code",
        trap.frame.error_code,
        0x14,
    );
    let trap = crate::call::trap_of(LOW).unwrap_or_default();
    bits("user's page is not the kernel's", trap.cr2, LOW);
}
