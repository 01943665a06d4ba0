//! The hypervisor's own memory for records of guests: small at boot, and growing with what guests make it keep.

use crate::num::Mfn;

/// Rust's heap.
pub trait HeapMemory {
    /// Whether so little of the heap is left that it should grow before guests make the hypervisor keep more.
    fn heap_is_low(&self) -> bool;

    /// Adds `1 << order` frames from `start` on to the heap, for ever. They were allocatable and are nobody's.
    fn extend_heap(&self, start: Mfn, order: u32);
}
