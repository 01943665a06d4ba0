//! `arch-x86/cpuid.h`: the hypervisor's CPUID leaves.

flags! {
    /// Leaf 2, ECX.
    pub struct CpuidFeat1(u32);
    prefix "XEN_CPUID_FEAT1_" {
        /// `MMU_PT_UPDATE_PRESERVE_AD` is available.
        MMU_PT_UPDATE_PRESERVE_AD = 1 << 0,
    }
}

flags! {
    /// Leaf 4, EAX.
    pub struct CpuidHvm(u32);
    prefix "XEN_HVM_CPUID_" {
        /// APIC registers are virtualized.
        APIC_ACCESS_VIRT = 1 << 0,
        /// x2APIC registers are virtualized.
        X2APIC_VIRT = 1 << 1,
        /// Foreign and granted frames have IOMMU mappings.
        IOMMU_MAPPINGS = 1 << 2,
        /// EBX is the vCPU.
        VCPU_ID_PRESENT = 1 << 3,
        /// ECX is the domain.
        DOMID_PRESENT = 1 << 4,
        /// MSI destinations have 15 bits.
        EXT_DEST_ID = 1 << 5,
        /// Vectors of `set_evtchn_upcall_vector` need no EOI of the local APIC.
        UPCALL_VECTOR = 1 << 6,
    }
}

constants! {
    in CONSTANTS;
    prefix "XEN_" {
        /// First leaf; may be moved up in steps of 0x100.
        CPUID_FIRST_LEAF: u32 = 0x4000_0000,
        /// `XenV`.
        CPUID_SIGNATURE_EBX: u32 = 0x566e_6558,
        /// `MMXe`.
        CPUID_SIGNATURE_ECX: u32 = 0x6558_4d4d,
        /// `nVMM`.
        CPUID_SIGNATURE_EDX: u32 = 0x4d4d_566e,
        /// Leaf 5, sub-leaf 0, EBX: bits of a machine address.
        CPUID_MACHINE_ADDRESS_WIDTH_MASK: u32 = 255,
        /// Number of leaves after the first.
        CPUID_MAX_NUM_LEAVES: u32 = 5,
    }
}

/// `XEN_CPUID_LEAF(i)`: number of leaf `i` where the leaves have not been moved.
#[doc(alias = "XEN_CPUID_LEAF")]
#[must_use]
pub const fn cpuid_leaf(i: u32) -> u32 {
    CPUID_FIRST_LEAF.wrapping_add(i)
}

layout_entries! { types: [], constants: [CpuidFeat1::CODES, CpuidHvm::CODES, CONSTANTS] }
