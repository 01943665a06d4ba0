//! `hvm/hvm_info_table.h`: what a toolstack tells the firmware of an HVM domain.

constants! {
    in CONSTANTS;
    prefix "" {
        /// Guest frame of the table.
        HVM_INFO_PFN: u64 = 159,
        /// Offset in the frame.
        HVM_INFO_OFFSET: u64 = 0x800,
        /// Guest-physical address.
        HVM_INFO_PADDR: u64 = 0x9_f800,
        /// Most vCPUs of an HVM domain.
        HVM_MAX_VCPUS: u32 = 128,
    }
}

abi_structs! {
    in STRUCTS;
    /// The table.
    pub struct HvmInfoTable = "hvm_info_table" [48] {
        /// `HVM INFO`.
        pub signature: [u8; 8],
        /// Bytes.
        pub length: u32,
        /// Makes the sum of all bytes zero.
        pub checksum: u8,
        /// Boolean.
        pub apic_mode: u8,
        pub _pad: [u8; 2],
        pub nr_vcpus: u32,
        /// First frame behind memory below 4 GiB.
        pub low_mem_pgend: u32,
        /// First frame reserved.
        pub reserved_mem_pgstart: u32,
        /// First frame behind memory above 4 GiB.
        pub high_mem_pgend: u32,
        /// Bit per vCPU.
        pub vcpu_online: [u8; 16],
    }
}

layout_entries! { types: [STRUCTS], constants: [CONSTANTS] }
