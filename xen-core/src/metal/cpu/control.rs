//! Control registers: the bits that the hypervisor sets, and access (SDM 3A 2.5, APM 2 3.1).
// UNSAFETY: reads and writes control registers.

use core::arch::asm;

use x86_64::registers::control::{Cr0Flags, Cr4Flags, EferFlags};

/// CR0 from the first 64-bit instruction on: protection, paging, native FPU errors, write protection in ring 0, and
/// alignment checks for guests that set RFLAGS.AC.
pub const CR0_BOOT: u64 = Cr0Flags::PROTECTED_MODE_ENABLE.bits()
    | Cr0Flags::MONITOR_COPROCESSOR.bits()
    | Cr0Flags::EXTENSION_TYPE.bits()
    | Cr0Flags::NUMERIC_ERROR.bits()
    | Cr0Flags::WRITE_PROTECT.bits()
    | Cr0Flags::ALIGNMENT_MASK.bits()
    | Cr0Flags::PAGING.bits();

/// EFER: long mode, no-execute, SYSCALL.
pub const EFER_BOOT: u64 = EferFlags::LONG_MODE_ENABLE.bits()
    | EferFlags::NO_EXECUTE_ENABLE.bits()
    | EferFlags::SYSTEM_CALL_EXTENSIONS.bits();

/// CR4 bits that every CPU gets: PAE, machine checks, FXSAVE and SSE exceptions.
pub const CR4_BASE: Cr4Flags = Cr4Flags::PHYSICAL_ADDRESS_EXTENSION
    .union(Cr4Flags::MACHINE_CHECK_EXCEPTION)
    .union(Cr4Flags::OSFXSR)
    .union(Cr4Flags::OSXMMEXCPT_ENABLE);

/// Address of the last page fault.
pub fn cr2() -> u64 {
    let value;
    // SAFETY: reads a register.
    unsafe {
        asm!("mov %cr2, {}", out(reg) value, options(att_syntax, nomem, nostack, preserves_flags))
    };
    value
}

/// CR0.
pub fn cr0() -> u64 {
    let value;
    // SAFETY: reads a register.
    unsafe {
        asm!("mov %cr0, {}", out(reg) value, options(att_syntax, nomem, nostack, preserves_flags))
    };
    value
}

/// CR4.
pub fn cr4() -> u64 {
    let value;
    // SAFETY: reads a register.
    unsafe {
        asm!("mov %cr4, {}", out(reg) value, options(att_syntax, nomem, nostack, preserves_flags))
    };
    value
}

/// Sets or clears CR0.TS.
pub fn set_task_switched(on: bool) {
    let ts = Cr0Flags::TASK_SWITCHED.bits();
    let old = cr0();
    let new = if on { old | ts } else { old & !ts };
    if new != old {
        // SAFETY: TS concerns FPU instructions only, which the hypervisor executes nowhere but in `fpu`.
        unsafe { asm!("mov {}, %cr0", in(reg) new, options(att_syntax, nostack, preserves_flags)) };
    }
}

/// Writes CR4.
///
/// # Safety
/// The value must be one the hypervisor can run under.
pub unsafe fn set_cr4(value: u64) {
    // SAFETY: the caller vouches for the value.
    unsafe { asm!("mov {}, %cr4", in(reg) value, options(att_syntax, nostack, preserves_flags)) };
}

/// CR3.
pub fn cr3() -> u64 {
    let value;
    // SAFETY: reads a register.
    unsafe {
        asm!("mov %cr3, {}", out(reg) value, options(att_syntax, nomem, nostack, preserves_flags))
    };
    value
}
