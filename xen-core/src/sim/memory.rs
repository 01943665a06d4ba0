//! RAM and the machine-to-physical table.

use core::sync::atomic::{AtomicU64, Ordering};

use super::SimMachine;
use crate::machine::{FrameWords, Frames, HeapMemory};
use crate::num::Mfn;

impl Frames for SimMachine {
    fn max_mfn(&self) -> Mfn {
        Mfn(self.config.frames)
    }

    fn words(&self, mfn: Mfn) -> &FrameWords {
        assert!(
            mfn.0 >= self.config.reserved && mfn.0 < self.config.frames,
            "sim: {mfn:?} is not guests' memory"
        );
        &self.ram[mfn.0 as usize]
    }

    fn m2p(&self, mfn: Mfn) -> Option<&AtomicU64> {
        self.m2p.get(usize::try_from(mfn.0).ok()?)
    }

    fn flush_caches(&self) {
        self.cache_flushes.fetch_add(1, Ordering::SeqCst);
    }
}

impl HeapMemory for SimMachine {
    fn heap_is_low(&self) -> bool {
        self.heap_hunger.load(Ordering::SeqCst) != 0
    }

    fn extend_heap(&self, _start: Mfn, _order: u32) {
        self.heap_hunger.fetch_sub(1, Ordering::SeqCst);
    }
}

impl SimMachine {
    /// Makes the heap low until it has grown `times` times.
    pub fn starve_heap(&self, times: u64) {
        self.heap_hunger.store(times, Ordering::SeqCst);
    }

    /// How often caches were written back.
    #[must_use]
    pub fn cache_flushes(&self) -> usize {
        self.cache_flushes.load(Ordering::SeqCst)
    }

    /// Whether this is RAM that guests can have.
    pub(super) fn has_frame(&self, mfn: Mfn) -> bool {
        mfn.0 >= self.config.reserved && mfn.0 < self.config.frames
    }
}
