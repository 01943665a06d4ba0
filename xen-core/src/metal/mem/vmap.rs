//! Mappings of device registers: made when a driver starts and kept for ever, or for the length of one access.
// UNSAFETY: accesses device registers for the hardware domain.

use core::sync::atomic::{AtomicU64, Ordering};

use spin::Mutex;

use super::layout::{VMAP_BASE, VMAP_END};
use super::paging::{PAGE_SIZE, Rights, with_tables};

/// First address that is not in use.
static NEXT: AtomicU64 = AtomicU64::new(VMAP_BASE + PAGE_SIZE);
/// The first page is the window for single accesses.
static WINDOW: Mutex<()> = Mutex::new(());
/// What is mapped with large pages must be aligned to them.
const LARGE: u64 = 2 << 20;

/// Maps `len` bytes of device registers at physical address `pa`, uncached, and returns their virtual address.
pub fn map_device(pa: u64, len: u64) -> u64 {
    let offset = pa & (PAGE_SIZE - 1);
    let size = (offset + len).next_multiple_of(PAGE_SIZE);
    // A page in between stays unmapped: running over the end of one device's registers does not hit the next's.
    let alignment = if size >= LARGE { LARGE } else { PAGE_SIZE };
    let reserved = size + PAGE_SIZE + alignment;
    let va = NEXT
        .fetch_add(reserved, Ordering::Relaxed)
        .next_multiple_of(alignment)
        + (pa - offset) % alignment;
    assert!(va + size <= VMAP_END, "no room to map device registers");
    with_tables(|tables| tables.map(va, pa - offset, size, Rights::Device));
    va + offset
}

/// Runs `access` on the 32-bit register at physical address `pa`.
fn with_register<R>(pa: u64, access: impl FnOnce(*mut u32) -> R) -> R {
    let _guard = WINDOW.lock();
    with_tables(|tables| tables.replace(VMAP_BASE, Some((pa & !(PAGE_SIZE - 1), Rights::Device))));
    let result = access((VMAP_BASE + (pa & (PAGE_SIZE - 1) & !3)) as *mut u32);
    with_tables(|tables| tables.replace(VMAP_BASE, None));
    result
}

/// Reads the 32-bit device register at physical address `pa`.
pub fn read_register(pa: u64) -> u32 {
    // SAFETY: mapped for the length of the access, by this CPU, which holds the window's lock.
    with_register(pa, |pointer| unsafe { pointer.read_volatile() })
}

/// Writes the 32-bit device register at physical address `pa`.
pub fn write_register(pa: u64, value: u32) {
    // SAFETY: as in `read_register`. The library vouches for the address being a device's.
    with_register(pa, |pointer| unsafe { pointer.write_volatile(value) });
}
