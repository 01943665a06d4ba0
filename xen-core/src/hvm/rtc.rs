//! The clock of an HVM guest: registers 0 to 13 of an MC146818 (its data sheet); memory behind them is the device model's.
//!
//! Time is the host's plus an offset. Times here are nanoseconds of UTC since 1970.

use hypercall_abi::arch_x86::hvm::save::{HvmHwRtc, RTC_CMOS_SIZE};

const NS: i64 = 1_000_000_000;
const DAY: i64 = 86_400;
/// Before a second ends its update is announced for so long.
const UPDATE_NS: i64 = 244_000;
/// Counts of the oscillator in a second.
const OSCILLATOR: i64 = 32_768;

const SECONDS: u8 = 0;
const SECONDS_ALARM: u8 = 1;
const MINUTES: u8 = 2;
const MINUTES_ALARM: u8 = 3;
const HOURS: u8 = 4;
const HOURS_ALARM: u8 = 5;
const WEEKDAY: u8 = 6;
const DAY_OF_MONTH: u8 = 7;
const MONTH: u8 = 8;
const YEAR: u8 = 9;
const REG_A: u8 = 10;
const REG_B: u8 = 11;
const REG_C: u8 = 12;
const REG_D: u8 = 13;

/// A: an update is in progress.
const UIP: u8 = 1 << 7;
/// A: the divider that runs.
const DIVIDER: u8 = 0x20;
/// A: the divider's bits.
const DIVIDER_MASK: u8 = 0x70;
/// B: no updates, the time is being set.
const SET: u8 = 1 << 7;
/// B and C: periodic interrupt.
const PERIODIC: u8 = 1 << 6;
/// B and C: alarm interrupt.
const ALARM: u8 = 1 << 5;
/// B and C: update interrupt.
const UPDATE: u8 = 1 << 4;
/// B: binary, not BCD.
const BINARY: u8 = 1 << 2;
/// B: 24 hours, not 12.
const HOURS_24: u8 = 1 << 1;
/// C: an interrupt that is enabled has come.
const REQUEST: u8 = 1 << 7;
/// D: the battery is good.
const VALID: u8 = 1 << 7;
/// Hours of 12: afternoon.
const AFTERNOON: u8 = 1 << 7;
/// Alarm: any value does.
const ANY: u8 = 0xc0;

/// The clock.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Rtc {
    index: u8,
    cmos: [u8; RTC_CMOS_SIZE],
    /// Seconds that the guest is ahead of the host.
    offset: i64,
    /// Up to here events were noted.
    seen_ns: i64,
}

impl Rtc {
    /// A clock that is `offset` seconds ahead of the host's.
    #[must_use]
    pub fn new(offset: i64, now_ns: i64) -> Self {
        let mut cmos = [0; RTC_CMOS_SIZE];
        cmos[usize::from(REG_A)] = DIVIDER | 6;
        cmos[usize::from(REG_B)] = HOURS_24;
        cmos[usize::from(REG_D)] = VALID;
        Self {
            index: 0,
            cmos,
            offset,
            seen_ns: now_ns,
        }
    }

    const fn reg(&self, index: u8) -> u8 {
        self.cmos[index as usize]
    }

    const fn reg_mut(&mut self, index: u8) -> &mut u8 {
        &mut self.cmos[index as usize]
    }

    /// The guest's time is what the registers hold, and stands still.
    const fn is_set(&self) -> bool {
        self.reg(REG_B) & SET != 0
    }

    const fn runs(&self) -> bool {
        self.reg(REG_A) & DIVIDER_MASK == DIVIDER && !self.is_set()
    }

    /// Port 0x70. The index is also the device model's, which has the registers from 14 on.
    pub const fn select(&mut self, value: u8) {
        self.index = value & 0x7f;
    }

    /// Whether port 0x71 is about a register of the clock.
    #[must_use]
    pub const fn is_selected(&self) -> bool {
        (self.index as usize) < RTC_CMOS_SIZE
    }

    /// Reads port 0x71; for a register of the clock.
    pub fn read(&mut self, now_ns: i64) -> u8 {
        self.update(now_ns);
        match self.index {
            REG_A => {
                let in_second = now_ns.rem_euclid(NS);
                let updating = self.runs() && in_second >= NS - UPDATE_NS;
                self.reg(REG_A) | if updating { UIP } else { 0 }
            }
            REG_C => core::mem::take(self.reg_mut(REG_C)),
            index if self.is_selected() => {
                if !self.is_set() {
                    self.show(now_ns.div_euclid(NS));
                }
                self.reg(index)
            }
            _ => 0xff,
        }
    }

    /// Writes port 0x71; for a register of the clock. Returns by how many seconds the guest changed its time.
    pub fn write(&mut self, value: u8, now_ns: i64) -> i64 {
        self.update(now_ns);
        let now = now_ns.div_euclid(NS);
        match self.index {
            REG_A => *self.reg_mut(REG_A) = value & !UIP,
            REG_B => {
                let was_set = self.is_set();
                if value & SET != 0 && !was_set {
                    self.show(now);
                }
                *self.reg_mut(REG_B) = value;
                self.request();
                if was_set && !self.is_set() {
                    return self.adopt(now);
                }
            }
            REG_C | REG_D => {}
            SECONDS_ALARM | MINUTES_ALARM | HOURS_ALARM => *self.reg_mut(self.index) = value,
            index if self.is_selected() => {
                if self.is_set() {
                    *self.reg_mut(index) = value;
                } else {
                    self.show(now);
                    *self.reg_mut(index) = value;
                    return self.adopt(now);
                }
            }
            _ => {}
        }
        0
    }

    /// Puts the time into the registers.
    fn show(&mut self, now: i64) {
        let time = now.saturating_add(self.offset);
        let of_day = time.rem_euclid(DAY);
        let days = time.div_euclid(DAY);
        let (year, month, day) = date_of(days);
        let hour = (of_day / 3600) as u8;
        let shown_hour = if self.reg(REG_B) & HOURS_24 != 0 {
            self.encode(hour)
        } else {
            let twelve = match hour % 12 {
                0 => 12,
                hour => hour,
            };
            self.encode(twelve) | if hour >= 12 { AFTERNOON } else { 0 }
        };
        let values = [
            (SECONDS, self.encode((of_day % 60) as u8)),
            (MINUTES, self.encode((of_day / 60 % 60) as u8)),
            (HOURS, shown_hour),
            // 1970 began on a Thursday; Sunday is 1.
            (WEEKDAY, self.encode((days + 4).rem_euclid(7) as u8 + 1)),
            (DAY_OF_MONTH, self.encode(day)),
            (MONTH, self.encode(month)),
            (YEAR, self.encode(year.rem_euclid(100) as u8)),
        ];
        for (index, value) in values {
            *self.reg_mut(index) = value;
        }
    }

    /// Takes the time from the registers: the offset changes. Returns by how much.
    fn adopt(&mut self, now: i64) -> i64 {
        let field = |index| i64::from(self.decode(self.reg(index)));
        // Two digits of a year: 1970 to 2069.
        let year = match field(YEAR) {
            year @ 70.. => 1900 + year,
            year => 2000 + year,
        };
        let days = days_of(
            year,
            field(MONTH).clamp(1, 12),
            field(DAY_OF_MONTH).clamp(1, 31),
        );
        let of_day = self.hour(self.reg(HOURS)) * 3600 + field(MINUTES) * 60 + field(SECONDS);
        let offset = (days * DAY + of_day).saturating_sub(now);
        let delta = offset.saturating_sub(self.offset);
        self.offset = offset;
        delta
    }

    fn hour(&self, value: u8) -> i64 {
        if self.reg(REG_B) & HOURS_24 != 0 {
            return self.decode(value).into();
        }
        let hour = i64::from(self.decode(value & !AFTERNOON)) % 12;
        hour + if value & AFTERNOON != 0 { 12 } else { 0 }
    }

    const fn encode(&self, value: u8) -> u8 {
        if self.reg(REG_B) & BINARY != 0 {
            value
        } else {
            (value / 10) << 4 | (value % 10)
        }
    }

    const fn decode(&self, value: u8) -> u8 {
        if self.reg(REG_B) & BINARY != 0 {
            value
        } else {
            (value >> 4) * 10 + (value & 0xf)
        }
    }

    /// Period of the periodic interrupt in counts of the oscillator.
    fn period(&self) -> Option<i64> {
        match self.reg(REG_A) & 0xf {
            0 => None,
            // The two fastest are too fast for the divider.
            rate @ 1..=2 => Some(1 << (rate + 6)),
            rate => Some(1 << (rate - 1)),
        }
    }

    /// Notes the events since the last look. Returns whether a periodic interrupt has come that is enabled: it interrupts
    /// again even if nobody read C since the last one, as firmware announces in its table WAET.
    pub fn update(&mut self, now_ns: i64) -> bool {
        let before = core::mem::replace(&mut self.seen_ns, now_ns);
        if now_ns <= before {
            return false;
        }
        let mut flags = 0;
        if let Some(period) = self.period()
            && counts(before).div_euclid(period) != counts(now_ns).div_euclid(period)
        {
            flags |= PERIODIC;
        }
        if self.runs() {
            let (from, to) = (before.div_euclid(NS), now_ns.div_euclid(NS));
            if from != to {
                flags |= UPDATE;
                if self.alarm_after(from).is_some_and(|alarm| alarm <= to) {
                    flags |= ALARM;
                }
            }
        }
        *self.reg_mut(REG_C) |= flags;
        self.request();
        flags & self.reg(REG_B) & PERIODIC != 0
    }

    fn request(&mut self) {
        let enabled = self.reg(REG_B) & self.reg(REG_C) & (PERIODIC | ALARM | UPDATE) != 0;
        let c = self.reg_mut(REG_C);
        *c = (*c & !REQUEST) | if enabled { REQUEST } else { 0 };
    }

    /// The first second of the host after `second` at which the alarm matches.
    fn alarm_after(&self, second: i64) -> Option<i64> {
        let matches = |index: u8, value: i64| {
            let alarm = self.reg(index);
            let wanted = match index {
                HOURS_ALARM => self.hour(alarm),
                _ => self.decode(alarm).into(),
            };
            alarm & ANY == ANY || wanted == value
        };
        let guest = second.saturating_add(self.offset).saturating_add(1);
        let of_day = guest.rem_euclid(DAY);
        let hours = (0..24).filter(|&hour| matches(HOURS_ALARM, hour));
        // The earliest match from `of_day` on, else the earliest of the next day.
        let mut best: Option<i64> = None;
        for hour in hours {
            let in_hour = |from: i64| {
                (from / 60..60)
                    .filter(|&minute| matches(MINUTES_ALARM, minute))
                    .find_map(|minute| {
                        let first = (from - minute * 60).max(0);
                        (first..60)
                            .find(|&second| matches(SECONDS_ALARM, second))
                            .map(|second| minute * 60 + second)
                    })
            };
            let start = hour * 3600;
            let from = (of_day - start).max(0);
            let today = (from < 3600).then(|| in_hour(from)).flatten();
            let wait = match today {
                Some(at) => start + at - of_day,
                None => start + in_hour(0)? + DAY - of_day,
            };
            best = Some(best.map_or(wait, |best| best.min(wait)));
        }
        Some(second + 1 + best?)
    }

    /// When something happens next that interrupts.
    #[must_use]
    pub fn deadline(&self, now_ns: i64) -> Option<i64> {
        let b = self.reg(REG_B);
        let second = now_ns.div_euclid(NS);
        let periodic = self.period().filter(|_| b & PERIODIC != 0).map(|period| {
            let next = counts(now_ns).div_euclid(period) + 1;
            time_of(next * period)
        });
        let runs = self.runs();
        let update = (runs && b & UPDATE != 0).then(|| (second + 1) * NS);
        let alarm = (runs && b & ALARM != 0)
            .then(|| self.alarm_after(second))
            .flatten()
            .map(|alarm| alarm * NS);
        [periodic, update, alarm].into_iter().flatten().min()
    }

    /// Whether interrupt 8 is up: it stays up until C is read.
    #[must_use]
    pub const fn interrupts(&self) -> bool {
        self.reg(REG_C) & REQUEST != 0
    }

    /// Seconds that the guest is ahead of the host.
    #[must_use]
    pub const fn offset(&self) -> i64 {
        self.offset
    }

    /// Sets how many seconds the guest is ahead (XEN_DOMCTL_settimeoffset).
    pub const fn set_offset(&mut self, offset: i64) {
        self.offset = offset;
    }

    /// The record RTC.
    #[must_use]
    pub fn save(&mut self, now_ns: i64) -> HvmHwRtc {
        if !self.is_set() {
            self.show(now_ns.div_euclid(NS));
        }
        HvmHwRtc {
            cmos_data: self.cmos,
            cmos_index: self.index,
            pad0: 0,
            rtc_offset: self.offset,
        }
    }

    /// Takes the record RTC.
    pub fn load(&mut self, record: &HvmHwRtc, now_ns: i64) {
        // An offset of more than 10 000 years is none.
        let most = 10_000 * 366 * DAY;
        self.offset = record.rtc_offset.clamp(-most, most);
        self.index = record.cmos_index & 0x7f;
        self.cmos = record.cmos_data;
        *self.reg_mut(REG_A) &= !UIP;
        *self.reg_mut(REG_D) = VALID;
        self.seen_ns = now_ns;
        self.request();
    }
}

/// Counts of the oscillator since 1970.
fn counts(ns: i64) -> i64 {
    ns.div_euclid(NS) * OSCILLATOR + ns.rem_euclid(NS) * OSCILLATOR / NS
}

/// The first nanosecond with that count.
fn time_of(count: i64) -> i64 {
    let part = count.rem_euclid(OSCILLATOR) * NS;
    count.div_euclid(OSCILLATOR) * NS + (part + OSCILLATOR - 1) / OSCILLATOR
}

/// Days since 1970 of a date of the Gregorian calendar. Years are counted from March, so the leap day is the last.
const fn days_of(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let in_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let leaps = year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400);
    // 719 468 days from March of year 0 to 1970.
    year * 365 + leaps + in_year - 719_468
}

/// The date of a day since 1970: year, month, day.
fn date_of(days: i64) -> (i64, u8, u8) {
    let from_march = days + 719_468;
    // A cycle of 400 years always has 146 097 days.
    let cycle = from_march.div_euclid(146_097);
    let in_cycle = from_march.rem_euclid(146_097);
    let leaps = in_cycle / 1460 - in_cycle / 36_524 + in_cycle / 146_096;
    let year_of_cycle = (in_cycle - leaps) / 365;
    let days_before = 365 * year_of_cycle + year_of_cycle / 4 - year_of_cycle / 100;
    let in_year = in_cycle - days_before;
    let month = (5 * in_year + 2) / 153;
    let day = in_year - (153 * month + 2) / 5 + 1;
    let (month, next) = if month < 10 {
        (month + 3, 0)
    } else {
        (month - 9, 1)
    };
    let year = cycle * 400 + year_of_cycle + next;
    (year, month as u8, day as u8)
}

#[cfg(test)]
mod tests;
