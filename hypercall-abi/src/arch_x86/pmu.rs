//! `arch-x86/pmu.h`: x86 part of the shared PMU page.

flags! {
    /// `xen_pmu_arch.pmu_flags`.
    pub struct PmuFlags(u64);
    prefix "PMU_" {
        /// The context is in the page, not in the processor.
        CACHED = 1 << 0,
        /// Sample of user mode.
        SAMPLE_USER = 1 << 1,
        /// Sample of real mode.
        SAMPLE_REAL = 1 << 2,
        /// Sample of a PV guest.
        SAMPLE_PV = 1 << 3,
    }
}

constants! {
    in CONSTANTS;
    prefix "XENPMU_" {
        /// Bytes of registers.
        REGS_PAD_SZ: usize = 64,
        /// Bytes of context.
        CTXT_PAD_SZ: usize = 128,
    }
}

abi_unions! {
    in UNIONS;
    /// Registers.
    pub union PmuArchR = "xen_pmu_arch.r" [u64; 8] {
        regs: PmuRegs,
        pad: [u8; 64],
    }
    /// LVT entry.
    pub union PmuArchL = "xen_pmu_arch.l" [u64; 1] {
        lapic_lvtpc: u32,
        pad: u64,
    }
    /// Context by vendor.
    pub union PmuArchC = "xen_pmu_arch.c" [u64; 16] {
        amd: PmuAmdCtxt,
        intel: PmuIntelCtxt,
        pad: [u8; 128],
    }
}

abi_structs! {
    in STRUCTS;
    /// AMD's counters.
    pub struct PmuAmdCtxt = "xen_pmu_amd_ctxt" [8] {
        /// Offset in bytes.
        pub counters: u32,
        /// Offset in bytes.
        pub ctrls: u32,
        pub regs: [u64; 0],
    }
    /// One of Intel's counters.
    pub struct PmuCntrPair = "xen_pmu_cntr_pair" [16] {
        pub counter: u64,
        pub control: u64,
    }
    /// Intel's counters.
    pub struct PmuIntelCtxt = "xen_pmu_intel_ctxt" [64] {
        /// Offset in bytes.
        pub fixed_counters: u32,
        /// Offset in bytes.
        pub arch_counters: u32,
        pub global_ctrl: u64,
        pub global_ovf_ctrl: u64,
        pub global_status: u64,
        pub fixed_ctrl: u64,
        pub ds_area: u64,
        pub pebs_enable: u64,
        pub debugctl: u64,
        pub regs: [u64; 0],
    }
    /// Where the sample was taken.
    pub struct PmuRegs = "xen_pmu_regs" [32] {
        pub ip: u64,
        pub sp: u64,
        pub flags: u64,
        pub cs: u16,
        pub ss: u16,
        pub cpl: u8,
        pub pad: [u8; 3],
    }
    /// The x86 part.
    pub struct PmuArch = "xen_pmu_arch" [208] {
        pub r: PmuArchR,
        /// [`PmuFlags`].
        pub pmu_flags: u64,
        pub l: PmuArchL,
        pub c: PmuArchC,
    }
}

layout_entries! { types: [STRUCTS, UNIONS], constants: [PmuFlags::CODES, CONSTANTS] }
