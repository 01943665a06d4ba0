//! A guest that lies in its ring harms itself only.

use dom0_tools::xenstored::platform::{DomainState, Word};
use hypercall_abi::io::xs_wire::{XenstoreError, XsdSockmsgType as Kind};
use proptest::prelude::*;

use crate::fake::{Bench, Guest};

fn bench() -> (Bench, Guest, Guest) {
    let mut bench = Bench::new();
    let tools = bench.daemon.connect();
    for domain in [3, 4] {
        bench.set_domain(domain, Some(DomainState::default()));
        let payload = format!("{domain}\x000\x00{domain}\0");
        bench.answer(tools, Kind::INTRODUCE, 0, payload.as_bytes());
    }
    bench.answer(tools, Kind::WRITE, 0, b"/public\0yes");
    bench.answer(tools, Kind::SET_PERMS, 0, b"/public\0r0\0");
    (bench, Guest::new(3), Guest::new(4))
}

fn works(bench: &mut Bench, guest: &mut Guest) -> bool {
    guest
        .answer(bench, Kind::READ, 0, b"/public\0")
        .is_some_and(|answer| answer.payload == b"yes")
}

#[test]
fn impossible_indices_are_shown_and_end_the_connection() {
    for word in [Word::ReqProd, Word::RspCons] {
        let (mut bench, mut liar, mut other) = bench();
        assert!(works(&mut bench, &mut liar));
        let page = bench.page(3);
        let wrong = page.get(word).wrapping_add(5000);
        page.set(word, wrong);
        if word == Word::RspCons {
            page.set(Word::ReqProd, page.get(Word::ReqCons));
            liar.ask(&mut bench, Kind::READ, 0, b"/public\0");
        }
        bench.turn();
        assert_eq!(page.get(Word::Error), XenstoreError::RINGIDX.0, "{word:?}");
        assert!(works(&mut bench, &mut other));
        // The toolstack can start the ring again.
        let tools = bench.daemon.connect();
        bench.answer(tools, Kind::INTRODUCE, 0, b"3\x000\x003\0");
        assert!(works(&mut bench, &mut Guest::new(3)));
        assert_eq!(page.get(Word::Error), XenstoreError::NONE.0);
    }
}

#[test]
fn too_long_a_payload_is_a_broken_protocol() {
    let (mut bench, mut liar, mut other) = bench();
    let header: Vec<u8> = [2u32, 1, 0, 5000]
        .iter()
        .flat_map(|word| word.to_le_bytes())
        .collect();
    liar.put(&mut bench, &header);
    bench.turn();
    assert_eq!(bench.page(3).get(Word::Error), XenstoreError::PROTO.0);
    assert!(!works(&mut bench, &mut liar) && works(&mut bench, &mut other));
}

#[test]
fn a_guest_may_ask_for_a_new_start() {
    let (mut bench, mut guest, _) = bench();
    let page = bench.page(3);
    assert_eq!(page.get(Word::ServerFeatures), 3);
    guest.answer(&mut bench, Kind::WATCH, 0, b"x\0token\0");
    guest.answer(&mut bench, Kind::TRANSACTION_START, 0, b"\0");
    page.set(Word::Connection, 1);
    bench.turn();
    assert_eq!(page.get(Word::Connection), 0);
    assert_eq!((page.get(Word::ReqCons), page.get(Word::RspProd)), (0, 0));
    let mut anew = Guest::new(3);
    assert!(works(&mut bench, &mut anew));
    let end = anew
        .answer(&mut bench, Kind::TRANSACTION_END, 1, b"T\0")
        .unwrap();
    assert_eq!(end.payload, b"ENOENT\0");
    let gone = anew
        .answer(&mut bench, Kind::UNWATCH, 0, b"x\0token\0")
        .unwrap();
    assert_eq!(gone.payload, b"ENOENT\0");
}

#[test]
fn a_guest_that_zeroes_its_page_goes_on() {
    let (mut bench, mut guest, _) = bench();
    assert!(works(&mut bench, &mut guest));
    let page = bench.page(3);
    for word in [Word::ReqCons, Word::ReqProd, Word::RspCons, Word::RspProd] {
        page.set(word, 0);
    }
    assert!(works(&mut bench, &mut guest));
}

#[test]
fn a_guest_that_takes_nothing_is_not_listened_to() {
    let (mut bench, mut deaf, mut other) = bench();
    let page = bench.page(3);
    let mut put = 0;
    for _ in 0..2000 {
        let request = dom0_tools::xenstore::wire::Message {
            kind: Kind::GET_DOMAIN_PATH,
            request: 1,
            transaction: 0,
            payload: b"3\0".to_vec(),
        };
        put += page.put(&request.to_bytes());
        bench.turn();
    }
    // The ring of answers, the limit of outstanding requests, the ring of requests: then it is full.
    assert!(put < 4096, "{put} bytes were taken");
    assert!(works(&mut bench, &mut other));
    // Once it takes its answers, it gets all of them.
    let request = 16 + 2;
    for _ in 0..put / request {
        deaf.receive(&mut bench);
        let answer = deaf.next().expect("an answer is missing");
        assert_eq!(answer.payload, b"/local/domain/3\0");
    }
}

#[test]
fn events_left_lying_end_the_connection() {
    let (mut bench, mut deaf, mut other) = bench();
    deaf.answer(&mut bench, Kind::WATCH, 0, b"/public\0token\0");
    let tools = bench.daemon.connect();
    for round in 0..100u32 {
        let payload = format!("/public/{round}\0");
        bench.answer(tools, Kind::WRITE, 0, payload.as_bytes());
    }
    bench.daemon.set_time(19_999);
    bench.daemon.expire_events();
    assert_eq!(bench.page(3).get(Word::Error), XenstoreError::NONE.0);
    bench.daemon.set_time(20_001);
    bench.daemon.expire_events();
    assert_eq!(bench.page(3).get(Word::Error), XenstoreError::COMM.0);
    assert!(works(&mut bench, &mut other));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever a guest writes wherever it likes, others and the tree are unharmed.
    #[test]
    fn garbage_harms_nobody_else(steps in prop::collection::vec((0usize..7, any::<u32>(), prop::collection::vec(any::<u8>(), 0..64)), 1..60)) {
        let (mut bench, mut liar, mut other) = bench();
        let page = bench.page(3);
        let words = [Word::ReqCons, Word::ReqProd, Word::RspCons, Word::RspProd, Word::ServerFeatures, Word::Connection, Word::Error];
        for (which, value, bytes) in steps {
            if value % 3 == 0 {
                page.set(words[which], value >> 8);
            } else {
                let _ = page.put(&bytes);
            }
            bench.turn();
            let _ = page.take();
        }
        prop_assert!(works(&mut bench, &mut other));
        prop_assert!(bench.daemon.database().check().is_empty());
        let tools = bench.daemon.connect();
        bench.answer(tools, Kind::INTRODUCE, 0, b"3\x000\x003\0");
        liar = Guest::new(liar.domain);
        prop_assert!(works(&mut bench, &mut liar));
    }
}
