//! Rings with honest and hostile guests, the limits of scrollback and events.

use std::time::{Duration, Instant};

use super::attach::parse_escape;
use super::rate::Rate;
use super::ring::{give, room, take};
use super::scrollback::Scrollback;
use crate::xen::GuestMemory as _;
use crate::xen::fake::Memory;

const IN_CONS: usize = 3072;
const IN_PROD: usize = 3076;
const OUT_CONS: usize = 3080;
const OUT_PROD: usize = 3084;

#[test]
fn bytes_pass_in_both_directions_across_the_end() {
    let ring = Memory::new(4096);
    ring.store_u32(OUT_CONS, u32::MAX - 1);
    for (index, byte) in b"hello".iter().enumerate() {
        ring.store_u8(1024 + (2046 + index) % 2048, *byte);
    }
    ring.store_u32(OUT_PROD, 3);
    assert_eq!(take(&ring), b"hello");
    assert_eq!(ring.load_u32(OUT_CONS), 3);
    assert_eq!(take(&ring), b"");

    ring.store_u32(IN_CONS, 1000);
    ring.store_u32(IN_PROD, 1000);
    assert_eq!(give(&ring, &[7; 2000]), 1024);
    assert_eq!(room(&ring), 0);
    ring.store_u32(IN_CONS, 1010);
    assert_eq!(give(&ring, b"abc"), 3);
}

#[test]
fn senseless_indices_yield_nothing() {
    let ring = Memory::new(4096);
    ring.store_u32(OUT_PROD, 5000);
    assert_eq!(take(&ring), b"");
    ring.store_u32(OUT_CONS, 5);
    ring.store_u32(OUT_PROD, 4);
    assert_eq!(take(&ring), b"");
    ring.store_u32(IN_PROD, 9000);
    assert_eq!(room(&ring), 0);
    assert_eq!(give(&ring, b"x"), 0);
}

#[test]
fn the_oldest_bytes_go_first() {
    let mut scrollback = Scrollback::new(5);
    scrollback.push(b"abc");
    scrollback.push(b"defg");
    let mut all = Vec::new();
    while !scrollback.is_empty() {
        let front = scrollback.front().to_vec();
        scrollback.consume(front.len());
        all.extend(front);
    }
    assert_eq!(all, b"cdefg");
    scrollback.push(b"0123456789");
    assert_eq!(scrollback.front().len(), 5);
    assert!(scrollback.front().ends_with(b"9"));
}

#[test]
fn a_flood_waits_for_the_next_period() {
    let start = Instant::now();
    let mut rate = Rate::new(start);
    for _ in 0..30 {
        assert_eq!(rate.count(start), None);
    }
    let later = start + Duration::from_millis(50);
    assert_eq!(rate.count(later), Some(Duration::from_millis(150)));
    assert_eq!(rate.count(start + Duration::from_millis(200)), None);
}

#[test]
fn escape_keys() {
    assert_eq!(parse_escape("^]"), Ok(0x1d));
    assert_eq!(parse_escape("^a"), Ok(1));
    assert_eq!(parse_escape("~"), Ok(b'~'));
    assert!(parse_escape("ab").is_err());
    assert!(parse_escape("").is_err());
}
