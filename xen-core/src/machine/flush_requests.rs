//! Requests to one processor to drop translations, from any number of others at once, without a lock.
//!
//! Whoever asks gets a ticket and waits until it is served. Requests that meet add up: two for different pages become
//! one for everything.

use core::sync::atomic::{AtomicU64, Ordering};

use super::Flush;

/// Nothing to drop.
const NOTHING: u64 = 0;
/// All translations.
const EVERYTHING: u64 = u64::MAX;
/// Marks the address of one page, so that page 0 differs from [`NOTHING`].
const ONE_PAGE: u64 = 1;
const PAGE_MASK: u64 = !0xfff;

/// What a processor is asked to drop.
#[derive(Debug, Default)]
pub struct FlushRequests {
    /// [`NOTHING`], [`EVERYTHING`], or the address of a page with [`ONE_PAGE`].
    what: AtomicU64,
    /// Requests so far: the last ticket.
    asked: AtomicU64,
    /// The last ticket that was served.
    served: AtomicU64,
}

impl FlushRequests {
    /// Adds a request. Returns its ticket, and whether the processor must be interrupted for it.
    pub fn ask(&self, what: Flush) -> (u64, bool) {
        let what = match what {
            Flush::All => EVERYTHING,
            Flush::Page(addr) => addr & PAGE_MASK | ONE_PAGE,
        };
        let merge = |old| match old {
            NOTHING => Some(what),
            same if same == what => None,
            EVERYTHING => None,
            _ => Some(EVERYTHING),
        };
        // First what, then the number: whoever sees the number finds what it stands for.
        let _ = self
            .what
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, merge);
        let ticket = self.asked.fetch_add(1, Ordering::SeqCst) + 1;
        // With an older request open, its interrupt is on the way, and `serve` looks again before it ends.
        (ticket, self.served.load(Ordering::SeqCst) + 1 == ticket)
    }

    /// Whether the request with this ticket, and all before it, are done.
    #[must_use]
    pub fn is_served(&self, ticket: u64) -> bool {
        self.served.load(Ordering::SeqCst) >= ticket
    }

    /// Does what is asked, with `drop`. Only by the processor that is asked.
    pub fn serve(&self, drop: impl Fn(Flush)) {
        loop {
            let ticket = self.asked.load(Ordering::SeqCst);
            if ticket == self.served.load(Ordering::SeqCst) {
                return;
            }
            match self.what.swap(NOTHING, Ordering::SeqCst) {
                NOTHING => {}
                EVERYTHING => drop(Flush::All),
                page => drop(Flush::Page(page & PAGE_MASK)),
            }
            self.served.store(ticket, Ordering::SeqCst);
        }
    }
}

#[cfg(test)]
mod tests {
    extern crate std;

    use std::cell::RefCell;
    use std::sync::atomic::AtomicBool;
    use std::thread;
    use std::vec::Vec;

    use super::*;

    fn served(requests: &FlushRequests) -> Vec<Flush> {
        let done = RefCell::new(Vec::new());
        requests.serve(|what| done.borrow_mut().push(what));
        done.into_inner()
    }

    #[test]
    fn requests_that_meet_become_one() {
        let requests = FlushRequests::default();
        assert_eq!(served(&requests), []);
        let page = Flush::Page(0x5000);
        assert_eq!(requests.ask(page), (1, true));
        // Its interrupt is on the way.
        assert_eq!(requests.ask(page), (2, false));
        assert!(!requests.is_served(1));
        assert_eq!(served(&requests), [page]);
        assert!(requests.is_served(2));
        assert_eq!(requests.ask(Flush::Page(0)), (3, true));
        requests.ask(page);
        assert_eq!(served(&requests), [Flush::All]);
        requests.ask(Flush::All);
        requests.ask(page);
        assert_eq!(served(&requests), [Flush::All]);
        requests.ask(Flush::Page(0));
        assert_eq!(served(&requests), [Flush::Page(0)]);
    }

    /// What a served ticket promises: something that covers the request was dropped after it was made.
    #[test]
    fn no_request_is_lost_among_threads() {
        const THREADS: u64 = 4;
        const ROUNDS: u64 = 2_000;
        let requests = FlushRequests::default();
        let interrupted = AtomicBool::new(false);
        // For each thread the round that it has reached, and the last one that was dropped.
        let reached: [AtomicU64; THREADS as usize] = Default::default();
        let dropped: [AtomicU64; THREADS as usize] = Default::default();
        let running = AtomicU64::new(THREADS);
        thread::scope(|scope| {
            for me in 0..THREADS {
                let (requests, interrupted, running) = (&requests, &interrupted, &running);
                let (reached, dropped) = (&reached[me as usize], &dropped[me as usize]);
                scope.spawn(move || {
                    for round in 1..=ROUNDS {
                        reached.store(round, Ordering::SeqCst);
                        let (ticket, interrupt) = requests.ask(Flush::Page(me << 12));
                        if interrupt {
                            interrupted.store(true, Ordering::SeqCst);
                        }
                        while !requests.is_served(ticket) {
                            thread::yield_now();
                        }
                        assert!(dropped.load(Ordering::SeqCst) >= round);
                    }
                    running.fetch_sub(1, Ordering::SeqCst);
                });
            }
            // The processor that is asked serves only when it is interrupted.
            while running.load(Ordering::SeqCst) != 0 {
                if !interrupted.swap(false, Ordering::SeqCst) {
                    thread::yield_now();
                    continue;
                }
                requests.serve(|what| {
                    for me in 0..THREADS {
                        if what == Flush::All || what == Flush::Page(me << 12) {
                            let round = reached[me as usize].load(Ordering::SeqCst);
                            dropped[me as usize].store(round, Ordering::SeqCst);
                        }
                    }
                });
            }
        });
    }
}
