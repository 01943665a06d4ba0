//! IOPL, the I/O bitmap, and instructions that need them.

use pv_guest_shim::hypercall_abi::errno::Errno;
use pv_guest_shim::hypercall_abi::xen::HypercallNr;
use pv_guest_shim::shared;
use pv_guest_shim::traps::Registers;

use crate::call::{BAD_POINTERS, UNMAPPED, call, run as run_code};
use crate::report::{error, holds, number, same};
use crate::{code, pages};

use super::{allow, refuse, vector};

/// The checks.
pub fn run() {
    interrupt_flag();
    ports();
}

fn set_iopl(level: u32) -> i64 {
    let page = pages::take();
    pages::write(page, level);
    call(HypercallNr::PHYSDEV_OP, [6, page])
}

fn interrupt_flag() {
    refuse("cli without IOPL", code!("cli"));
    refuse("sti without IOPL", code!("sti"));
    number("set_iopl 1", set_iopl(1), 0);
    allow("cli with IOPL", code!("cli"));
    same(
        "cli leaves the mask alone",
        shared::snapshot().vcpu_info[0].evtchn_upcall_mask,
        1,
    );
    allow("sti with IOPL", code!("sti"));
    same(
        "sti leaves the mask alone",
        shared::snapshot().vcpu_info[0].evtchn_upcall_mask,
        1,
    );
    error("set_iopl 4", set_iopl(4), Errno::EINVAL);
    allow("cli after a bad set_iopl", code!("cli"));
    number("set_iopl 0", set_iopl(0), 0);
    refuse("cli without IOPL again", code!("cli"));
    for (kind, pointer) in BAD_POINTERS {
        error(
            format_args!("set_iopl at {kind} pointer"),
            call(HypercallNr::PHYSDEV_OP, [6, pointer]),
            Errno::EFAULT,
        );
    }
}

fn set_bitmap(address: u64, ports: u32) -> i64 {
    let page = pages::take();
    pages::write(page, address);
    pages::write(page + 8, u64::from(ports));
    call(HypercallNr::PHYSDEV_OP, [7, page])
}

fn ports() {
    let read = code!("in al, dx");
    let port = |port: u64, code| {
        let mut registers = Registers {
            rdx: port,
            rax: 0x1234_5678_9abc_deff,
            ..Registers::default()
        };
        run_code(code, &mut registers)
            .map_err(vector)
            .map(|()| registers.rax)
    };
    same("in without IOPL", port(0x80, read), Err((13, 0)));
    same(
        "out without IOPL",
        port(0x80, code!("out dx, al")),
        Err((13, 0)),
    );
    same(
        "in of a number without IOPL",
        port(0, code!("in al, 0x80")),
        Err((13, 0)),
    );
    same(
        "ins without IOPL",
        port(
            0x80,
            code!(
                "push rdi",
                "sub rsp, 8",
                "mov rdi, rsp",
                "insb",
                "add rsp, 8",
                "pop rdi"
            ),
        ),
        Err((13, 0)),
    );
    set_iopl(1);
    same(
        "in keeps the rest of rax",
        port(0xed, read).map(|value| value >> 8),
        Ok(0x12_3456_789a_bcde),
    );
    same(
        "in of 32 bits clears the upper half",
        port(0xed, code!("in eax, dx")).map(|value| value >> 32),
        Ok(0),
    );
    same(
        "in of 16 bits keeps the rest",
        port(0xed, code!("in ax, dx")).map(|value| value >> 16),
        Ok(0x1234_5678_9abc),
    );
    same(
        "out",
        port(0x80, code!("out dx, al")),
        Ok(0x1234_5678_9abc_deff),
    );
    same(
        "in of the PIC, which is not the guest's",
        port(0x21, read).map(|value| value & 0xff),
        Ok(0xff),
    );
    same(
        "out to the PIC",
        port(0x21, code!("mov al, 0xff", "out dx, al")).is_ok(),
        true,
    );
    same(
        "in of the PCI address",
        port(
            0xcf8,
            code!(
                "mov eax, 0x80000000",
                "out dx, eax",
                "xor eax, eax",
                "in eax, dx"
            ),
        ),
        Ok(0x8000_0000),
    );
    let id = port(
        0xcf8,
        code!(
            "mov eax, 0x80000000",
            "out dx, eax",
            "mov edx, 0xcfc",
            "in eax, dx"
        ),
    );
    holds(
        "in of the host bridge's id",
        id,
        id.is_ok_and(|id| id & 0xffff == 0x8086 || id & 0xffff == 0x1022),
    );
    let cmos = port(
        0x70,
        code!("mov al, 0x0d", "out dx, al", "mov edx, 0x71", "in al, dx"),
    );
    holds(
        "in of the clock",
        cmos,
        cmos.is_ok_and(|value| value & 0x80 == 0x80),
    );
    let read_string = code!(
        "sub rsp, 8",
        "mov rdi, rsp",
        "xor eax, eax",
        "mov [rdi], rax",
        "insb",
        "mov rcx, rdi",
        "sub rcx, rsp",
        "mov rax, rcx",
        "add rsp, 8"
    );
    same("ins advances rdi", port(0xed, read_string), Ok(1));
    let repeat = code!(
        "sub rsp, 16",
        "mov rdi, rsp",
        "mov ecx, 4",
        "rep insw",
        "mov rax, rdi",
        "sub rax, rsp",
        "shl rcx, 32",
        "or rax, rcx",
        "add rsp, 16"
    );
    same("rep ins", port(0xed, repeat), Ok(8));
    let out_string = code!(
        "mov rsi, rsp",
        "mov ecx, 2",
        "rep outsb",
        "mov rax, rsi",
        "sub rax, rsp"
    );
    same("rep outs", port(0x80, out_string), Ok(2));
    set_iopl(0);
    bitmap();
}

fn bitmap() {
    let read = code!("in al, dx");
    let port = |port: u64| {
        let mut registers = Registers {
            rdx: port,
            ..Registers::default()
        };
        run_code(read, &mut registers).map_err(vector).map(|()| 0)
    };
    let page = pages::take();
    for at in (0..4096).step_by(8) {
        pages::write(page + at, u64::MAX);
    }
    pages::write(page + 0xed / 8, !(1_u8 << (0xed % 8)));
    number("set_iobitmap", set_bitmap(page, 0x400), 0);
    same("in of a port in the bitmap", port(0xed), Ok(0));
    same("in of a port not in the bitmap", port(0xee), Err((13, 0)));
    same("in of a port behind the bitmap", port(0x400), Err((13, 0)));
    let wide = |code| {
        let mut registers = Registers {
            rdx: 0xed,
            ..Registers::default()
        };
        run_code(code, &mut registers).map_err(vector)
    };
    same(
        "in of 16 bits half in the bitmap",
        wide(code!("in ax, dx")),
        Err((13, 0)),
    );
    number("set_iobitmap of 237 ports", set_bitmap(page, 0xed), 0);
    same(
        "in of the port behind a short bitmap",
        port(0xed),
        Err((13, 0)),
    );
    number("set_iobitmap of 65536", set_bitmap(page, 0x1_0000), 0);
    same("in by a long bitmap", port(0xed), Ok(0));
    error(
        "set_iobitmap of 65537",
        set_bitmap(page, 0x1_0001),
        Errno::EINVAL,
    );
    number("set_iobitmap of nothing", set_bitmap(0, 0x400), 0);
    same("in without a bitmap", port(0xed), Err((13, 0)));
    number("set_iobitmap unmapped", set_bitmap(UNMAPPED, 0x400), 0);
    same("in with an unmapped bitmap", port(0xed), Err((13, 0)));
    number("set_iobitmap removed", set_bitmap(0, 0), 0);
}
