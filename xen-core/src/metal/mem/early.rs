//! Physical memory as seen through the first page tables of `boot/head.S`: the first 4 GiB, read only by this code.
// UNSAFETY: makes slices from physical addresses.

use xen_core::boot::BootMemory;

use super::layout::{DIRECT_MAP_BASE, EARLY_MAP_END};

/// The first 4 GiB of physical memory, for reading what firmware and boot loader left.
pub struct EarlyMemory(());

impl EarlyMemory {
    /// Access to early memory.
    ///
    /// # Safety
    /// The page tables of `head.S` must be loaded, or ones that map the same, and nothing may write to what is read
    /// while the slices live.
    pub unsafe fn new() -> Self {
        Self(())
    }
}

impl BootMemory<'static> for EarlyMemory {
    fn bytes(&self, addr: u64, len: u64) -> Option<&'static [u8]> {
        if addr.checked_add(len)? > EARLY_MAP_END {
            return None;
        }
        let pointer = (DIRECT_MAP_BASE + addr) as *const u8;
        // SAFETY: the range is mapped (promise of `new`) and lies below `EARLY_MAP_END`; the firmware's and loader's
        // data is not written to while boot reads it (promise of `new`).
        Some(unsafe { core::slice::from_raw_parts(pointer, len as usize) })
    }
}
