//! User mode: how the kernel gets there, and what brings it back. The user table shares the kernel image's slot.

mod compat;
mod faults;

use core::sync::atomic::Ordering;

use pv_guest_shim::hypercall_abi::arch_x86::IretContext;
use pv_guest_shim::hypercall_abi::arch_x86::xen_x86_64::{FLAT_RING3_CS64, FLAT_RING3_SS64};
use pv_guest_shim::hypercall_abi::callback::CallbackType;
use pv_guest_shim::hypercall_abi::xen::{HypercallNr, MmuextCmd, MulticallEntry, StartInfo};
use pv_guest_shim::traps::{self, Registers, Trap};
use pv_guest_shim::{mmu, shared};

use crate::call::{call, enter, frame_op, update_va};
use crate::report::{bits, number, same};
use crate::{code, pages};

const USER_CS: u64 = FLAT_RING3_CS64 as u64;

const USER_SS: u64 = FLAT_RING3_SS64 as u64;

/// The area.
pub fn run(_: &'static StartInfo) {
    let Some(root) = build_root() else { return };
    let stack = pages::take() + 2048;
    syscalls(stack);
    faults::run(stack);
    segment_bases(stack);
    events(stack);
    multicall_iret(stack);
    compat::run(root, stack);
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
