//! The timer against a counter that is counted down.

use std::vec::Vec;

use proptest::prelude::*;

use super::*;

const DIVISORS: [(u32, u64); 8] = [
    (0, 2),
    (1, 4),
    (2, 8),
    (3, 16),
    (8, 32),
    (9, 64),
    (10, 128),
    (11, 1),
];

#[derive(Clone, Copy, Debug)]
enum Step {
    Start(u32),
    Divisor(usize),
    Mode(bool),
    Advance(u64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        2 => (0u32..500).prop_map(Step::Start),
        1 => (0usize..8).prop_map(Step::Divisor),
        1 => any::<bool>().prop_map(Step::Mode),
        5 => (0u64..300_000).prop_map(Step::Advance),
    ];
    prop::collection::vec(step, 1..80)
}

/// A counter, counted down one by one.
struct Model {
    initial: u32,
    count: u32,
    divisor: u64,
    /// Time since the last count.
    part_ns: u64,
    periodic: bool,
}

impl Model {
    /// Returns whether the count became 0.
    fn advance(&mut self, ns: u64) -> bool {
        let mut fired = false;
        self.part_ns += ns;
        while self.count != 0 && self.part_ns >= 10 * self.divisor {
            self.part_ns -= 10 * self.divisor;
            self.count -= 1;
            if self.count == 0 {
                fired = true;
                if self.periodic {
                    self.count = self.initial;
                }
            }
        }
        fired
    }
}

fn no_tsc(_: u64) -> u64 {
    panic!("no deadline on the time-stamp counter")
}

proptest! {
    #[test]
    fn counts_as_a_counter(steps in steps()) {
        let mut now = 5_000_000;
        let mut lapic = enabled(0);
        lapic.write_mmio(0x320, 4, 0x40, now);
        let mut model = Model { initial: 0, count: 0, divisor: 2, part_ns: 0, periodic: false };
        for step in steps {
            match step {
                Step::Start(initial) => {
                    lapic.write_mmio(0x380, 4, initial, now);
                    (model.initial, model.count, model.part_ns) = (initial, initial, 0);
                }
                Step::Divisor(index) => {
                    let (code, divisor) = DIVISORS[index];
                    lapic.write_mmio(0x3e0, 4, code, now);
                    // A count that has begun starts again.
                    (model.divisor, model.part_ns) = (divisor, 0);
                }
                Step::Mode(periodic) => {
                    lapic.write_mmio(0x320, 4, 0x40 | u32::from(periodic) << 17, now);
                    model.periodic = periodic;
                }
                Step::Advance(ns) => {
                    now += ns;
                    let fired = model.advance(ns);
                    prop_assert_eq!(lapic.timer_expired(now, no_tsc), fired);
                    prop_assert_eq!(lapic.pending().is_some(), fired);
                    prop_assert!(!lapic.timer_expired(now, no_tsc), "once");
                    if fired {
                        lapic.acknowledge(0x40);
                        lapic.eoi();
                    }
                }
            }
            prop_assert_eq!(lapic.read_mmio(0x380, 4, now), model.initial);
            prop_assert_eq!(lapic.read_mmio(0x390, 4, now), model.count);
            let due = (model.count != 0).then(|| {
                now + u64::from(model.count) * 10 * model.divisor - model.part_ns
            });
            prop_assert_eq!(lapic.timer_deadline(no_tsc), due);
        }
    }
}

#[test]
fn the_count_takes_the_time_of_the_contract() {
    for (code, divisor) in DIVISORS {
        let mut lapic = enabled(0);
        lapic.write_mmio(0x320, 4, 0xec, 7);
        lapic.write_mmio(0x3e0, 4, code, 7);
        lapic.write_mmio(0x380, 4, u32::MAX, 7);
        let due = 7 + 10 * divisor * u64::from(u32::MAX);
        assert_eq!(lapic.timer_deadline(no_tsc), Some(due));
        assert!(!lapic.timer_expired(due - 1, no_tsc));
        assert!(lapic.timer_expired(due, no_tsc));
        assert_eq!(lapic.read_mmio(0x390, 4, due), 0);
        assert_eq!(lapic.timer_deadline(no_tsc), None);
    }
}

#[test]
fn a_masked_one_shot_is_lost_and_a_masked_period_goes_on() {
    let mut lapic = enabled(0);
    lapic.write_mmio(0x320, 4, 0x1_0040, 0);
    lapic.write_mmio(0x380, 4, 10, 0);
    assert!(lapic.timer_expired(200, no_tsc));
    lapic.write_mmio(0x320, 4, 0x40, 200);
    assert_eq!(
        (lapic.pending(), lapic.timer_deadline(no_tsc)),
        (None, None)
    );
    lapic.write_mmio(0x320, 4, 0x3_0040, 200);
    lapic.write_mmio(0x380, 4, 10, 200);
    assert!(lapic.timer_expired(400, no_tsc));
    assert_eq!(
        (lapic.pending(), lapic.timer_deadline(no_tsc)),
        (None, Some(600))
    );
}

#[test]
fn deadlines_are_values_of_the_time_stamp_counter() {
    let to_ns = |tsc: u64| tsc / 2;
    let mut lapic = enabled(0);
    // In other modes the MSR is not there to be set.
    lapic.set_tsc_deadline(500);
    assert_eq!(lapic.tsc_deadline(), 0);
    lapic.write_mmio(0x320, 4, 0x4_00ec, 0);
    lapic.write_mmio(0x380, 4, 77, 0);
    assert_eq!(read(&lapic, 0x380), 0, "ignored");
    assert_eq!(lapic.timer_deadline(to_ns), None);
    lapic.set_tsc_deadline(500);
    assert_eq!(lapic.tsc_deadline(), 500);
    assert_eq!(lapic.timer_deadline(to_ns), Some(250));
    assert!(!lapic.timer_expired(249, to_ns));
    assert!(lapic.timer_expired(250, to_ns));
    assert_eq!((lapic.pending(), lapic.tsc_deadline()), (Some(0xec), 0));
    lapic.set_tsc_deadline(900);
    lapic.set_tsc_deadline(0);
    assert_eq!(lapic.timer_deadline(to_ns), None);
    // Leaving the mode forgets the deadline, entering it the count.
    lapic.set_tsc_deadline(900);
    lapic.write_mmio(0x320, 4, 0xec, 0);
    lapic.write_mmio(0x380, 4, 5, 0);
    lapic.write_mmio(0x320, 4, 0x4_00ec, 0);
    assert_eq!((lapic.tsc_deadline(), read(&lapic, 0x380)), (0, 0));
    assert_eq!(lapic.timer_deadline(to_ns), None);
}

#[test]
fn a_reserved_mode_never_fires() {
    let mut lapic = enabled(0);
    lapic.write_mmio(0x320, 4, 0x6_0040, 0);
    lapic.write_mmio(0x380, 4, 5, 0);
    assert_eq!(lapic.timer_deadline(no_tsc), None);
    assert!(!lapic.timer_expired(u64::MAX, no_tsc));
}
