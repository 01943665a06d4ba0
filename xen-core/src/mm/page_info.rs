//! The record of one frame: 32 bytes, all of it atomic, valid when it is all zeroes.
//!
//! Contract: the accounting model of Xen's PV memory management (general references, page types, type references).
//! Memory full of zeroes is a table of frames that nobody may use, so the machine can map zeroed pages and be safe
//! before it has said which frames are RAM.

use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use hypercall_abi::xen::DomId;

/// General references: bits of the count word.
const COUNT_MASK: u64 = (1 << 40) - 1;
/// The domain's own hold on a page that was allocated to it (one general reference). Xen: `PGC_allocated`.
const ALLOCATED: u64 = 1 << 40;
/// The hypervisor's page, shared with guests.
const SPECIAL: u64 = 1 << 41;
/// The page was mapped with a cache attribute other than write-back (XSA-402).
const NONCOHERENT: u64 = 1 << 42;
/// Destruction of the owner has dealt with the page; what still refers to it is somebody else's.
const VISITED: u64 = 1 << 43;
/// First frame of a free block.
const HEAD: u64 = 1 << 54;
/// Order of a free block.
const ORDER_SHIFT: u32 = 48;
/// State of the frame.
const STATE_SHIFT: u32 = 60;

/// What a frame is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FrameState {
    /// Nobody's business: the hypervisor's own memory, or memory that was never handed over. All zeroes.
    Unusable,
    /// Not RAM: device memory within the table's range.
    Io,
    /// In the allocator.
    Free,
    /// Owned by a domain.
    InUse,
    /// Out of the allocator, not (or no longer) owned: only the code that put it there may touch it.
    Detached,
}

impl FrameState {
    const fn bits(self) -> u64 {
        (match self {
            Self::Unusable => 0,
            Self::Io => 1,
            Self::Free => 2,
            Self::InUse => 3,
            Self::Detached => 4,
        }) << STATE_SHIFT
    }
}

/// The count word: state, flags and the number of general references.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct CountWord(u64);

impl CountWord {
    /// A frame in `state` without references.
    #[must_use]
    pub const fn new(state: FrameState) -> Self {
        Self(state.bits())
    }

    /// The first frame of a free block.
    #[must_use]
    pub const fn free_head(order: u32) -> Self {
        Self(FrameState::Free.bits() | HEAD | ((order as u64) << ORDER_SHIFT))
    }

    /// A page just given to a domain: the allocation is its one reference.
    #[must_use]
    pub const fn allocated() -> Self {
        Self(FrameState::InUse.bits() | ALLOCATED | 1)
    }

    /// A page that leaves its owner: what caches may hold of it is not forgotten.
    #[must_use]
    pub const fn detached(self) -> Self {
        Self(FrameState::Detached.bits() | self.0 & NONCOHERENT)
    }

    /// A page that a domain gets, or gets back.
    #[must_use]
    pub const fn allocated_again(self) -> Self {
        Self(Self::allocated().0 | self.0 & NONCOHERENT)
    }

    /// The word as stored.
    #[must_use]
    pub const fn bits(self) -> u64 {
        self.0
    }

    /// What the frame is.
    #[must_use]
    pub const fn state(self) -> FrameState {
        match self.0 >> STATE_SHIFT {
            1 => FrameState::Io,
            2 => FrameState::Free,
            3 => FrameState::InUse,
            4 => FrameState::Detached,
            _ => FrameState::Unusable,
        }
    }

    /// General references.
    #[must_use]
    pub const fn count(self) -> u64 {
        self.0 & COUNT_MASK
    }

    /// With another number of references; `None` if it does not fit.
    #[must_use]
    pub const fn with_count(self, count: u64) -> Option<Self> {
        if count > COUNT_MASK {
            None
        } else {
            Some(Self((self.0 & !COUNT_MASK) | count))
        }
    }

    /// Whether the owner still holds its allocation.
    #[must_use]
    pub const fn is_allocated(self) -> bool {
        self.0 & ALLOCATED != 0
    }

    /// Without the owner's hold (the reference itself is counted apart).
    #[must_use]
    pub const fn without_allocation(self) -> Self {
        Self(self.0 & !ALLOCATED)
    }

    /// Whether it is the hypervisor's page, shared with guests.
    #[must_use]
    pub const fn is_special(self) -> bool {
        self.0 & SPECIAL != 0
    }

    /// Marked as the hypervisor's page.
    #[must_use]
    pub const fn special(self) -> Self {
        Self(self.0 | SPECIAL)
    }

    /// Whether destruction of the owner has dealt with the page.
    #[must_use]
    pub const fn is_visited(self) -> bool {
        self.0 & VISITED != 0
    }

    /// Whether caches may disagree with memory.
    #[must_use]
    pub const fn is_noncoherent(self) -> bool {
        self.0 & NONCOHERENT != 0
    }

    /// The order, if this is the first frame of a free block.
    #[must_use]
    pub const fn free_order(self) -> Option<u32> {
        if self.0 & HEAD == 0 {
            None
        } else {
            Some(((self.0 >> ORDER_SHIFT) & 0x3f) as u32)
        }
    }
}

impl core::fmt::Debug for CountWord {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "{:?} count {}", self.state(), self.count())?;
        for (set, name) in [
            (self.is_allocated(), " allocated"),
            (self.is_special(), " special"),
            (self.is_noncoherent(), " noncoherent"),
        ] {
            if set {
                f.write_str(name)?;
            }
        }
        Ok(())
    }
}

/// The record of one frame.
#[derive(Debug, Default)]
#[repr(C)]
pub struct PageInfo {
    count_info: AtomicU64,
    type_info: AtomicU64,
    owner: AtomicU32,
    next: AtomicU32,
    prev: AtomicU32,
    stamp: AtomicU32,
}

const _: () = assert!(size_of::<PageInfo>() == 32);

impl PageInfo {
    /// The count word.
    #[must_use]
    pub fn count(&self) -> CountWord {
        CountWord(self.count_info.load(Ordering::SeqCst))
    }

    /// Replaces the count word of a frame that nobody else can be looking at.
    pub(super) fn set_count(&self, word: CountWord) {
        self.count_info.store(word.0, Ordering::SeqCst);
    }

    /// Replaces the count word if it still is `old`.
    pub(super) fn change_count(&self, old: CountWord, new: CountWord) -> Result<(), CountWord> {
        self.count_info
            .compare_exchange(old.0, new.0, Ordering::SeqCst, Ordering::SeqCst)
            .map(|_| ())
            .map_err(CountWord)
    }

    /// Notes that destruction of the owner has dealt with the page.
    pub(super) fn set_visited(&self) {
        self.count_info.fetch_or(VISITED, Ordering::SeqCst);
    }

    /// Notes a mapping that bypasses caches.
    pub(super) fn set_noncoherent(&self) {
        if !self.count().is_noncoherent() {
            self.count_info.fetch_or(NONCOHERENT, Ordering::SeqCst);
        }
    }

    /// Takes the note of a mapping that bypassed caches; true if there was one.
    pub(super) fn take_noncoherent(&self) -> bool {
        self.count().is_noncoherent()
            && self.count_info.fetch_and(!NONCOHERENT, Ordering::SeqCst) & NONCOHERENT != 0
    }

    /// The raw type word.
    pub(super) fn type_word(&self) -> &AtomicU64 {
        &self.type_info
    }

    /// Who owns the frame. Stable only while a reference is held.
    #[must_use]
    pub fn owner(&self) -> Option<DomId> {
        let raw = self.owner.load(Ordering::SeqCst).checked_sub(1)?;
        u16::try_from(raw).ok().map(DomId)
    }

    /// Enters the owner; only while nobody can take references.
    pub(super) fn set_owner(&self, owner: Option<DomId>) {
        self.owner
            .store(owner.map_or(0, |id| u32::from(id.0) + 1), Ordering::SeqCst);
    }

    /// Links of whatever list the frame is in; guarded by that list's lock.
    pub(super) fn links(&self) -> (u32, u32) {
        (
            self.prev.load(Ordering::Relaxed),
            self.next.load(Ordering::Relaxed),
        )
    }

    /// Sets the link to the previous frame.
    pub(super) fn set_prev(&self, prev: u32) {
        self.prev.store(prev, Ordering::Relaxed);
    }

    /// Sets the link to the next frame.
    pub(super) fn set_next(&self, next: u32) {
        self.next.store(next, Ordering::Relaxed);
    }

    /// When a translation of the page may last have been loaded (see [`TlbClock`](super::TlbClock)).
    pub(super) fn stamp(&self) -> &AtomicU32 {
        &self.stamp
    }
}
