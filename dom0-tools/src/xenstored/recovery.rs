//! The state as records, and the state from records.

use std::collections::BTreeMap;
use std::collections::VecDeque;

use hypercall_abi::DomId;
use hypercall_abi::io::xs_wire::XenstoreError;

use super::connection::{ConnectionId, Outgoing};
use super::daemon::{Daemon, Special};
use super::domain::{Domain, Link};
use super::journal::{Record, packed, unpacked};
use super::node::Node;
use super::ring::{self, Ring};
use super::transaction::Transaction;
use super::watch::Watch;

/// What the records tell of a connected domain.
#[derive(Debug, Default)]
struct Remembered {
    port: u32,
    published: u32,
    consumed: u32,
    partial: Vec<u8>,
    /// Index of the first byte of `output`.
    base: u32,
    output: VecDeque<u8>,
    told: bool,
    target: Option<u16>,
    bad: Option<u32>,
    watches: Vec<Watch>,
    transactions: Vec<u32>,
}

impl Remembered {
    /// Output that was queued, and how far earlier output was sent by then.
    fn queued(&mut self, produced: u32, bytes: &[u8]) {
        let sent = produced.wrapping_sub(self.base) as usize;
        if sent <= self.output.len() {
            self.output.drain(..sent);
        } else {
            self.output.clear();
        }
        self.base = produced;
        self.output.extend(bytes);
    }

    /// The output that is not in the ring yet, which has everything before index `produced`.
    fn pending(&self, produced: u32) -> Vec<u8> {
        let sent = produced.wrapping_sub(self.base) as usize;
        if sent <= self.output.len() {
            self.output.range(sent..).copied().collect()
        } else {
            Vec::new()
        }
    }
}

impl Daemon {
    /// Everything that is worth keeping of the turn, as a batch for the journal.
    pub fn take_records(&mut self) -> Vec<Record> {
        let mut batch: Vec<Record> = self
            .database
            .take_changes()
            .into_iter()
            .map(|change| match change.node {
                Some(node) => Record::node(&change.path, &node),
                None => Record::Gone {
                    path: change.path.to_string(),
                },
            })
            .collect();
        batch.append(&mut self.records);
        for (domain, known) in &self.domains {
            let Some(link) = &known.link else { continue };
            let Some(connection) = self.connections.get_mut(&link.connection) else {
                continue;
            };
            let mut bytes = Vec::new();
            for message in connection
                .out
                .iter_mut()
                .rev()
                .take_while(|message| !message.noted)
            {
                message.noted = true;
                bytes.push(message.bytes.as_slice());
            }
            if !bytes.is_empty() {
                bytes.reverse();
                batch.push(Record::Queued {
                    domain: domain.0,
                    produced: link.ring.produced(),
                    bytes: bytes.concat(),
                });
            }
        }
        batch
    }

    /// The whole state as records.
    pub fn state(&mut self) -> Vec<Record> {
        let mut state = vec![Record::Counter(self.database.tick())];
        state.extend(
            self.database
                .all()
                .into_iter()
                .map(|(path, node)| Record::node(path, node)),
        );
        for special in [Special::Introduce, Special::Release] {
            state.push(Record::Special {
                release: special == Special::Release,
                permissions: packed(&self.specials[special as usize]),
            });
        }
        for (domain, known) in &self.domains {
            let Some(link) = &known.link else { continue };
            self.domain_state(*domain, known, link, &mut state);
        }
        state
    }

    fn domain_state(&self, id: DomId, known: &Domain, link: &Link, state: &mut Vec<Record>) {
        let domain = id.0;
        state.push(Record::Introduced {
            domain,
            port: link.remote_port,
            consumed: link.ring.consumed(),
            produced: link.ring.produced(),
        });
        state.push(Record::Taken {
            domain,
            published: link.ring.published(),
            consumed: link.ring.consumed(),
            partial: link.ring.parser.partial().to_vec(),
        });
        if known.shutdown_told {
            state.push(Record::ShutdownTold { domain, told: true });
        }
        for watch in self.watches.of(link.connection) {
            state.push(Record::watch(id, watch));
        }
        let Some(connection) = self.connections.get(&link.connection) else {
            return;
        };
        if let Some(target) = connection.target {
            state.push(Record::Target {
                domain,
                target: target.0,
            });
        }
        for number in connection.transactions.keys() {
            state.push(Record::TransactionStart {
                domain,
                number: *number,
            });
        }
        let bytes: Vec<u8> = connection
            .out
            .iter()
            .flat_map(|message| &message.bytes[message.sent..])
            .copied()
            .collect();
        if !bytes.is_empty() {
            state.push(Record::Queued {
                domain,
                produced: link.ring.produced(),
                bytes,
            });
        }
        if let Some(why) = connection.bad {
            state.push(Record::Bad { domain, why: why.0 });
        }
    }

    /// Takes up the state that these records tell, and connects with the domains again.
    pub fn recover(&mut self, records: Vec<Record>) {
        let mut domains: BTreeMap<u16, Remembered> = BTreeMap::new();
        for record in records {
            self.replay(record, &mut domains);
        }
        let _ = self.database.take_changes();
        for (number, remembered) in domains {
            self.reconnect(DomId(number), remembered);
        }
        let owners: Vec<_> = self.database.mentioned_domains().collect();
        for owner in owners {
            self.domains.entry(owner).or_default();
        }
        self.records.clear();
    }

    fn replay(&mut self, record: Record, domains: &mut BTreeMap<u16, Remembered>) {
        match record {
            Record::Counter(counter) => self.database.advance(counter),
            Record::Node {
                path,
                born,
                permissions,
                value,
            } => {
                if let Some(permissions) = unpacked(&permissions) {
                    self.database
                        .replay(&path, Some(Node::new(born, &value, permissions)));
                }
            }
            Record::Gone { path } => self.database.replay(&path, None),
            Record::Special {
                release,
                permissions,
            } => {
                if let Some(permissions) = unpacked(&permissions) {
                    self.specials[usize::from(release)] = permissions;
                }
            }
            Record::Introduced {
                domain,
                port,
                consumed,
                produced,
            } => {
                let new = Remembered {
                    port,
                    published: consumed,
                    consumed,
                    base: produced,
                    ..Remembered::default()
                };
                let old = domains.insert(domain, new);
                if let (Some(old), Some(new)) = (old, domains.get_mut(&domain)) {
                    new.told = old.told;
                    new.target = old.target;
                }
            }
            Record::Ended { domain } => {
                domains.remove(&domain);
                for other in domains.values_mut() {
                    other.target = other.target.filter(|target| *target != domain);
                }
            }
            other => replay_connection(other, domains),
        }
    }

    fn reconnect(&mut self, domain: DomId, remembered: Remembered) {
        let remote_port = if domain == DomId(0) {
            self.platform.kernel_port().unwrap_or(remembered.port)
        } else {
            remembered.port
        };
        let page = self.platform.map(domain).ok();
        let port = self.platform.bind(domain, remote_port).ok();
        let id = self.add_connection(Some(domain));
        let ring = page.as_ref().map_or_else(Ring::default, |page| {
            ring::offer_features(&**page);
            Ring::resumed(
                &**page,
                remembered.published,
                remembered.consumed,
                &remembered.partial,
            )
        });
        let pending = remembered.pending(ring.produced());
        if let Some(connection) = self.connections.get_mut(&id) {
            connection.target = remembered.target.map(DomId);
            connection.bad = remembered.bad.map(XenstoreError);
            for number in remembered.transactions {
                connection.next_transaction =
                    connection.next_transaction.max(number.wrapping_add(1));
                connection.transactions.insert(number, Transaction::lost());
            }
            if !pending.is_empty() {
                connection.out_bytes = pending.len();
                connection.out.push_back(Outgoing::plain(pending));
            }
        }
        self.rewatch(id, remembered.watches);
        let known = self.domains.entry(domain).or_default();
        known.shutdown_told = remembered.told;
        known.link = Some(Link {
            connection: id,
            remote_port,
            port,
            page,
            ring,
        });
    }

    fn rewatch(&mut self, id: ConnectionId, watches: Vec<Watch>) {
        for watch in watches {
            // The records told each watch once.
            let _ = self.watches.add(id, watch);
        }
    }
}

/// Records of what one connected domain has.
fn replay_connection(record: Record, domains: &mut BTreeMap<u16, Remembered>) {
    let (Record::ShutdownTold { domain, .. }
    | Record::Target { domain, .. }
    | Record::Bad { domain, .. }
    | Record::Watch { domain, .. }
    | Record::Unwatch { domain, .. }
    | Record::ResetWatches { domain }
    | Record::TransactionStart { domain, .. }
    | Record::TransactionEnd { domain, .. }
    | Record::Taken { domain, .. }
    | Record::Queued { domain, .. }) = record
    else {
        return;
    };
    let Some(remembered) = domains.get_mut(&domain) else {
        return;
    };
    match record {
        Record::ShutdownTold { told, .. } => remembered.told = told,
        Record::Target { target, .. } => remembered.target = Some(target),
        Record::Bad { why, .. } => {
            remembered.bad = Some(why);
            remembered.output.clear();
            remembered.watches.clear();
            remembered.transactions.clear();
        }
        Record::Watch {
            path, token, base, ..
        } => remembered.watches.push(Watch {
            path: path.into(),
            token: token.into(),
            base,
        }),
        Record::Unwatch { path, token, .. } => remembered
            .watches
            .retain(|watch| *watch.path != *path || *watch.token != *token),
        Record::ResetWatches { .. } => {
            remembered.watches.clear();
            remembered.transactions.clear();
        }
        Record::TransactionStart { number, .. } => remembered.transactions.push(number),
        Record::TransactionEnd { number, .. } => {
            remembered.transactions.retain(|open| *open != number);
        }
        Record::Taken {
            published,
            consumed,
            partial,
            ..
        } => {
            remembered.published = published;
            remembered.consumed = consumed;
            remembered.partial = partial;
        }
        Record::Queued {
            produced, bytes, ..
        } => remembered.queued(produced, &bytes),
        _ => {}
    }
}
