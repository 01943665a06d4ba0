//! Privileged instructions in kernel mode: those that the hypervisor carries out, and #GP for the others.

mod control;
mod cpuid;
mod msrs;
mod ports;

use pv_guest_shim::hypercall;
use pv_guest_shim::hypercall_abi::xen::StartInfo;
use pv_guest_shim::traps::{Registers, Trap};

use crate::call::{run as run_code, trap_of};
use crate::code;
use crate::report::{bits, same};

/// The area.
pub fn run(_: &'static StartInfo) {
    refused();
    harmless();
    msrs::run();
    control::run();
    cpuid::run();
    ports::run();
    stepping();
}

fn refuse(name: &str, code: u64) {
    let trap = trap_of(code).unwrap_or_default();
    bits(format_args!("{name}: vector"), trap.frame.vector, 13);
    bits(format_args!("{name}: error code"), trap.frame.error_code, 0);
    bits(format_args!("{name}: rip"), trap.frame.rip, code);
}

fn refused() {
    refuse("hlt", code!("hlt"));
    refuse("lgdt", code!("lgdt [rsp]"));
    refuse("lidt", code!("lidt [rsp]"));
    refuse("lldt", code!("lldt ax"));
    refuse("ltr", code!("ltr ax"));
    refuse("invlpg", code!("invlpg [rsp]"));
    refuse("swapgs", code!("swapgs"));
    refuse("invd", code!("invd"));
    refuse("lmsw", code!("lmsw ax"));
    refuse("sysret", code!("sysretq"));
    refuse("mov to cr8", code!("mov cr8, rax"));
    refuse("mov from cr8", code!("mov rax, cr8"));
}

fn allow(name: &str, code: u64) -> Registers {
    let mut registers = Registers::default();
    let result = run_code(code, &mut registers);
    let vector = result.err().map(|trap| trap.frame.vector);
    same(format_args!("{name} does not trap"), vector, None);
    registers
}

fn harmless() {
    allow("wbinvd", code!("wbinvd"));
    allow("wbnoinvd", code!(".byte 0xf3, 0x0f, 0x09"));
    allow("sgdt", code!("sub rsp, 16", "sgdt [rsp]", "add rsp, 16"));
    allow("sidt", code!("sub rsp, 16", "sidt [rsp]", "add rsp, 16"));
    allow("sldt", code!("sldt rax"));
    allow("str", code!("str rax"));
    let registers = allow("smsw", code!("smsw rax"));
    bits("smsw shows PE MP ET NE", registers.rax & 0x33, 0x33);
    allow("rdtsc", code!("rdtsc"));
    let registers = allow(
        "lar of a code selector",
        code!("mov ecx, 0xe033", "lar rax, rcx"),
    );
    bits("lar: code", registers.rax & 0xf800, 0xf800);
}

fn vector(trap: Trap) -> (u64, u64) {
    (trap.frame.vector, trap.frame.error_code)
}

/// An instruction that is carried out for the kernel counts as a step.
fn stepping() {
    let step = code!(
        "push 0x102",
        "popfq",
        "mov ecx, 0x277",
        "rdmsr",
        "nop",
        "nop"
    );
    let start = step + 6;
    let trap = trap_of(step).unwrap_or_default();
    bits("step over a plain instruction", trap.frame.rip, start + 5);
    hypercall::set_debugreg(6, 0);
    let step = code!("mov ecx, 0x277", "push 0x102", "popfq", "rdmsr", "nop");
    let trap = trap_of(step).unwrap_or_default();
    bits(
        "step over an emulated instruction: vector",
        trap.frame.vector,
        1,
    );
    bits(
        "step over an emulated instruction: rip",
        trap.frame.rip,
        step + 5 + 6 + 2,
    );
    bits(
        "step over an emulated instruction: dr6",
        hypercall::get_debugreg(6) as u64,
        0xffff_4ff0,
    );
    hypercall::set_debugreg(6, 0);
    let step = code!(
        "push 0x102",
        "popfq",
        ".byte 0x0f, 0x0b, 0x78, 0x65, 0x6e",
        "cpuid",
        "nop"
    );
    let trap = trap_of(step).unwrap_or_default();
    bits("step over a forced cpuid: vector", trap.frame.vector, 1);
    bits(
        "step over a forced cpuid: rip",
        trap.frame.rip,
        step + 6 + 7,
    );
    hypercall::set_debugreg(6, 0);
}
