//! Which frames that are not RAM no guest may map, not even the hardware domain.
//!
//! The rules are looked at whenever a guest maps device memory, so they take no lock: they only grow.

use alloc::boxed::Box;
use core::ops::Range;

use spin::Once;

use crate::num::Mfn;

/// Ranges of frames, each behind the one before it.
#[derive(Debug)]
struct Ranges(Once<Box<Link>>);

#[derive(Debug)]
struct Link {
    range: Range<u64>,
    rest: Ranges,
}

impl Ranges {
    const fn empty() -> Self {
        Self(Once::new())
    }

    fn push(&self, start: Mfn, count: u64) {
        let range = start.0..start.0.saturating_add(count);
        let mut end = self;
        loop {
            let mut mine = false;
            let link = end.0.call_once(|| {
                mine = true;
                Box::new(Link {
                    range: range.clone(),
                    rest: Self::empty(),
                })
            });
            if mine {
                return;
            }
            end = &link.rest;
        }
    }

    fn contains(&self, mfn: Mfn) -> bool {
        self.overlap(&(mfn.0..mfn.0.saturating_add(1)))
    }

    fn overlap(&self, frames: &Range<u64>) -> bool {
        let mut at = self.0.get();
        while let Some(link) = at {
            if link.range.start < frames.end && frames.start < link.range.end {
                return true;
            }
            at = link.rest.0.get();
        }
        false
    }
}

/// Rules for device memory.
#[derive(Debug)]
pub struct IoRules {
    /// First frame number that the processor's physical addresses cannot express.
    limit: u64,
    denied: Ranges,
    read_only: Ranges,
}

impl IoRules {
    pub(super) const fn new(limit: u64) -> Self {
        Self {
            limit,
            denied: Ranges::empty(),
            read_only: Ranges::empty(),
        }
    }

    pub(super) fn deny(&self, start: Mfn, count: u64) {
        self.denied.push(start, count);
    }

    pub(super) fn protect(&self, start: Mfn, count: u64) {
        self.read_only.push(start, count);
    }

    /// Whether guests may look at this device frame but not write to it.
    pub(super) fn is_read_only(&self, mfn: Mfn) -> bool {
        self.read_only.contains(mfn)
    }

    /// First frame number that the processor's physical addresses cannot express.
    pub(super) const fn limit(&self) -> u64 {
        self.limit
    }

    /// Whether nothing of this range is kept from everybody.
    pub(super) fn permits_all(&self, frames: &Range<u64>) -> bool {
        frames.end <= self.limit && !self.denied.overlap(frames)
    }

    /// Whether the hardware domain may map this device frame. Beyond the processor's address width nothing is: such
    /// an entry would raise a reserved-bit fault.
    pub(super) fn permits(&self, mfn: Mfn) -> bool {
        mfn.0 < self.limit && !self.denied.contains(mfn)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_add_up() {
        let rules = IoRules::new(1 << 28);
        assert!(rules.permits(Mfn(0xfee00)));
        rules.deny(Mfn(0xfee00), 1);
        rules.deny(Mfn(0xfec00), 2);
        rules.deny(Mfn(u64::MAX - 1), 5);
        rules.protect(Mfn(7), 1);
        for (mfn, permitted) in [
            (0xfee00, false),
            (0xfec01, false),
            (0xfec02, true),
            (7, true),
            (1 << 28, false),
        ] {
            assert_eq!(rules.permits(Mfn(mfn)), permitted);
        }
        assert!(rules.is_read_only(Mfn(7)) && !rules.is_read_only(Mfn(8)));
    }
}
