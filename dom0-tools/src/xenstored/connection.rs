//! Who talks to the store: a socket or a domain's ring, with its transactions and what is still to be sent.

use std::collections::{BTreeMap, VecDeque};

use hypercall_abi::DomId;
use hypercall_abi::io::xs_wire::XenstoreError;

use super::transaction::Transaction;
use crate::xenstore::wire::Message;

/// Names a connection. Later ones have greater numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectionId(
    /// The number.
    pub u64,
);

/// Names a request of an unprivileged domain, for as long as somebody has not taken what it caused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Cause(
    /// The number.
    pub u64,
);

/// A message that waits to be sent.
#[derive(Clone, Debug)]
pub struct Outgoing {
    /// Header and payload.
    pub bytes: Vec<u8>,
    /// How many of the bytes are sent.
    pub sent: usize,
    /// Whether it is a watch event.
    pub event: bool,
    /// The request that it comes from.
    pub cause: Option<Cause>,
    /// When an event has waited too long, in milliseconds of the daemon's clock.
    pub deadline: Option<u64>,
    /// The journal has it.
    pub noted: bool,
}

impl Outgoing {
    /// Bytes that the journal has already and that come from no request.
    #[must_use]
    pub const fn plain(bytes: Vec<u8>) -> Self {
        Self {
            bytes,
            sent: 0,
            event: false,
            cause: None,
            deadline: None,
            noted: true,
        }
    }
}

/// A connection.
#[derive(Debug)]
pub struct Connection {
    /// The domain whose ring it is; `None` for a socket.
    pub domain: Option<DomId>,
    /// The domain that it acts for.
    pub target: Option<DomId>,
    /// Transactions by number.
    pub transactions: BTreeMap<u32, Transaction>,
    /// Where to look for the next free number.
    pub next_transaction: u32,
    /// What waits to be sent.
    pub out: VecDeque<Outgoing>,
    /// Bytes that wait to be sent.
    pub out_bytes: usize,
    /// Nothing is read from it or written to it any more.
    pub bad: Option<XenstoreError>,
    /// Requests whose answers or events are not taken yet.
    pub outstanding: usize,
    /// Writes that it may do before it has to wait, in thousandths, and since when.
    pub credit: (u64, u64),
}

impl Connection {
    /// A new connection.
    #[must_use]
    pub const fn new(domain: Option<DomId>) -> Self {
        Self {
            domain,
            target: None,
            transactions: BTreeMap::new(),
            next_transaction: 1,
            out: VecDeque::new(),
            out_bytes: 0,
            bad: None,
            outstanding: 0,
            credit: (u64::MAX, 0),
        }
    }

    /// The domain, if it is one that has to keep to limits.
    #[must_use]
    pub fn unprivileged(&self) -> Option<DomId> {
        self.domain.filter(|domain| *domain != DomId(0))
    }

    /// Whether an event like this waits already.
    #[must_use]
    pub fn has_waiting(&self, event: &Message) -> bool {
        let bytes = event.to_bytes();
        self.out
            .iter()
            .any(|waiting| waiting.event && waiting.sent == 0 && waiting.bytes == bytes)
    }
}
