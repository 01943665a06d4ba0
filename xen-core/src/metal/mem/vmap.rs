//! Mappings of device registers, made when a driver starts and kept for ever.

use core::sync::atomic::{AtomicU64, Ordering};

use super::layout::{VMAP_BASE, VMAP_END};
use super::paging::{PAGE_SIZE, Rights, with_tables};

/// First address that is not in use.
static NEXT: AtomicU64 = AtomicU64::new(VMAP_BASE);

/// Maps `len` bytes of device registers at physical address `pa`, uncached, and returns their virtual address.
pub fn map_device(pa: u64, len: u64) -> u64 {
    let offset = pa & (PAGE_SIZE - 1);
    let size = (offset + len).next_multiple_of(PAGE_SIZE);
    // A page in between stays unmapped: running over the end of one device's registers does not hit the next's.
    let va = NEXT.fetch_add(size + PAGE_SIZE, Ordering::Relaxed);
    assert!(va + size <= VMAP_END, "no room to map device registers");
    with_tables(|tables| tables.map(va, pa - offset, size, Rights::Device));
    va + offset
}
