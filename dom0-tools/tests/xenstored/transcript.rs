//! What Debian's xenstored 4.17 answered, against what ours answers.
//!
//! The transcripts were taken from its binary, with the libraries under it replaced so that domains and rings are files. A line is
//! what was done (`open` and `close` of a socket, `>` a request, `dom` a domain's state, `virq` the event that domains changed, `forget` that a guest has not looked at its messages), or
//! what came of it (`<` a message, `?` none, `ring` the words of a ring). Messages of one connection have an order; those of
//! different connections do not. `#` begins a remark.

use std::collections::{BTreeMap, VecDeque};

use dom0_tools::xenstored::connection::ConnectionId;
use dom0_tools::xenstored::platform::{DomainState, Word};
use hypercall_abi::io::xs_wire::XsdSockmsgType;

use crate::fake::{Bench, Guest};

fn unescape(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((first, tail)) = rest.split_first() {
        rest = tail;
        match first {
            b'|' => bytes.push(0),
            b'\\' => {
                let digits = std::str::from_utf8(&tail[1..3]).unwrap();
                bytes.push(u8::from_str_radix(digits, 16).unwrap());
                rest = &tail[3..];
            }
            b'*' => {
                // `c*N*`: the byte before, N times in all.
                let end = tail.iter().position(|byte| *byte == b'*').unwrap();
                let count: usize = std::str::from_utf8(&tail[..end]).unwrap().parse().unwrap();
                let last = *bytes.last().unwrap();
                bytes.extend(std::iter::repeat_n(last, count - 1));
                rest = &tail[end + 1..];
            }
            other => bytes.push(*other),
        }
    }
    bytes
}

fn kind(name: &str) -> XsdSockmsgType {
    if let Ok(number) = name.parse() {
        return XsdSockmsgType(number);
    }
    (0..32)
        .map(XsdSockmsgType)
        .find(|kind| kind.name() == Some(&format!("XS_{name}")))
        .unwrap_or_else(|| panic!("what is {name}?"))
}

/// DIRECTORY_PART begins with a generation, whose value means nothing; memory is counted differently.
fn comparable(kind: XsdSockmsgType, payload: &[u8]) -> Vec<u8> {
    if kind == XsdSockmsgType::CONTROL && payload.starts_with(b"Domain") {
        let end = payload.windows(6).position(|text| text == b"memory");
        return payload[..end.unwrap()].to_vec();
    }
    if kind == XsdSockmsgType::DIRECTORY_PART {
        let end = payload.iter().position(|byte| *byte == 0).unwrap_or(0);
        return payload[end..].to_vec();
    }
    payload.to_vec()
}

enum Client {
    Socket(ConnectionId),
    Ring(Guest),
}

struct Player {
    bench: Bench,
    clients: BTreeMap<String, Client>,
    waiting: BTreeMap<String, VecDeque<(XsdSockmsgType, Vec<u8>)>>,
}

impl Player {
    fn client(&mut self, name: &str) -> &mut Client {
        self.clients.entry(name.to_owned()).or_insert_with(|| {
            let domain = name[1..].parse().expect("a socket that is not open");
            Client::Ring(Guest::new(domain))
        })
    }

    fn collect(&mut self) {
        self.bench.turn();
        for (name, client) in &mut self.clients {
            let waiting = self.waiting.entry(name.clone()).or_default();
            match client {
                Client::Socket(id) => {
                    while let Some(message) = self.bench.next(*id) {
                        waiting.push_back((message.kind, message.payload));
                    }
                }
                Client::Ring(guest) => {
                    guest.receive(&mut self.bench);
                    while let Some(message) = guest.next() {
                        waiting.push_back((message.kind, message.payload));
                    }
                }
            }
        }
    }

    fn step(&mut self, line: &str) -> Result<(), String> {
        let words: Vec<_> = line.splitn(5, ' ').collect();
        match words[..] {
            ["open", name] => {
                let id = self.bench.daemon.connect();
                self.clients.insert(name.to_owned(), Client::Socket(id));
            }
            ["close", name] => {
                if let Some(Client::Socket(id)) = self.clients.remove(name) {
                    self.bench.daemon.disconnect(id);
                }
            }
            ["dom", number, state] => {
                let state = match state {
                    "r" => Some(DomainState::default()),
                    "s" => Some(DomainState {
                        shutdown: true,
                        dying: false,
                    }),
                    "d" => Some(DomainState {
                        shutdown: false,
                        dying: true,
                    }),
                    _ => None,
                };
                self.bench.set_domain(number.parse().unwrap(), state);
            }
            ["forget", name] => {
                self.collect();
                self.waiting.remove(name);
            }
            ["virq"] => self.bench.daemon.check_domains(),
            [">", name, what, transaction, payload] => {
                self.collect();
                let (what, payload) = (kind(what), unescape(payload));
                let transaction = transaction.parse().unwrap();
                let mut client =
                    std::mem::replace(self.client(name), Client::Socket(ConnectionId(u64::MAX)));
                match &mut client {
                    Client::Socket(id) => self.bench.ask(*id, what, transaction, &payload),
                    Client::Ring(guest) => {
                        guest.ask(&mut self.bench, what, transaction, &payload);
                    }
                }
                *self.client(name) = client;
            }
            ["<", name, what, ref payload @ ..] => {
                self.client(name);
                self.collect();
                let what = kind(what);
                let expected = comparable(what, &unescape(&payload.join(" ")));
                let got = self.waiting.entry(name.to_owned()).or_default().pop_front();
                let got = got.map(|(kind, payload)| (kind, comparable(kind, &payload)));
                // 4.17 finds its store corrupt when a transaction saw a parent before and a child after a change of somebody else's.
                // Such a transaction cannot be committed any more; ours answers as if nothing were wrong.
                let corrupt = what == XsdSockmsgType::ERROR && expected == b"EIO\0";
                if !corrupt && got.as_ref() != Some(&(what, expected)) {
                    return Err(got.map_or("nothing".to_owned(), |(kind, payload)| {
                        format!(
                            "{kind:?} {}",
                            String::from_utf8_lossy(&payload).escape_debug()
                        )
                    }));
                }
            }
            ["?", name, _] => {
                self.collect();
                if let Some(got) = self.waiting.get(name).and_then(VecDeque::front) {
                    return Err(format!("{got:?}"));
                }
            }
            ["ring", name, ref rest @ ..] => {
                self.collect();
                let page = self.bench.page(name[1..].parse().unwrap());
                let words = format!(
                    "cons {} prod {} conn {} err {}",
                    page.get(Word::ReqCons),
                    page.get(Word::RspProd),
                    page.get(Word::Connection),
                    page.get(Word::Error)
                );
                if rest.join(" ") != words {
                    return Err(words);
                }
            }
            _ => panic!("not understood: {line}"),
        }
        Ok(())
    }
}

fn play(transcript: &str) {
    let mut player = Player {
        bench: Bench::new(),
        clients: BTreeMap::new(),
        waiting: BTreeMap::new(),
    };
    let mut wrong = Vec::new();
    for (number, line) in transcript.lines().enumerate() {
        if line.starts_with('#') || line.is_empty() {
            continue;
        }
        if let Err(got) = player.step(line) {
            let number = number + 1;
            wrong.push(format!("line {number}: {line}\n      we: {got}"));
            if wrong.len() > 20 {
                break;
            }
        }
        let problems = player.bench.daemon.database().check();
        assert!(problems.is_empty(), "line {}: {problems:?}", number + 1);
    }
    assert!(wrong.is_empty(), "differs from 4.17:\n{}", wrong.join("\n"));
}

#[test]
fn requests_over_a_socket() {
    play(include_str!("transcripts/socket.txt"));
}

#[test]
fn domains_and_rings() {
    play(include_str!("transcripts/domains.txt"));
}

#[test]
fn random_requests_and_transactions() {
    play(include_str!("transcripts/random.txt"));
    play(include_str!("transcripts/random2.txt"));
    play(include_str!("transcripts/random3.txt"));
}
