//! A domain's state as the hypervisor reports it, and as `list` prints it.

use hypercall_abi::domctl::{DomctlGetdomaininfo, Dominf};
use serde::Serialize;

/// Why a domain ended (`SHUTDOWN_*` of public/sched.h).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reason {
    /// It powered off.
    Poweroff,
    /// It wants to start again.
    Reboot,
    /// It is suspended.
    Suspend,
    /// It crashed.
    Crash,
    /// Its watchdog bit.
    Watchdog,
    /// It wants to start again in its own memory.
    SoftReset,
    /// A reason without a name.
    Unknown,
}

impl Reason {
    fn of(code: u32) -> Self {
        match code {
            0 => Self::Poweroff,
            1 => Self::Reboot,
            2 => Self::Suspend,
            3 => Self::Crash,
            4 => Self::Watchdog,
            5 => Self::SoftReset,
            _ => Self::Unknown,
        }
    }

    /// The letter of `list`.
    fn letter(self) -> char {
        match self {
            Self::Poweroff => '-',
            Self::Reboot => 'r',
            Self::Suspend => 's',
            Self::Crash => 'c',
            Self::Watchdog => 'w',
            Self::SoftReset => 'S',
            Self::Unknown => '?',
        }
    }

    /// For messages.
    #[must_use]
    pub fn describe(self) -> &'static str {
        match self {
            Self::Poweroff => "powered off",
            Self::Reboot => "asked for a reboot",
            Self::Suspend => "suspended",
            Self::Crash => "crashed",
            Self::Watchdog => "was ended by its watchdog",
            Self::SoftReset => "asked for a soft reset",
            Self::Unknown => "ended",
        }
    }
}

/// What a domain is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[expect(missing_docs, reason = "named as the flags of the hypervisor")]
pub struct State {
    pub running: bool,
    pub blocked: bool,
    pub paused: bool,
    pub shutdown: Option<Reason>,
    pub dying: bool,
}

impl State {
    /// From the hypervisor's answer.
    #[must_use]
    pub fn of(info: &DomctlGetdomaininfo) -> Self {
        let flags = Dominf::from_bits_retain(info.flags);
        let code = info.flags >> hypercall_abi::domctl::DOMINF_SHUTDOWNSHIFT
            & hypercall_abi::domctl::DOMINF_SHUTDOWNMASK;
        Self {
            running: flags.contains(Dominf::RUNNING),
            blocked: flags.contains(Dominf::BLOCKED),
            paused: flags.contains(Dominf::PAUSED),
            shutdown: flags.contains(Dominf::SHUTDOWN).then(|| Reason::of(code)),
            dying: flags.contains(Dominf::DYING),
        }
    }

    /// The six letters of `list`.
    #[must_use]
    pub fn letters(&self) -> String {
        let letter = |set, letter| if set { letter } else { '-' };
        [
            letter(self.running, 'r'),
            letter(self.blocked, 'b'),
            letter(self.paused, 'p'),
            letter(self.shutdown.is_some(), 's'),
            self.shutdown.map_or('-', Reason::letter),
            letter(self.dying, 'd'),
        ]
        .iter()
        .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use zerocopy::FromZeros as _;

    #[test]
    fn letters_are_those_of_xl() {
        for (flags, letters) in [
            (1 << 5, "r-----"),
            (1 << 4, "-b----"),
            (1 << 3 | 0xff << 16, "--p---"),
            (1 << 2, "---s--"),
            (1 << 2 | 3 << 16, "---sc-"),
            (1 << 2 | 1 << 16 | 1, "---srd"),
        ] {
            let mut info = DomctlGetdomaininfo::new_zeroed();
            info.flags = flags;
            assert_eq!(State::of(&info).letters(), letters);
        }
    }
}
