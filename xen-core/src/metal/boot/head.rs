//! Values for `head.S`: boot headers, first page tables, first control registers.
// UNSAFETY: assembles the first instructions.

use core::arch::global_asm;

use xen_core::boot::{multiboot1, multiboot2};

use crate::metal::cpu::control::{CR0_BOOT, EFER_BOOT};
use crate::metal::cpu::msr;
use crate::metal::mem::layout;

/// Present, writable table entry.
const TABLE_RW: u64 = 0x3;
/// Present, writable 2 MiB page.
const LARGE_RW: u64 = 0x83;
/// CR4.PAE.
pub const CR4_BOOT: u64 = 1 << 5;
/// Code selector of `boot_gdt`.
pub const BOOT_CS64: u64 = 0x08;
/// Data selector of `boot_gdt`.
pub const BOOT_DS: u64 = 0x10;
/// Bytes of the stack that boot runs on until the per-CPU stack exists.
const BOOT_STACK_SIZE: usize = 256 << 10;

global_asm!(
    include_str!("head.S"),
    base = const layout::IMAGE_BASE,
    mb1_header_magic = const multiboot1::HEADER_MAGIC,
    mb1_header_flags = const multiboot1::HEADER_FLAGS,
    mb2_header_magic = const multiboot2::HEADER_MAGIC,
    image_slot = const layout::IMAGE_SLOT,
    direct_map_slot = const layout::DIRECT_MAP_SLOT,
    table_rw = const TABLE_RW,
    large_rw = const LARGE_RW,
    cr4_boot = const CR4_BOOT,
    cr0_boot = const CR0_BOOT,
    msr_efer = const msr::EFER,
    efer_boot = const EFER_BOOT,
    boot_cs64 = const BOOT_CS64,
    boot_ds = const BOOT_DS,
    boot_stack_size = const BOOT_STACK_SIZE,
    options(att_syntax),
);

unsafe extern "C" {
    /// Lowest byte of the boot stack, which has no guard page: the first page tables lie below.
    static boot_stack: [u64; 512];
}

/// Panics if the boot stack was used to its end: it began as zeroes.
pub fn check_boot_stack() {
    // SAFETY: the symbol has at least this many words; what is running uses the other end.
    let unused = unsafe { (&raw const boot_stack).read_volatile() };
    assert!(
        unused.iter().all(|&word| word == 0),
        "the boot stack is too small"
    );
}
