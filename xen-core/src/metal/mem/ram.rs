//! Memory that guests may get, and the machine-to-physical table.
//!
//! A frame is the hypervisor's or it is allocatable, decided at boot. `words` has a bitmap of the allocatable ones and
//! refuses the rest by itself.
// UNSAFETY: makes references to guests' frames.

use alloc::boxed::Box;
use alloc::vec;
use core::sync::atomic::{AtomicU64, Ordering};

use xen_core::boot::modules::PhysRange;
use xen_core::machine::FrameWords;
use xen_core::num::{Mfn, PAGE_SHIFT};

use super::layout::{DIRECT_MAP_BASE, M2P_BASE};

/// Which frames guests may get.
pub struct Ram {
    /// One past the highest frame of usable memory.
    end: u64,
    /// One bit for each frame below `end`.
    allocatable: Box<[AtomicU64]>,
}

impl Ram {
    /// No frame yet.
    ///
    /// # Safety
    /// The machine-to-physical table must be mapped writable at its place, with `frames` entries.
    pub unsafe fn new(frames: u64) -> Self {
        let words = frames.div_ceil(64) as usize;
        Self {
            end: frames,
            allocatable: vec![0u64; words].into_iter().map(AtomicU64::new).collect(),
        }
    }

    /// Makes the frames of `range` allocatable.
    ///
    /// # Safety
    /// The range must be usable memory, covered by the direct map, to which no Rust reference exists or will exist but
    /// those of [`Ram::words`].
    pub unsafe fn give(&self, range: PhysRange) {
        let range = range.pages_within();
        for mfn in range.start >> PAGE_SHIFT..range.end >> PAGE_SHIFT {
            self.allocatable[(mfn / 64) as usize].fetch_or(1 << (mfn % 64), Ordering::Relaxed);
        }
    }

    /// Takes frames away from what is allocatable.
    pub fn withdraw(&self, start: Mfn, count: u64) {
        for mfn in start.0..start.0 + count {
            self.allocatable[(mfn / 64) as usize].fetch_and(!(1 << (mfn % 64)), Ordering::SeqCst);
        }
    }

    /// One past the highest frame of usable memory.
    pub fn end(&self) -> Mfn {
        Mfn(self.end)
    }

    /// The words of an allocatable frame.
    pub fn words(&self, mfn: Mfn) -> &FrameWords {
        let word = self
            .allocatable
            .get((mfn.0 / 64) as usize)
            .map_or(0, |word| word.load(Ordering::Relaxed));
        assert!(
            word & 1 << (mfn.0 % 64) != 0,
            "frame {mfn} is not guests' memory"
        );
        // SAFETY: the frame was given (see `give`), so it is mapped and seen through references to atomics only.
        unsafe { &*((DIRECT_MAP_BASE + mfn.addr()) as *const FrameWords) }
    }

    /// All entries of the machine-to-physical table.
    pub fn m2p_table(&self) -> &'static [AtomicU64] {
        // SAFETY: the table has `end` entries, mapped for ever (promise of `new`), used as atomics only.
        unsafe { core::slice::from_raw_parts(M2P_BASE as *const AtomicU64, self.end as usize) }
    }

    /// The frame's entry of the machine-to-physical table.
    pub fn m2p(&self, mfn: Mfn) -> Option<&'static AtomicU64> {
        // SAFETY: the table has `end` entries, mapped for ever (promise of `new`), used as atomics only.
        (mfn.0 < self.end).then(|| unsafe { &*(M2P_BASE as *const AtomicU64).add(mfn.0 as usize) })
    }
}
