//! Entries into the hypervisor: the Rust side of `trap.S`.
//!
//! From ring 3 everything ends in [`guest_trap`] with the guest's registers; when it returns, the guest (or another,
//! whose registers were put there) is resumed. In ring 0 only three kinds of trap happen: faults of instructions with
//! an entry in the exception table, interrupts while idle, and bugs.
// UNSAFETY: the functions that assembly code calls, with pointers to frames.

pub mod extable;
mod frame;
pub mod guest_copy;
pub mod patch;

use core::arch::global_asm;
use core::mem::offset_of;

use hypercall_abi::arch_x86::CpuUserRegs;
use xen_core::entry::{ENTRY_SYSCALL, ENTRY_SYSCALL32, ENTRY_SYSENTER, vector};
use xen_core::irq::{KICK_VECTOR, SPURIOUS_VECTOR};

pub use frame::HypervisorFrame;

use crate::metal::cpu::{control, debug, shootdown};
use crate::metal::irq::lapic;
use crate::metal::mem::stacks::{self, CpuTop};
use crate::metal::{machine_check, panic, power, watchdog};

/// CS of a frame made by SYSENTER: the processor does not tell it, and this is what guests get to see.
const SYSENTER_CS: u64 = 3;
const RING3_CS64: u64 = 0xe033;
const RING3_CS32: u64 = 0xe023;
const RING3_SS: u64 = 0xe02b;
/// RFLAGS.TF.
const RFLAGS_TF: u64 = 1 << 8;
/// RFLAGS.RF.
const RFLAGS_RF: u64 = 1 << 16;

global_asm!(
    include_str!("trap.S"),
    include_str!("guest_copy.S"),
    error_code = const offset_of!(CpuUserRegs, error_code),
    entry_vector = const offset_of!(CpuUserRegs, entry_vector),
    rip = const offset_of!(CpuUserRegs, rip),
    cs = const offset_of!(CpuUserRegs, cs),
    rflags = const offset_of!(CpuUserRegs, rflags),
    rsp = const offset_of!(CpuUserRegs, rsp),
    ss = const offset_of!(CpuUserRegs, ss),
    // At the entry on an interrupt stack the processor's 40 bytes and the error code lie below the stack's top.
    main_frame_from_error_code = const 48 + offset_of!(CpuTop, main_frame),
    entry_syscall = const ENTRY_SYSCALL,
    entry_syscall32 = const ENTRY_SYSCALL32,
    entry_sysenter = const ENTRY_SYSENTER,
    ring3_cs64 = const RING3_CS64,
    ring3_cs32 = const RING3_CS32,
    ring3_ss = const RING3_SS,
    sysenter_cs = const SYSENTER_CS,
    rflags_rf = const RFLAGS_RF,
    options(att_syntax),
);

// The order in which trap.S pushes.
const _: () = assert!(offset_of!(CpuUserRegs, r15) == 0);
const _: () = assert!(offset_of!(CpuUserRegs, rdi) == 14 * 8);
const _: () = assert!(offset_of!(CpuUserRegs, rax) == 10 * 8);
const _: () = assert!(offset_of!(CpuUserRegs, error_code) == 15 * 8);
const _: () = assert!(offset_of!(CpuUserRegs, entry_vector) == 15 * 8 + 4);
const _: () = assert!(offset_of!(CpuUserRegs, rip) == 16 * 8);
const _: () = assert!(offset_of!(CpuUserRegs, ss) == 20 * 8);

/// Bytes from one vector's stub to the next.
const STUB_SIZE: u64 = 16;

unsafe extern "C" {
    static vector_stubs: [u8; 0];
    fn debug_entry();
    fn nmi_entry();
    fn double_fault_entry();
    fn machine_check_entry();
    fn syscall64_entry();
    fn syscall32_entry();
    fn sysenter_entry();
    fn start_guest(regs: *mut CpuUserRegs) -> !;
    fn run_on_stack(stack_end: u64, function: extern "C" fn() -> !) -> !;
}

/// Where the gate of a vector leads.
pub fn handler_address(vector: u8) -> u64 {
    match vector {
        vector::DB => debug_entry as *const () as u64,
        vector::NMI => nmi_entry as *const () as u64,
        8 => double_fault_entry as *const () as u64,
        vector::MC => machine_check_entry as *const () as u64,
        other => &raw const vector_stubs as u64 + u64::from(other) * STUB_SIZE,
    }
}

/// Entry of 64-bit SYSCALL.
pub fn syscall64_address() -> u64 {
    syscall64_entry as *const () as u64
}

/// Entry of 32-bit SYSCALL.
pub fn syscall32_address() -> u64 {
    syscall32_entry as *const () as u64
}

/// Entry of SYSENTER.
pub fn sysenter_address() -> u64 {
    sysenter_entry as *const () as u64
}

/// Goes on in `function` on the stack that ends at `stack_end`.
///
/// # Safety
/// The stack must be mapped and unused; nothing on the current stack may be needed again.
pub unsafe fn continue_on_stack(stack_end: u64, function: extern "C" fn() -> !) -> ! {
    // SAFETY: the caller vouches for both stacks.
    unsafe { run_on_stack(stack_end, function) }
}

/// Lets the library choose who runs, and runs it.
pub fn enter_guests() -> ! {
    let cpu = stacks::this_cpu();
    let top = stacks::top(cpu.number, stacks::Stack::Main) as *mut CpuTop;
    // SAFETY: the executing CPU's own stack top; nothing has a reference to the registers there before the first guest
    // runs. `start_guest` gives up everything below.
    unsafe {
        let regs = &raw mut (*top).regs;
        let (hypervisor, local) = (crate::metal::hypervisor(), cpu.local());
        hypervisor.start(local, &mut *regs);
        while hypervisor.run_in_hardware(local, &mut *regs) {}
        start_guest(regs)
    }
}

/// A guest left ring 3.
///
/// # Safety
/// Called by trap.S only: `regs` is the register frame at the top of the executing CPU's main stack.
#[unsafe(no_mangle)]
unsafe extern "C" fn guest_trap(regs: &mut CpuUserRegs) {
    let cpu = stacks::this_cpu();
    if handle_machine_vector(regs.entry_vector) {
        return;
    }
    // SAFETY: this is the only place that takes the library's per-CPU state while guests run, once per entry, and
    // entries do not nest.
    let local = unsafe { cpu.local() };
    let hypervisor = crate::metal::hypervisor();
    hypervisor.guest_trap(local, regs);
    while hypervisor.run_in_hardware(local, regs) {
        watchdog::note_progress();
    }
    watchdog::note_progress();
}

/// Handles a vector that concerns the machine alone, at once wherever it comes in. False if it is another.
fn handle_machine_vector(vector: u32) -> bool {
    if vector == u32::from(shootdown::VECTOR) {
        lapic::end_of_interrupt();
        shootdown::serve();
        return true;
    }
    if lapic::is_own_vector(vector) {
        lapic::handle_own_vector(vector as u8);
        return true;
    }
    false
}

/// A trap in the hypervisor.
///
/// # Safety
/// Called by trap.S only.
#[unsafe(no_mangle)]
unsafe extern "C" fn hypervisor_trap(frame: &mut HypervisorFrame) {
    match frame.entry_vector {
        0..=31 => {
            if !extable::recover(frame) {
                panic::trap_in_hypervisor(frame);
            }
        }
        own if handle_machine_vector(own) => {}
        // Idle, or asking whether something waits: the way out looks at what arrived.
        other => stacks::this_cpu().note_interrupt(other as u8),
    }
}

/// A debug exception in the hypervisor: never ours, so it only must not harm. After MOV SS the guest's breakpoint is
/// reported at the entry's first instruction (XSA-260); after SYSENTER its single step.
///
/// # Safety
/// Called by trap.S only.
#[unsafe(no_mangle)]
unsafe extern "C" fn debug_in_hypervisor(frame: &mut HypervisorFrame) {
    let _ = debug::dr6();
    frame.rflags = frame.rflags & !RFLAGS_TF | RFLAGS_RF;
}

/// A non-maskable interrupt: noted, and this CPU made to look at it before it goes on with a guest.
///
/// # Safety
/// Called by trap.S only.
#[unsafe(no_mangle)]
unsafe extern "C" fn nmi(frame: &mut HypervisorFrame) {
    power::stop_if_told();
    if watchdog::look(frame) {
        return;
    }
    stacks::this_cpu().note_nmi();
    lapic::send_to_self(KICK_VECTOR.0);
}

/// A machine check: a panic, or noted as a non-maskable interrupt is.
///
/// # Safety
/// Called by trap.S only.
#[unsafe(no_mangle)]
unsafe extern "C" fn machine_check(frame: &mut HypervisorFrame) {
    machine_check::handle(frame);
}

/// A double fault: a bug, most likely a stack that ran into its guard page.
///
/// # Safety
/// Called by trap.S only.
#[unsafe(no_mangle)]
unsafe extern "C" fn double_fault(frame: &mut HypervisorFrame) -> ! {
    let _ = control::cr2();
    panic::trap_in_hypervisor(frame)
}

const _: () = assert!(
    SPURIOUS_VECTOR.0 & 0xf == 0xf,
    "older local APICs fix the low four bits of the spurious vector"
);
