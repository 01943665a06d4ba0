//! Rust's heap: memory chosen at boot, and frames that guests will not get any more.
// UNSAFETY: gives memory to the allocator.

use core::alloc::{GlobalAlloc, Layout};
use core::sync::atomic::{AtomicUsize, Ordering};

use talc::TalcLock;
use talc::source::Manual;

/// The heap counts as low with less than this left: what operations allocate before it can grow.
const RESERVE: usize = 1 << 20;

/// The allocator, which counts.
struct Heap {
    /// Interrupts are off in the hypervisor, so the lock is never taken twice by one CPU.
    talc: TalcLock<spin::Mutex<()>, Manual>,
    /// Bytes that it was given.
    size: AtomicUsize,
    /// Bytes that are allocated, without what alignment costs.
    used: AtomicUsize,
}

#[global_allocator]
static HEAP: Heap = Heap {
    talc: TalcLock::new(Manual),
    size: AtomicUsize::new(0),
    used: AtomicUsize::new(0),
};

// SAFETY: passes every call on to an allocator, with the same arguments.
unsafe impl GlobalAlloc for Heap {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        self.used.fetch_add(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller's promises are the same.
        unsafe { GlobalAlloc::alloc(&self.talc, layout) }
    }

    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        self.used.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: as above.
        unsafe { GlobalAlloc::dealloc(&self.talc, place, layout) }
    }

    unsafe fn realloc(&self, place: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        self.used.fetch_add(size, Ordering::Relaxed);
        self.used.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: as above.
        unsafe { GlobalAlloc::realloc(&self.talc, place, layout, size) }
    }
}

/// Gives `size` bytes at `base` to the allocator. False if they are too few to be of use.
///
/// # Safety
/// The memory must be mapped writable for ever and nothing else may use it.
pub unsafe fn extend(base: u64, size: u64) -> bool {
    // SAFETY: the caller gives the memory away.
    let claimed = unsafe { HEAP.talc.lock().claim(base as *mut u8, size as usize) };
    if claimed.is_some() {
        HEAP.size.fetch_add(size as usize, Ordering::Relaxed);
    }
    claimed.is_some()
}

/// Bytes that the heap was given, and how many of them are allocated.
pub fn size_and_used() -> (usize, usize) {
    (
        HEAP.size.load(Ordering::Relaxed),
        HEAP.used.load(Ordering::Relaxed),
    )
}

/// Whether the heap should grow.
pub fn is_low() -> bool {
    let (size, used) = size_and_used();
    // Headers and holes take their share.
    size - size / 8 < used + RESERVE
}
