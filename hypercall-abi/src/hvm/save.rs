//! `hvm/save.h`: frame of a saved HVM domain: a sequence of records, each behind a descriptor.

use crate::arch_x86::hvm::save::HvmSaveCode;

abi_structs! {
    in STRUCTS;
    /// Head of a record.
    pub struct HvmSaveDescriptor = "hvm_save_descriptor" [8] {
        pub typecode: HvmSaveCode,
        /// vCPU or device.
        pub instance: u16,
        /// Bytes that follow.
        pub length: u32,
    }
    /// The last record, empty.
    pub struct HvmSaveEnd = "hvm_save_end" [0] {
    }
}

layout_entries! { types: [STRUCTS], constants: [] }
