//! Rust's heap: one piece of memory chosen at boot that never becomes guest memory.
// UNSAFETY: gives memory to the allocator.

use core::sync::atomic::{AtomicUsize, Ordering};

use talc::TalcLock;
use talc::source::Manual;

/// The allocator. Interrupts are off in the hypervisor, so its lock is never taken twice by one CPU.
#[global_allocator]
static HEAP: TalcLock<spin::Mutex<()>, Manual> = TalcLock::new(Manual);

/// Bytes that the heap was given.
static SIZE: AtomicUsize = AtomicUsize::new(0);

/// Gives `size` bytes at `base` to the allocator.
///
/// # Safety
/// The memory must be mapped writable for ever and nothing else may use it.
pub unsafe fn init(base: u64, size: u64) {
    // SAFETY: the caller gives the memory away.
    let claimed = unsafe { HEAP.lock().claim(base as *mut u8, size as usize) };
    assert!(
        claimed.is_some(),
        "the heap of {size} bytes is too small to be one"
    );
    SIZE.store(size as usize, Ordering::Relaxed);
}

/// Bytes that the heap was given.
pub fn size() -> usize {
    SIZE.load(Ordering::Relaxed)
}
