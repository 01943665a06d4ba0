//! State of the executing processor that a paravirtual vCPU sees or changes.

use crate::num::{CpuId, Mfn};

/// Registers EAX, EBX, ECX, EDX of a CPUID leaf.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct CpuidLeaf {
    /// EAX.
    pub a: u32,
    /// EBX.
    pub b: u32,
    /// ECX.
    pub c: u32,
    /// EDX.
    pub d: u32,
}

/// A segment base register.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SegmentBase {
    /// FS base.
    Fs,
    /// The GS base in use.
    Gs,
    /// The GS base that SWAPGS would bring in (MSR_KERNEL_GS_BASE): the one of the mode that does not run.
    InactiveGs,
}

/// A data-segment selector register.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SelectorReg {
    /// DS.
    Ds,
    /// ES.
    Es,
    /// FS.
    Fs,
    /// GS, in use.
    Gs,
}

/// Debug registers as hardware holds them.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct DebugRegs {
    /// DR0-DR3.
    pub addr: [u64; 4],
    /// DR6.
    pub dr6: u64,
    /// DR7.
    pub dr7: u64,
}

/// The executing processor, as far as guests share it.
pub trait PvCpu {
    /// Loads the address space whose L4 table is `root`; drops all non-global translations. A vCPU that is not
    /// running leaves no root loaded: see `load_idle_root`.
    fn load_root(&self, root: Mfn);

    /// Loads the hypervisor's own address space (no guest part): for idle, and before a guest's root is freed.
    fn load_idle_root(&self);

    /// The 16 entries, slots 256-271, that every guest L4 table carries.
    fn hypervisor_l4_slots(&self) -> [u64; 16];

    /// CR2 as the trap that is being handled left it. Any guest copy may overwrite it: read it first.
    fn fault_address(&self) -> u64;

    /// Reads a segment base.
    fn base(&self, which: SegmentBase) -> u64;

    /// Writes a segment base. The address must be canonical (XSA-193): callers check.
    fn set_base(&self, which: SegmentBase, addr: u64);

    /// Exchanges active and inactive GS base (SWAPGS): on every change between guest kernel and guest user.
    fn swap_gs(&self);

    /// Reads a selector register.
    fn selector(&self, reg: SelectorReg) -> u16;

    /// Loads a selector register; loading replaces the base of FS and GS.
    ///
    /// # Errors
    /// The selector cannot be loaded (#GP, #NP, #PF on the descriptor table); the register then holds NUL.
    #[expect(clippy::result_unit_err, reason = "there is exactly one way to fail")]
    fn load_selector(&self, reg: SelectorReg, selector: u16) -> Result<(), ()>;

    /// Loads GS as the *inactive* one: selector goes in with the user base live, as SEGBASE_GS_USER_SEL asks.
    ///
    /// # Errors
    /// As [`PvCpu::load_selector`]; NUL is loaded then.
    #[expect(clippy::result_unit_err, reason = "there is exactly one way to fail")]
    fn load_inactive_gs(&self, selector: u16) -> Result<(), ()>;

    /// Maps a guest frame writable (or, for `None`, a page of zeroes) at page `slot` (0-13) of this processor's GDT
    /// window and invalidates the old translation.
    fn set_gdt_slot(&self, slot: usize, frame: Option<Mfn>);

    /// Maps a guest frame at page `slot` (0-15) of this processor's LDT window, or unmaps it.
    fn set_ldt_slot(&self, slot: usize, frame: Option<Mfn>);

    /// Loads LDTR: `entries` descriptors at the LDT window; 0 loads a NUL selector.
    fn load_ldt(&self, entries: u32);

    /// If `addr` lies in this processor's LDT window, the byte offset into the LDT.
    fn ldt_window_offset(&self, addr: u64) -> Option<u64>;

    /// If `addr` lies in this processor's GDT window, the byte offset into the GDT.
    fn gdt_window_offset(&self, addr: u64) -> Option<u64>;

    /// Loads debug registers. DR7.GD is never set.
    fn load_debug_regs(&self, regs: &DebugRegs);

    /// Reads DR6.
    fn dr6(&self) -> u64;

    /// Bytes needed to save the FPU state with all components the host enables (512 without XSAVE).
    fn fpu_area_size(&self) -> usize;

    /// XCR0 bits that the host can enable; 0 without XSAVE.
    fn host_xcr0(&self) -> u64;

    /// Saves the FPU state, all components in `host_xcr0`, in standard (non-compacted) XSAVE or FXSAVE format.
    /// `area` is at least `fpu_area_size` bytes and 64-byte aligned within its first 63 bytes' slack: implementations
    /// bounce through an aligned buffer of the processor where needed.
    fn save_fpu(&self, area: &mut [u8]);

    /// Loads the FPU state saved by [`PvCpu::save_fpu`]. Contents may come from a guest: a malformed image loads the
    /// reset state instead, and returns false.
    fn restore_fpu(&self, area: &[u8]) -> bool;

    /// Loads XCR0 for the guest; the value was validated against `host_xcr0`.
    fn set_xcr0(&self, xcr0: u64);

    /// Sets CR0.TS.
    fn set_task_switched(&self, on: bool);

    /// Gives the guest these of CR4's bits (TSD, DE, FSGSBASE, OSXSAVE; the others are the host's).
    fn set_guest_cr4(&self, bits: u64);

    /// The real CR4.
    fn cr4(&self) -> u64;

    /// The real CR0.
    fn cr0(&self) -> u64;

    /// RDMSR; `None` if the processor has no such register.
    fn read_msr(&self, index: u32) -> Option<u64>;

    /// WRMSR.
    ///
    /// # Errors
    /// The processor refused.
    #[expect(clippy::result_unit_err, reason = "there is exactly one way to fail")]
    fn write_msr(&self, index: u32, value: u64) -> Result<(), ()>;

    /// CPUID of the host.
    fn cpuid(&self, leaf: u32, subleaf: u32) -> CpuidLeaf;

    /// XGETBV(0) as it stands.
    fn xcr0(&self) -> u64;

    /// Initial APIC id of a processor.
    fn apic_id(&self, cpu: CpuId) -> Option<u32>;
}
