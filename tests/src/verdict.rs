//! What came of a scenario. The worst of several wins.

use std::fmt;

/// The judgement on one scenario, from best to worst.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    /// Everything came as expected.
    Success,
    /// Something else came, or nothing did.
    Failure(String),
    /// The hypervisor or a kernel broke down.
    Crash(String),
    /// The scenario could not be carried out.
    Error(String),
}

impl Verdict {
    /// The worse of two.
    #[must_use]
    pub fn worst(self, other: Self) -> Self {
        self.max(other)
    }

    /// Whether all is well.
    pub fn is_success(&self) -> bool {
        *self == Self::Success
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Success => write!(out, "ok"),
            Self::Failure(why) => write!(out, "FAILED: {why}"),
            Self::Crash(why) => write!(out, "CRASHED: {why}"),
            Self::Error(why) => write!(out, "could not run: {why}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_wins() {
        let failure = Verdict::Failure("late".into());
        let crash = Verdict::Crash("dead".into());
        assert_eq!(Verdict::Success.worst(failure.clone()), failure);
        assert_eq!(crash.clone().worst(failure), crash);
        assert!(Verdict::Success.is_success() && !crash.is_success());
    }
}
