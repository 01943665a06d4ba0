//! The records of all frames, by MFN, and doubly linked lists threaded through them.

use super::{FrameState, PageInfo};
use crate::num::Mfn;

/// All frame records.
#[derive(Clone, Copy, Debug)]
pub struct FrameTable {
    frames: &'static [PageInfo],
}

/// "No frame" in a link.
pub(super) const NIL: u32 = u32::MAX;

impl FrameTable {
    /// A table over memory that the machine provides for good.
    #[must_use]
    pub const fn new(frames: &'static [PageInfo]) -> Self {
        Self { frames }
    }

    /// Number of frames covered; MFNs from here on are not RAM.
    #[must_use]
    pub const fn len(&self) -> u64 {
        self.frames.len() as u64
    }

    /// Whether the table covers nothing.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }

    /// The record of a frame.
    #[must_use]
    pub fn get(&self, mfn: Mfn) -> Option<&'static PageInfo> {
        self.frames.get(usize::try_from(mfn.0).ok()?)
    }

    /// What a frame is; frames beyond the table are device memory.
    #[must_use]
    pub fn state(&self, mfn: Mfn) -> FrameState {
        self.get(mfn).map_or(FrameState::Io, |info| info.count().state())
    }

    pub(super) fn by_link(&self, link: u32) -> Option<&'static PageInfo> {
        if link == NIL { None } else { self.frames.get(link as usize) }
    }
}

/// The two ends of a list.
#[derive(Clone, Copy, Debug)]
pub(super) struct FrameList {
    head: u32,
    tail: u32,
}

impl FrameList {
    pub(super) const EMPTY: Self = Self { head: NIL, tail: NIL };

    pub(super) fn first(&self) -> Option<Mfn> {
        (self.head != NIL).then_some(Mfn(u64::from(self.head)))
    }

    pub(super) fn next(frames: &FrameTable, mfn: Mfn) -> Option<Mfn> {
        let (_, next) = frames.get(mfn)?.links();
        (next != NIL).then_some(Mfn(u64::from(next)))
    }

    /// Appends a frame that is in no list.
    pub(super) fn push(&mut self, frames: &FrameTable, mfn: Mfn) {
        let (Some(info), Ok(link)) = (frames.get(mfn), u32::try_from(mfn.0)) else { return };
        info.set_prev(self.tail);
        info.set_next(NIL);
        match frames.by_link(self.tail) {
            Some(tail) => tail.set_next(link),
            None => self.head = link,
        }
        self.tail = link;
    }

    /// Prepends a frame that is in no list.
    pub(super) fn push_front(&mut self, frames: &FrameTable, mfn: Mfn) {
        let (Some(info), Ok(link)) = (frames.get(mfn), u32::try_from(mfn.0)) else { return };
        info.set_prev(NIL);
        info.set_next(self.head);
        match frames.by_link(self.head) {
            Some(head) => head.set_prev(link),
            None => self.tail = link,
        }
        self.head = link;
    }

    /// Takes a frame out of this list.
    pub(super) fn remove(&mut self, frames: &FrameTable, mfn: Mfn) {
        let Some(info) = frames.get(mfn) else { return };
        let (prev, next) = info.links();
        match frames.by_link(prev) {
            Some(prev) => prev.set_next(next),
            None => self.head = next,
        }
        match frames.by_link(next) {
            Some(next) => next.set_prev(prev),
            None => self.tail = prev,
        }
        info.set_prev(NIL);
        info.set_next(NIL);
    }
}
