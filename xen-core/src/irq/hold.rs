//! Reasons why an interrupt is held back, and for how long.
//!
//! A guest can be slow, stuck or gone, and a device can be broken: neither may keep others from their interrupts. As
//! Xen does, the end of an interrupt that no guest has given within a millisecond is taken as given, and a source that
//! is faster than `irq_ratelimit=` rests for the remainder of its interval. Beyond Xen, a line that no guest has
//! answered for many such milliseconds in a row is left masked, and named in the log, until one does.

/// How long domains may take for the end of an interrupt.
pub(super) const EOI_TIMEOUT_NS: u64 = 1_000_000;
/// The interval of `irq_ratelimit=`.
pub(super) const RATE_INTERVAL_NS: u64 = 10_000_000;
/// Forced ends in a row after which nobody is taken to handle the interrupt.
pub(super) const MAX_FORCED: u32 = 1000;

/// What holds an interrupt back.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Hold {
    /// The events it would raise are all pending already; an EOI or the timeout ends it.
    pub throttled: bool,
    /// More came than `irq_ratelimit=` allows; ends with the interval.
    pub limited: bool,
    /// Nobody answers: an EOI ends it.
    pub abandoned: bool,
    /// Ends that were forced since the last EOI of a domain.
    forced: u32,
    /// When what was not ended is to be forced; 0 = nothing waits.
    pub due_ns: u64,
    interval_ns: u64,
    in_interval: u32,
}

/// What [`Hold::force`] found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Forced {
    /// Too early: a later interrupt has moved the deadline.
    NotYet,
    /// The end is to be taken as given.
    End,
    /// Nobody has answered for too long: the source stays masked.
    Abandoned,
}

impl Hold {
    /// Whether the source must be masked for its own sake.
    pub(super) const fn any(&self) -> bool {
        self.throttled || self.limited || self.abandoned
    }

    /// An interrupt arrived. True if it was one too many: the source rests until [`Hold::due_ns`].
    pub(super) fn count(&mut self, now_ns: u64, limit: u32) -> bool {
        if self.in_interval == 0 || now_ns.saturating_sub(self.interval_ns) >= RATE_INTERVAL_NS {
            self.interval_ns = now_ns;
            self.in_interval = 0;
        }
        self.in_interval = self.in_interval.saturating_add(1);
        self.limited = limit != 0 && self.in_interval >= limit;
        if self.limited {
            self.due_ns = self.interval_ns.saturating_add(RATE_INTERVAL_NS);
        }
        self.limited
    }

    /// A domain has to say EOI: from now on it has the time for that.
    pub(super) fn wait(&mut self, now_ns: u64) {
        self.due_ns = self.due_ns.max(now_ns.saturating_add(EOI_TIMEOUT_NS));
    }

    /// The time is over. `owed`: a domain has not given its EOI.
    pub(super) fn force(&mut self, now_ns: u64, owed: bool) -> Forced {
        if self.due_ns == 0 || now_ns < self.due_ns {
            return Forced::NotYet;
        }
        self.due_ns = 0;
        self.limited = false;
        if !owed && !self.throttled {
            return Forced::End;
        }
        self.forced = self.forced.saturating_add(1);
        if self.forced >= MAX_FORCED {
            self.abandoned = true;
            return Forced::Abandoned;
        }
        Forced::End
    }

    /// A domain has given an EOI.
    pub(super) fn answered(&mut self) {
        self.forced = 0;
        self.abandoned = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interval_has_room_for_the_limit_and_no_more() {
        let mut hold = Hold::default();
        assert!((0..9).all(|i| !hold.count(1_000 + i, 10)));
        assert!(hold.count(2_000, 10));
        assert_eq!(hold.due_ns, 1_000 + RATE_INTERVAL_NS);
        assert_eq!(hold.force(hold.due_ns - 1, false), Forced::NotYet);
        assert_eq!(hold.force(hold.due_ns, false), Forced::End);
        assert!(!hold.any());
        assert!(!hold.count(1_000 + RATE_INTERVAL_NS, 10));
        assert!((0..1_000_000).all(|_| !Hold::default().count(5, 0)));
    }

    #[test]
    fn a_source_that_is_never_answered_is_abandoned_until_it_is() {
        let mut hold = Hold::default();
        let mut now = 0;
        for i in 1..=MAX_FORCED {
            hold.wait(now);
            now += EOI_TIMEOUT_NS;
            let expected = if i < MAX_FORCED {
                Forced::End
            } else {
                Forced::Abandoned
            };
            assert_eq!(hold.force(now, true), expected);
        }
        assert!(hold.any());
        hold.answered();
        assert!(!hold.any());
        hold.wait(now);
        assert_eq!(hold.force(now + EOI_TIMEOUT_NS, true), Forced::End);
    }

    #[test]
    fn a_later_interrupt_moves_the_deadline() {
        let mut hold = Hold::default();
        assert_eq!(hold.force(99, true), Forced::NotYet);
        hold.wait(0);
        hold.wait(500);
        assert_eq!(hold.force(EOI_TIMEOUT_NS, true), Forced::NotYet);
        assert_eq!(hold.force(EOI_TIMEOUT_NS + 500, true), Forced::End);
    }
}
