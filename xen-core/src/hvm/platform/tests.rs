//! The devices together, as firmware and kernels use them.

use std::vec::Vec;

use super::*;
use crate::hvm::lapic::DeliveryMode;

const SECOND: u64 = 1_000_000_000;
/// Some second of 2026.
const WALL: i64 = 1_795_581_015 * SECOND as i64;

fn at(ns: u64) -> Now {
    Now {
        system_ns: ns,
        wall_ns: WALL + ns as i64,
    }
}

fn none(event: PlatformEvent) {
    panic!("unexpected {event:?}");
}

fn platform() -> Platform {
    Platform::new(0, at(0))
}

fn out_byte(platform: &mut Platform, port: u16, value: u8) {
    assert!(
        platform.port_write(port, 1, value.into(), at(0), none),
        "{port:#x}"
    );
}

/// As a BIOS does: vectors from 0x08 and 0x70.
fn set_up_pic(platform: &mut Platform) {
    for (port, words) in [
        (0x20, [0x11, 0x08, 0x04, 0x01]),
        (0xa0, [0x11, 0x70, 0x02, 0x01]),
    ] {
        out_byte(platform, port, words[0]);
        for word in &words[1..] {
            out_byte(platform, port + 1, *word);
        }
    }
}

fn set_entry(platform: &mut Platform, pin: u64, entry: u64) -> Vec<PlatformEvent> {
    let mut events = Vec::new();
    for half in [1, 0] {
        let value = entry >> (32 * half) & 0xffff_ffff;
        for (address, value) in [(0xfec0_0000, 0x10 + 2 * pin + half), (0xfec0_0010, value)] {
            assert!(platform.memory_write(address, 4, value, at(0), |event| events.push(event)));
        }
    }
    events
}

fn vectors(events: &[PlatformEvent]) -> Vec<u8> {
    let vector = |event: &PlatformEvent| match event {
        PlatformEvent::Deliver(delivery) => Some(delivery.vector),
        PlatformEvent::TimeOffset(_) => None,
    };
    events.iter().filter_map(vector).collect()
}

fn run(platform: &mut Platform, ns: u64) -> Vec<PlatformEvent> {
    let mut events = Vec::new();
    platform.expired(at(ns), |event| events.push(event));
    events
}

#[test]
fn the_tick_reaches_pic_and_io_apic() {
    let mut platform = platform();
    set_up_pic(&mut platform);
    set_entry(&mut platform, 2, 0x30);
    assert_eq!(platform.deadline(at(0)), None);
    for (port, value) in [(0x43, 0x34), (0x40, 0x9c), (0x40, 0x2e)] {
        out_byte(&mut platform, port, value);
    }
    let mut due = 0;
    for _ in 0..3 {
        due = platform.deadline(at(due)).unwrap();
        assert!(run(&mut platform, due - 1).is_empty());
        assert_eq!(vectors(&run(&mut platform, due)), [0x30]);
        assert!(platform.pic_pending());
        assert_eq!(platform.pic_acknowledge(), 0x08);
        out_byte(&mut platform, 0x20, 0x20);
    }
    // 11 932 counts of 1 193 181 Hz.
    assert_eq!(due / 1000, 30_000);
}

#[test]
fn the_hpet_takes_the_tick_over() {
    let mut platform = platform();
    set_up_pic(&mut platform);
    for (port, value) in [(0x43, 0x34), (0x40, 0), (0x40, 1)] {
        out_byte(&mut platform, port, value);
    }
    assert!(platform.deadline(at(0)).is_some());
    let id = platform.memory_read(0xfed0_0000, 4, at(0)).unwrap();
    assert_eq!(id >> 16, 0x8086);
    platform.memory_write(0xfed0_0010, 8, 3, at(0), none);
    assert_eq!(platform.deadline(at(0)), None, "no PIT any more");
    platform.memory_write(0xfed0_0100, 8, 1 << 2, at(0), none);
    platform.memory_write(0xfed0_0108, 8, 1000, at(0), none);
    assert_eq!(platform.deadline(at(0)), Some(16_000));
    run(&mut platform, 16_000);
    assert_eq!(platform.pic_acknowledge(), 0x08);
    platform.memory_write(0xfed0_0010, 8, 0, at(16_000), none);
    assert!(platform.deadline(at(16_000)).is_some(), "the PIT is back");
}

#[test]
fn a_level_of_the_hpet_stays_up() {
    let mut platform = platform();
    set_entry(&mut platform, 21, 0x8000 | 0x61);
    platform.memory_write(0xfed0_0140, 8, 21 << 9 | 1 << 1 | 1 << 2, at(0), none);
    platform.memory_write(0xfed0_0148, 8, 100, at(0), none);
    platform.memory_write(0xfed0_0010, 8, 1, at(0), none);
    assert_eq!(vectors(&run(&mut platform, 1600)), [0x61]);
    let mut again = Vec::new();
    platform.end_of_interrupt(0x61, |event| again.push(event));
    assert_eq!(vectors(&again), [0x61], "still up");
    platform.memory_write(0xfed0_0020, 8, 4, at(1600), none);
    platform.end_of_interrupt(0x61, none);
}

#[test]
fn without_hpet_there_is_nothing() {
    let mut platform = platform();
    platform.set_hpet(false);
    assert_eq!(platform.memory_read(0xfed0_0000, 4, at(0)), Some(u64::MAX));
    assert!(platform.memory_write(0xfed0_0010, 8, 1, at(0), none));
    platform.set_hpet(true);
    assert_eq!(platform.memory_read(0xfed0_0010, 8, at(0)), Some(0));
}

#[test]
fn the_clock_shares_its_ports_with_the_device_model() {
    let mut platform = platform();
    assert!(platform.port_write(0x70, 1, 0x0d, at(0), none));
    assert_eq!(platform.port_read(0x71, 1, at(0), none), Some(0x80));
    assert!(
        !platform.port_write(0x70, 1, 0x0f, at(0), none),
        "the device model's too"
    );
    assert!(!platform.port_write(0x71, 1, 0x0a, at(0), none));
    assert_eq!(platform.port_read(0x71, 1, at(0), none), None);
}

#[test]
fn setting_the_clock_is_reported() {
    let mut platform = platform();
    out_byte(&mut platform, 0x70, 2);
    let minutes = platform.port_read(0x71, 1, at(0), none).unwrap();
    assert_eq!(minutes, 0x30);
    let mut events = Vec::new();
    platform.port_write(0x71, 1, 0x40, at(0), |event| events.push(event));
    assert_eq!(events, [PlatformEvent::TimeOffset(600)]);
}

#[test]
fn the_clock_interrupts() {
    let mut platform = platform();
    set_up_pic(&mut platform);
    out_byte(&mut platform, 0x70, 0x0b);
    out_byte(&mut platform, 0x71, 0x42);
    let mut due = 0;
    for tick in 1..=4 {
        due = platform.deadline(at(due)).unwrap();
        run(&mut platform, due);
        // The kernel ends it without reading the register.
        assert!(platform.pic_pending(), "tick {tick}");
        assert_eq!(platform.pic_acknowledge(), 0x70);
        out_byte(&mut platform, 0xa0, 0x20);
        out_byte(&mut platform, 0x20, 0x20);
        assert!(!platform.pic_pending());
    }
    assert_eq!(due, (4 * SECOND).div_ceil(1024));
}

#[test]
fn buttons_are_acpi_events() {
    let mut platform = platform();
    set_entry(&mut platform, 9, 0x8000 | 0x59);
    platform.set_acpi_ports(1);
    assert_eq!(platform.port_read(0x1f48, 4, at(0), none), None);
    assert_eq!(
        platform.port_read(0xb008, 4, at(SECOND), none),
        Some(3_579_545)
    );
    platform.press(true, none);
    let mut events = Vec::new();
    platform.port_write(0xb002, 2, 0x100, at(SECOND), |event| events.push(event));
    assert_eq!(vectors(&events), [0x59]);
    assert!(platform.port_write(0xb000, 2, 0x100, at(SECOND), none));
    platform.end_of_interrupt(0x59, none);
    assert!(
        !platform.port_write(0xb004, 2, 0, at(SECOND), none),
        "the device model's"
    );
}

#[test]
fn devices_interrupt_through_pins_and_links() {
    let mut platform = platform();
    set_up_pic(&mut platform);
    platform.set_route(3, 5, none).unwrap();
    set_entry(&mut platform, 28, 0x0100_0000_0000_8000 | 0x71);
    let mut events = Vec::new();
    platform
        .set_intx(3, 0, true, |event| events.push(event))
        .unwrap();
    let delivery = Delivery {
        mode: DeliveryMode::Fixed,
        vector: 0x71,
        level: true,
        dest: 1,
        logical: false,
    };
    assert_eq!(events, [PlatformEvent::Deliver(delivery)]);
    assert_eq!(platform.pic_acknowledge(), 0x0d);
    platform.set_intx(3, 0, false, none).unwrap();
    platform.end_of_interrupt(0x71, none);
    assert_eq!(platform.set_intx(32, 0, true, none), Err(Errno::EINVAL));
}

#[test]
fn what_is_not_here_is_left_to_others() {
    let mut platform = platform();
    for port in [0x60, 0x64, 0x80, 0x92, 0xcf8, 0x3f8, 0xafe0, 0x44, 0x22] {
        assert_eq!(platform.port_read(port, 1, at(0), none), None, "{port:#x}");
        assert!(!platform.port_write(port, 1, 0, at(0), none));
    }
    assert_eq!(platform.port_read(0x20, 2, at(0), none), None);
    for address in [0xfebf_ffff, 0xfec0_0100, 0xfed0_0400, 0xfee0_0000] {
        assert_eq!(platform.memory_read(address, 4, at(0)), None);
        assert!(!platform.memory_write(address, 4, 0, at(0), none));
    }
}

#[test]
fn a_saved_platform_goes_on() {
    let mut platform = platform();
    set_up_pic(&mut platform);
    set_entry(&mut platform, 9, 0x8000 | 0x59);
    platform.set_route(1, 10, none).unwrap();
    platform.set_intx(4, 1, true, none).unwrap();
    let mut records = Vec::new();
    platform.save(at(0), |code, instance, body| {
        records.push((code, instance, body.to_vec()))
    });
    let sizes: Vec<_> = records
        .iter()
        .map(|(code, _, body)| (code.0, body.len()))
        .collect();
    let expected = [
        (3, 8),
        (3, 8),
        (4, 400),
        (7, 16),
        (8, 8),
        (9, 8),
        (10, 56),
        (11, 24),
        (12, 1048),
        (13, 8),
    ];
    assert_eq!(sizes, expected);
    let mut other = Platform::new(55, at(0));
    for (code, instance, body) in &records {
        assert_eq!(other.load(*code, *instance, body, at(0)), Ok(true));
        assert_eq!(
            other.load(*code, *instance, &body[1..], at(0)),
            Err(Errno::EINVAL)
        );
    }
    let mut again = Vec::new();
    other.save(at(0), |code, instance, body| {
        again.push((code, instance, body.to_vec()))
    });
    assert_eq!(again, records);
    assert_eq!(other.load(HvmSaveCode::CPU, 0, &[], at(0)), Ok(false));
    assert_eq!(
        other.load(HvmSaveCode::PIC, 2, &[0; 8], at(0)),
        Err(Errno::EINVAL)
    );
}
