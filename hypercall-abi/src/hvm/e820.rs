//! `hvm/e820.h`: the low memory of HVM guests, and the memory map entries that `XENMEM_memory_map` answers.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// An entry of a memory map in the format of the BIOS call E820h (ACPI specification, section "INT 15H, E820H"): 20 bytes, not aligned.
/// Xen's public headers have no struct for it, `xen_memory_map.buffer` is a `void` handle.
#[doc(alias = "e820entry")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C, packed)]
pub struct E820Entry {
    /// First byte, physical.
    pub addr: u64,
    /// Bytes.
    pub size: u64,
    /// One of [`E820Entry::RAM`] and so on; anything else is reserved.
    pub r#type: u32,
}

impl E820Entry {
    /// Usable memory.
    pub const RAM: u32 = 1;
    /// Not usable.
    pub const RESERVED: u32 = 2;
    /// ACPI tables, usable once read.
    pub const ACPI: u32 = 3;
    /// ACPI non-volatile storage.
    pub const NVS: u32 = 4;
    /// Memory with errors.
    pub const UNUSABLE: u32 = 5;
}

static_assertions::const_assert_eq!(size_of::<E820Entry>(), 20);

constants! {
    in CONSTANTS;
    prefix "" {
        /// Guest-physical address of the page in which the firmware finds its map.
        HVM_E820_PAGE: u64 = 0x0009_0000,
        /// Offset of the number of entries in that page.
        HVM_E820_NR_OFFSET: u64 = 0x1E8,
        /// Offset of the entries in that page.
        HVM_E820_OFFSET: u64 = 0x2D0,
        /// End of RAM below 4 GiB, in bytes.
        HVM_BELOW_4G_RAM_END: u64 = 0xF000_0000,
        /// Start of the MMIO hole below 4 GiB.
        HVM_BELOW_4G_MMIO_START: u64 = HVM_BELOW_4G_RAM_END,
        /// Bytes of the MMIO hole below 4 GiB.
        HVM_BELOW_4G_MMIO_LENGTH: u64 = (1 << 32) - HVM_BELOW_4G_MMIO_START,
    }
}

layout_entries! { types: [], constants: [CONSTANTS] }
