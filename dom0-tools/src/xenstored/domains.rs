//! INTRODUCE, RELEASE and their kin, and the end of domains.

use std::io;

use hypercall_abi::io::xs_wire::XenstoreError;
use hypercall_abi::{DomId, Errno};

use super::connection::ConnectionId;
use super::daemon::{Daemon, Deferred, Special};
use super::domain::{Domain, Link, is_real};
use super::journal::Record;
use super::node::owner;
use super::operations;
use super::platform::Word;
use super::ring::{self, Ring};
use super::transaction::View;
use crate::xenstore::wire;

impl Daemon {
    /// Whether this is a domain that exists. One that Xen knows is remembered, so that its end is seen.
    pub(super) fn is_known(&mut self, domain: DomId) -> bool {
        if self.domains.contains_key(&domain) {
            return true;
        }
        let exists = is_real(domain) && self.platform.domain(domain).is_some();
        if exists {
            self.domains.insert(domain, Domain::default());
        }
        exists
    }

    pub(super) fn introduce(&mut self, payload: &[u8]) -> Result<(), Errno> {
        let mut arguments = wire::strings(payload);
        // The frame number in the middle is not needed: the ring is mapped by its grant.
        let (Some(domain), Some(_), Some(port)) =
            (arguments.next(), arguments.next(), arguments.next())
        else {
            return Err(Errno::EINVAL);
        };
        let domain = domain_id(domain).ok_or(Errno::EINVAL)?;
        let port = u32::try_from(wire::number(port))
            .ok()
            .filter(|port| *port > 0)
            .ok_or(Errno::EINVAL)?;
        if self
            .domains
            .get(&domain)
            .is_some_and(|known| known.link.is_some())
        {
            self.rebind(domain, port);
        } else {
            self.link(domain, port).map_err(|error| as_errno(&error))?;
            if domain != DomId(0) {
                self.tell_special(Special::Introduce);
            }
        }
        self.reset_ring(domain);
        Ok(())
    }

    /// Makes the connection with a domain's ring.
    pub(super) fn link(&mut self, domain: DomId, remote_port: u32) -> io::Result<ConnectionId> {
        let page = self.platform.map(domain)?;
        let port = self.platform.bind(domain, remote_port)?;
        let connection = self.add_connection(Some(domain));
        let ring = Ring::at(&*page);
        ring::offer_features(&*page);
        self.records.push(Record::Introduced {
            domain: domain.0,
            port: remote_port,
            consumed: ring.consumed(),
            produced: ring.produced(),
        });
        let known = self.domains.entry(domain).or_default();
        known.shutdown_told = false;
        known.link = Some(Link {
            connection,
            remote_port,
            port: Some(port),
            page: Some(page),
            ring,
        });
        Ok(connection)
    }

    /// A domain that is connected already has a new port.
    fn rebind(&mut self, domain: DomId, remote_port: u32) {
        let Some(link) = self
            .domains
            .get_mut(&domain)
            .and_then(|known| known.link.as_mut())
        else {
            return;
        };
        if let Some(port) = link.port.take() {
            self.platform.unbind(port);
        }
        link.remote_port = remote_port;
        link.port = self.platform.bind(domain, remote_port).ok();
        if link.page.is_none() {
            link.page = self.platform.map(domain).ok();
        }
    }

    /// Starts the ring of a domain anew: nothing is under way, nothing is watched, no transaction is open.
    pub(super) fn reset_ring(&mut self, domain: DomId) {
        let Some(link) = self
            .domains
            .get_mut(&domain)
            .and_then(|known| known.link.as_mut())
        else {
            return;
        };
        let (connection, port) = (link.connection, link.remote_port);
        if let Some(page) = &link.page {
            link.ring = Ring::reset(&**page);
        }
        self.reset_watches(connection);
        self.drop_output(connection);
        if let Some(connection) = self.connections.get_mut(&connection) {
            connection.bad = None;
        }
        self.records.push(Record::Introduced {
            domain: domain.0,
            port,
            consumed: 0,
            produced: 0,
        });
    }

    pub(super) fn release(&mut self, payload: &[u8]) -> Result<(), Errno> {
        let domain = self.connected(payload)?;
        self.end_domain(domain);
        self.deferred.push(Deferred::Special(Special::Release));
        Ok(())
    }

    pub(super) fn resume(&mut self, payload: &[u8]) -> Result<(), Errno> {
        let domain = self.connected(payload)?;
        self.set_shutdown_told(domain, false);
        Ok(())
    }

    fn set_shutdown_told(&mut self, domain: DomId, told: bool) {
        if let Some(known) = self.domains.get_mut(&domain) {
            known.shutdown_told = told;
            self.records.push(Record::ShutdownTold {
                domain: domain.0,
                told,
            });
        }
    }

    pub(super) fn set_target(&mut self, payload: &[u8]) -> Result<(), Errno> {
        let mut arguments = wire::strings(payload);
        let (Some(domain), Some(target)) = (arguments.next(), arguments.next()) else {
            return Err(Errno::EINVAL);
        };
        let domain = domain_id(domain).ok_or(Errno::ENOENT)?;
        let target = domain_id(target).ok_or(Errno::ENOENT)?;
        let connection = self.link_of(domain).ok_or(Errno::ENOENT)?;
        self.link_of(target).ok_or(Errno::ENOENT)?;
        if let Some(connection) = self.connections.get_mut(&connection) {
            connection.target = Some(target);
        }
        self.records.push(Record::Target {
            domain: domain.0,
            target: target.0,
        });
        Ok(())
    }

    pub(super) fn is_introduced(&self, payload: &[u8]) -> Result<Vec<u8>, Errno> {
        let number = wire::number(wire::only_string(payload)?);
        let yes = number == i64::from(DomId::SELF.0)
            || u16::try_from(number).is_ok_and(|number| self.link_of(DomId(number)).is_some());
        Ok(if yes { b"T\0" } else { b"F\0" }.to_vec())
    }

    fn link_of(&self, domain: DomId) -> Option<ConnectionId> {
        let link = self.domains.get(&domain)?.link.as_ref()?;
        Some(link.connection)
    }

    /// The domain that the only string of a payload names: not the control domain, and connected.
    fn connected(&self, payload: &[u8]) -> Result<DomId, Errno> {
        let domain = wire::only_string(payload)?;
        if wire::number(domain) == 0 {
            return Err(Errno::EINVAL);
        }
        domain_id(domain)
            .filter(|domain| self.link_of(*domain).is_some())
            .ok_or(Errno::ENOENT)
    }

    /// Some domain may have shut down or gone: looks at all of them.
    pub fn check_domains(&mut self) {
        let mut tell = false;
        let known: Vec<_> = self.domains.keys().copied().collect();
        for domain in known.into_iter().filter(|domain| *domain != DomId(0)) {
            let state = self.platform.domain(domain);
            let linked = self.link_of(domain).is_some();
            match state {
                Some(state) if linked => {
                    if state.shutdown && !self.domains[&domain].shutdown_told {
                        self.set_shutdown_told(domain, true);
                        tell = true;
                    }
                    if state.dying {
                        self.end_domain(domain);
                        tell = true;
                    }
                }
                Some(_) => {}
                None => {
                    self.end_domain(domain);
                    tell |= linked;
                }
            }
        }
        if tell {
            self.tell_special(Special::Release);
        }
    }

    /// A domain is gone: nothing of it is left that a later domain with its number could find.
    pub(super) fn end_domain(&mut self, domain: DomId) {
        if let Some(link) = self.domains.remove(&domain).and_then(|known| known.link) {
            if let Some(port) = link.port {
                self.platform.unbind(port);
            }
            self.disconnect(link.connection);
        }
        for connection in self.connections.values_mut() {
            connection.target = connection.target.filter(|target| *target != domain);
            for transaction in connection.transactions.values_mut() {
                transaction.domain_gone(domain);
            }
        }
        if !self.keep_orphans {
            self.remove_orphans(domain);
        }
        self.database.forget(domain);
        for permissions in &mut self.specials {
            let mut entries = permissions.to_vec();
            for entry in &mut entries {
                entry.stale |= entry.permission.domain == domain && domain != DomId(0);
            }
            *permissions = entries.into();
        }
        self.records.push(Record::Ended { domain: domain.0 });
    }

    fn remove_orphans(&mut self, domain: DomId) {
        for path in self.database.owned_paths(domain) {
            let orphan = self
                .database
                .get(&path)
                .is_some_and(|node| owner(&node.permissions) == domain);
            if !orphan || &*path == "/" {
                continue;
            }
            let mut view = View {
                database: &mut self.database,
                transaction: None,
                most: usize::MAX,
                events: Vec::new(),
            };
            // Without a transaction there is no limit to fail at.
            let _ = operations::remove_tree(&mut view, &path);
            for event in view.events {
                self.tell(&event);
            }
        }
    }

    /// Connects with the kernel of the control domain.
    ///
    /// # Errors
    /// It has no ring, or somebody else serves it.
    pub fn connect_kernel(&mut self) -> io::Result<()> {
        let port = self.platform.kernel_port().ok_or(io::ErrorKind::NotFound)?;
        self.link(DomId(0), port).map(drop)?;
        // Linux probes its back ends at the first event: without one it takes the store for absent.
        self.notify(DomId(0));
        Ok(())
    }

    /// What is wrong with a ring is written into it, for the domain to see.
    pub(super) fn show_ring_error(&self, domain: DomId, why: XenstoreError) {
        let link = self
            .domains
            .get(&domain)
            .and_then(|known| known.link.as_ref());
        if let Some(page) = link.and_then(|link| link.page.as_ref()) {
            ring::store(&**page, Word::Error, why.0);
        }
    }
}

/// A domain's number as the protocol gives it; `None` if no domain can have it.
fn domain_id(text: &[u8]) -> Option<DomId> {
    u16::try_from(wire::number(text))
        .ok()
        .map(DomId)
        .filter(|domain| is_real(*domain))
}

fn as_errno(error: &io::Error) -> Errno {
    error
        .raw_os_error()
        .and_then(Errno::from_raw)
        .unwrap_or(Errno::EINVAL)
}
