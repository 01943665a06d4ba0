//! The allocator of frames: a binary buddy system, its free lists separated by address width.
//!
//! A zone holds the blocks whose highest MFN has a given number of bits. A request below an address limit looks into
//! the zones of fewer bits only, so one that cannot be satisfied fails at once (dom0 tries every width from 18 bits
//! upward at boot), and one without limit takes from the top and leaves low memory alone. Blocks never grow across
//! zones.

use super::frame_table::FrameList;
use super::{CountWord, FrameState, FrameTable};
use crate::num::Mfn;

/// The largest order: 1 GiB.
pub const MAX_ORDER: u32 = 18;
const ORDERS: usize = MAX_ORDER as usize + 1;
/// Zones: widths of a frame number of 0 to 40 bits.
const ZONES: usize = 41;

/// The free lists.
#[derive(Debug)]
pub(super) struct Buddy {
    lists: [[FrameList; ORDERS]; ZONES],
    /// Bit per order whose list in the zone is not empty.
    filled: [u32; ZONES],
    /// Free frames by zone.
    in_zone: [u64; ZONES],
    free: u64,
}

const fn zone_of(start: Mfn, order: u32) -> usize {
    let last = start.0 | ((1 << order) - 1);
    let width = (64 - last.leading_zeros()) as usize;
    if width < ZONES { width } else { ZONES - 1 }
}

impl Buddy {
    pub(super) const fn new() -> Self {
        Self {
            lists: [[FrameList::EMPTY; ORDERS]; ZONES],
            filled: [0; ZONES],
            in_zone: [0; ZONES],
            free: 0,
        }
    }

    /// Free frames.
    pub(super) const fn free_frames(&self) -> u64 {
        self.free
    }

    /// Free frames whose numbers have at least `low` and at most `high` significant bits.
    pub(super) fn free_between(&self, low: u32, high: u32) -> u64 {
        let wanted = low as usize..=high as usize;
        let zones = self.in_zone.iter().enumerate();
        zones
            .filter(|(zone, _)| wanted.contains(zone))
            .map(|(_, free)| free)
            .sum()
    }

    /// Adds a block whose frames are in no list; merges it with its free buddies.
    pub(super) fn release(&mut self, frames: &FrameTable, start: Mfn, order: u32) {
        for i in 0..1u64 << order {
            if let Some(info) = frames.get(start.offset(i)) {
                info.set_count(CountWord::new(FrameState::Free));
            }
        }
        let (mut start, mut order) = (start, order);
        self.free += 1 << order;
        while order < MAX_ORDER {
            let buddy = Mfn(start.0 ^ (1 << order));
            if zone_of(buddy, order) != zone_of(start, order) {
                break;
            }
            let buddys_order = frames.get(buddy).and_then(|info| info.count().free_order());
            if buddys_order != Some(order) {
                break;
            }
            self.unlink(frames, buddy, order);
            start = Mfn(start.0 & !(1 << order));
            order += 1;
        }
        self.link(frames, start, order);
    }

    /// Takes a block of `1 << order` frames, all of them below `1 << width` if a width is given. The frames come
    /// back detached.
    pub(super) fn take(
        &mut self,
        frames: &FrameTable,
        order: u32,
        width: Option<u32>,
    ) -> Option<Mfn> {
        if order > MAX_ORDER {
            return None;
        }
        let top = width.map_or(ZONES - 1, |width| (width as usize).min(ZONES - 1));
        let (zone, found) = (0..=top).rev().find_map(|zone| {
            let fitting = self.filled[zone] >> order << order;
            (fitting != 0).then(|| (zone, fitting.trailing_zeros()))
        })?;
        let start = self.lists[zone][found as usize].first()?;
        self.unlink(frames, start, found);
        self.free -= 1 << order;
        // Keep the upper half of what is split: low addresses are scarcer.
        let mut kept = start;
        for half in (order..found).rev() {
            self.link(frames, kept, half);
            kept = kept.offset(1 << half);
        }
        for i in 0..1u64 << order {
            if let Some(info) = frames.get(kept.offset(i)) {
                info.set_count(CountWord::new(FrameState::Detached));
            }
        }
        Some(kept)
    }

    fn link(&mut self, frames: &FrameTable, start: Mfn, order: u32) {
        let Some(info) = frames.get(start) else {
            return;
        };
        info.set_count(CountWord::free_head(order));
        let zone = zone_of(start, order);
        self.lists[zone][order as usize].push(frames, start);
        self.filled[zone] |= 1 << order;
        self.in_zone[zone] += 1 << order;
    }

    fn unlink(&mut self, frames: &FrameTable, start: Mfn, order: u32) {
        let zone = zone_of(start, order);
        let list = &mut self.lists[zone][order as usize];
        list.remove(frames, start);
        self.in_zone[zone] -= 1 << order;
        if list.first().is_none() {
            self.filled[zone] &= !(1 << order);
        }
        if let Some(info) = frames.get(start) {
            info.set_count(CountWord::new(FrameState::Free));
        }
    }
}

#[cfg(test)]
mod tests {
    extern crate std;

    use std::boxed::Box;
    use std::vec::Vec;

    use super::*;
    use crate::mm::PageInfo;

    fn table(len: usize) -> FrameTable {
        let mut frames = Vec::new();
        frames.resize_with(len, PageInfo::default);
        FrameTable::new(Box::leak(frames.into_boxed_slice()))
    }

    fn filled(len: u64) -> (FrameTable, Buddy) {
        let frames = table(usize::try_from(len).unwrap());
        let mut buddy = Buddy::new();
        for i in 0..len {
            buddy.release(&frames, Mfn(i), 0);
        }
        (frames, buddy)
    }

    #[test]
    fn single_frames_merge_into_the_largest_blocks() {
        let (frames, mut buddy) = filled(1024);
        assert_eq!(buddy.free_frames(), 1024);
        assert_eq!(buddy.take(&frames, 10, None), None);
        assert_eq!(buddy.take(&frames, 9, None), Some(Mfn(512)));
        assert_eq!(buddy.take(&frames, 9, None), None);
        assert_eq!(buddy.take(&frames, 8, None), Some(Mfn(256)));
        buddy.release(&frames, Mfn(512), 9);
        buddy.release(&frames, Mfn(256), 8);
        assert_eq!(buddy.free_frames(), 1024);
    }

    #[test]
    fn a_width_limits_every_frame_of_the_block() {
        let (frames, mut buddy) = filled(1024);
        let low = buddy.take(&frames, 3, Some(4)).unwrap();
        assert!(low.0 + 8 <= 16);
        assert!(buddy.take(&frames, 2, Some(4)).is_some());
        assert_eq!(buddy.take(&frames, 3, Some(4)), None);
        // Without a limit the highest frames go first.
        assert!(buddy.take(&frames, 0, None).unwrap().0 >= 512);
        assert_eq!(buddy.take(&frames, 6, Some(5)), None);
        assert_eq!(buddy.take(&frames, MAX_ORDER + 1, None), None);
    }

    #[test]
    fn blocks_never_overlap_and_come_back_whole() {
        let (frames, mut buddy) = filled(300);
        let mut taken: Vec<(Mfn, u32)> = Vec::new();
        for order in [0, 3, 1, 5, 2, 0, 4, 6] {
            if let Some(start) = buddy.take(&frames, order, None) {
                assert_eq!(start.0 % (1 << order), 0);
                for &(other, o) in &taken {
                    assert!(start.0 + (1 << order) <= other.0 || other.0 + (1 << o) <= start.0);
                }
                taken.push((start, order));
            }
        }
        assert_eq!(taken.len(), 8);
        for (start, order) in taken {
            buddy.release(&frames, start, order);
        }
        assert_eq!(buddy.free_frames(), 300);
        assert!(buddy.take(&frames, 7, None).is_some());
    }

    #[test]
    fn free_frames_are_told_apart_by_width() {
        let (frames, mut buddy) = filled(64);
        assert_eq!(buddy.free_between(0, u32::MAX), 64);
        // Frames 32 to 63, and 8 to 31.
        assert_eq!(buddy.free_between(6, 6), 32);
        assert_eq!(buddy.free_between(4, 5), 24);
        let taken = buddy.take(&frames, 3, Some(5)).expect("free");
        assert!(taken.0 < 32);
        assert_eq!(buddy.free_between(0, 5), 24);
        buddy.release(&frames, taken, 3);
        assert_eq!(buddy.free_between(0, 5), 32);
    }
}
