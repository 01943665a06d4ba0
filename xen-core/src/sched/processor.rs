//! What the scheduler keeps of each processor.

use core::sync::atomic::{AtomicBool, AtomicI64, AtomicU8, AtomicU32, AtomicU64, Ordering};

use super::runqueue::RunQueue;
use crate::sync::{Rank, RankedMutex};

/// Something changed: decide anew.
pub(super) const LOOK: u8 = 1;
/// The slice is over.
pub(super) const EXPIRED: u8 = 2;
/// [`Processor::first_vtime`] of an empty queue.
pub(super) const NOBODY: i64 = i64::MAX;

/// A processor. What is not under the lock is there for others to look at, as a hint: they look again after acting.
#[derive(Debug)]
pub(super) struct Processor {
    /// Who waits.
    pub queue: RankedMutex<RunQueue>,
    /// End of the slice; 0 = none is under way. Written by the processor itself.
    pub slice_end_ns: AtomicU64,
    /// When the first budget is to be refilled from here; 0 = never.
    pub refill_ns: AtomicU64,
    /// The timer is not programmed for `refill_ns` yet.
    pub reprogram: AtomicBool,
    /// [`LOOK`] and [`EXPIRED`].
    pub attention: AtomicU8,
    /// How far this processor's virtual time has come: that of the least served here.
    pub vtime: AtomicI64,
    /// Virtual time of the one that runs.
    pub current_vtime: AtomicI64,
    /// Virtual time of the first that waits.
    pub first_vtime: AtomicI64,
    /// Number of those that wait.
    pub waiting: AtomicU32,
}

impl Default for Processor {
    fn default() -> Self {
        Self {
            queue: RankedMutex::new(Rank::Scheduler, RunQueue::default()),
            slice_end_ns: AtomicU64::new(0),
            refill_ns: AtomicU64::new(0),
            reprogram: AtomicBool::new(false),
            attention: AtomicU8::new(0),
            vtime: AtomicI64::new(0),
            current_vtime: AtomicI64::new(0),
            first_vtime: AtomicI64::new(NOBODY),
            waiting: AtomicU32::new(0),
        }
    }
}

impl Processor {
    /// Makes the processor decide anew when it passes through the hypervisor the next time.
    pub fn look(&self) {
        self.attention.fetch_or(LOOK, Ordering::SeqCst);
    }

    /// How far its virtual time has come.
    pub fn vtime(&self) -> i64 {
        self.vtime.load(Ordering::Relaxed)
    }

    /// Tells others what the queue is like, and lets the processor's virtual time follow its least served.
    pub fn publish(&self, queue: &RunQueue) {
        let first = queue.first_vtime();
        self.first_vtime
            .store(first.unwrap_or(NOBODY), Ordering::SeqCst);
        let waiting = u32::try_from(queue.len()).unwrap_or(u32::MAX);
        self.waiting.store(waiting, Ordering::SeqCst);
        let running = queue
            .current
            .as_ref()
            .filter(|_| queue.charged_ns.is_some());
        let current = running.map(|current| current.sched.vtime());
        if let Some(current) = current {
            self.current_vtime.store(current, Ordering::Relaxed);
        }
        let least = match (first, current) {
            (Some(first), Some(current)) => Some(first.min(current)),
            (first, current) => first.or(current),
        };
        if let Some(least) = least {
            self.vtime.fetch_max(least, Ordering::Relaxed);
        }
    }

    /// When to look again, if ever.
    pub fn deadline(&self) -> Option<u64> {
        let slice = self.slice_end_ns.load(Ordering::SeqCst);
        let refill = self.refill_ns.load(Ordering::SeqCst);
        match (slice, refill) {
            (0, 0) => None,
            (0, end) | (end, 0) => Some(end),
            (slice, refill) => Some(slice.min(refill)),
        }
    }
}
