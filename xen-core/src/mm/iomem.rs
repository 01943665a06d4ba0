//! Which frames that are not RAM no guest may map, not even the hardware domain.

use alloc::vec::Vec;
use core::ops::Range;

use crate::num::Mfn;
use crate::sync::{Rank, RankedMutex};

/// Rules for device memory.
#[derive(Debug)]
pub struct IoRules {
    /// First frame number that the processor's physical addresses cannot express.
    limit: u64,
    denied: RankedMutex<Vec<Range<u64>>>,
    read_only: RankedMutex<Vec<Range<u64>>>,
}

impl IoRules {
    pub(super) const fn new(limit: u64) -> Self {
        Self {
            limit,
            denied: RankedMutex::new(Rank::Machine, Vec::new()),
            read_only: RankedMutex::new(Rank::Machine, Vec::new()),
        }
    }

    pub(super) fn deny(&self, start: Mfn, count: u64) {
        self.denied
            .lock()
            .push(start.0..start.0.saturating_add(count));
    }

    pub(super) fn protect(&self, start: Mfn, count: u64) {
        self.read_only
            .lock()
            .push(start.0..start.0.saturating_add(count));
    }

    /// Whether guests may look at this device frame but not write to it.
    pub(super) fn is_read_only(&self, mfn: Mfn) -> bool {
        self.read_only
            .lock()
            .iter()
            .any(|range| range.contains(&mfn.0))
    }

    /// Whether nothing of this range is kept from everybody.
    pub(super) fn permits_all(&self, frames: &Range<u64>) -> bool {
        frames.end <= self.limit
            && !self
                .denied
                .lock()
                .iter()
                .any(|range| range.start < frames.end && frames.start < range.end)
    }

    /// Whether the hardware domain may map this device frame. Beyond the processor's address width nothing is: such
    /// an entry would raise a reserved-bit fault.
    pub(super) fn permits(&self, mfn: Mfn) -> bool {
        mfn.0 < self.limit
            && !self
                .denied
                .lock()
                .iter()
                .any(|range| range.contains(&mfn.0))
    }
}
