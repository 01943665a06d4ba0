//! The formats: what is written can be read, and nothing that is not.

use super::page_table::{ENTRIES, PageType, translate};
use super::{MigrationError, file, record};

#[test]
fn the_header_is_that_of_xl() {
    let mut bytes = Vec::new();
    file::write_header(&mut bytes, b"{}\0").unwrap();
    assert_eq!(&bytes[..32], b"Xen saved domain, xl format\n \0 \r");
    let numbers: Vec<u32> = bytes[32..52]
        .chunks(4)
        .map(|bytes| u32::from_le_bytes(bytes.try_into().unwrap()))
        .collect();
    assert_eq!(numbers, [0x0102_0304, 3, 0, 7, 3]);
    assert_eq!(file::read_header(&mut &bytes[..]).unwrap(), b"{}\0");
    for len in 0..bytes.len() {
        assert!(file::read_header(&mut &bytes[..len]).is_err(), "{len}");
    }
    bytes[36] = 1;
    let error = file::read_header(&mut &bytes[..]).unwrap_err();
    assert!(error.to_string().contains("flags 0x1"), "{error}");
}

#[test]
fn records_are_padded_and_read_back() {
    let mut bytes = Vec::new();
    record::begin_libxl(&mut bytes).unwrap();
    record::begin(&mut bytes, (4, 17)).unwrap();
    record::write(&mut bytes, 5, &[b"abc", b"de"]).unwrap();
    record::write(&mut bytes, 0, &[]).unwrap();
    assert_eq!(bytes.len(), 24 + 40 + 16 + 8);
    assert_eq!(&bytes[..8], b"LibxlFmt");
    let mut input = &bytes[..];
    record::enter_libxl(&mut input).unwrap();
    record::enter(&mut input).unwrap();
    let read = record::read(&mut input).unwrap();
    assert_eq!((read.kind, &read.body[..]), (5, &b"abcde"[..]));
    assert_eq!(record::read(&mut input).unwrap().kind, 0);
    assert!(matches!(
        record::read(&mut input),
        Err(MigrationError::Io(_))
    ));
}

#[test]
fn an_announced_length_takes_no_memory() {
    let mut input: &[u8] = &[1, 0, 0, 0, 0xff, 0xff, 0x7f, 0, 1, 2, 3];
    assert!(matches!(
        record::read(&mut input),
        Err(MigrationError::Io(_))
    ));
    let mut input: &[u8] = &[1, 0, 0, 0, 0xff, 0xff, 0xff, 0xff];
    assert!(matches!(
        record::read(&mut input),
        Err(MigrationError::Format(_))
    ));
}

#[test]
fn frames_of_present_entries_are_translated() {
    let mut table = [0; ENTRIES];
    table[0] = 0x8000_0000_0000_5067;
    table[1] = 0x6000;
    table[300] = 0x7001;
    translate(&mut table, 1, |frame| Ok(frame + 0x100)).unwrap();
    assert_eq!(table[0], 0x8000_0000_0010_5067);
    assert_eq!(table[1], 0x6000);
    assert_eq!(table[300], 0x10_7001);
    table[256] = 0x1;
    translate(&mut table, 4, Ok).unwrap();
    assert_eq!(table[256], 0);
    assert_eq!(table[300], 0x10_7001);
    table[2] = 0x81;
    assert!(translate(&mut table, 2, Ok).is_err());
    assert!(translate(&mut table, 1, Ok).is_ok());
}

#[test]
fn page_types_are_those_of_the_format() {
    let of = |number| PageType(number);
    assert!((0..=4).chain(9..=0xc).all(|kind| of(kind).has_data()));
    assert!((0xd..=0xf).all(|kind| !of(kind).has_data() && of(kind).exists()));
    assert!((5..=8).all(|kind| !of(kind).exists()));
    assert!(of(0xe).is_allocated() && !of(0xd).is_allocated());
    assert!(of(0xc).is_pinned() && !of(4).is_pinned() && !of(0xf).is_pinned());
    assert_eq!(PageType::of_info(0xc000_0000), of(0xc));
}
