//! Interrupts that move between processors.

use std::vec::Vec;

use proptest::prelude::*;

use super::board::{Board, DEVICE};
use super::*;
use crate::irq::pirq::Mapping;

const OTHER: CpuId = CpuId(1);
const SECOND: u64 = 1_000_000_000;

#[test]
fn an_interrupt_follows_its_port_but_not_while_shared() {
    let board = Board::new();
    let irqs = bound(&board, 18);
    let old = board.vector_of(18);
    assert!(!irqs.retarget(&board, DOM0, Pirq(18), OTHER, 0));
    assert_eq!(board.routes.borrow()[&18].1, OTHER);
    assert_eq!(board.vector_of(18), old, "the vector was free there");
    assert!(!board.is_masked(18));
    // What was under way to the old place still counts.
    assert_eq!(targets(irqs.arrive(&board, CPU, old, 0)), [(0, 18)]);
    irqs.eoi(&board, DOM0, Pirq(18)).unwrap();
    let arrival = irqs.arrive(&board, OTHER, old, 0).unwrap();
    assert_eq!(arrival.clean_on, Some(CPU));
    assert!(board.is_masked(18));
    irqs.settle(&board, CPU);
    assert!(irqs.arrive(&board, CPU, old, 0).is_none(), "given back");
    assert!(!irqs.retarget(&board, DOM0, Pirq(18), CPU, 0));
    assert!(board.is_masked(18), "still in service");
    irqs.map_gsi(DOM0, GUEST, 18, 18).unwrap();
    irqs.bind(&board, GUEST, Pirq(18), true, CPU).unwrap();
    irqs.retarget(&board, GUEST, Pirq(18), OTHER, 5 * SECOND);
    assert_eq!(board.routes.borrow()[&18].1, CPU);
}

#[test]
fn an_old_place_stays_while_its_processor_has_an_interrupt_requested() {
    let board = Board::new();
    let irqs = bound(&board, 4);
    let vector = board.vector_of(4);
    irqs.retarget(&board, DOM0, Pirq(4), OTHER, 0);
    irqs.arrive(&board, OTHER, vector, 0).unwrap();
    board.requested.borrow_mut().push(vector);
    irqs.settle(&board, CPU);
    board.requested.borrow_mut().clear();
    assert_eq!(targets(irqs.arrive(&board, CPU, vector, 0)), [(0, 4)]);
    assert!(
        irqs.arrive(&board, CPU, vector, 0).is_none(),
        "the straggler was the last"
    );
}

#[test]
fn a_move_waits_for_the_one_before() {
    let board = Board {
        cpus: 0b111,
        ..Board::new()
    };
    let irqs = bound(&board, 4);
    let at = || board.routes.borrow()[&4].1;
    irqs.retarget(&board, DOM0, Pirq(4), OTHER, 0);
    irqs.retarget(&board, DOM0, Pirq(4), CpuId(2), 10);
    assert_eq!(at(), OTHER);
    irqs.retarget(&board, DOM0, Pirq(4), CpuId(2), SECOND);
    assert_eq!(at(), CpuId(2));
}

/// Takes the vector of `gsi` on the other processor, so that a move needs a new one.
fn occupy(board: &Board, irqs: &IrqTable, gsi: u32) {
    irqs.map_gsi(DOM0, DOM0, 23, 23).unwrap();
    irqs.bind(board, DOM0, Pirq(23), true, OTHER).unwrap();
    assert_eq!(board.vector_of(23), board.vector_of(gsi));
}

#[test]
fn an_edge_that_gets_a_new_vector_may_be_lost_and_says_so() {
    let board = Board::new();
    let irqs = bound(&board, 4);
    occupy(&board, &irqs, 4);
    assert!(irqs.retarget(&board, DOM0, Pirq(4), OTHER, 0));
    assert_ne!(board.vector_of(4), board.vector_of(23));
    assert!(!board.is_masked(4));
}

#[test]
fn a_level_that_waits_for_its_eoi_moves_at_the_next_arrival() {
    let board = Board::new();
    let irqs = bound(&board, 18);
    let vector = board.vector_of(18);
    occupy(&board, &irqs, 18);
    board.in_flight.borrow_mut().push(18);
    assert!(!irqs.retarget(&board, DOM0, Pirq(18), OTHER, 0));
    assert_eq!(board.routes.borrow()[&18].1, CPU);
    let arrival = irqs.arrive(&board, CPU, vector, 0).unwrap();
    board.in_flight.borrow_mut().clear();
    assert!(!irqs.follow(&board, arrival.irq, OTHER, 20_000_000));
    assert_eq!(board.routes.borrow()[&18].1, OTHER);
    assert!(board.is_masked(18), "the domain has not said EOI yet");
    irqs.eoi(&board, DOM0, Pirq(18)).unwrap();
    assert!(!board.is_masked(18));
}

#[test]
fn an_interrupt_does_not_follow_a_vcpu_at_every_step() {
    let board = Board::new();
    let irqs = bound(&board, 4);
    let vector = board.vector_of(4);
    irqs.follow(&board, 4, OTHER, 2 * SECOND);
    assert_eq!(board.routes.borrow()[&4].1, OTHER);
    irqs.arrive(&board, OTHER, vector, 0).unwrap();
    irqs.settle(&board, CPU);
    irqs.follow(&board, 4, CPU, 2 * SECOND + 1);
    assert_eq!(board.routes.borrow()[&4].1, OTHER);
    irqs.follow(&board, 4, CPU, 3 * SECOND);
    assert_eq!(board.routes.borrow()[&4].1, CPU);
}

#[test]
fn a_message_is_sent_elsewhere_with_one_write_if_the_vector_is_free_there() {
    let board = Board::with_device();
    let irqs = table();
    irqs.add_device(DEVICE, PciDevice::default());
    let pirq = irqs
        .map_msi(&board, DOM0, request(None), -1, CPU, &anywhere)
        .unwrap();
    irqs.bind(&board, DOM0, pirq, true, CPU).unwrap();
    let data = board.config(0x5c, Width::Word);
    assert!(!irqs.retarget(&board, DOM0, pirq, OTHER, 0));
    assert_eq!(board.config(0x54, Width::Dword), 0xfee0_1000);
    assert_eq!(board.config(0x5c, Width::Word), data);
    assert_eq!(board.config(0x60, Width::Dword) & 1, 0, "open again");
}

#[test]
fn a_full_processor_sends_interrupts_to_another() {
    let board = Board {
        nr_gsis: 400,
        ..Board::new()
    };
    let irqs = IrqTable::new(Configuration {
        nr_gsis: 400,
        ..Configuration::default()
    });
    let setup = |gsi| irqs.setup_gsi(&board, Gsi(gsi), Trigger::Edge, Polarity::High, CPU);
    for gsi in 1..=2 * DEVICE_VECTORS {
        setup(gsi).unwrap();
        let expected = if gsi <= DEVICE_VECTORS { CPU } else { OTHER };
        assert_eq!(board.routes.borrow()[&gsi].1, expected);
    }
    assert_eq!(setup(399), Err(Errno::ENOSPC));
}

#[derive(Clone, Debug)]
enum Step {
    Bind(u32),
    Unbind(u32),
    Move(u32, u32),
    /// An interrupt of the source arrives, at the place it is routed to now.
    Raise(u32),
    /// One that was sent before the last move arrives at the old place.
    Straggle(u32),
    Settle(u32),
    Eoi(u32),
    Wait(u64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let gsi = 3..12u32;
    let cpu = 0..4u32;
    let step = prop_oneof![
        gsi.clone().prop_map(Step::Bind),
        gsi.clone().prop_map(Step::Unbind),
        (gsi.clone(), cpu.clone()).prop_map(|(gsi, cpu)| Step::Move(gsi, cpu)),
        gsi.clone().prop_map(Step::Raise),
        gsi.clone().prop_map(Step::Straggle),
        cpu.prop_map(Step::Settle),
        gsi.prop_map(Step::Eoi),
        (0..2 * SECOND).prop_map(Step::Wait),
    ];
    proptest::collection::vec(step, 0..120)
}

/// What must hold whatever happens: places and interrupts name each other, and no vector is lost.
fn check(irqs: &IrqTable, board: &Board) {
    let state = irqs.state.lock();
    let mut places = 0;
    for (&irq, desc) in &state.descs {
        let all = desc
            .place
            .into_iter()
            .chain(desc.leaving.map(|old| old.place));
        for place in all {
            assert_eq!(state.vectors.irq_at(place.cpu, place.vector), Some(irq));
            places += 1;
        }
        if let Some(place) = desc.place {
            let route = board.routes.borrow()[&irq];
            assert_eq!((route.0, route.1), (place.vector, place.cpu));
            assert_eq!(board.is_masked(irq), desc.is_held());
        }
    }
    let used: usize = (0..4).map(|cpu| state.vectors.used_on(CpuId(cpu))).sum();
    assert_eq!(used, places);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(crate::sim::cases(400)))]

    #[test]
    fn no_interrupt_is_lost_and_no_vector_leaks(steps in steps()) {
        let board = Board { cpus: 0b1111, ..Board::new() };
        let irqs = table();
        let mut now = SECOND;
        for gsi in 3..12 {
            irqs.map_gsi(DOM0, DOM0, gsi, gsi).unwrap();
        }
        for step in steps {
            match step {
                Step::Bind(gsi) => {
                    let _ = irqs.bind(&board, DOM0, Pirq(gsi), false, CpuId(gsi % 4));
                }
                Step::Unbind(gsi) => irqs.unbind(&board, DOM0, Pirq(gsi)),
                Step::Move(gsi, cpu) => {
                    irqs.retarget(&board, DOM0, Pirq(gsi), CpuId(cpu), now);
                }
                Step::Raise(gsi) => {
                    let route = board.routes.borrow().get(&gsi).copied();
                    if let Some((vector, cpu, ..)) = route.filter(|_| !board.is_masked(gsi)) {
                        let arrived = targets(irqs.arrive(&board, cpu, vector, now));
                        prop_assert_eq!(arrived, [(0, gsi)]);
                    }
                }
                Step::Straggle(gsi) => {
                    let leaving = irqs.state.lock().descs[&gsi].leaving;
                    let bound = !irqs.state.lock().descs[&gsi].subscribers.is_empty();
                    if let Some(old) = leaving {
                        let arrived = irqs.arrive(&board, old.place.cpu, old.place.vector, now);
                        prop_assert_eq!(arrived.is_some(), bound);
                    }
                }
                Step::Settle(cpu) => irqs.settle(&board, CpuId(cpu)),
                Step::Eoi(gsi) => {
                    let _ = irqs.eoi(&board, DOM0, Pirq(gsi));
                }
                Step::Wait(ns) => {
                    now += ns;
                    for gsi in 3..12 {
                        let _ = irqs.expire(&board, gsi, now);
                    }
                }
            }
            check(&irqs, &board);
        }
        let mapped = irqs.with_pirqs(DOM0, |pirqs| pirqs.mapping(Pirq(3)));
        prop_assert_eq!(mapped, Some(Mapping::Irq(3)));
        irqs.release(&board, DOM0);
        check(&irqs, &board);
    }
}
