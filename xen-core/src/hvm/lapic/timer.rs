//! The timer (SDM volume 3, 11.5.4): a counter of a 100 MHz bus clock, or a deadline on the time-stamp counter.

use super::registers::{LVT_MASKED, TIMER_MODE_SHIFT};

/// Nanoseconds of a bus clock.
pub const BUS_CYCLE_NS: u64 = 10;

/// When the timer fires.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum TimerMode {
    /// Once, when the count is 0.
    OneShot,
    /// Each time the count is 0.
    Periodic,
    /// At a value of the time-stamp counter.
    TscDeadline,
    /// Reserved: never.
    Stopped,
}

impl TimerMode {
    pub(super) const fn of(lvt: u32) -> Self {
        match (lvt >> TIMER_MODE_SHIFT) & 3 {
            0 => Self::OneShot,
            1 => Self::Periodic,
            2 => Self::TscDeadline,
            _ => Self::Stopped,
        }
    }
}

/// Its state besides the local vector.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Timer {
    /// TMICT.
    pub(super) initial: u32,
    /// TDCR.
    pub(super) tdcr: u32,
    /// System time at which the count will be 0; none if it is.
    zero_at_ns: Option<u64>,
    /// IA32_TSC_DEADLINE; 0 is disarmed.
    pub(super) tsc_deadline: u64,
}

impl Timer {
    /// Bus clocks of a count: 2, 4, ... 128, 1.
    pub(super) const fn divisor(&self) -> u32 {
        let code = (self.tdcr & 3) | ((self.tdcr & 8) >> 1);
        1 << ((code + 1) & 7)
    }

    /// Length of one count.
    const fn count_ns(&self) -> u64 {
        BUS_CYCLE_NS * self.divisor() as u64
    }

    const fn period_ns(&self) -> u64 {
        self.initial as u64 * self.count_ns()
    }

    /// TMICT is written: counting starts; 0 stops it.
    pub(super) const fn start(&mut self, mode: TimerMode, initial: u32, now_ns: u64) {
        match mode {
            TimerMode::OneShot | TimerMode::Periodic => {
                self.initial = initial;
                self.resume(initial, now_ns);
            }
            TimerMode::TscDeadline => {}
            TimerMode::Stopped => self.initial = initial,
        }
    }

    /// Counts on from `count`.
    pub(super) const fn resume(&mut self, count: u32, now_ns: u64) {
        self.zero_at_ns = match count {
            0 => None,
            _ => Some(now_ns.saturating_add(count as u64 * self.count_ns())),
        };
    }

    /// The local vector's mode changes. Between counting and deadlines nothing is kept.
    pub(super) fn change_mode(&mut self, from: TimerMode, to: TimerMode) {
        if from == to {
            return;
        }
        if from == TimerMode::TscDeadline || to == TimerMode::TscDeadline {
            self.initial = 0;
            self.tsc_deadline = 0;
            self.zero_at_ns = None;
        }
        if to == TimerMode::Stopped {
            self.zero_at_ns = None;
        }
    }

    /// TDCR is written: the count goes on at another speed.
    pub(super) fn set_tdcr(&mut self, tdcr: u32, now_ns: u64) {
        let count = self.current(now_ns);
        self.tdcr = tdcr;
        self.resume(count, now_ns);
    }

    /// TMCCT.
    pub(super) fn current(&self, now_ns: u64) -> u32 {
        let left = self.zero_at_ns.map_or(0, |at| at.saturating_sub(now_ns));
        u32::try_from(left.div_ceil(self.count_ns())).unwrap_or(u32::MAX)
    }

    /// System time of the next expiry.
    pub(super) fn deadline(
        &self,
        mode: TimerMode,
        tsc_to_ns: impl FnOnce(u64) -> u64,
    ) -> Option<u64> {
        match mode {
            TimerMode::OneShot | TimerMode::Periodic => self.zero_at_ns,
            TimerMode::TscDeadline => {
                (self.tsc_deadline != 0).then(|| tsc_to_ns(self.tsc_deadline))
            }
            TimerMode::Stopped => None,
        }
    }

    /// It has expired: disarms, or goes on with the next period that ends after `now_ns`. Periods that were missed
    /// are one interrupt, as IRR holds no more.
    pub(super) fn rearm(&mut self, mode: TimerMode, now_ns: u64) {
        let period = self.period_ns();
        let ended = self.zero_at_ns.take();
        self.tsc_deadline = 0;
        if mode == TimerMode::Periodic
            && period != 0
            && let Some(ended) = ended
        {
            let late = now_ns.saturating_sub(ended);
            self.zero_at_ns = Some(now_ns.saturating_add(period - late % period));
        }
    }
}

impl super::Lapic {
    /// System time of the timer's next expiry; it may have passed already. `tsc_to_ns` converts a value of the guest's
    /// time-stamp counter to system time.
    #[must_use]
    pub fn timer_deadline(&self, tsc_to_ns: impl FnOnce(u64) -> u64) -> Option<u64> {
        self.timer.deadline(self.timer_mode(), tsc_to_ns)
    }

    /// Fires if the deadline has passed: the local vector is requested unless it is masked, and a periodic timer goes
    /// on. Before that nothing happens, so an early or a repeated call is harmless. Returns whether it fired.
    pub fn timer_expired(&mut self, now_ns: u64, tsc_to_ns: impl FnOnce(u64) -> u64) -> bool {
        let mode = self.timer_mode();
        let due = self.timer.deadline(mode, tsc_to_ns);
        if due.is_none_or(|due| due > now_ns) {
            return false;
        }
        self.timer.rearm(mode, now_ns);
        if self.lvt[0] & LVT_MASKED == 0 {
            self.accept(self.lvt[0] as u8, false);
        }
        true
    }

    /// IA32_TSC_DEADLINE, MSR 0x6e0; 0 in other modes.
    #[must_use]
    pub fn tsc_deadline(&self) -> u64 {
        match self.timer_mode() {
            TimerMode::TscDeadline => self.timer.tsc_deadline,
            _ => 0,
        }
    }

    /// Writes IA32_TSC_DEADLINE; nothing in other modes. A value that has passed fires at the next
    /// [`timer_expired`](Self::timer_expired).
    pub fn set_tsc_deadline(&mut self, tsc: u64) {
        if self.timer_mode() == TimerMode::TscDeadline {
            self.timer.tsc_deadline = tsc;
        }
    }

    pub(super) const fn timer_mode(&self) -> TimerMode {
        TimerMode::of(self.lvt[0])
    }
}
