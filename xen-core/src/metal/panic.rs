//! A panic of the hypervisor: registers, backtrace, then halt or restart as told.
// UNSAFETY: reads the frame pointer.

use core::fmt::Write;
use core::mem::offset_of;
use core::panic::PanicInfo;
use core::sync::atomic::{AtomicBool, Ordering};

use crate::metal::boot::logger;
use crate::metal::cpu::{control, percpu};
use crate::metal::entry::HypervisorFrame;
use crate::metal::{backtrace, power, serial, watchdog};

/// Set by the first panic: a second one while the first is told goes no further.
static PANICKING: AtomicBool = AtomicBool::new(false);

const RULE: &str = "****************************************";

/// Text for the console with Xen's prefix on each line.
macro_rules! say {
    ($($arg:tt)*) => {{
        let _ = writeln!(serial::Writer, "(XEN) {}", format_args!($($arg)*));
    }};
}

#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    begin();
    say!("{RULE}");
    say!("Panic on CPU {}:", percpu::current_number());
    say!("{}", info.message());
    if let Some(place) = info.location() {
        say!("at {place}");
    }
    say!("{RULE}");
    let frame = registers();
    print_registers(&frame);
    say!("Call trace:");
    backtrace::print(None, frame.rbp);
    stop()
}

/// The registers as they are here: those that a called function keeps are still those of whoever panicked.
fn registers() -> HypervisorFrame {
    let mut frame = HypervisorFrame::default();
    // SAFETY: stores registers in the frame, at the offsets of its fields, and changes none.
    unsafe {
        core::arch::asm!(
            "mov %r15, {r15}({f})",
            "mov %r14, {r14}({f})",
            "mov %r13, {r13}({f})",
            "mov %r12, {r12}({f})",
            "mov %r11, {r11}({f})",
            "mov %r10, {r10}({f})",
            "mov %r9, {r9}({f})",
            "mov %r8, {r8}({f})",
            "mov %rax, {rax}({f})",
            "mov %rbx, {rbx}({f})",
            "mov %rcx, {rcx}({f})",
            "mov %rdx, {rdx}({f})",
            "mov %rsi, {rsi}({f})",
            "mov %rdi, {rdi}({f})",
            "mov %rbp, {rbp}({f})",
            "mov %rsp, {rsp}({f})",
            "movw %cs, {cs}({f})",
            "movw %ss, {ss}({f})",
            f = in(reg) &raw mut frame,
            r15 = const offset_of!(HypervisorFrame, r15),
            r14 = const offset_of!(HypervisorFrame, r14),
            r13 = const offset_of!(HypervisorFrame, r13),
            r12 = const offset_of!(HypervisorFrame, r12),
            r11 = const offset_of!(HypervisorFrame, r11),
            r10 = const offset_of!(HypervisorFrame, r10),
            r9 = const offset_of!(HypervisorFrame, r9),
            r8 = const offset_of!(HypervisorFrame, r8),
            rax = const offset_of!(HypervisorFrame, rax),
            rbx = const offset_of!(HypervisorFrame, rbx),
            rcx = const offset_of!(HypervisorFrame, rcx),
            rdx = const offset_of!(HypervisorFrame, rdx),
            rsi = const offset_of!(HypervisorFrame, rsi),
            rdi = const offset_of!(HypervisorFrame, rdi),
            rbp = const offset_of!(HypervisorFrame, rbp),
            rsp = const offset_of!(HypervisorFrame, rsp),
            cs = const offset_of!(HypervisorFrame, cs),
            ss = const offset_of!(HypervisorFrame, ss),
            options(att_syntax, nostack, preserves_flags),
        );
    }
    frame.rip = registers as *const () as u64;
    frame.rflags = x86_64::registers::rflags::read_raw();
    frame
}

/// Ends the boot because of what the user gave us: the reason in one line, without a call trace that would not help.
pub fn fatal(reason: core::fmt::Arguments<'_>) -> ! {
    begin();
    say!("{RULE}");
    say!("Panic on CPU {}:", percpu::current_number());
    say!("{reason}");
    say!("{RULE}");
    stop()
}

/// A trap that hypervisor code must not cause.
pub fn trap_in_hypervisor(frame: &HypervisorFrame) -> ! {
    begin();
    say!("{RULE}");
    let (cpu, vector, error_code) = (
        percpu::current_number(),
        frame.entry_vector,
        frame.error_code,
    );
    let whose = if frame.is_guest() {
        "a guest"
    } else {
        "the hypervisor"
    };
    say!("Panic on CPU {cpu}:");
    say!(
        "FATAL TRAP: vector = {vector} ({}), error code {error_code:#06x}, in {whose}",
        name(vector)
    );
    say!("{RULE}");
    print_registers(frame);
    say!("Call trace:");
    backtrace::print(
        Some(frame.rip),
        if frame.is_guest() { 0 } else { frame.rbp },
    );
    stop()
}

/// The executing CPU does not come out of the hypervisor.
pub fn stuck(frame: &HypervisorFrame) -> ! {
    begin();
    say!("{RULE}");
    let cpu = percpu::current_number();
    say!("Panic on CPU {cpu}:");
    say!("Watchdog timer detects that CPU{cpu} is stuck!");
    say!("{RULE}");
    print_registers(frame);
    say!("Call trace:");
    backtrace::print(Some(frame.rip), frame.rbp);
    stop()
}

fn print_registers(frame: &HypervisorFrame) {
    let f = frame;
    say!(
        "rip {:016x} cs {:04x} rflags {:016x}",
        f.rip,
        f.cs,
        f.rflags
    );
    say!("rax {:016x} rbx {:016x} rcx {:016x}", f.rax, f.rbx, f.rcx);
    say!("rdx {:016x} rsi {:016x} rdi {:016x}", f.rdx, f.rsi, f.rdi);
    say!("rbp {:016x} rsp {:016x} r8  {:016x}", f.rbp, f.rsp, f.r8);
    say!("r9  {:016x} r10 {:016x} r11 {:016x}", f.r9, f.r10, f.r11);
    say!("r12 {:016x} r13 {:016x} r14 {:016x}", f.r12, f.r13, f.r14);
    say!(
        "r15 {:016x} cr0 {:016x} cr4 {:016x}",
        f.r15,
        control::cr0(),
        control::cr4()
    );
    say!(
        "cr3 {:016x} cr2 {:016x} ss {:04x}",
        control::cr3(),
        control::cr2(),
        f.ss
    );
}

fn begin() {
    watchdog::stop();
    x86_64::instructions::interrupts::disable();
    if PANICKING.swap(true, Ordering::SeqCst) {
        power::halt_this_cpu();
    }
    power::stop_others();
    prepare();
}

/// From now on no output waits for a lock whose holder may never go on.
pub fn prepare() {
    serial::take_over();
    if let Some(console) = logger::console() {
        console.start_emergency();
    }
}

fn stop() -> ! {
    if power::must_not_reboot() {
        say!("Manual reset required ('noreboot' specified)");
        power::halt();
    }
    say!("Reboot in five seconds...");
    crate::metal::time::wait_after_panic();
    power::reset()
}

/// Name of an exception.
fn name(vector: u32) -> &'static str {
    match vector {
        0 => "divide error",
        1 => "debug",
        2 => "NMI",
        3 => "breakpoint",
        4 => "overflow",
        5 => "bounds check",
        6 => "invalid opcode",
        7 => "device not available",
        8 => "double fault",
        10 => "invalid TSS",
        11 => "segment not present",
        12 => "stack error",
        13 => "general protection fault",
        14 => "page fault",
        16 => "FPU error",
        17 => "alignment check",
        18 => "machine check",
        19 => "SIMD error",
        _ => "unknown",
    }
}
