//! System time: nanoseconds since boot, computed from the time-stamp counter as guests compute it.

use spin::Once;
use xen_core::machine::TscScale;

use super::calibrate::Rates;
use super::tsc;
use crate::metal::cpu::cpuid;
use crate::metal::irq::lapic::{self, TimerMode};

struct Clock {
    /// Counter value at system time 0.
    start: u64,
    hz: u64,
    scale: TscScale,
}

static CLOCK: Once<Clock> = Once::new();

fn clock() -> &'static Clock {
    let Some(clock) = CLOCK.get() else {
        panic!("time is read before there is a clock")
    };
    clock
}

const NS_PER_S: u64 = 1_000_000_000;

/// The scale for a counter of `hz`: the multiplier has its top bit set, for the best precision.
fn scale_for(hz: u64) -> TscScale {
    let mut shift = 0i8;
    let mut rate = u128::from(hz);
    let ns = u128::from(NS_PER_S);
    while rate > 2 * ns {
        rate >>= 1;
        shift -= 1;
    }
    while rate <= ns {
        rate <<= 1;
        shift += 1;
    }
    TscScale {
        mul: u32::try_from((ns << 32) / rate).unwrap_or(u32::MAX),
        shift,
    }
}

impl Clock {
    fn ns_at(&self, tsc: u64) -> u64 {
        let ticks = u128::from(tsc.saturating_sub(self.start));
        let shifted = if self.scale.shift >= 0 {
            ticks << self.scale.shift
        } else {
            ticks >> -self.scale.shift
        };
        ((shifted * u128::from(self.scale.mul)) >> 32) as u64
    }

    fn tsc_at(&self, ns: u64) -> u64 {
        let ticks = u128::from(ns) * u128::from(self.hz) / u128::from(NS_PER_S);
        self.start
            .saturating_add(u64::try_from(ticks).unwrap_or(u64::MAX))
    }
}

/// Starts the clock at 0, and the deadline timer's mode on the executing CPU.
pub fn start(rates: Rates) {
    CLOCK.call_once(|| Clock {
        start: tsc::read(),
        hz: rates.tsc_hz,
        scale: scale_for(rates.tsc_hz),
    });
    let mode = if cpuid::has_tsc_deadline() {
        TimerMode::TscDeadline
    } else {
        TimerMode::OneShot {
            khz: (rates.apic_hz / 1000).max(1),
        }
    };
    lapic::set_timer_mode(mode);
}

/// True once the clock runs.
pub fn is_running() -> bool {
    CLOCK.get().is_some()
}

/// Nanoseconds since boot.
pub fn now_ns() -> u64 {
    clock().ns_at(tsc::read())
}

/// Counter value and system time, taken together.
pub fn base() -> (u64, u64) {
    let now = tsc::read();
    (now, clock().ns_at(now))
}

/// The counter's rate.
pub fn khz() -> u64 {
    clock().hz / 1000
}

/// The counter's scale.
pub fn scale() -> TscScale {
    clock().scale
}

/// Programs the executing CPU's timer for this system time; `None` disarms it. A deadline that has passed fires at
/// once.
pub fn set_deadline(deadline_ns: Option<u64>) {
    match deadline_ns {
        Some(deadline) => {
            lapic::arm_timer(clock().tsc_at(deadline), deadline.saturating_sub(now_ns()))
        }
        None => lapic::disarm_timer(),
    }
}
