//! Where a vCPU's `struct vcpu_info` lives and how its words are touched.
//!
//! Layout (public header xen.h, x86_64): byte 0 `evtchn_upcall_pending`, byte 1 `evtchn_upcall_mask`, word 1
//! `evtchn_pending_sel`, word 2 `arch.cr2`, words 4-7 `time`. All of it is shared with the guest, so every access is
//! an atomic on the 64-bit word that holds the field.

use core::sync::atomic::{AtomicU64, Ordering};

use crate::machine::{FrameWords, Frames};
use crate::num::Mfn;

/// `evtchn_upcall_pending` within word 0.
const PENDING: u64 = 0xff;
/// `evtchn_upcall_mask` within word 0.
const MASK: u64 = 0xff00;

/// Location of a `struct vcpu_info`: a frame that the domain owns, and the first word within it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct VcpuInfo {
    /// The frame.
    pub mfn: Mfn,
    /// Index of the first of eight 64-bit words.
    pub first_word: usize,
}

impl VcpuInfo {
    /// Size of the structure in words.
    pub const WORDS: usize = 8;

    /// The location packed in one word, so that it can be read without a lock.
    #[must_use]
    pub const fn pack(self) -> u64 {
        (self.mfn.0 << 9) | (self.first_word as u64 & 511)
    }

    /// Undoes [`VcpuInfo::pack`]; `None` for the value that means "nowhere".
    #[must_use]
    pub const fn unpack(packed: u64) -> Option<Self> {
        if packed == u64::MAX {
            return None;
        }
        Some(Self {
            mfn: Mfn(packed >> 9),
            first_word: (packed & 511) as usize,
        })
    }

    fn word(self, frames: &impl Frames, index: usize) -> &AtomicU64 {
        let words: &FrameWords = frames.words(self.mfn);
        &words[(self.first_word + index) & 511]
    }

    /// Sets `evtchn_upcall_pending`; true if it was clear.
    pub fn set_upcall_pending(self, frames: &impl Frames) -> bool {
        self.word(frames, 0).fetch_or(1, Ordering::SeqCst) & PENDING == 0
    }

    /// Whether an upcall is due: pending and not masked.
    #[must_use]
    pub fn upcall_due(self, frames: &impl Frames) -> bool {
        let word = self.word(frames, 0).load(Ordering::SeqCst);
        word & PENDING != 0 && word & MASK == 0
    }

    /// Whether `evtchn_upcall_pending` is set, masked or not.
    #[must_use]
    pub fn upcall_pending(self, frames: &impl Frames) -> bool {
        self.word(frames, 0).load(Ordering::SeqCst) & PENDING != 0
    }

    /// Whether events are masked.
    #[must_use]
    pub fn upcall_masked(self, frames: &impl Frames) -> bool {
        self.word(frames, 0).load(Ordering::SeqCst) & MASK != 0
    }

    /// The raw `evtchn_upcall_mask` byte.
    #[must_use]
    pub fn upcall_mask_byte(self, frames: &impl Frames) -> u8 {
        self.word(frames, 0).load(Ordering::SeqCst).to_le_bytes()[1]
    }

    /// Masks or unmasks events.
    pub fn set_upcall_mask(self, frames: &impl Frames, masked: bool) {
        let word = self.word(frames, 0);
        if masked {
            let _ = word.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |old| {
                Some((old & !MASK) | 0x100)
            });
        } else {
            word.fetch_and(!MASK, Ordering::SeqCst);
        }
    }

    /// The `evtchn_pending_sel` word.
    #[must_use]
    pub fn pending_sel(self, frames: &impl Frames) -> &AtomicU64 {
        self.word(frames, 1)
    }

    /// Stores the faulting address of a #PF for the guest.
    pub fn set_cr2(self, frames: &impl Frames, addr: u64) {
        self.word(frames, 2).store(addr, Ordering::Relaxed);
    }

    /// The faulting address as the guest sees it.
    #[must_use]
    pub fn cr2(self, frames: &impl Frames) -> u64 {
        self.word(frames, 2).load(Ordering::Relaxed)
    }

    /// The four words of `struct vcpu_time_info`.
    #[must_use]
    pub fn time_words(self, frames: &impl Frames) -> [&AtomicU64; 4] {
        [
            self.word(frames, 4),
            self.word(frames, 5),
            self.word(frames, 6),
            self.word(frames, 7),
        ]
    }

    /// All eight words, for copying the structure to a new place.
    #[must_use]
    pub fn all_words(self, frames: &impl Frames) -> [&AtomicU64; Self::WORDS] {
        core::array::from_fn(|i| self.word(frames, i))
    }
}
