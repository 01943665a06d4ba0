//! `arch-x86/xen.h`: a PV vCPU's context and the x86 part of the shared page.

pub mod cpufeatureset;
pub mod cpuid;
pub mod guest_acpi;
pub mod hvm;
pub mod pmu;
pub mod xen_mca;
pub mod xen_x86_64;

pub use xen_x86_64::{CpuUserRegs, IretContext};

use crate::xen::XenPfn;

/// vCPUs that have a `vcpu_info` in the shared page; the others must register one elsewhere.
pub const XEN_LEGACY_MAX_VCPUS: usize = LEGACY_MAX_VCPUS;

/// The five bytes that make the hypervisor emulate the instruction behind them (`ud2` and `xen`), as in `XEN_CPUID`.
#[doc(alias = "XEN_EMULATE_PREFIX")]
pub const EMULATE_PREFIX: [u8; 5] = [0x0f, 0x0b, b'x', b'e', b'n'];

constants! {
    in CONSTANTS;
    prefix "XEN_" {
        /// The first domain's kernel is entered as a PV guest on this architecture.
        HAVE_PV_GUEST_ENTRY: u32 = 1,
        /// `vcpu_info` has an upcall mask on this architecture.
        HAVE_PV_UPCALL_MASK: u32 = 1,
        /// vCPUs in the shared page.
        LEGACY_MAX_VCPUS: usize = 32,
        /// `xen_cpuid_leaf.subleaf` of a leaf without subleaves.
        CPUID_NO_SUBLEAF: u32 = 0xffff_ffff,
        /// I/O port on which HVM guests write to the hypervisor's console.
        HVM_DEBUGCONS_IOPORT: u16 = 0xe9,
        /// All of [`X86EmulationFlags`].
        X86_EMU_ALL: u32 = 0x7ff,
        /// All of [`X86MiscFlags`].
        X86_MISC_FLAGS_MAX: u32 = 1,
    }
    prefix "" {
        /// The first page of the GDT that belongs to the hypervisor.
        FIRST_RESERVED_GDT_PAGE: u64 = 14,
        /// Its offset in bytes.
        FIRST_RESERVED_GDT_BYTE: u64 = FIRST_RESERVED_GDT_PAGE * 4096,
        /// Its first descriptor.
        FIRST_RESERVED_GDT_ENTRY: u64 = FIRST_RESERVED_GDT_BYTE / 8,
    }
}

flags! {
    /// `vcpu_guest_context.flags`.
    pub struct VgcfFlags(u64);
    prefix "VGCF_" {
        /// `fpu_ctxt` is valid.
        i387_valid = 1 << 0,
        /// The vCPU is in kernel mode.
        in_kernel = 1 << 2,
        /// The failsafe callback is entered with events masked.
        failsafe_disables_events = 1 << 3,
        /// The syscall callback is entered with events masked.
        syscall_disables_events = 1 << 4,
        /// The vCPU is up.
        online = 1 << 5,
    }
}

flags! {
    /// `xen_arch_domainconfig.emulation_flags`: devices the hypervisor emulates for a domain.
    pub struct X86EmulationFlags(u32);
    prefix "XEN_X86_EMU_" {
        /// Local APIC.
        LAPIC = 1 << 0,
        /// HPET.
        HPET = 1 << 1,
        /// ACPI power management timer and registers.
        PM = 1 << 2,
        /// Real-time clock.
        RTC = 1 << 3,
        /// I/O APIC.
        IOAPIC = 1 << 4,
        /// 8259 interrupt controllers.
        PIC = 1 << 5,
        /// VGA.
        VGA = 1 << 6,
        /// IOMMU.
        IOMMU = 1 << 7,
        /// 8254 timer.
        PIT = 1 << 8,
        /// Physical interrupts through event channels (HVM).
        USE_PIRQ = 1 << 9,
        /// PCI configuration space.
        VPCI = 1 << 10,
    }
}

flags! {
    /// `xen_arch_domainconfig.misc_flags`.
    pub struct X86MiscFlags(u32);
    prefix "XEN_X86_" {
        /// Reads of unknown MSRs give zero instead of #GP.
        MSR_RELAXED = 1 << 0,
    }
}

/// Bits of [`TrapInfo::flags`]: the privilege level that may raise the vector by `int`.
#[doc(alias = "TI_GET_DPL")]
pub const TI_DPL_MASK: u8 = 3;

/// Bit of [`TrapInfo::flags`]: the handler is entered with events masked.
#[doc(alias = "TI_GET_IF")]
pub const TI_IF: u8 = 4;

abi_structs! {
    in STRUCTS;
    /// One exception handler of `set_trap_table`.
    pub struct TrapInfo = "trap_info" [16] {
        /// Vector.
        pub vector: u8,
        /// [`TI_DPL_MASK`] and [`TI_IF`].
        pub flags: u8,
        /// Code selector.
        pub cs: u16,
        pub _pad: [u8; 4],
        /// Entry point; zero ends the list.
        pub address: u64,
    }
    /// FPU and SSE state in the format of FXSAVE.
    pub struct FpuCtxt = "vcpu_guest_context.fpu_ctxt" [512] {
        pub x: [u8; 512],
    }
    /// Everything needed to start or describe a PV vCPU.
    pub struct VcpuGuestContext = "vcpu_guest_context" [5168] {
        /// FPU state.
        pub fpu_ctxt: FpuCtxt,
        /// [`VgcfFlags`].
        pub flags: u64,
        /// Registers.
        pub user_regs: CpuUserRegs,
        /// Exception handlers by vector.
        pub trap_ctxt: [TrapInfo; 256],
        /// Linear address of the LDT.
        pub ldt_base: u64,
        /// Entries of the LDT.
        pub ldt_ents: u64,
        /// Machine frames of the GDT.
        pub gdt_frames: [u64; 16],
        /// Entries of the GDT.
        pub gdt_ents: u64,
        /// Kernel stack selector.
        pub kernel_ss: u64,
        /// Kernel stack pointer.
        pub kernel_sp: u64,
        /// CR0 to CR7; CR3 in [`xen_x86_64::pfn_to_cr3`] form, CR1 the user page tables.
        pub ctrlreg: [u64; 8],
        /// DR0 to DR7.
        pub debugreg: [u64; 8],
        /// Event entry point.
        pub event_callback_eip: u64,
        /// Failsafe entry point.
        pub failsafe_callback_eip: u64,
        /// 64-bit syscall entry point.
        pub syscall_callback_eip: u64,
        /// Bit per [`VmassistType`](crate::xen::VmassistType).
        pub vm_assist: u64,
        pub fs_base: u64,
        pub gs_base_kernel: u64,
        pub gs_base_user: u64,
    }
    /// The x86 part of the shared page.
    pub struct ArchSharedInfo = "arch_shared_info" [48] {
        /// Highest guest frame plus one in the P2M tree.
        pub max_pfn: u64,
        /// Machine frame of the P2M tree's root.
        pub pfn_to_mfn_frame_list_list: XenPfn,
        /// [`NmiReason`](crate::nmi::NmiReason).
        pub nmi_reason: u64,
        /// CR3 under which `p2m_vaddr` is valid; zero if the list is unused.
        pub p2m_cr3: u64,
        /// Virtual address of the P2M list.
        pub p2m_vaddr: u64,
        /// Odd while the guest changes the P2M list's mapping.
        pub p2m_generation: u64,
    }
    /// The x86 part of a domain's configuration.
    pub struct ArchDomainconfig = "xen_arch_domainconfig" [8] {
        /// [`X86EmulationFlags`].
        pub emulation_flags: u32,
        /// [`X86MiscFlags`].
        pub misc_flags: u32,
    }
    /// One CPUID leaf of a policy.
    pub struct CpuidLeaf = "xen_cpuid_leaf" [24] {
        pub leaf: u32,
        /// [`CPUID_NO_SUBLEAF`] if there are none.
        pub subleaf: u32,
        /// EAX.
        pub a: u32,
        /// EBX.
        pub b: u32,
        /// ECX.
        pub c: u32,
        /// EDX.
        pub d: u32,
    }
    /// One MSR of a policy.
    pub struct MsrEntry = "xen_msr_entry" [16] {
        pub idx: u32,
        /// Reserved, zero.
        pub flags: u32,
        pub val: u64,
    }
}

layout_entries! {
    types: [STRUCTS],
    constants: [VgcfFlags::CODES, X86EmulationFlags::CODES, X86MiscFlags::CODES, CONSTANTS],
}
