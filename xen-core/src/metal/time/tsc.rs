//! The time-stamp counter.

use core::arch::x86_64::{_mm_lfence, _rdtsc};

/// Reads the counter after everything before it has been done.
pub fn read() -> u64 {
    // SAFETY: both instructions exist on all 64-bit processors and have no effect on memory.
    unsafe {
        _mm_lfence();
        _rdtsc()
    }
}
