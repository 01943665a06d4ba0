//! Stacks: five for each CPU, each of 128 KiB, aligned to its size, below it an unmapped guard of the same size. Of the
//! four interrupt stacks only the upper part is mapped.
//!
//! The alignment is how a CPU finds its own data: guests own both GS bases, so the stack pointer is the one register
//! that is always ours. The top of every stack holds a [`CpuTop`].
// UNSAFETY: reads the stack pointer and what lies at the top of the stack.

use hypercall_abi::arch_x86::CpuUserRegs;

use super::layout::STACKS_BASE;
use super::paging::{PAGE_SIZE, Rights, with_tables};
use crate::metal::cpu::percpu::PerCpu;

/// Bytes of a stack.
pub const STACK_SIZE: u64 = 128 << 10;
/// Bytes of an interrupt stack that are mapped.
const INTERRUPT_STACK_SIZE: u64 = 16 << 10;
/// From one stack to the next: the stack and its guard.
const STACK_STRIDE: u64 = 2 * STACK_SIZE;

/// A CPU's stacks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stack {
    /// The one everything runs on.
    Main,
    /// Non-maskable interrupts.
    Nmi,
    /// Double faults.
    DoubleFault,
    /// Machine checks.
    MachineCheck,
    /// Debug exceptions, which can hit the first instruction of an entry.
    Debug,
}

impl Stack {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::Main,
        Self::Nmi,
        Self::DoubleFault,
        Self::MachineCheck,
        Self::Debug,
    ];
}

/// What lies at the top of every stack.
#[repr(C)]
pub struct CpuTop {
    /// Puts the end of the interrupt frame in `regs`, where the processor starts pushing, on a multiple of 16.
    align: u64,
    /// Registers of the interrupted guest; on the main stack only.
    pub regs: CpuUserRegs,
    /// The CPU whose stack this is.
    pub cpu: *const PerCpu,
    /// Address of `regs.error_code` on the main stack: where #DB moves its frame to.
    pub main_frame: u64,
}

const _: () = assert!(size_of::<CpuTop>().is_multiple_of(16));
const _: () = assert!((core::mem::offset_of!(CpuTop, regs.ss) + 8).is_multiple_of(16));

/// Address of the [`CpuTop`] of one of the stacks of CPU number `cpu`.
pub fn top(cpu: u32, stack: Stack) -> u64 {
    let number = u64::from(cpu) * Stack::ALL.len() as u64 + stack as u64;
    STACKS_BASE + (number + 1) * STACK_STRIDE - size_of::<CpuTop>() as u64
}

/// Maps the stacks of CPU number `cpu` and fills their tops.
pub fn create(number: u32, cpu: *const PerCpu) {
    for stack in Stack::ALL {
        let top = top(number, stack);
        let end = (top | (STACK_SIZE - 1)) + 1;
        let size = if stack == Stack::Main {
            STACK_SIZE
        } else {
            INTERRUPT_STACK_SIZE
        };
        with_tables(|tables| {
            for page in (end - size..end).step_by(PAGE_SIZE as usize) {
                let frame = tables.allocate();
                tables.map(page, frame, PAGE_SIZE, Rights::ReadWrite);
            }
        });
        let main_regs = self::top(number, Stack::Main) + core::mem::offset_of!(CpuTop, regs) as u64;
        let main_frame = main_regs + core::mem::offset_of!(CpuUserRegs, error_code) as u64;
        let pointer = top as *mut CpuTop;
        // SAFETY: the address lies in the stack that was just mapped, zeroed, and nobody uses it yet.
        unsafe {
            (&raw mut (*pointer).cpu).write(cpu);
            (&raw mut (*pointer).main_frame).write(main_frame);
        }
    }
}

/// The CPU that executes this. Only on one of the stacks above: not during early boot.
pub fn this_cpu() -> &'static PerCpu {
    let rsp: u64;
    // SAFETY: reads a register.
    unsafe {
        core::arch::asm!("mov %rsp, {}", out(reg) rsp, options(att_syntax, nomem, nostack, preserves_flags))
    };
    let top = (rsp | (STACK_SIZE - 1)) + 1 - size_of::<CpuTop>() as u64;
    // SAFETY: all stacks are aligned to their size and have a filled CpuTop at the end; per-CPU data lives for ever.
    unsafe { &*(*(top as *const CpuTop)).cpu }
}
