//! 32-bit words of the FIFO format, inside the 64-bit words through which guest memory is accessed.
//!
//! The guest changes the words with 32-bit atomic operations at the same time. Locked operations of both widths on
//! the same cache line are one order, so a 64-bit operation that leaves the other half alone is as good as a 32-bit one.

use core::sync::atomic::{AtomicU64, Ordering};

use hypercall_abi::event_channel::{
    FIFO_BUSY, FIFO_LINK_MASK, FIFO_LINKED, FIFO_MASKED, FIFO_PENDING,
};

use crate::num::Port;

/// Pending bit of an event word.
pub const PENDING: u32 = 1 << FIFO_PENDING;
/// Masked bit.
pub const MASKED: u32 = 1 << FIFO_MASKED;
/// Linked bit: the port is in a queue.
pub const LINKED: u32 = 1 << FIFO_LINKED;
/// Busy bit: the hypervisor is changing the link; the guest does not unmask meanwhile.
pub const BUSY: u32 = 1 << FIFO_BUSY;

/// Changes of its own half that a guest which keeps to the protocol can make while a linked word is busy: set MASKED,
/// clear PENDING, clear LINKED, and one change that was under way.
const OWN_CHANGES: u32 = 4;
/// Changes of the other half that are waited out: they belong to an unrelated port.
const OTHER_CHANGES: u32 = 1024;

/// A 32-bit word in guest memory.
#[derive(Clone, Copy, Debug)]
pub struct HalfWord<'a> {
    word: &'a AtomicU64,
    shift: u32,
}

/// Why an exchange did not happen.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Lost {
    /// The word holds this instead.
    Changed(u32),
    /// The other half changed all the time.
    Starved,
}

impl<'a> HalfWord<'a> {
    /// Half `index` (0 or 1; only the lowest bit counts) of `word`.
    #[must_use]
    pub const fn new(word: &'a AtomicU64, index: usize) -> Self {
        Self {
            word,
            shift: (index as u32 & 1) * 32,
        }
    }

    const fn half(self, word: u64) -> u32 {
        (word >> self.shift) as u32
    }

    /// The value.
    #[must_use]
    pub fn load(self) -> u32 {
        self.half(self.word.load(Ordering::SeqCst))
    }

    /// Sets bits; returns the old value.
    pub fn set(self, bits: u32) -> u32 {
        self.half(
            self.word
                .fetch_or(u64::from(bits) << self.shift, Ordering::SeqCst),
        )
    }

    /// Clears bits; returns the old value.
    pub fn clear(self, bits: u32) -> u32 {
        self.half(
            self.word
                .fetch_and(!(u64::from(bits) << self.shift), Ordering::SeqCst),
        )
    }

    fn compare_exchange(self, old: u32, new: u32) -> Result<(), Lost> {
        let mut whole = self.word.load(Ordering::SeqCst);
        for _ in 0..OTHER_CHANGES {
            let seen = self.half(whole);
            if seen != old {
                return Err(Lost::Changed(seen));
            }
            let next =
                (whole & !(u64::from(u32::MAX) << self.shift)) | (u64::from(new) << self.shift);
            match self
                .word
                .compare_exchange(whole, next, Ordering::SeqCst, Ordering::SeqCst)
            {
                Ok(_) => return Ok(()),
                Err(now) => whole = now,
            }
        }
        Err(Lost::Starved)
    }

    /// Stores `value`.
    pub fn store(self, value: u32) {
        let mut old = self.load();
        for _ in 0..OWN_CHANGES {
            match self.compare_exchange(old, value) {
                Ok(()) => return,
                Err(Lost::Changed(seen)) => old = seen,
                Err(Lost::Starved) => break,
            }
        }
        // Somebody hammers the word. Two steps always end, and only he can see the value between.
        self.clear(!value);
        self.set(value);
    }

    /// Makes the event word's link point to `port` if the word is linked. False if it was not: the queue is empty.
    ///
    /// A guest that breaks the protocol can make this give up; it then loses its own events and nothing else.
    #[must_use]
    pub fn link_to(self, port: Port) -> bool {
        let mut old = self.load();
        let mut busy = false;
        for _ in 0..=OWN_CHANGES {
            if old & LINKED == 0 {
                break;
            }
            let new = (old & !(BUSY | FIFO_LINK_MASK)) | (port.0 & FIFO_LINK_MASK);
            match self.compare_exchange(old, new) {
                Ok(()) => return true,
                Err(Lost::Starved) => break,
                Err(Lost::Changed(_)) => {
                    if !busy {
                        // From here on the guest does not unmask, which bounds what else it may change.
                        busy = true;
                        self.set(BUSY);
                    }
                    old = self.load();
                }
            }
        }
        // The guest's unmask waits for it.
        let last = if busy { self.clear(BUSY) } else { old };
        last & LINKED != 0
    }
}
