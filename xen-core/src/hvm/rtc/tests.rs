//! Against the data sheet and a calendar.

use proptest::prelude::*;

use super::*;

/// 2026-11-25 04:30:15 UTC, a Wednesday.
const NOW: i64 = 1_795_581_015;

fn at(second: i64) -> i64 {
    second * NS
}

fn get(rtc: &mut Rtc, index: u8, now_ns: i64) -> u8 {
    rtc.select(index);
    rtc.read(now_ns)
}

fn set(rtc: &mut Rtc, index: u8, value: u8, now_ns: i64) -> i64 {
    rtc.select(index);
    rtc.write(value, now_ns)
}

#[test]
fn shows_the_time_in_bcd() {
    let mut rtc = Rtc::new(0, at(NOW));
    let shown = [0, 2, 4, 6, 7, 8, 9].map(|index| get(&mut rtc, index, at(NOW)));
    assert_eq!(shown, [0x15, 0x30, 0x04, 0x04, 0x25, 0x11, 0x26]);
    assert_eq!(get(&mut rtc, 0x0d, at(NOW)), 0x80);
    let mut rtc = Rtc::new(3600, at(NOW));
    assert_eq!(get(&mut rtc, 4, at(NOW)), 0x05);
}

#[test]
fn other_formats() {
    let mut rtc = Rtc::new(9 * 3600, at(NOW));
    assert_eq!(get(&mut rtc, 4, at(NOW)), 0x13);
    set(&mut rtc, 0x0b, 0, at(NOW));
    assert_eq!(get(&mut rtc, 4, at(NOW)), 0x81);
    set(&mut rtc, 0x0b, BINARY | HOURS_24, at(NOW));
    assert_eq!(
        (get(&mut rtc, 4, at(NOW)), get(&mut rtc, 2, at(NOW))),
        (13, 30)
    );
    set(&mut rtc, 0x0b, BINARY, at(NOW));
    rtc.set_offset(-4 * 3600);
    assert_eq!(get(&mut rtc, 4, at(NOW)), 12, "midnight is 12 before noon");
}

#[test]
fn updates_are_announced() {
    let mut rtc = Rtc::new(0, at(NOW));
    let end = at(NOW + 1);
    assert_eq!(get(&mut rtc, 0x0a, end - 244_001) & UIP, 0);
    assert_eq!(get(&mut rtc, 0x0a, end - 244_000) & UIP, UIP);
    assert_eq!(get(&mut rtc, 0x0a, end) & UIP, 0);
    set(&mut rtc, 0x0b, SET | HOURS_24, end);
    assert_eq!(get(&mut rtc, 0x0a, end + NS - 1) & UIP, 0);
}

#[test]
fn setting_the_time_changes_the_offset() {
    let mut rtc = Rtc::new(0, at(NOW));
    assert_eq!(set(&mut rtc, 0x0b, SET | HOURS_24, at(NOW)), 0);
    for (index, value) in [
        (0, 0x00),
        (2, 0x00),
        (4, 0x00),
        (7, 0x01),
        (8, 0x01),
        (9, 0x00),
    ] {
        assert_eq!(set(&mut rtc, index, value, at(NOW)), 0);
    }
    assert_eq!(get(&mut rtc, 9, at(NOW + 5)), 0x00, "stands still");
    let delta = set(&mut rtc, 0x0b, HOURS_24, at(NOW + 5));
    assert_eq!(delta, 946_684_800 - (NOW + 5));
    assert_eq!(rtc.offset(), delta);
    assert_eq!(get(&mut rtc, 0, at(NOW + 12)), 0x07);
    // A single register can be set while it runs.
    assert_eq!(set(&mut rtc, 2, 0x10, at(NOW + 12)), 600);
}

#[test]
fn interrupts_stay_until_c_is_read() {
    let mut rtc = Rtc::new(0, at(NOW));
    rtc.update(at(NOW + 1));
    assert!(!rtc.interrupts());
    assert_eq!(get(&mut rtc, 0x0c, at(NOW + 1)), UPDATE | PERIODIC);
    set(&mut rtc, 0x0b, UPDATE | HOURS_24, at(NOW + 1));
    assert_eq!(rtc.deadline(at(NOW + 1)), Some(at(NOW + 2)));
    rtc.update(at(NOW + 2) - 1);
    assert!(!rtc.interrupts());
    rtc.update(at(NOW + 2));
    assert!(rtc.interrupts());
    assert_ne!(get(&mut rtc, 0x0c, at(NOW + 2)) & (REQUEST | UPDATE), 0);
    assert!(!rtc.interrupts());
    // Enabling finds what has come before.
    rtc.update(at(NOW + 3));
    set(&mut rtc, 0x0b, HOURS_24, at(NOW + 3));
    assert!(!rtc.interrupts());
    set(&mut rtc, 0x0b, UPDATE | HOURS_24, at(NOW + 3));
    assert!(rtc.interrupts());
}

#[test]
fn periodic_interrupts_repeat_unread() {
    let mut rtc = Rtc::new(0, at(NOW));
    set(&mut rtc, 0x0b, PERIODIC | HOURS_24, at(NOW));
    let mut now = at(NOW);
    for tick in 1..=1024 {
        now = rtc.deadline(now).unwrap();
        assert!(!rtc.update(now - 1));
        assert!(rtc.update(now), "tick {tick}");
    }
    assert_eq!(now, at(NOW + 1));
    // 1 and 2 are 256 and 128 Hz.
    for (rate, hz) in [(1, 256), (2, 128), (3, 8192), (15, 2)] {
        set(&mut rtc, 0x0a, DIVIDER | rate, now);
        assert_eq!(
            rtc.deadline(at(NOW + 1)),
            Some(at(NOW + 1) + (NS + hz - 1) / hz)
        );
    }
    set(&mut rtc, 0x0a, DIVIDER, now);
    assert_eq!(rtc.deadline(now), None);
}

fn with_alarm(hour: u8, minute: u8, second: u8) -> Rtc {
    let mut rtc = Rtc::new(0, at(NOW));
    set(&mut rtc, 5, hour, at(NOW));
    set(&mut rtc, 3, minute, at(NOW));
    set(&mut rtc, 1, second, at(NOW));
    set(&mut rtc, 0x0b, ALARM | HOURS_24, at(NOW));
    rtc
}

#[test]
fn alarms() {
    let midnight = NOW - 4 * 3600 - 30 * 60 - 15;
    let cases = [
        ((0x04, 0x30, 0x16), Some(NOW + 1)),
        ((0x04, 0x30, 0x15), Some(NOW + DAY)),
        ((0x05, 0x00, 0x00), Some(midnight + 5 * 3600)),
        ((0x03, 0x59, 0x59), Some(midnight + DAY + 4 * 3600 - 1)),
        ((0xff, 0xff, 0xff), Some(NOW + 1)),
        ((0xff, 0xff, 0x10), Some(NOW + 55)),
        ((0xff, 0x29, 0x00), Some(NOW + 3600 - 75)),
        ((0x04, 0xff, 0x00), Some(NOW + 45)),
        ((0x24, 0x00, 0x00), None),
        ((0x00, 0x70, 0x00), None),
    ];
    for ((hour, minute, second), due) in cases {
        let mut rtc = with_alarm(hour, minute, second);
        assert_eq!(
            rtc.deadline(at(NOW)),
            due.map(at),
            "{hour:x}:{minute:x}:{second:x}"
        );
        let Some(due) = due else {
            rtc.update(at(NOW + 3 * DAY));
            assert!(!rtc.interrupts());
            continue;
        };
        rtc.update(at(due) - 1);
        assert!(!rtc.interrupts());
        rtc.update(at(due));
        assert!(rtc.interrupts());
    }
}

#[test]
fn what_is_behind_the_clock_is_not_ours() {
    let mut rtc = Rtc::new(0, at(NOW));
    rtc.select(0x8e);
    assert!(!rtc.is_selected());
    assert_eq!((rtc.write(1, at(NOW)), rtc.read(at(NOW))), (0, 0xff));
    rtc.select(0x8d);
    assert!(rtc.is_selected());
}

#[test]
fn records() {
    let mut rtc = with_alarm(1, 2, 3);
    let mut record = rtc.save(at(NOW));
    assert_eq!(record.cmos_data[..3], [0x15, 3, 0x30]);
    let mut other = Rtc::new(77, 0);
    other.load(&record, at(NOW));
    assert_eq!(other, rtc);
    record.rtc_offset = i64::MAX;
    record.cmos_data = [0xff; RTC_CMOS_SIZE];
    other.load(&record, at(NOW));
    for index in 0..14 {
        get(&mut other, index, i64::MAX / 2);
    }
    assert!(other.deadline(i64::MAX / 4).is_some());
}

proptest! {
    #[test]
    fn dates_and_days_agree(days in -100_000i64..100_000) {
        let (year, month, day) = date_of(days);
        prop_assert_eq!(days_of(year, month.into(), day.into()), days);
        let (next_year, next_month, next_day) = date_of(days + 1);
        let follows = (next_year, next_month, next_day) == (year, month, day + 1)
            || (next_year, next_month, next_day) == (year, month + 1, 1)
            || (next_year, next_month, next_day) == (year + 1, 1, 1) && (month, day) == (12, 31);
        prop_assert!(follows && (1..=31).contains(&day) && (1..=12).contains(&month));
        if next_month == 3 && next_day == 1 {
            let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
            prop_assert_eq!(day, if leap { 29 } else { 28 });
        }
    }

    /// Whatever a guest writes, nothing overflows.
    #[test]
    fn any_writes(writes in prop::collection::vec((0u8..14, any::<u8>(), 0i64..1 << 40), 0..60)) {
        let mut rtc = Rtc::new(0, at(NOW));
        let mut now = at(NOW);
        for (index, value, wait) in writes {
            now += wait;
            set(&mut rtc, index, value, now);
            get(&mut rtc, index, now);
            if let Some(due) = rtc.deadline(now) {
                prop_assert!(due > now);
            }
        }
    }
}
