//! The battery-backed clock of the PC (Motorola MC146818 data sheet): registers in, UTC out.

/// Registers of the clock as they were read, all from the same second.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Registers {
    /// Register 0.
    pub second: u8,
    /// Register 2.
    pub minute: u8,
    /// Register 4; bit 7 is "afternoon" with a twelve-hour clock.
    pub hour: u8,
    /// Register 7.
    pub day: u8,
    /// Register 8.
    pub month: u8,
    /// Register 9: within the century.
    pub year: u8,
    /// Register B: format.
    pub status_b: u8,
}

const STATUS_24_HOURS: u8 = 1 << 1;
const STATUS_BINARY: u8 = 1 << 2;
const AFTERNOON: u8 = 1 << 7;

impl Registers {
    /// Seconds since 1970-01-01 00:00 UTC; `None` where the clock holds no time. Years below 70 are of this century.
    #[must_use]
    pub fn unix_seconds(&self) -> Option<u64> {
        let number = |value: u8| {
            if self.status_b & STATUS_BINARY != 0 {
                value
            } else {
                (value >> 4) * 10 + (value & 0xf)
            }
        };
        let mut hour = number(self.hour & !AFTERNOON);
        if self.status_b & STATUS_24_HOURS == 0 {
            hour = hour % 12 + if self.hour & AFTERNOON != 0 { 12 } else { 0 };
        }
        let (second, minute) = (number(self.second), number(self.minute));
        let (day, month, year) = (number(self.day), number(self.month), number(self.year));
        if second > 60
            || minute > 59
            || hour > 23
            || !(1..=31).contains(&day)
            || !(1..=12).contains(&month)
            || year > 99
        {
            return None;
        }
        let year = u64::from(year) + if year < 70 { 2000 } else { 1900 };
        let days = days_since_1970(year, u64::from(month), u64::from(day));
        Some(days * 86_400 + u64::from(hour) * 3600 + u64::from(minute) * 60 + u64::from(second))
    }
}

/// Days from 1970-01-01 to a date of the Gregorian calendar from then on.
fn days_since_1970(year: u64, month: u64, day: u64) -> u64 {
    // The year begins in March, so that the leap day is its last.
    let (year, month) = if month > 2 {
        (year, month - 3)
    } else {
        (year - 1, month + 9)
    };
    let leap_days = year / 4 - year / 100 + year / 400;
    // Days before the month: 31, 30, 31, 30, 31 repeated.
    let days_before_month = (153 * month + 2) / 5;
    // 719468 days from 0000-03-01 to 1970-01-01.
    year * 365 + leap_days + days_before_month + day - 1 - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    const BCD_24: Registers = Registers {
        second: 0x56,
        minute: 0x34,
        hour: 0x12,
        day: 0x29,
        month: 0x02,
        year: 0x24,
        status_b: STATUS_24_HOURS,
    };

    #[test]
    fn formats() {
        // date -u -d '2024-02-29 12:34:56' +%s
        assert_eq!(BCD_24.unix_seconds(), Some(1_709_210_096));
        let binary = Registers {
            second: 56,
            minute: 34,
            hour: 12,
            day: 29,
            month: 2,
            year: 24,
            status_b: STATUS_24_HOURS | STATUS_BINARY,
        };
        assert_eq!(binary.unix_seconds(), Some(1_709_210_096));
        let twelve = |hour| {
            Registers {
                hour,
                status_b: 0,
                ..BCD_24
            }
            .unix_seconds()
        };
        assert_eq!(
            twelve(0x12),
            Some(1_709_210_096 - 12 * 3600),
            "12 in the morning is midnight"
        );
        assert_eq!(
            twelve(0x12 | AFTERNOON),
            Some(1_709_210_096),
            "12 in the afternoon is noon"
        );
        assert_eq!(twelve(0x01 | AFTERNOON), Some(1_709_210_096 + 3600));
    }

    #[test]
    fn calendar() {
        assert_eq!(days_since_1970(1970, 1, 1), 0);
        assert_eq!(days_since_1970(2000, 3, 1), 11_017);
        assert_eq!(
            days_since_1970(2100, 3, 1),
            days_since_1970(2100, 2, 28) + 1
        );
        let mut days = 0;
        for year in 1970..2100 {
            for month in 1..=12 {
                let len = match month {
                    2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
                    2 => 28,
                    4 | 6 | 9 | 11 => 30,
                    _ => 31,
                };
                for day in 1..=len {
                    assert_eq!(days_since_1970(year, month, day), days);
                    days += 1;
                }
            }
        }
    }

    #[test]
    fn a_clock_without_time() {
        assert_eq!(Registers::default().unix_seconds(), None);
        assert_eq!(
            Registers {
                month: 0x13,
                ..BCD_24
            }
            .unix_seconds(),
            None
        );
        assert_eq!(
            Registers {
                hour: 0xff,
                day: 0xff,
                ..BCD_24
            }
            .unix_seconds(),
            None
        );
    }
}
