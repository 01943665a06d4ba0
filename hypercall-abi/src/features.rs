//! `features.h`: what the hypervisor offers a guest, one bit each in the bitmap of `XENVER_get_features`.

codes! {
    /// Bit number of a feature in submap 0.
    pub struct Feature(u32);
    prefix "XENFEAT_" {
        /// The guest may write its page tables directly instead of through `mmu_update`.
        writable_page_tables = 0,
        /// The guest may write its descriptor tables directly.
        writable_descriptor_tables = 1,
        /// The guest's frame numbers are translated by the hypervisor (HVM and PVH).
        auto_translated_physmap = 2,
        /// The guest kernel runs in ring 0.
        supervisor_mode_kernel = 3,
        /// PAE page directories may lie above 4 GiB.
        pae_pgdir_above_4gb = 4,
        /// `MMU_PT_UPDATE_PRESERVE_AD` is available.
        mmu_pt_update_preserve_ad = 5,
        /// Clear and copy page operations of `mmuext_op` are available for high memory.
        highmem_assist = 6,
        /// Grant mappings keep the guest's available PTE bits.
        gnttab_map_avail_bits = 7,
        /// Events may arrive through a vector callback (HVM).
        hvm_callback_vector = 8,
        /// The pvclock is usable in HVM guests.
        hvm_safe_pvclock = 9,
        /// PIRQs may be used by HVM guests.
        hvm_pirqs = 10,
        /// The domain is the control domain.
        dom0 = 11,
        /// The memory operations understand virtual NUMA nodes.
        memory_op_vnode_supported = 13,
        /// The hypervisor answers SMCCC calls (ARM).
        ARM_SMCCC_supported = 14,
        /// The ACPI RSDP of a PVH guest may lie above the BIOS area.
        linux_rsdp_unrestricted = 15,
        /// Guest frame numbers do not equal machine frame numbers.
        not_direct_mapped = 16,
        /// Guest frame numbers equal machine frame numbers.
        direct_mapped = 17,
    }
}

constants! {
    in CONSTANTS;
    prefix "XENFEAT_" {
        /// Number of 32-bit submaps in the bitmap.
        NR_SUBMAPS: u32 = 1,
    }
}

layout_entries! { types: [], constants: [Feature::CODES, CONSTANTS] }
