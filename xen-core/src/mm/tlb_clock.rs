//! Which processors still owe a flush before a page may change its meaning.
//!
//! A page is stamped when a translation of it has been taken away but may still sit in a TLB. Before the page changes
//! its type, or its owner, every processor that has not flushed since the stamp is flushed (XSA-241, XSA-346, XSA-408,
//! XSA-480). The clock counts complete flushes; it only advances with one, so stamping is a load and a compare.

use core::sync::atomic::{AtomicU32, Ordering};

use crate::machine::{CpuMask, Cpus, Flush};

/// Flushes after which every processor is flushed once, so that no processor's last flush lies further back than half
/// of the counter's range and comparisons stay true when it wraps.
const ROUND: u32 = 1 << 30;

/// The clock of complete flushes.
#[derive(Debug)]
pub struct TlbClock {
    now: AtomicU32,
    last: [AtomicU32; CpuMask::CAPACITY as usize],
}

impl Default for TlbClock {
    fn default() -> Self {
        Self::new()
    }
}

/// Whether `a` is at or after `b` on a counter that wraps.
const fn at_or_after(a: u32, b: u32) -> bool {
    a.wrapping_sub(b) < 1 << 31
}

/// Moves a time forward, never back.
fn advance(time: &AtomicU32, to: u32) {
    let mut seen = time.load(Ordering::SeqCst);
    while seen != to && !at_or_after(seen, to) {
        match time.compare_exchange_weak(seen, to, Ordering::SeqCst, Ordering::SeqCst) {
            Ok(_) => return,
            Err(now) => seen = now,
        }
    }
}

fn each(mask: &CpuMask, mut visit: impl FnMut(usize)) {
    for (i, &word) in mask.words().iter().enumerate() {
        let mut rest = word;
        while rest != 0 {
            visit(i * 64 + rest.trailing_zeros() as usize);
            rest &= rest - 1;
        }
    }
}

impl TlbClock {
    /// Nobody has flushed yet.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            now: AtomicU32::new(1),
            last: [const { AtomicU32::new(0) }; CpuMask::CAPACITY as usize],
        }
    }

    /// Records on a page that translations of it may have been in use until now.
    pub fn stamp(&self, page: &AtomicU32) {
        advance(page, self.now.load(Ordering::SeqCst));
    }

    /// Those of `mask` that have not flushed since the page was stamped.
    #[must_use]
    pub fn owing(&self, mask: &CpuMask, stamp: u32) -> CpuMask {
        let mut words = [0; 4];
        each(mask, |cpu| {
            if at_or_after(stamp, self.last[cpu].load(Ordering::SeqCst)) {
                words[cpu / 64] |= 1 << (cpu % 64);
            }
        });
        CpuMask::from_words(words)
    }

    /// Flushes, and remembers it if it was complete.
    pub fn flush(&self, machine: &impl Cpus, mask: &CpuMask, what: Flush) {
        if what != Flush::All {
            if !mask.is_empty() {
                machine.flush_tlb(mask, what);
            }
            return;
        }
        if mask.is_empty() {
            return;
        }
        let time = self.now.fetch_add(1, Ordering::SeqCst).wrapping_add(1);
        let all = if time.is_multiple_of(ROUND) {
            mask.or(&machine.online())
        } else {
            *mask
        };
        machine.flush_tlb(&all, Flush::All);
        each(&all, |cpu| advance(&self.last[cpu], time));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_wraps_without_going_back() {
        assert!(at_or_after(5, 5));
        assert!(at_or_after(2, u32::MAX));
        assert!(!at_or_after(u32::MAX, 2));
        let time = AtomicU32::new(u32::MAX);
        advance(&time, 3);
        assert_eq!(time.load(Ordering::Relaxed), 3);
        advance(&time, u32::MAX);
        assert_eq!(time.load(Ordering::Relaxed), 3);
    }
}
