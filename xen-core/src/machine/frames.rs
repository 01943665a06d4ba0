//! Access to the contents of memory that belongs to guests.

use core::sync::atomic::{AtomicU64, Ordering};

use crate::num::{Mfn, WORDS_PER_PAGE};

/// A page as 512 words that other processors, and guests, may change at any time.
pub type FrameWords = [AtomicU64; WORDS_PER_PAGE];

/// Guest-allocatable frames and the machine-to-physical table.
///
/// Frames are either the hypervisor's own (Rust memory) or allocatable; the split is made once at boot. `words`
/// refuses the hypervisor's own by its own test.
pub trait Frames {
    /// One past the highest MFN of RAM.
    fn max_mfn(&self) -> Mfn;

    /// The words of an allocatable frame.
    ///
    /// # Panics
    /// When the frame is not allocatable RAM. Callers hold a reference on the frame, which is proof that it is.
    fn words(&self, mfn: Mfn) -> &FrameWords;

    /// The entry of the machine-to-physical table for `mfn`, if the table covers it. Guests read the table directly.
    fn m2p(&self, mfn: Mfn) -> Option<&AtomicU64>;

    /// Fills the frame with zeroes.
    fn zero(&self, mfn: Mfn) {
        for word in self.words(mfn) {
            word.store(0, Ordering::Relaxed);
        }
    }

    /// Copies a whole frame.
    fn copy_frame(&self, to: Mfn, from: Mfn) {
        for (to, from) in self.words(to).iter().zip(self.words(from)) {
            to.store(from.load(Ordering::Relaxed), Ordering::Relaxed);
        }
    }

    /// Copies bytes out of a frame. `offset + buf.len()` must not exceed the page.
    fn read_frame(&self, mfn: Mfn, offset: usize, buf: &mut [u8]) {
        let words = self.words(mfn);
        for (i, byte) in buf.iter_mut().enumerate() {
            let at = offset + i;
            *byte = words[at / 8].load(Ordering::Relaxed).to_le_bytes()[at % 8];
        }
    }

    /// Copies bytes into a frame. `offset + buf.len()` must not exceed the page. Bytes of the same word that are not
    /// written keep what other processors store meanwhile.
    fn write_frame(&self, mfn: Mfn, offset: usize, buf: &[u8]) {
        let words = self.words(mfn);
        let mut at = offset;
        let mut rest = buf;
        while !rest.is_empty() {
            let start = at % 8;
            let n = (8 - start).min(rest.len());
            let (chunk, tail) = rest.split_at(n);
            let word = &words[at / 8];
            if n == 8 {
                let mut bytes = [0; 8];
                bytes.copy_from_slice(chunk);
                word.store(u64::from_le_bytes(bytes), Ordering::Relaxed);
            } else {
                let mut old = word.load(Ordering::Relaxed);
                loop {
                    let mut bytes = old.to_le_bytes();
                    bytes[start..start + n].copy_from_slice(chunk);
                    let new = u64::from_le_bytes(bytes);
                    match word.compare_exchange_weak(old, new, Ordering::Relaxed, Ordering::Relaxed)
                    {
                        Ok(_) => break,
                        Err(seen) => old = seen,
                    }
                }
            }
            at += n;
            rest = tail;
        }
    }

    /// Writes back and invalidates all caches (WBINVD): before memory that was mapped uncached changes hands.
    fn flush_caches(&self);
}
