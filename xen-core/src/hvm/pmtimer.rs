//! The ACPI power-management timer and fixed events of an HVM guest (ACPI specification 4.8.3.1 and 4.8.3.3): PM_TMR,
//! PM1a_STS and PM1a_EN. PM1a_CNT and the general-purpose events are the device model's.

use hypercall_abi::arch_x86::hvm::save::HvmHwPmtimer;
use hypercall_abi::hvm::ioreq::{ACPI_PM1A_EVT_BLK_ADDRESS_V0, ACPI_PM1A_EVT_BLK_ADDRESS_V1};

/// Counts in a second.
const HZ: u128 = 3_579_545;
const NS: u128 = 1_000_000_000;
/// From the first port to the counter.
const COUNTER: u16 = 8;
/// Status and enable: the counter's highest bit changed.
const TIMER: u16 = 1 << 0;
/// Status and enable: the global lock was released.
const GLOBAL: u16 = 1 << 5;
/// Status and enable: power button.
const POWER_BUTTON: u16 = 1 << 8;
/// Status and enable: sleep button.
const SLEEP_BUTTON: u16 = 1 << 9;
/// Events that interrupt.
const EVENTS: u16 = TIMER | GLOBAL | POWER_BUTTON | SLEEP_BUTTON;

/// The timer and its events.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PmTimer {
    first_port: u16,
    /// Counter at `base_ns`.
    base: u32,
    base_ns: u64,
    /// Up to here the counter was looked at.
    seen: u32,
    status: u16,
    enable: u16,
}

impl PmTimer {
    /// A timer that starts at 0, at the ports where firmware finds it first.
    #[must_use]
    pub const fn new(now_ns: u64) -> Self {
        Self {
            first_port: ACPI_PM1A_EVT_BLK_ADDRESS_V0,
            base: 0,
            base_ns: now_ns,
            seen: 0,
            status: 0,
            enable: 0,
        }
    }

    /// Moves to the first (0) or the second set of ports (HVM_PARAM_ACPI_IOPORTS_LOCATION).
    pub const fn set_ports(&mut self, location: u8) {
        self.first_port = match location {
            0 => ACPI_PM1A_EVT_BLK_ADDRESS_V0,
            _ => ACPI_PM1A_EVT_BLK_ADDRESS_V1,
        };
    }

    /// Whether an access of `width` bytes at `port` is for this.
    #[must_use]
    pub fn is_at(&self, port: u16, width: u32) -> bool {
        let Some(offset) = port.checked_sub(self.first_port) else {
            return false;
        };
        match offset {
            0..4 => u32::from(offset) + width <= 4,
            COUNTER => width == 4,
            _ => false,
        }
    }

    fn counter(&self, now_ns: u64) -> u32 {
        let elapsed = u128::from(now_ns.saturating_sub(self.base_ns));
        #[expect(clippy::cast_possible_truncation, reason = "the counter wraps")]
        let counts = (elapsed * HZ / NS) as u32;
        self.base.wrapping_add(counts)
    }

    /// Notes what happened since the last look; to be called before an access, and when the deadline has passed.
    pub fn update(&mut self, now_ns: u64) {
        let counter = self.counter(now_ns);
        if (counter ^ self.seen) >> 31 != 0 {
            self.status |= TIMER;
        }
        self.seen = counter;
    }

    /// When the timer interrupts next, if it is to.
    #[must_use]
    pub fn deadline(&self, now_ns: u64) -> Option<u64> {
        if self.enable & TIMER == 0 || self.status & TIMER != 0 {
            return None;
        }
        let counter = self.counter(now_ns);
        let left = u128::from(0x8000_0000 - (counter & 0x7fff_ffff));
        let elapsed = u128::from(now_ns.saturating_sub(self.base_ns));
        let at = (elapsed * HZ / NS + left) * NS;
        let since = u64::try_from(at.div_ceil(HZ)).ok()?;
        self.base_ns.checked_add(since)
    }

    /// Whether the system control interrupt (ISA 9, level) is up.
    #[must_use]
    pub const fn sci(&self) -> bool {
        self.status & self.enable & EVENTS != 0
    }

    /// Somebody presses the power button.
    pub const fn press_power(&mut self) {
        self.status |= POWER_BUTTON;
    }

    /// Somebody presses the sleep button.
    pub const fn press_sleep(&mut self) {
        self.status |= SLEEP_BUTTON;
    }

    /// Reads, at a place of [`is_at`](Self::is_at).
    #[must_use]
    pub fn read(&mut self, port: u16, width: u32, now_ns: u64) -> u32 {
        self.update(now_ns);
        let offset = port.wrapping_sub(self.first_port);
        if offset == COUNTER {
            return self.seen;
        }
        let both = u32::from(self.status) | u32::from(self.enable) << 16;
        let value = both >> (8 * u32::from(offset & 3));
        match width {
            4 => value,
            _ => value & ((1 << (8 * width)) - 1),
        }
    }

    /// Writes, at a place of [`is_at`](Self::is_at); the counter cannot be written.
    pub fn write(&mut self, port: u16, width: u32, value: u32, now_ns: u64) {
        self.update(now_ns);
        let offset = port.wrapping_sub(self.first_port);
        for byte in 0..width as u16 {
            let value = u16::from((value >> (8 * byte)) as u8);
            match offset.wrapping_add(byte) {
                0 => self.status &= !value,
                1 => self.status &= !(value << 8),
                2 => self.enable = (self.enable & 0xff00) | value,
                3 => self.enable = (self.enable & 0xff) | value << 8,
                _ => {}
            }
        }
    }

    /// The record PMTIMER.
    #[must_use]
    pub fn save(&mut self, now_ns: u64) -> HvmHwPmtimer {
        self.update(now_ns);
        HvmHwPmtimer {
            tmr_val: self.seen,
            pm1a_sts: self.status,
            pm1a_en: self.enable,
        }
    }

    /// Takes the record PMTIMER.
    pub const fn load(&mut self, record: &HvmHwPmtimer, now_ns: u64) {
        self.base = record.tmr_val;
        self.base_ns = now_ns;
        self.seen = record.tmr_val;
        self.status = record.pm1a_sts;
        self.enable = record.pm1a_en;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn counts_in_a_second() {
        let mut timer = PmTimer::new(500);
        assert_eq!(timer.read(0x1f48, 4, 500), 0);
        assert_eq!(timer.read(0x1f48, 4, 500 + 1_000_000_000), 3_579_545);
        // More than one turn.
        let day = 86_400u64 * 1_000_000_000;
        let counts = (86_400u64 * 3_579_545) as u32;
        assert_eq!(timer.read(0x1f48, 4, 500 + day), counts);
    }

    #[test]
    fn the_ports_can_be_moved() {
        let mut timer = PmTimer::new(0);
        assert!(timer.is_at(0x1f40, 4) && timer.is_at(0x1f48, 4) && !timer.is_at(0xb008, 4));
        assert!(!timer.is_at(0x1f48, 2) && !timer.is_at(0x1f42, 4) && !timer.is_at(0x1f44, 1));
        timer.set_ports(1);
        assert!(timer.is_at(0xb000, 2) && timer.is_at(0xb008, 4) && !timer.is_at(0x1f40, 4));
    }

    #[test]
    fn events_interrupt_if_they_are_enabled() {
        let mut timer = PmTimer::new(0);
        timer.press_power();
        assert!(!timer.sci());
        timer.write(0x1f42, 2, 0x0100, 0);
        assert!(timer.sci());
        assert_eq!(timer.read(0x1f40, 2, 0), 0x0100);
        assert_eq!(timer.read(0x1f40, 4, 0), 0x0100_0100);
        assert_eq!(timer.read(0x1f41, 1, 0), 1);
        timer.write(0x1f40, 2, 0x0200, 0);
        assert!(timer.sci(), "another bit was written");
        timer.write(0x1f41, 1, 1, 0);
        assert!(!timer.sci());
        timer.press_sleep();
        assert!(!timer.sci());
        timer.write(0x1f40, 4, 0x0200_0000, 0);
        assert!(timer.sci());
    }

    #[test]
    fn the_highest_bit_is_an_event() {
        let mut timer = PmTimer::new(7);
        assert_eq!(timer.deadline(7), None);
        timer.write(0x1f42, 2, 1, 7);
        for _ in 0..4 {
            let now = timer.base_ns;
            let due = timer.deadline(now).unwrap();
            timer.update(due - 1);
            assert!(!timer.sci());
            timer.update(due);
            assert!(timer.sci());
            assert_eq!(timer.deadline(due), None);
            assert_eq!(timer.read(0x1f48, 4, due) & 0x7fff_ffff, 0);
            let record = timer.save(due);
            timer.load(
                &HvmHwPmtimer {
                    pm1a_sts: 0,
                    ..record
                },
                due,
            );
        }
    }

    proptest! {
        #[test]
        fn records_go_on_counting(start in 0u64..1 << 60, ran in 0u64..1 << 50, more in 0u64..1 << 40) {
            let mut timer = PmTimer::new(start);
            let record = timer.save(start + ran);
            let mut other = PmTimer::new(0);
            other.load(&record, 99);
            let ahead = timer.counter(start + ran + more).wrapping_sub(other.counter(99 + more));
            // What the record rounds off.
            prop_assert!(ahead <= 1);
        }
    }
}
