//! The hypervisor's virtual address map. Guest page tables stay loaded while we run, so all of it lies in L4 slots 256
//! to 271, which the PV ABI gives to the hypervisor (`arch-x86/xen-x86_64.h`, `HYPERVISOR_VIRT_START` and `_END`).
//!
//! ```text
//! slot  from                 what                                                            rights
//! 256   0xffff8000_00000000  machine-to-physical table, as guests see it (8 bytes per MFN)   user, R, NX
//! 257   0xffff8080_00000000  hypervisor image at BASE + physical address                     text RX, rodata R, data RW
//!       0xffff8080_40000000  one page of system-call stubs per CPU                           RX
//! 258   0xffff8100_00000000  stacks with guard pages, device registers, ACPI tables          RW, NX
//! 259   0xffff8180_00000000  Rust heap                                                       RW, NX
//! 260   0xffff8200_00000000  descriptor windows: 2 MiB per CPU (GDT 64 KiB, LDT 64 KiB)      RW, NX
//! 261   0xffff8280_00000000  frame table; writable M2P from the middle of the slot           RW, NX
//! 262.. 0xffff8300_00000000  direct map of RAM that is not the hypervisor's own              RW, NX
//! ```

/// First address of L4 slot `slot` of the upper half.
const fn slot_base(slot: u64) -> u64 {
    0xffff_0000_0000_0000 | (slot << 39)
}

/// First L4 slot of the hypervisor.
pub const FIRST_SLOT: usize = 256;
/// One past the last L4 slot of the hypervisor.
pub const END_SLOT: usize = 272;
/// Start of the range that no guest address may touch (`HYPERVISOR_VIRT_START`).
pub const HYPERVISOR_START: u64 = slot_base(FIRST_SLOT as u64);
/// End of that range (`HYPERVISOR_VIRT_END`).
pub const HYPERVISOR_END: u64 = slot_base(END_SLOT as u64);

/// The machine-to-physical table as guests see it.
pub const M2P_GUEST_BASE: u64 = slot_base(256);

/// L4 slot of the image.
pub const IMAGE_SLOT: u64 = 257;
/// Virtual minus physical address of the image; `BASE` of the linker script.
pub const IMAGE_BASE: u64 = slot_base(IMAGE_SLOT);
/// System-call stubs, one page per CPU: within 2 GiB of the text, so that they can jump to it.
pub const STUBS_BASE: u64 = IMAGE_BASE + (1 << 30);

/// Stacks: see [`crate::metal::mem::stacks`].
pub const STACKS_BASE: u64 = slot_base(258);
/// Device registers and firmware tables: see [`crate::metal::mem::vmap`].
pub const VMAP_BASE: u64 = STACKS_BASE + (1 << 38);
/// End of the vmap.
pub const VMAP_END: u64 = slot_base(259);

/// Rust heap.
pub const HEAP_BASE: u64 = slot_base(259);

/// Descriptor windows.
pub const WINDOWS_BASE: u64 = slot_base(260);
/// Distance between the windows of two CPUs.
pub const WINDOW_STRIDE: u64 = 2 << 20;
/// Offset of the LDT in a CPU's window.
pub const WINDOW_LDT: u64 = 64 << 10;

/// Frame table.
pub const FRAME_TABLE_BASE: u64 = slot_base(261);
/// Writable machine-to-physical table.
pub const M2P_BASE: u64 = FRAME_TABLE_BASE + (1 << 38);

/// L4 slot where the direct map starts.
pub const DIRECT_MAP_SLOT: u64 = 262;
/// Virtual minus physical address of the direct map.
pub const DIRECT_MAP_BASE: u64 = slot_base(DIRECT_MAP_SLOT);
/// Bytes of physical address space that the direct map can hold.
pub const DIRECT_MAP_SIZE: u64 = HYPERVISOR_END - DIRECT_MAP_BASE;

/// Physical addresses below this are mapped by the first page tables, those of `head.S`.
pub const EARLY_MAP_END: u64 = 4 << 30;

const _: () = assert!(IMAGE_BASE == 0xffff_8080_0000_0000);
const _: () = assert!(HYPERVISOR_END == 0xffff_8800_0000_0000);
