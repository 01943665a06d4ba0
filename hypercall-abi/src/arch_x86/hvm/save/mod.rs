//! `arch-x86/hvm/save.h`: records of a saved HVM domain. Its vCPUs and devices are in submodules and exported from here.

pub(crate) mod device;
pub(crate) mod vcpu;

pub use self::device::*;
pub use self::vcpu::*;

codes! {
    /// Type of a record.
    pub struct HvmSaveCode(u16);
    prefix "HVM_SAVE_CODE_" {
        /// [`HvmSaveHeader`].
        HEADER = 1,
        /// [`HvmHwCpu`].
        CPU = 2,
        /// [`HvmHwVpic`].
        PIC = 3,
        /// [`HvmHwVioapic`].
        IOAPIC = 4,
        /// [`HvmHwLapic`].
        LAPIC = 5,
        /// [`HvmHwLapicRegs`].
        LAPIC_REGS = 6,
        /// [`HvmHwPciIrqs`].
        PCI_IRQ = 7,
        /// [`HvmHwIsaIrqs`].
        ISA_IRQ = 8,
        /// [`HvmHwPciLink`].
        PCI_LINK = 9,
        /// [`HvmHwPit`].
        PIT = 10,
        /// [`HvmHwRtc`].
        RTC = 11,
        /// [`HvmHwHpet`].
        HPET = 12,
        /// [`HvmHwPmtimer`].
        PMTIMER = 13,
        /// [`HvmHwMtrr`].
        MTRR = 14,
        /// [`HvmViridianDomainContext`].
        VIRIDIAN_DOMAIN = 15,
        /// [`HvmViridianVcpuContext`].
        VIRIDIAN_VCPU = 17,
        /// [`HvmVmceVcpu`].
        VMCE_VCPU = 18,
        /// [`HvmTscAdjust`].
        TSC_ADJUST = 19,
        /// The last one.
        END = 0,
    }
}

constants! {
    in CONSTANTS;
    prefix "HVM_" {
        /// `hvm_save_header.magic`.
        FILE_MAGIC: u32 = 0x5438_1286,
        /// `hvm_save_header.version`.
        FILE_VERSION: u32 = 1,
    }
    prefix "" {
        /// Type of [`HvmHwCpuXsave`], which varies in length.
        CPU_XSAVE_CODE: u16 = 16,
        /// Type of [`HvmMsr`], which varies in length.
        CPU_MSR_CODE: u16 = 20,
        /// Highest type.
        HVM_SAVE_CODE_MAX: u16 = 20,
    }
}

abi_structs! {
    in STRUCTS;
    /// The first record.
    pub struct HvmSaveHeader = "hvm_save_header" [24] {
        /// [`FILE_MAGIC`].
        pub magic: u32,
        /// [`FILE_VERSION`].
        pub version: u32,
        /// Of the hypervisor.
        pub changeset: u64,
        /// EAX of leaf 1 of the host.
        pub cpuid: u32,
        /// Frequency the guest sees.
        pub gtsc_khz: u32,
    }
}

layout_entries! { types: [STRUCTS], constants: [HvmSaveCode::CODES, CONSTANTS] }
