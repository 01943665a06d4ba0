//! ACPI's power management timer as a reference (ACPI 6.5, 4.8.3.3).
// UNSAFETY: port I/O.

use x86_64::instructions::port::PortReadOnly;
use xen_core::acpi::fadt::Fadt;

/// Ticks per second, fixed by the specification.
pub const HZ: u64 = 3_579_545;
/// How often the port is read to see the counter move.
const TRIES: u32 = 100_000;

/// The timer.
pub struct PmTimer {
    port: u16,
}

/// Bits that all timers count with.
pub const MASK: u32 = 0x00ff_ffff;

impl PmTimer {
    /// The timer that ACPI names, if it is a port and counts.
    pub fn start(fadt: &Fadt) -> Option<Self> {
        let timer = Self {
            port: fadt.pm_timer?.port()?,
        };
        let first = timer.count();
        (0..TRIES).any(|_| timer.count() != first).then_some(timer)
    }

    /// The low 24 bits of the counter.
    pub fn count(&self) -> u32 {
        // SAFETY: reading the counter has no effect.
        unsafe { PortReadOnly::<u32>::new(self.port).read() & MASK }
    }
}
