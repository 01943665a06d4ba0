//! Bits of the control registers and EFER that the hypervisor sets (SDM 3A 2.5, APM 2 3.1).

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
