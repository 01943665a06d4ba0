//! A limit of a guest's events, so that one that floods its console takes no more of dom0 than the others.

use std::time::{Duration, Instant};

/// Events that are served in one period; the numbers are xenconsoled's.
const ALLOWANCE: u32 = 30;
/// The period.
const PERIOD: Duration = Duration::from_millis(200);

/// One guest's account.
#[derive(Clone, Copy, Debug)]
pub struct Rate {
    began: Instant,
    served: u32,
}

impl Rate {
    /// A new account.
    #[must_use]
    pub fn new(now: Instant) -> Self {
        Self {
            began: now,
            served: 0,
        }
    }

    /// Counts an event: None if it may be served and the next be let in, else how long to wait before that.
    pub fn count(&mut self, now: Instant) -> Option<Duration> {
        let passed = now.saturating_duration_since(self.began);
        if passed >= PERIOD {
            *self = Self::new(now);
        }
        self.served += 1;
        if self.served <= ALLOWANCE {
            return None;
        }
        Some((self.began + PERIOD).saturating_duration_since(now))
    }
}
