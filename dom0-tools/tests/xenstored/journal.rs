//! A daemon that dies anywhere loses nothing that it has acknowledged.

use dom0_tools::xenstored::journal::{self, Journal, Record};
use dom0_tools::xenstored::platform::{DomainState, Word};
use hypercall_abi::io::xs_wire::XsdSockmsgType as Kind;

use crate::fake::{Bench, Guest};

/// The tree as text.
fn tree(bench: &Bench) -> Vec<String> {
    bench
        .daemon
        .database()
        .all()
        .into_iter()
        .map(|(path, node)| {
            let children: Vec<_> = node.children.names().collect();
            format!(
                "{path} = {:?} {:?} {children:?}",
                node.value, node.permissions
            )
        })
        .collect()
}

/// A bench with a guest 3 that is introduced and owns `/local/domain/3/data`.
fn with_guest() -> (Bench, Guest) {
    let mut bench = Bench::new();
    bench.set_domain(3, Some(DomainState::default()));
    let tools = bench.daemon.connect();
    for (kind, payload) in [
        (Kind::MKDIR, &b"/local/domain/3/data\0"[..]),
        (Kind::SET_PERMS, b"/local/domain/3\0n0\0r3\0"),
        (Kind::SET_PERMS, b"/local/domain/3/data\0n3\0"),
        (Kind::INTRODUCE, b"3\x000\x009\0"),
    ] {
        assert_eq!(bench.answer(tools, kind, 0, payload).kind, kind);
    }
    bench.daemon.disconnect(tools);
    (bench, Guest::new(3))
}

/// Different things that change the state, one after the other.
fn busy(bench: &mut Bench, guest: &mut Guest, mut after: impl FnMut(&mut Bench)) {
    let tools = bench.daemon.connect();
    for round in 0..6u8 {
        let mut write = b"/a/b\0".to_vec();
        write.push(b'0' + round);
        bench.answer(tools, Kind::WRITE, 0, &write);
        after(bench);
        let started = bench.answer(tools, Kind::TRANSACTION_START, 0, b"\0");
        let number = std::str::from_utf8(&started.payload[..started.payload.len() - 1]);
        let number: u32 = number.unwrap().parse().unwrap();
        bench.answer(tools, Kind::RM, number, b"/a\0");
        bench.answer(tools, Kind::WRITE, number, b"/c/d\0new");
        bench.answer(tools, Kind::WRITE, number, b"/a/e\0new");
        after(bench);
        assert_eq!(
            bench
                .answer(tools, Kind::TRANSACTION_END, number, b"T\0")
                .kind,
            Kind::TRANSACTION_END
        );
        after(bench);
        guest.answer(bench, Kind::WRITE, 0, b"data/x\0value");
        after(bench);
        guest.answer(bench, Kind::RM, 0, b"data/x\0");
        after(bench);
    }
    bench.daemon.disconnect(tools);
}

#[test]
fn a_restarted_daemon_has_the_same_tree() {
    let (mut bench, mut guest) = with_guest();
    busy(&mut bench, &mut guest, |_| {});
    let before = tree(&bench);
    bench.restart();
    assert_eq!(tree(&bench), before);
    assert!(bench.daemon.database().check().is_empty());
    assert!(bench.world.borrow().bound.contains(&9));
}

#[test]
fn a_journal_cut_at_any_byte_is_an_acknowledged_state() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("journal");
    let (mut bench, mut guest) = with_guest();
    let mut file = Journal::create(&path, "boot", &bench.journal.concat()).unwrap();
    let first = std::fs::metadata(&path).unwrap().len();
    let mut written = bench.journal.len();
    // After how many bytes of the file the daemon had which tree.
    let mut states = vec![(first, tree(&bench))];
    busy(&mut bench, &mut guest, |bench| {
        for batch in &bench.journal[written..] {
            file.append(batch).unwrap();
        }
        written = bench.journal.len();
        let length = std::fs::metadata(&path).unwrap().len();
        states.push((length, tree(bench)));
    });
    let bytes = std::fs::read(&path).unwrap();
    assert_eq!(bytes.len() as u64, states.last().unwrap().0);
    assert!(journal::read(&bytes, "another boot").is_empty());
    let mut last = None;
    for end in usize::try_from(first).unwrap()..=bytes.len() {
        let records = journal::read(&bytes[..end], "boot");
        let count = records.len();
        if last == Some(count) {
            continue;
        }
        last = Some(count);
        let mut again = Bench::new();
        again.world = bench.world.clone();
        again.journal = vec![records];
        again.restart();
        let state = tree(&again);
        let (known, reached) = states
            .iter()
            .rfind(|(length, _)| *length <= end as u64)
            .unwrap();
        // Between two looks the daemon went through one more state at most; at the looks it must be the one that was seen.
        if *known == end as u64 {
            assert_eq!(&state, reached, "cut at {end}");
        }
        assert!(again.daemon.database().check().is_empty(), "cut at {end}");
    }
}

#[test]
fn any_damaged_byte_ends_the_journal_there() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("journal");
    let (mut bench, mut guest) = with_guest();
    busy(&mut bench, &mut guest, |_| {});
    let (state, rest) = bench.journal.split_first().unwrap();
    let mut file = Journal::create(&path, "boot", state).unwrap();
    for batch in rest {
        file.append(batch).unwrap();
    }
    let whole = std::fs::read(&path).unwrap();
    let all = journal::read(&whole, "boot");
    assert_eq!(all, bench.journal.concat());
    for at in 0..whole.len() {
        let mut damaged = whole.clone();
        damaged[at] ^= 0x10;
        let read = journal::read(&damaged, "boot");
        assert!(
            read.len() < all.len() && all.starts_with(&read),
            "byte {at}"
        );
    }
}

#[test]
fn a_guest_does_not_notice_a_restart() {
    let (mut bench, mut guest) = with_guest();
    guest.answer(&mut bench, Kind::WATCH, 0, b"data\0token\0");
    guest.receive(&mut bench);
    while guest.next().is_some() {}
    let started = guest
        .answer(&mut bench, Kind::TRANSACTION_START, 0, b"\0")
        .unwrap();
    assert_eq!(started.payload, b"1\0");

    // Half a request is in the ring when the daemon dies, taken but not answered.
    let request = dom0_tools::xenstore::wire::Message {
        kind: Kind::WRITE,
        request: 77,
        transaction: 0,
        payload: b"data/half\0value".to_vec(),
    }
    .to_bytes();
    assert!(guest.put(&mut bench, &request[..20]));
    bench.turn();
    bench.restart();
    assert!(guest.put(&mut bench, &request[20..]));
    guest.receive(&mut bench);
    let event = guest.next().expect("the watch is gone");
    assert_eq!(
        (event.kind, &*event.payload),
        (Kind::WATCH_EVENT, &b"data/half\0token\0"[..])
    );
    let answer = guest.next().unwrap();
    assert_eq!((answer.kind, answer.request), (Kind::WRITE, 77));

    // The transaction is known, and has to be done again.
    let answer = guest
        .answer(&mut bench, Kind::READ, 1, b"data/half\0")
        .unwrap();
    assert_eq!(answer.payload, b"value");
    let end = guest
        .answer(&mut bench, Kind::TRANSACTION_END, 1, b"T\0")
        .unwrap();
    assert_eq!(end.payload, b"EAGAIN\0");
}

#[test]
fn a_request_is_answered_once_wherever_the_daemon_dies() {
    // Dies before anything is noted, after it is noted, after it is published.
    for steps in 0..3 {
        let (mut bench, mut guest) = with_guest();
        assert!(guest.ask(&mut bench, Kind::TRANSACTION_START, 0, b"\0"));
        bench.daemon.read_rings();
        if steps > 0 {
            bench.note();
        }
        if steps > 1 {
            bench.daemon.write_rings();
        }
        bench.restart();
        guest.receive(&mut bench);
        let answer = guest.next().expect("no answer");
        assert_eq!(answer.payload, b"1\0", "{steps} steps");
        assert!(guest.next().is_none());
    }
}

#[test]
fn output_that_does_not_fit_survives() {
    let (mut bench, mut guest) = with_guest();
    let value = vec![b'v'; 1500];
    guest.answer(
        &mut bench,
        Kind::WRITE,
        0,
        &[b"data/big\0", &value[..]].concat(),
    );
    assert!(guest.ask(&mut bench, Kind::READ, 0, b"data/big\0"));
    bench.turn();
    let page = bench.page(3);
    assert_eq!(
        page.get(Word::RspProd)
            .wrapping_sub(page.get(Word::RspCons)),
        1024,
        "the answer must not fit"
    );
    bench.restart();
    guest.receive(&mut bench);
    assert_eq!(guest.next().unwrap().payload, value);
}

#[test]
fn a_domain_that_died_meanwhile_is_cleaned_up() {
    let (mut bench, mut guest) = with_guest();
    guest.answer(&mut bench, Kind::WRITE, 0, b"data/x\0value");
    bench.set_domain(3, None);
    bench.restart();
    assert!(
        bench
            .daemon
            .database()
            .get("/local/domain/3/data")
            .is_none()
    );
    assert!(bench.daemon.database().get("/local/domain/3").is_some());
    let tools = bench.daemon.connect();
    let known = bench.answer(tools, Kind::IS_DOMAIN_INTRODUCED, 0, b"3\0");
    assert_eq!(known.payload, b"F\0");
}

#[test]
fn a_state_and_its_history_are_the_same() {
    let (mut bench, mut guest) = with_guest();
    busy(&mut bench, &mut guest, |_| {});
    guest.answer(&mut bench, Kind::WATCH, 0, b"data\0token\0");
    let state = bench.daemon.state();
    bench.restart();
    // Generations go on counting.
    let comparable = |records: Vec<Record>| {
        records
            .into_iter()
            .filter(|record| !matches!(record, Record::Counter(_)))
            .collect::<Vec<_>>()
    };
    assert_eq!(comparable(bench.daemon.state()), comparable(state));
}
