//! Which messages pass: levels, thresholds, and the rate limit for what guests can trigger.
//!
//! As Xen's options `loglvl=` and `guest_loglvl=` define it: a threshold is a pair "always / at a limited rate".

use alloc::collections::BTreeMap;

use hypercall_abi::xen::DomId;

use crate::boot::options::{LogLevels, Threshold};

/// How important a message is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Level {
    /// Something failed.
    Error,
    /// Something is wrong.
    Warning,
    /// Good to know.
    Info,
    /// For whoever looks for a fault.
    Debug,
}

impl From<log::Level> for Level {
    fn from(level: log::Level) -> Self {
        match level {
            log::Level::Error => Self::Error,
            log::Level::Warn => Self::Warning,
            log::Level::Info => Self::Info,
            log::Level::Debug | log::Level::Trace => Self::Debug,
        }
    }
}

/// What becomes of messages by level.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Thresholds {
    /// Levels up to this one are always printed; `None`: no level is.
    pub always: Option<Level>,
    /// Levels above that and up to this one are printed at a limited rate.
    pub rate_limited: Option<Level>,
}

impl From<LogLevels> for Thresholds {
    fn from(levels: LogLevels) -> Self {
        let level = |threshold| match threshold {
            Threshold::None => None,
            Threshold::Error => Some(Level::Error),
            Threshold::Warning => Some(Level::Warning),
            Threshold::Info => Some(Level::Info),
            Threshold::Debug => Some(Level::Debug),
        };
        Self {
            always: level(levels.always),
            rate_limited: level(levels.rate_limited),
        }
    }
}

/// What to do with a message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// Print it.
    Print,
    /// Print it if the rate allows.
    Limit,
    /// Drop it.
    Drop,
}

impl Thresholds {
    /// What a release build of Xen does with the hypervisor's own messages: errors and warnings.
    pub const OWN: Self = Self {
        always: Some(Level::Warning),
        rate_limited: Some(Level::Warning),
    };
    /// What a release build of Xen does with messages that guests cause: errors and warnings at a limited rate.
    pub const GUEST: Self = Self {
        always: None,
        rate_limited: Some(Level::Warning),
    };

    /// What to do with a message of this level.
    #[must_use]
    pub fn judge(&self, level: Level) -> Verdict {
        if self.always.is_some_and(|always| level <= always) {
            Verdict::Print
        } else if self.rate_limited.is_some_and(|limited| level <= limited) {
            Verdict::Limit
        } else {
            Verdict::Drop
        }
    }
}

/// Messages that may come in one go.
const BURST: u32 = 10;
/// Time in which one burst's worth of messages is earned.
const WINDOW_NS: u64 = 5_000_000_000;
const NS_PER_MESSAGE: u64 = WINDOW_NS / BURST as u64;

/// A bucket of messages that may be printed.
#[derive(Debug)]
pub struct RateLimit {
    credit_ns: u64,
    last_ns: u64,
    suppressed: u32,
}

impl Default for RateLimit {
    fn default() -> Self {
        Self {
            credit_ns: WINDOW_NS,
            last_ns: 0,
            suppressed: 0,
        }
    }
}

impl RateLimit {
    /// Whether one more message may be printed at `now_ns`; then also how many were dropped since the last one.
    #[must_use]
    pub fn admit(&mut self, now_ns: u64) -> Option<u32> {
        let earned = now_ns.saturating_sub(self.last_ns);
        self.last_ns = now_ns;
        self.credit_ns = self.credit_ns.saturating_add(earned).min(WINDOW_NS);
        match self.credit_ns.checked_sub(NS_PER_MESSAGE) {
            Some(left) => {
                self.credit_ns = left;
                Some(core::mem::take(&mut self.suppressed))
            }
            None => {
                self.suppressed = self.suppressed.saturating_add(1);
                None
            }
        }
    }
}

/// The buckets: one per domain, so that a noisy guest cannot hide what others cause.
#[derive(Debug, Default)]
pub struct RateLimits {
    domains: BTreeMap<u16, RateLimit>,
    own: RateLimit,
}

impl RateLimits {
    /// The bucket for messages that `domain` caused (`None`: nobody in particular).
    pub fn bucket(&mut self, domain: Option<DomId>) -> &mut RateLimit {
        match domain {
            Some(domain) => self.domains.entry(domain.0).or_default(),
            None => &mut self.own,
        }
    }

    /// Forgets a domain that is gone.
    pub fn forget(&mut self, domain: DomId) {
        self.domains.remove(&domain.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thresholds_split_levels_in_three() {
        let thresholds = Thresholds {
            always: Some(Level::Error),
            rate_limited: Some(Level::Info),
        };
        assert_eq!(thresholds.judge(Level::Error), Verdict::Print);
        assert_eq!(thresholds.judge(Level::Warning), Verdict::Limit);
        assert_eq!(thresholds.judge(Level::Info), Verdict::Limit);
        assert_eq!(thresholds.judge(Level::Debug), Verdict::Drop);
        let none = Thresholds {
            always: None,
            rate_limited: None,
        };
        assert_eq!(none.judge(Level::Error), Verdict::Drop);
    }

    #[test]
    fn a_burst_passes_then_one_message_per_half_second() {
        let mut limit = RateLimit::default();
        for _ in 0..BURST {
            assert_eq!(limit.admit(1000), Some(0));
        }
        assert_eq!(limit.admit(1000), None);
        assert_eq!(limit.admit(2000), None);
        assert_eq!(limit.admit(1000 + NS_PER_MESSAGE), Some(2));
        assert_eq!(limit.admit(1000 + NS_PER_MESSAGE), None);
    }

    #[test]
    fn domains_do_not_share_a_bucket() {
        let mut limits = RateLimits::default();
        for _ in 0..20 {
            let _ = limits.bucket(Some(DomId(1))).admit(0);
        }
        assert_eq!(limits.bucket(Some(DomId(1))).admit(0), None);
        assert_eq!(limits.bucket(Some(DomId(2))).admit(0), Some(0));
        limits.forget(DomId(1));
        assert_eq!(limits.bucket(Some(DomId(1))).admit(0), Some(0));
    }
}
