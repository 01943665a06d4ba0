//! How often locks are taken and waited for, by rank.
//!
//! The counters must cost next to nothing. They are written without atomic read-modify-write, each processor to a line
//! of its own; which line is told by where the stack is, as every processor has its own stack. Two that share a line
//! may lose counts, no more.

use core::sync::atomic::{AtomicU64, Ordering};

use super::Rank;

/// Lines of counters.
const LINES: usize = 32;
/// Stacks are at least so far apart (as a power of two).
const STACK_SHIFT: u32 = 14;
/// Room for every rank; ranks are multiples of [`STEP`].
const RANKS: usize = 28;
const STEP: usize = 5;

#[derive(Debug)]
#[repr(align(64))]
struct Line([Counter; RANKS]);

#[derive(Debug)]
struct Counter {
    taken: AtomicU64,
    contended: AtomicU64,
    spins: AtomicU64,
}

impl Counter {
    const fn new() -> Self {
        Self {
            taken: AtomicU64::new(0),
            contended: AtomicU64::new(0),
            spins: AtomicU64::new(0),
        }
    }
}

static LINE: [Line; LINES] = [const { Line([const { Counter::new() }; RANKS]) }; LINES];

/// Use of all locks of one rank.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct LockUse {
    /// Times a lock was taken.
    pub taken: u64,
    /// Times it was not free at once.
    pub contended: u64,
    /// Turns of the waiting loop.
    pub spins: u64,
}

/// Counts a lock that was taken after waiting for so many turns.
pub(super) fn taken(rank: Rank, spins: u64) {
    let here = 0u8;
    let line = (core::ptr::from_ref(&here).addr() >> STACK_SHIFT) % LINES;
    let counter = &LINE[line].0[rank as usize / STEP % RANKS];
    add(&counter.taken, 1);
    if spins != 0 {
        add(&counter.contended, 1);
        add(&counter.spins, spins);
    }
}

fn add(counter: &AtomicU64, by: u64) {
    let value = counter.load(Ordering::Relaxed).wrapping_add(by);
    counter.store(value, Ordering::Relaxed);
}

/// What was counted for `rank` since the last [`reset_lock_use`].
#[must_use]
pub fn lock_use(rank: Rank) -> LockUse {
    let mut sum = LockUse::default();
    for line in &LINE {
        let counter = &line.0[rank as usize / STEP % RANKS];
        sum.taken = sum
            .taken
            .wrapping_add(counter.taken.load(Ordering::Relaxed));
        sum.contended = sum
            .contended
            .wrapping_add(counter.contended.load(Ordering::Relaxed));
        sum.spins = sum
            .spins
            .wrapping_add(counter.spins.load(Ordering::Relaxed));
    }
    sum
}

/// Begins to count anew.
pub fn reset_lock_use() {
    for counter in LINE.iter().flat_map(|line| &line.0) {
        counter.taken.store(0, Ordering::Relaxed);
        counter.contended.store(0, Ordering::Relaxed);
        counter.spins.store(0, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    extern crate std;

    use super::*;
    use crate::sync::RankedMutex;

    #[test]
    fn locks_and_waits_are_counted_by_rank() {
        // Other tests take locks of other ranks at the same time, and of this one too: only growth is certain.
        let lock = RankedMutex::new(Rank::PageList, 0);
        let before = lock_use(Rank::PageList);
        std::thread::scope(|scope| {
            let guard = lock.lock();
            scope.spawn(|| *lock.lock() += 1);
            std::thread::sleep(std::time::Duration::from_millis(50));
            drop(guard);
        });
        let after = lock_use(Rank::PageList);
        assert!(after.taken > before.taken);
        assert!(after.contended > before.contended && after.spins > before.spins);
    }

    #[test]
    fn every_rank_has_its_own_counter() {
        let places = Rank::ALL.map(|rank| rank as usize / STEP);
        assert!(places.is_sorted_by(|a, b| a < b));
        assert!(places.iter().all(|&place| place < RANKS));
    }
}
