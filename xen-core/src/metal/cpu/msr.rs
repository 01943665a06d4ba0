//! Model-specific registers: numbers, and access with and without tolerance of #GP.
// UNSAFETY: RDMSR and WRMSR.

use core::arch::{asm, global_asm};

/// EFER.
pub const EFER: u32 = 0xc000_0080;
/// SYSCALL target selectors.
pub const STAR: u32 = 0xc000_0081;
/// SYSCALL entry, 64-bit.
pub const LSTAR: u32 = 0xc000_0082;
/// SYSCALL entry, compatibility mode.
pub const CSTAR: u32 = 0xc000_0083;
/// RFLAGS bits that SYSCALL clears.
pub const SFMASK: u32 = 0xc000_0084;
/// FS base.
pub const FS_BASE: u32 = 0xc000_0100;
/// GS base.
pub const GS_BASE: u32 = 0xc000_0101;
/// GS base that SWAPGS exchanges.
pub const KERNEL_GS_BASE: u32 = 0xc000_0102;
/// Value that RDTSCP and RDPID return.
pub const TSC_AUX: u32 = 0xc000_0103;
/// SYSENTER code selector.
pub const SYSENTER_CS: u32 = 0x174;
/// SYSENTER stack pointer.
pub const SYSENTER_ESP: u32 = 0x175;
/// SYSENTER entry.
pub const SYSENTER_EIP: u32 = 0x176;
/// Page attribute table.
pub const PAT: u32 = 0x277;
/// Local APIC base and mode.
pub const APIC_BASE: u32 = 0x1b;
/// TSC-deadline timer.
pub const TSC_DEADLINE: u32 = 0x6e0;
/// AMD-V: switch (VM_CR).
pub const VM_CR: u32 = 0xc001_0114;
/// AMD-V: physical address of the area that VMRUN saves the host's state in (VM_HSAVE_PA).
pub const VM_HSAVE_PA: u32 = 0xc001_0117;
/// First x2APIC register.
pub const X2APIC_FIRST: u32 = 0x800;
/// Machine-check capabilities.
pub const MCG_CAP: u32 = 0x179;
/// Machine-check status.
pub const MCG_STATUS: u32 = 0x17a;
/// Control of the first machine-check bank; banks are four registers apart (control, status, address, further facts).
pub const MC0_CTL: u32 = 0x400;

/// PAT of the PV ABI: WB WT UC- UC WC WP UC UC (abi: Xen programs this on every CPU and reports it to guests).
pub const PAT_VALUE: u64 = 0x0000_0501_0007_0406;

/// Reads `register`.
///
/// # Safety
/// The register must exist on this CPU.
pub unsafe fn read(register: u32) -> u64 {
    let (low, high): (u32, u32);
    // SAFETY: the caller vouches for the register.
    unsafe {
        asm!("rdmsr", in("ecx") register, out("eax") low, out("edx") high, options(nomem, nostack, preserves_flags));
    }
    u64::from(high) << 32 | u64::from(low)
}

/// Writes `value` to `register`.
///
/// # Safety
/// The register must exist, accept the value, and the value must not break a promise of Rust (page tables, stacks).
pub unsafe fn write(register: u32, value: u64) {
    // SAFETY: the caller vouches for the register and the value.
    unsafe {
        asm!("wrmsr", in("ecx") register, in("eax") value as u32, in("edx") (value >> 32) as u32,
             options(nostack, preserves_flags));
    }
}

global_asm!(include_str!("msr.S"), options(att_syntax));

unsafe extern "C" {
    fn msr_read_safe(register: u32, value: *mut u64) -> u64;
    fn msr_write_safe(register: u32, value: u64) -> u64;
}

/// Reads `register`; `None` where the CPU answers #GP.
pub fn try_read(register: u32) -> Option<u64> {
    let mut value = 0;
    // SAFETY: `msr_read_safe` recovers from #GP through the exception table; reading has no effect on memory.
    (unsafe { msr_read_safe(register, &raw mut value) } == 0).then_some(value)
}

/// Writes `register`; false where the CPU answers #GP.
///
/// # Safety
/// As [`write()`], except that the register need not exist nor accept the value.
pub unsafe fn try_write(register: u32, value: u64) -> bool {
    // SAFETY: the caller vouches for the effect; #GP is recovered through the exception table.
    unsafe { msr_write_safe(register, value) == 0 }
}
