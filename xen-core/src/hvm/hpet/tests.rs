//! Against the specification.

use std::vec::Vec;

use proptest::prelude::*;

use super::*;

fn read(hpet: &Hpet, offset: u64, now: u64) -> u64 {
    hpet.read(offset, 8, now).unwrap()
}

fn fired(hpet: &mut Hpet, now: u64) -> Vec<(HpetRoute, bool)> {
    let mut out = Vec::new();
    hpet.expired(now, |_, route, level| out.push((route, level)));
    out
}

/// Counting since time 0; timer 2 to pin 20.
fn running(config: u64) -> Hpet {
    let mut hpet = Hpet::default();
    hpet.write(0x140, 8, 20 << 9 | config, 0);
    hpet.write(0x10, 8, 1, 0);
    hpet
}

#[test]
fn registers_after_reset() {
    let hpet = Hpet::default();
    assert_eq!(read(&hpet, 0, 0), 0x00f4_2400_8086_a201);
    assert_eq!(read(&hpet, 0, 0) as u32 >> 16, 0x8086);
    for timer in 0..3 {
        assert_eq!(read(&hpet, 0x100 + 0x20 * timer, 0), 0x00f0_0000_0000_0030);
        assert_eq!(read(&hpet, 0x108 + 0x20 * timer, 0), u64::MAX);
    }
    assert_eq!(read(&hpet, 0x160, 0), 0);
    assert_eq!(hpet.read(4, 4, 0), Some(0x00f4_2400));
    for (offset, width) in [(2, 4), (4, 8), (0, 2), (0, 1), (0x400, 4), (0x3fc, 8)] {
        assert_eq!(hpet.read(offset, width, 0), None, "{offset:#x}");
    }
}

#[test]
fn only_some_bits_can_be_written() {
    let mut hpet = Hpet::default();
    for offset in (0..0x400).step_by(8).filter(|&offset| offset != 0x10) {
        hpet.write(offset, 8, u64::MAX, 0);
    }
    assert_eq!(read(&hpet, 0, 0), 0x00f4_2400_8086_a201);
    // Writing the comparator after the configuration takes the announcement back.
    assert_eq!(read(&hpet, 0x100, 0), 0x00f0_0000_0000_3f3e);
    hpet.write(0x10, 8, u64::MAX, 0);
    assert_eq!(read(&hpet, 0x10, 0), 3);
    assert_eq!(read(&hpet, 0x20, 0), 0);
}

#[test]
fn the_counter_counts_while_it_is_enabled() {
    let mut hpet = Hpet::default();
    hpet.write(0xf0, 8, 1000, 50);
    assert_eq!(read(&hpet, 0xf0, 9999), 1000);
    hpet.write(0x10, 4, 1, 10_000);
    assert_eq!(read(&hpet, 0xf0, 10_000 + 160), 1010);
    hpet.write(0xf0, 8, 0, 10_160);
    assert_eq!(read(&hpet, 0xf0, 10_160), 1010, "not while it counts");
    hpet.write(0x10, 4, 0, 10_320);
    assert_eq!(read(&hpet, 0xf0, 99_999), 1020);
    hpet.write(0xf4, 4, 7, 0);
    assert_eq!(read(&hpet, 0xf0, 0), 7 << 32 | 1020);
}

#[test]
fn a_match_fires_once() {
    let mut hpet = running(INTERRUPTS);
    hpet.write(0x148, 8, 100, 0);
    assert_eq!(hpet.deadline(), Some(1600));
    assert!(fired(&mut hpet, 1599).is_empty());
    assert_eq!(fired(&mut hpet, 1600), [(HpetRoute::Gsi(20), false)]);
    assert_eq!(hpet.deadline(), None);
    assert_eq!(read(&hpet, 0x20, 1600), 0, "edges have no status");
}

#[test]
fn a_match_in_the_past_comes_after_a_turn() {
    let mut hpet = running(INTERRUPTS | BITS_32);
    hpet.write(0x148, 4, 100, 16 * 200);
    let turn = 16 * ((1u64 << 32) + 100);
    assert_eq!(hpet.deadline(), Some(turn));
    assert_eq!(fired(&mut hpet, turn).len(), 1);
    assert_eq!(hpet.deadline(), Some(turn + (16 << 32)));
}

#[test]
fn a_period_is_kept() {
    let mut hpet = running(INTERRUPTS | PERIODIC | SET_VALUE);
    hpet.write(0x148, 8, 10_000, 0);
    hpet.write(0x148, 8, 62_500, 0);
    assert_eq!(read(&hpet, 0x140, 0) & SET_VALUE, 0);
    let mut due = 160_000;
    for _ in 0..10 {
        assert_eq!(hpet.deadline(), Some(due));
        assert!(fired(&mut hpet, due - 1).is_empty());
        assert_eq!(fired(&mut hpet, due).len(), 1);
        due += 1_000_000;
    }
    assert_eq!(fired(&mut hpet, due + 5_500_000).len(), 1);
    assert_eq!(hpet.deadline(), Some(due + 6_000_000));
    assert_eq!(read(&hpet, 0x148, due + 5_500_000) * 16, due + 6_000_000);
}

#[test]
fn periods_are_not_too_short() {
    let mut hpet = running(INTERRUPTS | PERIODIC | SET_VALUE);
    hpet.write(0x148, 8, 1, 0);
    assert_eq!(fired(&mut hpet, 16).len(), 1);
    assert_eq!(hpet.deadline(), Some(16 + 100_000));
}

#[test]
fn a_level_stays_until_its_status_is_cleared() {
    let mut hpet = running(INTERRUPTS | LEVEL);
    hpet.write(0x148, 8, 100, 0);
    assert_eq!(fired(&mut hpet, 1600), [(HpetRoute::Gsi(20), true)]);
    assert_eq!(read(&hpet, 0x20, 1600), 4);
    assert_eq!(hpet.write(0x20, 8, 3, 1600).lowered, 0);
    assert_eq!(hpet.write(0x20, 4, 7, 1600).lowered, 4);
    assert_eq!(read(&hpet, 0x20, 1600), 0);
    hpet.write(0x148, 8, 200, 1600);
    fired(&mut hpet, 3200);
    assert_eq!(
        hpet.write(0x140, 8, 20 << 9, 3200).lowered,
        4,
        "no level any more"
    );
}

#[test]
fn routes() {
    let mut hpet = running(INTERRUPTS);
    for pin in 0..32 {
        hpet.write(0x140, 8, pin << 9, 0);
        let route = if (20..24).contains(&pin) {
            HpetRoute::Gsi(pin as u8)
        } else {
            HpetRoute::Nowhere
        };
        assert_eq!(hpet.route(2), route);
    }
    assert_eq!(hpet.write(0x10, 8, 3, 0).legacy, Some(true));
    assert_eq!(hpet.write(0x10, 8, 3, 0).legacy, None);
    let all = [0, 1, 2].map(|index| hpet.route(index));
    assert_eq!(
        all,
        [HpetRoute::Isa(0), HpetRoute::Isa(8), HpetRoute::Nowhere]
    );
    assert_eq!(hpet.write(0x10, 8, 1, 0).legacy, Some(false));
}

proptest! {
    #[test]
    fn records_go_on(
        writes in prop::collection::vec((0u64..0x60, any::<u64>(), 0u32..60, any::<bool>()), 0..60),
        wait in 0u64..1 << 30,
    ) {
        let mut hpet = Hpet::default();
        let mut now = 0;
        for (register, value, shift, wide) in writes {
            let width = if wide { 8 } else { 4 };
            hpet.write(register * width, width as u32, value >> shift, now);
            now += value & 0xffff;
            hpet.expired(now, |_, _, _| {});
        }
        // The part of a count that has begun is not saved.
        let record = hpet.save(now);
        let mut other = Hpet::default();
        other.load(&record, now);
        let again = other.save(now);
        prop_assert_eq!(&again, &record);
        let later = read(&hpet, 0xf0, now + wait).wrapping_sub(read(&other, 0xf0, now + wait));
        prop_assert!(later <= 1);
        if let Some(due) = other.deadline() {
            other.expired(due, |_, _, _| {});
            prop_assert_ne!(other.deadline(), Some(due));
        }
    }
}
