//! Exceptions of kernel mode: what each leaves in the frame, and how the handler is entered.
//!
//! Contract: public/arch-x86/xen-x86_64.h; the frames are those of the processor with the event mask in CS.

mod returns;
mod software;

use pv_guest_shim::hypercall_abi::arch_x86::xen_x86_64::{FLAT_KERNEL_CS64, FLAT_KERNEL_SS64};
use pv_guest_shim::hypercall_abi::xen::StartInfo;
use pv_guest_shim::traps::{self, Registers, Trap};
use pv_guest_shim::{hypercall, mmu};

use crate::call::{HYPERVISOR, UNMAPPED, run as run_code, trap_of, update_va};
use crate::report::{bits, holds, number, same};
use crate::{code, pages};

const KERNEL_CS: u64 = FLAT_KERNEL_CS64 as u64 & !3;

const KERNEL_SS: u64 = FLAT_KERNEL_SS64 as u64;

/// The area.
pub fn run(_: &'static StartInfo) {
    faults();
    traps_behind_the_instruction();
    page_faults();
    software::run();
    handler_flags();
    single_step();
    registers();
    returns::run();
}

/// Code that traps at its first instruction, or `offset` bytes behind its start.
fn expect(name: &str, code: u64, vector: u64, error_code: u64, offset: u64) -> Trap {
    let trap = trap_of(code).unwrap_or_default();
    bits(format_args!("{name}: vector"), trap.frame.vector, vector);
    bits(
        format_args!("{name}: error code"),
        trap.frame.error_code,
        error_code,
    );
    bits(format_args!("{name}: rip"), trap.frame.rip, code + offset);
    // Events are masked all the time.
    bits(
        format_args!("{name}: cs"),
        trap.frame.cs,
        KERNEL_CS | 1 << 32,
    );
    bits(format_args!("{name}: ss"), trap.frame.ss, KERNEL_SS);
    bits(
        format_args!("{name}: flags but the arithmetic ones"),
        trap.frame.rflags & !0x1_08d5,
        2,
    );
    same(
        format_args!("{name}: mask in the handler"),
        trap.handler_mask,
        1,
    );
    trap
}

fn faults() {
    expect("#DE", code!("div cl"), 0, 0, 0);
    expect("#UD of ud2", code!("ud2"), 6, 0, 0);
    expect("#UD of into", code!(".byte 0xce"), 6, 0, 0);
    expect("#UD of bound", code!(".byte 0x62, 0"), 6, 0, 0);
    expect("#UD of lock", code!(".byte 0xf0, 0x90"), 6, 0, 0);
    expect(
        "#UD of an undefined opcode",
        code!(".byte 0x0f, 0x04"),
        6,
        0,
        0,
    );
    expect(
        "#GP of a non-canonical read",
        code!("mov rcx, 0x800000000000", "mov rcx, [rcx]"),
        13,
        0,
        10,
    );
    // QEMU without acceleration has #GP here.
    let trap = trap_of(code!("mov rbp, 0x800000000000", "mov rcx, [rbp]")).unwrap_or_default();
    let vector = trap.frame.vector;
    holds(
        "#SS of a non-canonical read",
        vector,
        matches!(vector, 12 | 13),
    );
    expect(
        "#GP of a selector behind the limit",
        code!("mov ecx, 0xfffb", "mov ds, ecx"),
        13,
        0xfff8,
        5,
    );
    expect(
        "#GP of an empty descriptor",
        code!("mov ecx, 0x43", "mov es, ecx"),
        13,
        0x40,
        5,
    );
    expect(
        "#GP of a local selector without a table",
        code!("mov ecx, 0x7", "mov fs, ecx"),
        13,
        4,
        5,
    );
    expect(
        "#GP of a ring 0 data selector",
        code!("mov ecx, 0xe010", "mov ds, ecx"),
        13,
        0xe010,
        5,
    );
    expect(
        "#GP of the task segment",
        code!("mov ecx, 0xe040", "mov ds, ecx"),
        13,
        0xe040,
        5,
    );
    expect(
        "#GP of a null stack",
        code!("xor ecx, ecx", "mov ss, ecx"),
        13,
        0,
        2,
    );
    let target = code!("nop");
    let mut registers = Registers {
        rbx: target,
        ..Registers::default()
    };
    let far = code!("push 0xe008", "push rbx", ".byte 0x48, 0xcb");
    let trap = run_code(far, &mut registers).err().unwrap_or_default();
    bits("far return to ring 0: vector", trap.frame.vector, 13);
    bits("far return to ring 0: error", trap.frame.error_code, 0xe008);
    hypercall::fpu_taskswitch(1);
    expect("#NM", code!("fnop"), 7, 0, 0);
    same("#NM clears TS", trap_of(code!("fnop")).is_none(), true);
    hypercall::fpu_taskswitch(1);
    hypercall::fpu_taskswitch(0);
    same(
        "no #NM with TS clear",
        trap_of(code!("fnop")).is_none(),
        true,
    );
    let divide = code!(
        "push 0x37b",
        "fldcw [rsp]",
        "pop rcx",
        "fld1",
        "fldz",
        "fdivp",
        "fwait"
    );
    let trap = trap_of(divide).unwrap_or_default();
    bits("#MF: vector", trap.frame.vector, 16);
    bits("#MF: error code", trap.frame.error_code, 0);
    same(
        "fninit clears it",
        trap_of(code!("fninit", "fwait")).is_none(),
        true,
    );
}

fn traps_behind_the_instruction() {
    expect("int3", code!("int3"), 3, 0, 1);
    expect("int 3 in two bytes", code!(".byte 0xcd, 3"), 3, 0, 2);
    expect("int 4", code!(".byte 0xcd, 4"), 4, 0, 2);
    hypercall::set_debugreg(6, 0);
}

fn page_fault(name: &str, code: u64, rcx: u64, error_code: u64) {
    let mut registers = Registers {
        rcx,
        ..Registers::default()
    };
    let trap = run_code(code, &mut registers).err().unwrap_or_default();
    bits(format_args!("{name}: vector"), trap.frame.vector, 14);
    bits(
        format_args!("{name}: error code"),
        trap.frame.error_code,
        error_code,
    );
    bits(format_args!("{name}: cr2"), trap.cr2, rcx);
    bits(
        format_args!("{name}: cs"),
        trap.frame.cs,
        KERNEL_CS | 1 << 32,
    );
}

fn page_faults() {
    let read = code!("mov rax, [rcx]");
    let write = code!("mov [rcx], rax");
    let jump = code!("jmp rcx");
    page_fault("read of nothing", read, UNMAPPED, 0);
    page_fault("write to nothing", write, UNMAPPED, 2);
    page_fault("jump to nothing", jump, UNMAPPED, 0x10);
    page_fault("read of page 0", read, 8, 0);
    page_fault(
        "read of the hypervisor",
        read,
        HYPERVISOR,
        1 & mapped(HYPERVISOR),
    );
    page_fault("write to the frame table", write, 0xffff_8000_0000_0008, 3);
    let root = mmu::pfn_to_virt(mmu::mfn_to_pfn(mmu::boot_root()));
    page_fault("write to a level 4 table", write, root + 8, 3);
    let page = pages::take();
    let entry = mmu::leaf(page).unwrap_or_default().value;
    number(
        "page becomes read-only",
        update_va(page, entry & !mmu::WRITABLE, 2),
        0,
    );
    page_fault("write to a read-only page", write, page, 3);
    number(
        "page becomes not executable",
        update_va(page, entry | mmu::NX, 2),
        0,
    );
    page_fault("jump to a page without execution", jump, page, 0x11);
    number("page goes", update_va(page, 0, 2), 0);
    page_fault("read of a page that went", read, page + 8, 0);
    number("page comes back", update_va(page, entry, 2), 0);
    same(
        "page can be read again",
        run_code(
            read,
            &mut Registers {
                rcx: page,
                ..Registers::default()
            },
        )
        .is_ok(),
        true,
    );
}

/// Whether the processor finds the address mapped; guests may not see it in either case.
fn mapped(address: u64) -> u64 {
    let read = code!("mov rax, [rcx]");
    let mut registers = Registers {
        rcx: address,
        ..Registers::default()
    };
    let trap = run_code(read, &mut registers).err().unwrap_or_default();
    trap.frame.error_code
}

fn handler_flags() {
    let trap = trap_of(code!("push 0x244ed7", "popfq", "ud2")).unwrap_or_default();
    // A processor saves faults with RF set (SDM volume 3, 17.3.1.1), QEMU's emulation does not.
    bits(
        "flags in the frame",
        trap.frame.rflags & !0x1_0000,
        0x244cd7,
    );
    bits(
        "AC NT TF RF are clear in the handler",
        trap.handler_flags & 0x5_4100,
        0,
    );
    bits(
        "IF is set in the handler",
        trap.handler_flags & 0x200,
        0x200,
    );
    bits(
        "DF is as it was in the handler",
        trap.handler_flags & 0x400,
        0x400,
    );
    let trap =
        trap_of(code!("push 0x3002", "popfq", "pushfq", "pop rax", "ud2")).unwrap_or_default();
    bits("popf does not change IOPL", trap.frame.rax & 0x3000, 0);
    let trap = trap_of(code!("push 0x2", "popfq", "pushfq", "pop rax", "ud2")).unwrap_or_default();
    bits("popf does not clear IF", trap.frame.rax & 0x200, 0x200);
}

fn single_step() {
    let step = code!("push 0x102", "popfq", "nop", "nop");
    let trap = trap_of(step).unwrap_or_default();
    bits("single step: vector", trap.frame.vector, 1);
    bits("single step: rip", trap.frame.rip, step + 7);
    bits(
        "single step: TF in the frame",
        trap.frame.rflags & 0x100,
        0x100,
    );
    bits(
        "single step: TF in the handler",
        trap.handler_flags & 0x100,
        0,
    );
    bits(
        "single step: dr6",
        hypercall::get_debugreg(6) as u64,
        0xffff_4ff0,
    );
    hypercall::set_debugreg(6, 0);
    bits(
        "dr6 written",
        hypercall::get_debugreg(6) as u64,
        0xffff_0ff0,
    );
    let step = code!(
        "push 0x102",
        "popfq",
        "mov eax, 17",
        "syscall",
        "nop",
        "nop"
    );
    let trap = trap_of(step).unwrap_or_default();
    bits(
        "single step before a hypercall: rip",
        trap.frame.rip,
        step + 11,
    );
    hypercall::set_debugreg(6, 0);
}

/// General registers reach the handler, and the handler's changes reach the code.
fn registers() {
    let mut registers = Registers {
        rax: 1,
        rbx: 2,
        rcx: 3,
        rdx: 4,
        rsi: 5,
        rdi: 6,
        rbp: 7,
        r8: 8,
        r9: 9,
        r10: 10,
        r11: 11,
        r12: 12,
        r13: 13,
        r14: 14,
        r15: 15,
        rflags: 0,
    };
    let trap = run_code(code!("ud2"), &mut registers)
        .err()
        .unwrap_or_default();
    let frame = trap.frame;
    same(
        "registers in the handler",
        [
            frame.rax, frame.rbx, frame.rcx, frame.rdx, frame.rsi, frame.rdi, frame.rbp, frame.r8,
            frame.r9, frame.r10, frame.r11, frame.r12, frame.r13, frame.r14, frame.r15,
        ],
        [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15],
    );
    traps::set_handler(
        6,
        Some(|frame| {
            frame.rip += 2;
            frame.rax += 0x100;
            frame.rcx = 0xccc;
            frame.r11 = 0xbbb;
        }),
    );
    let resumed = run_code(code!("ud2"), &mut registers);
    traps::set_handler(6, None);
    same("handler returns", resumed.is_ok(), true);
    same(
        "registers behind the handler",
        (
            registers.rax,
            registers.rcx,
            registers.r11,
            registers.rbx,
            registers.r15,
        ),
        (0x101, 0xccc, 0xbbb, 2, 15),
    );
    for skew in [0, 8, 1, 7, 15] {
        let mut registers = Registers {
            rbx: skew,
            ..Registers::default()
        };
        let code = code!("sub rsp, rbx", "ud2");
        let trap = run_code(code, &mut registers).err().unwrap_or_default();
        bits(
            format_args!("frame below rsp - {skew}"),
            trap.frame.vector,
            6,
        );
    }
}
