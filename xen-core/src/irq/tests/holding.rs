//! Interrupts that domains do not end, and devices that do not end.

use super::board::{Board, DEVICE};
use super::*;
use crate::irq::hold::{EOI_TIMEOUT_NS, MAX_FORCED, RATE_INTERVAL_NS};

#[test]
fn an_end_that_no_domain_gives_is_taken_as_given() {
    let board = Board::new();
    let irqs = bound(&board, 17);
    irqs.permit(GUEST, 17, true);
    irqs.map_gsi(DOM0, GUEST, 17, -1).unwrap();
    irqs.bind(&board, GUEST, Pirq(16), true, CPU).unwrap();
    let vector = board.vector_of(17);
    let arrival = irqs.arrive(&board, CPU, vector, 100).unwrap();
    assert_eq!(arrival.due_ns, Some(100 + EOI_TIMEOUT_NS));
    irqs.eoi(&board, DOM0, Pirq(17)).unwrap();
    assert_eq!(irqs.expire(&board, 17, 500), arrival.due_ns, "too early");
    assert!(board.is_masked(17), "the other domain sleeps");
    assert_eq!(irqs.expire(&board, 17, 100 + EOI_TIMEOUT_NS), None);
    assert!(!board.is_masked(17), "and does not keep the first from it");
    // Its late EOI ends nothing.
    irqs.eoi(&board, GUEST, Pirq(16)).unwrap();
    assert!(!board.is_masked(17));
    assert_eq!(irqs.expire(&board, 17, u64::MAX), None);
}

/// Lets a device raise its interrupt whenever it can, with nobody answering.
fn storm(board: &Board, irqs: &IrqTable, gsi: u32) -> u32 {
    let vector = board.vector_of(gsi);
    let mut now = 0;
    for count in 0..10 * MAX_FORCED {
        if board.is_masked(gsi) {
            return count;
        }
        let due = irqs
            .arrive(board, CPU, vector, now)
            .unwrap()
            .due_ns
            .unwrap();
        now = due;
        irqs.expire(board, gsi, now);
    }
    panic!("the storm never ends");
}

#[test]
fn a_line_that_nobody_answers_is_masked_and_named_until_somebody_does() {
    let board = Board::new();
    let irqs = bound(&board, 18);
    assert_eq!(storm(&board, &irqs, 18), MAX_FORCED);
    assert_eq!(
        &irqs.take_news().unwrap()[..],
        "IRQ18 (GSI 18): nobody handles it, masked"
    );
    assert!(irqs.take_news().is_none());
    irqs.eoi(&board, DOM0, Pirq(18)).unwrap();
    assert!(!board.is_masked(18));
    assert_eq!(storm(&board, &irqs, 18), MAX_FORCED);
    irqs.unbind(&board, DOM0, Pirq(18));
    irqs.bind(&board, DOM0, Pirq(18), true, CPU).unwrap();
    assert!(!board.is_masked(18), "a new driver gets a new chance");
}

#[test]
fn a_throttled_message_goes_on_after_a_while() {
    let board = Board::with_device();
    let irqs = table();
    irqs.add_device(DEVICE, PciDevice::default());
    let pirq = irqs
        .map_msi(&board, DOM0, request(None), -1, CPU, &anywhere)
        .unwrap();
    irqs.bind(&board, DOM0, pirq, true, CPU).unwrap();
    irqs.set_eoi_map(&board, DOM0, Mfn(0), false).unwrap();
    let vector = Vector(board.config(0x5c, Width::Byte) as u8);
    let arrival = irqs.arrive(&board, CPU, vector, 0).unwrap();
    let due = irqs.throttle(&board, arrival.irq, 0).unwrap();
    assert_eq!(board.config(0x60, Width::Dword) & 1, 1);
    assert_eq!(irqs.expire(&board, arrival.irq, due), None);
    assert_eq!(board.config(0x60, Width::Dword) & 1, 0);
    assert!(!board.eoi_bit(pirq.0));
}

#[test]
fn a_source_faster_than_allowed_rests() {
    let board = Board::new();
    let irqs = IrqTable::new(Configuration {
        nr_gsis: 24,
        rate_limit: 100,
        ..Configuration::default()
    });
    irqs.map_gsi(DOM0, DOM0, 4, 4).unwrap();
    irqs.bind(&board, DOM0, Pirq(4), true, CPU).unwrap();
    let vector = board.vector_of(4);
    let mut due = None;
    for i in 0..100 {
        assert!(!board.is_masked(4));
        due = irqs.arrive(&board, CPU, vector, 1000 + i).unwrap().due_ns;
        assert_eq!(due.is_some(), i == 99);
    }
    assert!(board.is_masked(4));
    assert_eq!(due, Some(1000 + RATE_INTERVAL_NS));
    assert_eq!(irqs.expire(&board, 4, 1000 + RATE_INTERVAL_NS), None);
    assert!(!board.is_masked(4));
}
