//! The end of the machine: what a shutdown of the hardware domain does, in the words that operators and test
//! harnesses of Xen wait for.

use core::fmt;

use hypercall_abi::sched::ShutdownReason;

use crate::hypervisor::Hypervisor;
use crate::machine::{Machine, ResetKind};

/// How long a crash stays on the screen before the machine restarts.
const CRASH_DELAY_NS: u64 = 5_000_000_000;

/// What happens to the machine.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Fate {
    Halt,
    Restart { delay_ns: u64 },
}

/// The last line for a reason, and what follows. `restart_allowed` is false with option `noreboot`.
fn fate(reason: ShutdownReason, restart_allowed: bool) -> (Words, Fate) {
    let words = Words {
        reason,
        restart_allowed,
    };
    let fate = match reason {
        ShutdownReason::POWEROFF => Fate::Halt,
        ShutdownReason::REBOOT | ShutdownReason::WATCHDOG | ShutdownReason::SOFT_RESET => {
            Fate::Restart { delay_ns: 0 }
        }
        _ if restart_allowed => Fate::Restart {
            delay_ns: CRASH_DELAY_NS,
        },
        _ => Fate::Halt,
    };
    (words, fate)
}

struct Words {
    reason: ShutdownReason,
    restart_allowed: bool,
}

impl fmt::Display for Words {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.reason {
            ShutdownReason::POWEROFF => {
                return f.write_str("Hardware Dom0 halted: halting machine");
            }
            ShutdownReason::REBOOT => {
                return f.write_str("Hardware Dom0 shutdown: rebooting machine");
            }
            ShutdownReason::WATCHDOG => {
                return f.write_str("Hardware Dom0 shutdown: watchdog rebooting machine");
            }
            ShutdownReason::SOFT_RESET => {
                return f.write_str("Hardware domain 0 did unsupported soft reset, rebooting.");
            }
            ShutdownReason::CRASH => f.write_str("Hardware Dom0 crashed: ")?,
            other => write!(f, "Hardware Dom0 shutdown (unknown reason {}): ", other.0)?,
        }
        f.write_str(if self.restart_allowed {
            "rebooting machine in 5 seconds."
        } else {
            "'noreboot' set - not rebooting."
        })
    }
}

impl<M: Machine> Hypervisor<M> {
    /// The hardware domain shut down with a SHUTDOWN_* reason: says so and ends the machine.
    pub fn hardware_domain_shutdown(&self, reason: u32) -> ! {
        let (words, fate) = fate(ShutdownReason(reason), !self.options.noreboot);
        self.console.start_emergency();
        self.print(format_args!("{words}"));
        match fate {
            Fate::Halt => self.machine.halt(),
            Fate::Restart { delay_ns } => {
                let end = self.machine.now_ns().saturating_add(delay_ns);
                while self.machine.now_ns() < end {
                    core::hint::spin_loop();
                }
                self.machine.reset(ResetKind::Default)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;

    use super::*;

    #[test]
    fn every_reason_has_its_words_and_its_fate() {
        let now = Fate::Restart { delay_ns: 0 };
        let later = Fate::Restart {
            delay_ns: CRASH_DELAY_NS,
        };
        for (reason, restart_allowed, words, expected) in [
            (0, true, "Hardware Dom0 halted: halting machine", Fate::Halt),
            (1, true, "Hardware Dom0 shutdown: rebooting machine", now),
            (1, false, "Hardware Dom0 shutdown: rebooting machine", now),
            (
                3,
                true,
                "Hardware Dom0 crashed: rebooting machine in 5 seconds.",
                later,
            ),
            (
                3,
                false,
                "Hardware Dom0 crashed: 'noreboot' set - not rebooting.",
                Fate::Halt,
            ),
            (
                4,
                true,
                "Hardware Dom0 shutdown: watchdog rebooting machine",
                now,
            ),
            (
                5,
                true,
                "Hardware domain 0 did unsupported soft reset, rebooting.",
                now,
            ),
            (
                77,
                true,
                "Hardware Dom0 shutdown (unknown reason 77): rebooting machine in 5 seconds.",
                later,
            ),
            (
                2,
                false,
                "Hardware Dom0 shutdown (unknown reason 2): 'noreboot' set - not rebooting.",
                Fate::Halt,
            ),
        ] {
            let (said, fate) = fate(ShutdownReason(reason), restart_allowed);
            assert_eq!((said.to_string().as_str(), fate), (words, expected));
        }
    }
}
