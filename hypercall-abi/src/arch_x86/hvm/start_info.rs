//! `arch-x86/hvm/start_info.h`: what a PVH kernel finds at the address in EBX.

codes! {
    /// Kind of a memory range.
    pub struct MemmapType(u32);
    prefix "XEN_HVM_MEMMAP_TYPE_" {
        /// Usable.
        RAM = 1,
        /// Not usable.
        RESERVED = 2,
        /// ACPI tables.
        ACPI = 3,
        /// ACPI non-volatile storage.
        NVS = 4,
        /// With errors.
        UNUSABLE = 5,
        /// Disabled.
        DISABLED = 6,
        /// Persistent.
        PMEM = 7,
    }
}

constants! {
    in CONSTANTS;
    prefix "XEN_" {
        /// `magic`: `xEn3` with the top bit of `E` set.
        HVM_START_MAGIC_VALUE: u32 = 0x336e_c578,
    }
}

abi_structs! {
    in STRUCTS;
    /// The structure; addresses are guest-physical.
    pub struct HvmStartInfo = "hvm_start_info" [56] {
        /// [`HVM_START_MAGIC_VALUE`].
        pub magic: u32,
        /// 1 has the memory map.
        pub version: u32,
        /// [`SifFlags`](crate::xen::SifFlags).
        pub flags: u32,
        pub nr_modules: u32,
        /// Of [`HvmModlistEntry`].
        pub modlist_paddr: u64,
        /// NUL-terminated.
        pub cmdline_paddr: u64,
        pub rsdp_paddr: u64,
        /// Of [`HvmMemmapTableEntry`].
        pub memmap_paddr: u64,
        pub memmap_entries: u32,
        pub reserved: u32,
    }
    /// A module.
    pub struct HvmModlistEntry = "hvm_modlist_entry" [32] {
        pub paddr: u64,
        /// Bytes.
        pub size: u64,
        /// NUL-terminated.
        pub cmdline_paddr: u64,
        pub reserved: u64,
    }
    /// A memory range.
    pub struct HvmMemmapTableEntry = "hvm_memmap_table_entry" [24] {
        pub addr: u64,
        /// Bytes.
        pub size: u64,
        pub r#type: MemmapType,
        pub reserved: u32,
    }
}

layout_entries! { types: [STRUCTS], constants: [MemmapType::CODES, CONSTANTS] }
