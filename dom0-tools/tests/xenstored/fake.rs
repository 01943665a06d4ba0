//! A Xen of plain memory: domains, their ring pages and ports; and clients of a daemon on it.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::rc::Rc;
use std::sync::atomic::{AtomicU8, AtomicU32, Ordering};

use dom0_tools::xenstore::wire::{Message, Parser};
use dom0_tools::xenstored::connection::ConnectionId;
use dom0_tools::xenstored::daemon::Daemon;
use dom0_tools::xenstored::journal::Record;
use dom0_tools::xenstored::platform::{DomainState, LocalPort, Page, Platform, WORDS, Word};
use hypercall_abi::DomId;
use hypercall_abi::io::xs_wire::{RING_SIZE, XsdSockmsgType};

/// A ring page in plain memory.
pub struct Memory {
    requests: [AtomicU8; RING_SIZE],
    responses: [AtomicU8; RING_SIZE],
    words: [AtomicU32; WORDS],
}

impl Default for Memory {
    fn default() -> Self {
        Self {
            requests: [const { AtomicU8::new(0) }; RING_SIZE],
            responses: [const { AtomicU8::new(0) }; RING_SIZE],
            words: [const { AtomicU32::new(0) }; WORDS],
        }
    }
}

impl Memory {
    pub fn get(&self, word: Word) -> u32 {
        self.words[word as usize].load(Ordering::Relaxed)
    }

    pub fn set(&self, word: Word, value: u32) {
        self.words[word as usize].store(value, Ordering::Relaxed);
    }

    /// Puts as many bytes of a request as fit, as a guest does; how many.
    pub fn put(&self, bytes: &[u8]) -> usize {
        let producer = self.get(Word::ReqProd);
        let used = producer.wrapping_sub(self.get(Word::ReqCons)) as usize;
        let count = bytes.len().min(RING_SIZE.saturating_sub(used));
        for (offset, byte) in bytes[..count].iter().enumerate() {
            let at = (producer as usize + offset) % RING_SIZE;
            self.requests[at].store(*byte, Ordering::Relaxed);
        }
        self.set(Word::ReqProd, producer.wrapping_add(count as u32));
        count
    }

    /// Takes what the daemon answered, as a guest does.
    pub fn take(&self) -> Vec<u8> {
        let (consumer, producer) = (self.get(Word::RspCons), self.get(Word::RspProd));
        let count = (producer.wrapping_sub(consumer) as usize).min(RING_SIZE);
        let bytes = (0..count)
            .map(|offset| {
                let at = (consumer as usize + offset) % RING_SIZE;
                self.responses[at].load(Ordering::Relaxed)
            })
            .collect();
        self.set(Word::RspCons, producer);
        bytes
    }
}

struct Mapping(Rc<Memory>);

impl Page for Mapping {
    fn requests(&self) -> &[AtomicU8; RING_SIZE] {
        &self.0.requests
    }

    fn responses(&self) -> &[AtomicU8; RING_SIZE] {
        &self.0.responses
    }

    fn words(&self) -> &[AtomicU32; WORDS] {
        &self.0.words
    }
}

/// The state of the machine; it outlives a daemon.
#[derive(Default)]
pub struct World {
    pub domains: BTreeMap<u16, DomainState>,
    pub pages: BTreeMap<u16, Rc<Memory>>,
    pub bound: BTreeSet<u32>,
}

/// Ports from here on do not exist.
const PORTS: u32 = 5000;

pub struct Fake(pub Rc<RefCell<World>>);

impl Platform for Fake {
    fn domain(&mut self, domain: DomId) -> Option<DomainState> {
        if domain == DomId(0) {
            return Some(DomainState::default());
        }
        self.0.borrow().domains.get(&domain.0).copied()
    }

    fn map(&mut self, domain: DomId) -> io::Result<Box<dyn Page>> {
        let world = self.0.borrow();
        let page = world.pages.get(&domain.0);
        let page = page.ok_or(io::Error::from_raw_os_error(22))?;
        Ok(Box::new(Mapping(Rc::clone(page))))
    }

    fn bind(&mut self, _: DomId, remote: u32) -> io::Result<LocalPort> {
        if remote >= PORTS {
            return Err(io::Error::from_raw_os_error(22));
        }
        self.0.borrow_mut().bound.insert(remote);
        Ok(LocalPort(remote))
    }

    fn unbind(&mut self, port: LocalPort) {
        self.0.borrow_mut().bound.remove(&port.0);
    }

    fn notify(&mut self, _: LocalPort) {}

    fn kernel_port(&mut self) -> Option<u32> {
        Some(7)
    }
}

/// A daemon and its clients.
pub struct Bench {
    pub world: Rc<RefCell<World>>,
    pub daemon: Daemon,
    /// Batches as the journal would have them.
    pub journal: Vec<Vec<Record>>,
}

impl Bench {
    /// A daemon connected with the kernel of dom0.
    pub fn new() -> Self {
        let world = Rc::new(RefCell::new(World::default()));
        world.borrow_mut().pages.insert(0, Rc::default());
        let mut daemon = Daemon::new(Box::new(Fake(Rc::clone(&world))));
        daemon.connect_kernel().unwrap();
        let journal = vec![daemon.state()];
        daemon.take_records();
        Self {
            world,
            daemon,
            journal,
        }
    }

    /// The same machine with a daemon that has only what the journal tells.
    pub fn restart(&mut self) {
        self.world.borrow_mut().bound.clear();
        self.daemon = Daemon::new(Box::new(Fake(Rc::clone(&self.world))));
        self.daemon.recover(self.journal.concat());
        self.daemon.check_domains();
    }

    pub fn set_domain(&mut self, domain: u16, state: Option<DomainState>) {
        let mut world = self.world.borrow_mut();
        match state {
            Some(state) => {
                world.domains.insert(domain, state);
                world.pages.entry(domain).or_default();
            }
            None => {
                world.domains.remove(&domain);
            }
        }
    }

    pub fn page(&self, domain: u16) -> Rc<Memory> {
        Rc::clone(&self.world.borrow().pages[&domain])
    }

    /// What a turn of the server does, without sockets.
    pub fn turn(&mut self) {
        self.daemon.read_rings();
        self.note();
        self.daemon.write_rings();
    }

    /// Notes what is to be kept.
    pub fn note(&mut self) {
        let batch = self.daemon.take_records();
        if !batch.is_empty() {
            self.journal.push(batch);
        }
    }

    /// A request over a socket; the answer and the events before and after it stay in the connection's queue.
    pub fn ask(
        &mut self,
        id: ConnectionId,
        kind: XsdSockmsgType,
        transaction: u32,
        payload: &[u8],
    ) {
        let message = Message {
            kind,
            request: 1,
            transaction,
            payload: payload.to_vec(),
        };
        self.daemon.handle(id, &message);
        self.note();
        self.daemon.write_rings();
    }

    /// The next message for a socket.
    pub fn next(&mut self, id: ConnectionId) -> Option<Message> {
        let bytes = self.daemon.output(id)?.to_vec();
        self.daemon.sent(id, bytes.len());
        let mut parser = Parser::default();
        parser.push(&bytes);
        parser.take()
    }

    /// A request over a socket, and its answer; events in between are dropped.
    pub fn answer(
        &mut self,
        id: ConnectionId,
        kind: XsdSockmsgType,
        transaction: u32,
        payload: &[u8],
    ) -> Message {
        while self.next(id).is_some() {}
        self.ask(id, kind, transaction, payload);
        loop {
            let message = self.next(id).expect("no answer");
            if message.kind != XsdSockmsgType::WATCH_EVENT {
                return message;
            }
        }
    }
}

/// A guest that talks over its ring.
#[derive(Default)]
pub struct Guest {
    pub domain: u16,
    received: Vec<u8>,
}

impl Guest {
    pub fn new(domain: u16) -> Self {
        Self {
            domain,
            received: Vec::new(),
        }
    }

    /// Puts a request into the ring; whether all of it could be put.
    pub fn ask(
        &mut self,
        bench: &mut Bench,
        kind: XsdSockmsgType,
        transaction: u32,
        payload: &[u8],
    ) -> bool {
        let message = Message {
            kind,
            request: 1,
            transaction,
            payload: payload.to_vec(),
        };
        self.put(bench, &message.to_bytes())
    }

    pub fn put(&mut self, bench: &mut Bench, mut bytes: &[u8]) -> bool {
        let page = bench.page(self.domain);
        for _ in 0..32 {
            let count = page.put(bytes);
            bytes = &bytes[count..];
            if bytes.is_empty() {
                break;
            }
            bench.turn();
        }
        bytes.is_empty()
    }

    /// Lets the daemon work, and takes what it sent.
    pub fn receive(&mut self, bench: &mut Bench) {
        for _ in 0..64 {
            bench.turn();
            let taken = bench.page(self.domain).take();
            if taken.is_empty() {
                break;
            }
            self.received.extend(taken);
        }
    }

    /// The next whole message received.
    pub fn next(&mut self) -> Option<Message> {
        let mut parser = Parser::default();
        loop {
            let wanted = parser.wanted().ok()?;
            let have = parser.partial().len();
            if wanted == 0 {
                self.received.drain(..have);
                return parser.take();
            }
            let more = self.received.get(have..have + wanted)?;
            parser.push(more);
        }
    }

    /// A request and its answer; events are dropped.
    pub fn answer(
        &mut self,
        bench: &mut Bench,
        kind: XsdSockmsgType,
        transaction: u32,
        payload: &[u8],
    ) -> Option<Message> {
        assert!(self.ask(bench, kind, transaction, payload));
        self.receive(bench);
        loop {
            let message = self.next()?;
            if message.kind != XsdSockmsgType::WATCH_EVENT {
                return Some(message);
            }
        }
    }
}
