//! One turn of all rings: requests in, and after the journal is written, answers out.

use std::os::fd::BorrowedFd;

use hypercall_abi::DomId;
use hypercall_abi::io::xs_wire::XenstoreError;

use super::connection::ConnectionId;
use super::daemon::Daemon;
use super::domain::Link;
use super::journal::Record;
use super::platform::Page;
use super::quota::Limit;
use super::ring::{self, Ring};

/// Requests that are taken from one ring in one turn. Every ring gets its turn before another gets its next.
const REQUESTS_PER_TURN: usize = 4;

impl Daemon {
    /// Takes requests from all rings.
    pub fn read_rings(&mut self) {
        for domain in self.linked() {
            if self.reset_if_asked(domain) || self.is_bad(domain) {
                continue;
            }
            if let Some((_, ring, page)) = self.parts(domain) {
                ring.follow(page);
            }
            let mut taken = false;
            for _ in 0..REQUESTS_PER_TURN {
                if !self.read_request(domain, &mut taken) {
                    break;
                }
            }
            if taken {
                self.note_taken(domain);
            }
        }
    }

    fn linked(&self) -> Vec<DomId> {
        self.domains
            .iter()
            .filter(|(_, known)| known.link.is_some())
            .map(|(domain, _)| *domain)
            .collect()
    }

    fn parts(&mut self, domain: DomId) -> Option<(ConnectionId, &mut Ring, &dyn Page)> {
        let link = self.domains.get_mut(&domain)?.link.as_mut()?;
        let Link {
            connection,
            page,
            ring,
            ..
        } = link;
        Some((*connection, ring, &**page.as_ref()?))
    }

    fn is_bad(&mut self, domain: DomId) -> bool {
        let Some((connection, ..)) = self.parts(domain) else {
            return true;
        };
        self.connections
            .get(&connection)
            .is_none_or(|connection| connection.bad.is_some())
    }

    fn reset_if_asked(&mut self, domain: DomId) -> bool {
        let asked = self
            .parts(domain)
            .is_some_and(|(_, _, page)| ring::wants_reset(page));
        if asked {
            self.reset_ring(domain);
            self.notify(domain);
        }
        asked
    }

    /// Whether the limits let the daemon take another request.
    fn may_take(&self, id: ConnectionId) -> bool {
        let Some(connection) = self.connections.get(&id) else {
            return false;
        };
        if connection.bad.is_some() {
            return false;
        }
        if connection.unprivileged().is_none() {
            return true;
        }
        let memory = self.quotas.get(Limit::Memory);
        connection.outstanding < self.quotas.get(Limit::Outstanding)
            && (memory == 0 || self.memory_of(id, connection) < memory)
            && self.held_until(id).is_none()
    }

    /// Reads on in one ring; whether a whole request was taken. `taken` becomes true if any byte was.
    fn read_request(&mut self, domain: DomId, taken: &mut bool) -> bool {
        loop {
            let Some((id, ..)) = self.parts(domain) else {
                return false;
            };
            if !self.may_take(id) {
                return false;
            }
            let Some((_, ring, page)) = self.parts(domain) else {
                return false;
            };
            if let Some(message) = ring.parser.take() {
                self.handle(id, &message);
                return true;
            }
            let read = ring
                .parser
                .wanted()
                .map_err(|_| XenstoreError::PROTO)
                .and_then(|wanted| ring.read(page, wanted));
            match read {
                Ok(0) => return false,
                Ok(_) => *taken = true,
                Err(why) => {
                    self.ring_is_bad(domain, id, why);
                    return false;
                }
            }
        }
    }

    fn ring_is_bad(&mut self, domain: DomId, id: ConnectionId, why: XenstoreError) {
        self.mark_bad(id, why);
        self.show_ring_error(domain, why);
    }

    fn note_taken(&mut self, domain: DomId) {
        let Some((_, ring, _)) = self.parts(domain) else {
            return;
        };
        let record = Record::Taken {
            domain: domain.0,
            published: ring.published(),
            consumed: ring.consumed(),
            partial: ring.parser.partial().to_vec(),
        };
        self.records.push(record);
    }

    /// Readable when a domain has sent an event.
    #[must_use]
    pub fn event_fd(&self) -> Option<BorrowedFd<'_>> {
        self.platform.event_fd()
    }

    /// Takes events that have come; whether [`Self::check_domains`] is to be called.
    pub fn take_events(&mut self) -> bool {
        self.platform.take_events()
    }

    /// Whether a ring has something to read or room for something that waits: then the next turn must not wait.
    pub fn rings_are_ready(&mut self) -> bool {
        self.linked().into_iter().any(|domain| {
            let Some((id, ring, page)) = self.parts(domain) else {
                return false;
            };
            let (readable, writable) = (ring.readable(page), ring.writable(page));
            let reset = ring::wants_reset(page);
            let Some(connection) = self.connections.get(&id) else {
                return false;
            };
            reset
                || connection.bad.is_none()
                    && ((readable && self.may_take(id)) || (writable && !connection.out.is_empty()))
        })
    }

    /// When something is to be done even if nobody sends anything, in milliseconds of the daemon's clock.
    #[must_use]
    pub fn next_deadline(&self) -> Option<u64> {
        let held = self
            .connections
            .keys()
            .filter_map(|id| self.held_until(*id));
        let events = self
            .connections
            .values()
            .filter_map(|connection| connection.out.front()?.deadline);
        held.chain(events).min()
    }

    /// Ends the connections of domains that do not take their events.
    pub fn expire_events(&mut self) {
        for domain in self.linked() {
            let Some((id, ..)) = self.parts(domain) else {
                continue;
            };
            let late = self.connections.get(&id).is_some_and(|connection| {
                let first = connection.out.front();
                first
                    .and_then(|first| first.deadline)
                    .is_some_and(|deadline| deadline <= self.now)
            });
            if late {
                self.ring_is_bad(domain, id, XenstoreError::COMM);
            }
        }
    }

    /// Tells the domains how far their requests are taken, and sends what waits. Only after the journal is written.
    pub fn write_rings(&mut self) {
        for domain in self.linked() {
            let Some((id, ring, page)) = self.parts(domain) else {
                continue;
            };
            let mut news = ring.publish(page);
            while let Some(bytes) = self.output(id).map(<[u8]>::to_vec) {
                let Some((_, ring, page)) = self.parts(domain) else {
                    break;
                };
                match ring.write(page, &bytes) {
                    Ok(0) => break,
                    Ok(count) => {
                        news = true;
                        self.sent(id, count);
                    }
                    Err(why) => {
                        self.ring_is_bad(domain, id, why);
                        break;
                    }
                }
            }
            if news {
                self.notify(domain);
            }
        }
    }

    pub(super) fn notify(&mut self, domain: DomId) {
        let port = self
            .domains
            .get(&domain)
            .and_then(|known| known.link.as_ref())
            .and_then(|link| link.port);
        if let Some(port) = port {
            self.platform.notify(port);
        }
    }
}
