//! Registration of entry points and stacks: `set_trap_table`, `callback_op`, `set_callbacks`, `nmi_op`, `stack_switch`,
//! `set_segment_base`.

use pv_guest_shim::hypercall_abi::arch_x86::TrapInfo;
use pv_guest_shim::hypercall_abi::callback::{CallbackType, CallbackUnregister};
use pv_guest_shim::hypercall_abi::errno::Errno;
use pv_guest_shim::hypercall_abi::xen::{HypercallNr, StartInfo};
use pv_guest_shim::traps::{self, Registers};

use crate::call::{
    BAD_POINTERS, HYPERVISOR, NON_CANONICAL, UNMAPPED, call, run as run_code, trap_of,
};
use crate::report::{bits, error, number, same};
use crate::{code, pages};

/// The area.
pub fn run(_: &'static StartInfo) {
    trap_table();
    callback_op();
    set_callbacks();
    nmi();
    segment_bases();
    stack_switch();
    traps::init();
}

fn write_trap(at: u64, vector: u8, address: u64) {
    let info = TrapInfo {
        vector,
        flags: 0,
        cs: 0xe033,
        _pad: [0; 4],
        address,
    };
    pages::write(at, info);
}

fn trap_table() {
    let set = |address: u64| call(HypercallNr::SET_TRAP_TABLE, [address]);
    let page = pages::take();
    for (kind, pointer) in BAD_POINTERS {
        if kind != "null" {
            error(
                format_args!("trap table at {kind} pointer"),
                set(pointer),
                Errno::EFAULT,
            );
        }
    }
    number("empty trap table", set(page), 0);
    write_trap(page, 6, traps::entry_point(0x66));
    write_trap(page + 16, 3, NON_CANONICAL);
    error("non-canonical entry point", set(page), Errno::EINVAL);
    let trap = trap_of(code!("ud2")).unwrap_or_default();
    bits("entry before a bad one is set", trap.frame.vector, 0x66);
    let trap = trap_of(code!("int3")).unwrap_or_default();
    bits("bad entry is not set", trap.frame.vector, 3);
    write_trap(page, 6, traps::entry_point(6));
    pages::write(page + 16, [0_u8; 16]);
    number("trap table of one", set(page), 0);
    let trap = trap_of(code!("ud2")).unwrap_or_default();
    bits("entry is set again", trap.frame.vector, 6);
    let trap = trap_of(code!("int3")).unwrap_or_default();
    bits("unnamed entry stays", trap.frame.vector, 3);
    // The table ends with the page, and no zero entry is before.
    for at in 0..256 {
        write_trap(page + at * 16, at as u8, traps::entry_point(at as u8));
    }
    let next = pages::take();
    write_trap(next, 6, traps::entry_point(0x67));
    let over = set(page);
    number("trap table of more than 256", over, 0);
    let trap = trap_of(code!("ud2")).unwrap_or_default();
    bits("trap table is read to its end", trap.frame.vector, 0x67);
    number("trap table is cleared", set(0), 0);
    traps::init();
    let trap = trap_of(code!("ud2")).unwrap_or_default();
    bits("trap table is set again", trap.frame.vector, 6);
}

fn callback_op() {
    let register = traps::register_callback;
    let event = traps::callback_entry_point(CallbackType::EVENT).unwrap_or(0);
    for kind in [0, 1, 2, 5, 7] {
        let kind = CallbackType(kind);
        number(
            format_args!("register {kind:?}"),
            register(kind, 0, event),
            0,
        );
        number(
            format_args!("register {kind:?} masked"),
            register(kind, 1, event),
            0,
        );
        number(
            format_args!("register {kind:?} with all flags"),
            register(kind, 0xffff, event),
            0,
        );
        error(
            format_args!("register {kind:?} non-canonical"),
            register(kind, 0, NON_CANONICAL),
            Errno::EINVAL,
        );
        number(
            format_args!("register {kind:?} in the hypervisor"),
            register(kind, 0, HYPERVISOR),
            0,
        );
    }
    for kind in [3, 6, 8, 0xffff] {
        error(
            format_args!("register callback {kind}"),
            register(CallbackType(kind), 0, event),
            Errno::ENOSYS,
        );
    }
    traps::init();
    let op = |command: u64, argument: u64| call(HypercallNr::CALLBACK_OP, [command, argument]);
    let page = pages::take();
    for (kind, errno) in [
        (0, Errno::EINVAL),
        (1, Errno::EINVAL),
        (2, Errno::EINVAL),
        (5, Errno::EINVAL),
        (7, Errno::EINVAL),
        (3, Errno::ENOSYS),
        (6, Errno::ENOSYS),
        (8, Errno::ENOSYS),
        (0xffff, Errno::ENOSYS),
    ] {
        pages::write(
            page,
            CallbackUnregister {
                r#type: CallbackType(kind),
                _unused: 0,
            },
        );
        error(
            format_args!("unregister callback {kind}"),
            op(1, page),
            errno,
        );
    }
    pages::write(
        page,
        CallbackUnregister {
            r#type: CallbackType::NMI,
            _unused: 0,
        },
    );
    number("unregister nmi", op(1, page), 0);
    number("unregister nmi again", op(1, page), 0);
    for command in [2, 3, 0xffff_ffff] {
        error(
            format_args!("callback command {command:#x}"),
            op(command, page),
            Errno::ENOSYS,
        );
    }
    for (kind, pointer) in BAD_POINTERS {
        error(
            format_args!("register at {kind} pointer"),
            op(0, pointer),
            Errno::EFAULT,
        );
        error(
            format_args!("unregister at {kind} pointer"),
            op(1, pointer),
            Errno::EFAULT,
        );
    }
    traps::init();
}

fn set_callbacks() {
    let set =
        |event, failsafe, syscall| call(HypercallNr::SET_CALLBACKS, [event, failsafe, syscall]);
    let address = |kind| traps::callback_entry_point(kind).unwrap_or(0);
    let event = address(CallbackType::EVENT);
    let failsafe = address(CallbackType::FAILSAFE);
    let syscall = address(CallbackType::SYSCALL);
    number("set_callbacks", set(event, failsafe, syscall), 0);
    // An address that cannot be is passed over without a word.
    for addresses in [
        (NON_CANONICAL, failsafe, syscall),
        (event, NON_CANONICAL, syscall),
        (event, failsafe, NON_CANONICAL),
    ] {
        let (event, failsafe, syscall) = addresses;
        number(
            "set_callbacks with a bad address",
            set(event, failsafe, syscall),
            0,
        );
    }
    traps::init();
}

fn nmi() {
    let op = |command: u64, argument: u64| call(HypercallNr::NMI_OP, [command, argument]);
    let page = pages::take();
    pages::write(page, traps::entry_point(2));
    pages::write(page + 8, 0_u64);
    number("nmi_op register", op(0, page), 0);
    pages::write(page, NON_CANONICAL);
    error("nmi_op register non-canonical", op(0, page), Errno::EINVAL);
    for (kind, pointer) in BAD_POINTERS {
        error(
            format_args!("nmi_op register at {kind} pointer"),
            op(0, pointer),
            Errno::EFAULT,
        );
    }
    for command in [2, 0xffff_ffff] {
        error(
            format_args!("nmi_op {command:#x}"),
            op(command, page),
            Errno::ENOSYS,
        );
    }
    number("nmi_op unregister", op(1, 0), 0);
    number(
        "nmi without handler is dropped",
        call(HypercallNr::VCPU_OP, [11, 0, 0]),
        0,
    );
    let entry = traps::callback_entry_point(CallbackType::NMI).unwrap_or(0);
    number(
        "register nmi",
        traps::register_callback(CallbackType::NMI, 0, entry),
        0,
    );
    error(
        "register nmi non-canonical",
        traps::register_callback(CallbackType::NMI, 0, NON_CANONICAL),
        Errno::EINVAL,
    );
    let mut registers = Registers {
        rax: HypercallNr::VCPU_OP.0,
        rdi: 11,
        ..Registers::default()
    };
    let send = code!("syscall");
    let trap = run_code(send, &mut registers).err().unwrap_or_default();
    bits("send_nmi: vector", trap.frame.vector, 2);
    bits("send_nmi: rip", trap.frame.rip, send + 2);
    bits("send_nmi: result", trap.frame.rax, 0);
    same("send_nmi: mask in the handler", trap.handler_mask, 1);
    error(
        "send_nmi with an argument",
        call(HypercallNr::VCPU_OP, [11, 0, page]),
        Errno::EINVAL,
    );
    error(
        "send_nmi to no vcpu",
        call(HypercallNr::VCPU_OP, [11, 77, 0]),
        Errno::ENOENT,
    );
    // A second one waits for the iret of the first.
    traps::set_handler(
        2,
        Some(|frame| {
            frame.rbx += 1;
            if frame.rbx == 1 {
                frame.rdx = call(HypercallNr::VCPU_OP, [11, 0, 0]) as u64;
                frame.rsi = frame.rbx;
            }
        }),
    );
    let mut registers = Registers {
        rax: HypercallNr::VCPU_OP.0,
        rdi: 11,
        ..Registers::default()
    };
    let outcome = run_code(send, &mut registers);
    traps::set_handler(2, None);
    same("nmi in an nmi", outcome.is_ok(), true);
    same(
        "nmi in an nmi: both arrive, one after the other",
        (registers.rbx, registers.rsi, registers.rdx),
        (2, 1, 0),
    );
}

fn segment_bases() {
    let set = |which: u64, base: u64| call(HypercallNr::SET_SEGMENT_BASE, [which, base]);
    let page = pages::take();
    pages::write(page, 0x1111_u64);
    pages::write(page + 8, 0x2222_u64);
    let read_fs = code!("mov rax, fs:[0]");
    let read_gs = code!("mov rax, gs:[0]");
    let value = |code| {
        let mut registers = Registers::default();
        let _ = run_code(code, &mut registers);
        registers.rax
    };
    number("set FS base", set(0, page), 0);
    bits("FS base", value(read_fs), 0x1111);
    number("set GS base of the kernel", set(2, page + 8), 0);
    bits("GS base of the kernel", value(read_gs), 0x2222);
    number("set GS base of user mode", set(1, page), 0);
    bits("GS base of the kernel stays", value(read_gs), 0x2222);
    for which in [0, 1, 2] {
        error(
            format_args!("base {which} non-canonical"),
            set(which, NON_CANONICAL),
            Errno::EINVAL,
        );
        error(
            format_args!("base {which} non-canonical at the end"),
            set(which, 0xffff_7fff_ffff_ffff),
            Errno::EINVAL,
        );
        number(
            format_args!("base {which} in the hypervisor"),
            set(which, HYPERVISOR),
            0,
        );
        number(
            format_args!("base {which} unmapped"),
            set(which, UNMAPPED),
            0,
        );
    }
    let trap = trap_of(read_fs).unwrap_or_default();
    bits("FS base unmapped", trap.cr2, UNMAPPED);
    for which in [4, 5, 0xffff_ffff] {
        error(
            format_args!("base {which}"),
            set(which, page),
            Errno::EINVAL,
        );
    }
    number("base kind is 32 bits", set(1 << 32, page), 0);
    for selector in [
        0,
        1,
        3,
        0xe02b,
        0xe033,
        0xe023,
        0x43,
        7,
        0xfffb,
        0xe010,
        0xe040,
        0xe050,
        0x1_0000,
        u64::MAX,
    ] {
        number(
            format_args!("GS selector {selector:#x}"),
            set(3, selector),
            0,
        );
        number(
            "GS base of the kernel after a selector",
            set(2, page + 8),
            0,
        );
        bits(
            format_args!("GS base of the kernel with GS selector {selector:#x}"),
            value(read_gs),
            0x2222,
        );
    }
    set(3, 0);
    for which in [0, 1, 2] {
        number("base is cleared", set(which, 0), 0);
    }
}

fn stack_switch() {
    let switch = |ss: u64, rsp: u64| call(HypercallNr::STACK_SWITCH, [ss, rsp]);
    for (ss, rsp) in [
        (0, 0),
        (0xe028, 8),
        (0xffff_ffff, NON_CANONICAL),
        (7, HYPERVISOR),
    ] {
        number(
            format_args!("stack_switch {ss:#x} {rsp:#x}"),
            switch(ss, rsp),
            0,
        );
    }
    number("stack_switch", switch(0xe02b, traps::stack_end()), 0);
}
