//! A small store for the tests, and ends that break the protocol.

extern crate std;

use core::sync::atomic::{AtomicU8, AtomicU32};
use std::collections::BTreeMap;
use std::string::String;
use std::vec::Vec;

use hypercall_abi::errno::Errno;
use hypercall_abi::io::xs_wire::{XsdSockmsg, XsdSockmsgType};
use zerocopy::{FromBytes, IntoBytes};

use super::{Client, Error, Link};
use crate::byte_ring::ByteRing;

/// How the store answers a request: type and bytes.
type Serve = fn(&mut Store, XsdSockmsg, &[u8]) -> Vec<(XsdSockmsg, Vec<u8>)>;

struct Store {
    requests: ([AtomicU8; 1024], AtomicU32, AtomicU32),
    answers: ([AtomicU8; 1024], AtomicU32, AtomicU32),
    nodes: BTreeMap<String, Vec<u8>>,
    got: Vec<u8>,
    sending: Vec<u8>,
    serve: Serve,
    idle: u32,
}

fn ring((bytes, consumer, producer): &([AtomicU8; 1024], AtomicU32, AtomicU32)) -> ByteRing<'_> {
    ByteRing::new(bytes, consumer, producer)
}

fn client(serve: Serve) -> Client<Store> {
    let side = |start| {
        (
            [const { AtomicU8::new(0) }; 1024],
            AtomicU32::new(start),
            AtomicU32::new(start),
        )
    };
    Client::new(Store {
        requests: side(u32::MAX - 100),
        answers: side(u32::MAX - 700),
        nodes: BTreeMap::new(),
        got: Vec::new(),
        sending: Vec::new(),
        serve,
        idle: 0,
    })
}

impl Link for Store {
    fn requests(&self) -> ByteRing<'_> {
        ring(&self.requests)
    }

    fn answers(&self) -> ByteRing<'_> {
        ring(&self.answers)
    }

    fn notify(&mut self) {
        self.idle = 0;
    }

    fn wait(&mut self) -> Result<(), Error> {
        self.idle += 1;
        if self.idle > 10 {
            return Err(Error::Timeout);
        }
        // Small steps: messages arrive in pieces.
        let mut piece = [0; 100];
        let taken = ring(&self.requests).read(&mut piece)?;
        self.got.extend(&piece[..taken]);
        if let Ok((header, rest)) = XsdSockmsg::read_from_prefix(&self.got) {
            let length = header.len as usize;
            if rest.len() >= length {
                let payload = rest[..length].to_vec();
                self.got.drain(..16 + length);
                for (header, bytes) in (self.serve)(self, header, &payload) {
                    self.sending.extend(header.as_bytes());
                    self.sending.extend(bytes);
                }
            }
        }
        let some = self.sending.len().min(90);
        let written = ring(&self.answers).write(&self.sending[..some])?;
        self.sending.drain(..written);
        if taken + written > 0 {
            self.idle = 0;
        }
        Ok(())
    }
}

fn reply(to: XsdSockmsg, kind: XsdSockmsgType, bytes: &[u8]) -> (XsdSockmsg, Vec<u8>) {
    let header = XsdSockmsg {
        r#type: kind,
        len: bytes.len() as u32,
        ..to
    };
    (header, bytes.to_vec())
}

fn honest(store: &mut Store, header: XsdSockmsg, payload: &[u8]) -> Vec<(XsdSockmsg, Vec<u8>)> {
    let kind = header.r#type;
    let split = payload.iter().position(|byte| *byte == 0).unwrap();
    let path = String::from_utf8(payload[..split].to_vec()).unwrap();
    let answer = match kind {
        XsdSockmsgType::WRITE => {
            store.nodes.insert(path, payload[split + 1..].to_vec());
            b"OK\0".to_vec()
        }
        XsdSockmsgType::READ => match store.nodes.get(&path) {
            Some(value) => value.clone(),
            None => return [reply(header, XsdSockmsgType::ERROR, b"ENOENT\0")].into(),
        },
        XsdSockmsgType::DIRECTORY => {
            let names = store.nodes.keys().filter_map(|k| k.strip_prefix(&path));
            names
                .flat_map(|name| [&name.as_bytes()[1..], b"\0"].concat())
                .collect()
        }
        XsdSockmsgType::TRANSACTION_START => b"7\0".to_vec(),
        XsdSockmsgType::TRANSACTION_END => {
            return [reply(header, XsdSockmsgType::ERROR, b"EAGAIN\0")].into();
        }
        XsdSockmsgType::WATCH => {
            let event = XsdSockmsg {
                req_id: 0,
                tx_id: 0,
                ..header
            };
            return [
                reply(event, XsdSockmsgType::WATCH_EVENT, payload),
                reply(header, kind, b"OK\0"),
            ]
            .into();
        }
        _ => return [reply(header, XsdSockmsgType::ERROR, b"ENOSYS\0")].into(),
    };
    [reply(header, kind, &answer)].into()
}

#[test]
fn nodes_are_written_read_and_listed_across_the_wrap() {
    let mut client = client(honest);
    let long: Vec<u8> = (0..3000u32).map(|i| i as u8).collect();
    for round in 0..5 {
        client.write(0, "a/b", &long[round..]).unwrap();
        let mut buffer = [0; 4096];
        assert_eq!(client.read(0, "a/b", &mut buffer), Ok(&long[round..]));
    }
    client.write(0, "a/c", b"").unwrap();
    let mut buffer = [0; 64];
    let names: Vec<_> = client.directory(0, "a", &mut buffer).unwrap().collect();
    assert_eq!(names, [b"b", b"c"]);
}

#[test]
fn refusals_and_limits_are_errors() {
    let mut client = client(honest);
    let mut buffer = [0; 4];
    let missing = client.read(0, "none", &mut buffer);
    assert_eq!(missing, Err(Error::Refused(Errno::ENOENT)));
    client.write(0, "x", b"five!").unwrap();
    assert_eq!(client.read(0, "x", &mut buffer), Err(Error::TooLong));
    client.write(0, "x", b"four").unwrap();
    assert_eq!(client.read(0, "x", &mut buffer), Ok(&b"four"[..]));
    assert_eq!(client.write(0, "x", &[0; 4096]), Err(Error::TooLong));
    assert_eq!(client.remove(0, "a\0b"), Err(Error::ZeroByte));
    let transaction = client.begin().unwrap();
    let end = client.end(transaction, true);
    assert_eq!((transaction, end), (7, Err(Error::Refused(Errno::EAGAIN))));
}

#[test]
fn events_between_request_and_answer_are_counted() {
    let mut client = client(honest);
    client.watch("device", "token").unwrap();
    assert_eq!((client.events(), client.events()), (1, 0));
}

#[test]
fn hostile_stores_are_told_apart() {
    let mut buffer = [0; 8];
    let mut read = |serve| client(serve).read(0, "x", &mut buffer).map(<[u8]>::to_vec);
    let huge = read(|_, header, _| {
        let lie = XsdSockmsg {
            len: u32::MAX,
            ..header
        };
        [(lie, Vec::new())].into()
    });
    assert_eq!(huge, Err(Error::Protocol));
    let other = read(|_, header, _| [reply(header, XsdSockmsgType::WRITE, b"OK\0")].into());
    assert_eq!(other, Err(Error::Protocol));
    let word = read(|_, header, _| [reply(header, XsdSockmsgType::ERROR, b"EWHAT\0")].into());
    assert_eq!(word, Err(Error::UnknownRefusal));
    let long = read(|_, header, _| [reply(header, XsdSockmsgType::ERROR, &[b'E'; 99])].into());
    assert_eq!(long, Err(Error::UnknownRefusal));
    let silent = read(|_, _, _| Vec::new());
    assert_eq!(silent, Err(Error::Timeout));
    let indices = read(|store, _, _| {
        store
            .answers
            .2
            .fetch_add(5000, core::sync::atomic::Ordering::Relaxed);
        Vec::new()
    });
    assert!(matches!(indices, Err(Error::Ring(_))));
    let stale = read(|_, header, _| {
        let old = XsdSockmsg {
            req_id: header.req_id.wrapping_sub(1),
            ..header
        };
        [
            reply(old, XsdSockmsgType::READ, b"old"),
            reply(header, XsdSockmsgType::READ, b"new"),
        ]
        .into()
    });
    assert_eq!(stale, Ok(b"new".to_vec()));
}
