//! WATCH, UNWATCH, RESET_WATCHES, TRANSACTION_START, TRANSACTION_END: what belongs to one connection.

use hypercall_abi::Errno;
use hypercall_abi::io::xs_wire::REL_PATH_MAX;

use super::connection::ConnectionId;
use super::daemon::{Daemon, Deferred};
use super::journal::Record;
use super::quota::Limit;
use super::transaction::Transaction;
use super::watch::Watch;
use crate::xenstore::path;
use crate::xenstore::wire::{self, Message};

/// Writes per second that an unprivileged domain may do while somebody else has a transaction open: without a limit it could make
/// every transaction of the toolstack fail (XSA-206).
const WRITES_PER_SECOND: u64 = 200;

/// Writes that it may do at once.
const WRITES_AT_ONCE: u64 = 40;

impl Daemon {
    pub(super) fn watch(&mut self, id: ConnectionId, payload: &[u8]) -> Result<(), Errno> {
        let (path, token, base) = self.watch_arguments(id, payload)?;
        let asker = self.asker(id)?;
        let watch = Watch {
            path: path.as_str().into(),
            token: token.into(),
            base,
        };
        if self.watches.has(id, &watch) {
            return Err(Errno::EEXIST);
        }
        if asker.unprivileged.is_some() {
            if self.watches.of(id).count() > self.quotas.get(Limit::Watches) {
                return Err(Errno::E2BIG);
            }
            if watch.path.len() + watch.token.len() > asker.limits.memory {
                return Err(Errno::ENOMEM);
            }
        }
        let first = Message::event(watch.shown(&watch.path), &watch.token);
        if let Some(domain) = asker.domain {
            self.records.push(Record::watch(domain, &watch));
        }
        self.watches.add(id, watch)?;
        self.deferred.push(Deferred::First(first));
        Ok(())
    }

    pub(super) fn unwatch(&mut self, id: ConnectionId, payload: &[u8]) -> Result<(), Errno> {
        let mut arguments = wire::strings(payload);
        let (Some(path), Some(token), None) =
            (arguments.next(), arguments.next(), arguments.next())
        else {
            return Err(Errno::EINVAL);
        };
        let path = wire::text(path)?;
        let domain = self.asker(id)?.domain;
        let path = if path.starts_with(['/', '@']) {
            path.to_owned()
        } else {
            format!("{}/{path}", path::base(domain))
        };
        self.watches.remove(id, &path, token)?;
        if let Some(domain) = domain {
            self.records.push(Record::Unwatch {
                domain: domain.0,
                path,
                token: token.to_vec(),
            });
        }
        Ok(())
    }

    /// Path, token, and how much of the path events leave out.
    fn watch_arguments<'a>(
        &self,
        id: ConnectionId,
        payload: &'a [u8],
    ) -> Result<(String, &'a [u8], usize), Errno> {
        let mut arguments = wire::strings(payload);
        let (Some(path), Some(token), None) =
            (arguments.next(), arguments.next(), arguments.next())
        else {
            return Err(Errno::EINVAL);
        };
        let path = wire::text(path)?;
        if path.starts_with('@') {
            return (path.len() <= REL_PATH_MAX)
                .then(|| (path.to_owned(), token, 0))
                .ok_or(Errno::EINVAL);
        }
        let asker = self.asker(id)?;
        let base = if path.starts_with('/') {
            0
        } else {
            path::base(asker.domain).len()
        };
        let path = path::canonical(path, asker.domain, asker.limits.path)?;
        Ok((path, token, base))
    }

    pub(super) fn reset_watches(&mut self, id: ConnectionId) {
        self.watches.remove_all(id);
        let Some(connection) = self.connections.get_mut(&id) else {
            return;
        };
        connection.transactions.clear();
        if let Some(domain) = connection.domain {
            self.records.push(Record::ResetWatches { domain: domain.0 });
        }
    }

    pub(super) fn start_transaction(
        &mut self,
        id: ConnectionId,
        current: u32,
    ) -> Result<Vec<u8>, Errno> {
        if current != 0 {
            return Err(Errno::EBUSY);
        }
        let most = self.quotas.get(Limit::Transactions);
        let connection = self.connections.get_mut(&id).ok_or(Errno::EIO)?;
        if connection.unprivileged().is_some() && connection.transactions.len() > most {
            return Err(Errno::ENOSPC);
        }
        let number = loop {
            let number = connection.next_transaction;
            connection.next_transaction = number.wrapping_add(1);
            if number != 0 && !connection.transactions.contains_key(&number) {
                break number;
            }
        };
        connection
            .transactions
            .insert(number, Transaction::default());
        if let Some(domain) = connection.domain {
            self.records.push(Record::TransactionStart {
                domain: domain.0,
                number,
            });
        }
        Ok(format!("{number}\0").into_bytes())
    }

    pub(super) fn end_transaction(
        &mut self,
        id: ConnectionId,
        number: u32,
        payload: &[u8],
    ) -> Result<(), Errno> {
        let commit = match wire::only_string(payload)? {
            b"T" => true,
            b"F" => false,
            _ => return Err(Errno::EINVAL),
        };
        let quota = self.quotas.get(Limit::Nodes);
        let connection = self.connections.get_mut(&id).ok_or(Errno::EIO)?;
        let transaction = connection
            .transactions
            .remove(&number)
            .ok_or(Errno::ENOENT)?;
        let limit = connection.unprivileged().map(|domain| (domain, quota));
        if let Some(domain) = connection.domain {
            self.records.push(Record::TransactionEnd {
                domain: domain.0,
                number,
            });
        }
        if commit {
            let events = transaction.commit(&mut self.database, limit)?;
            self.charge_write(id);
            for event in &events {
                self.tell(event);
            }
        }
        Ok(())
    }

    /// Counts a write of an unprivileged domain against what it may do while others have transactions open.
    pub(super) fn charge_write(&mut self, id: ConnectionId) {
        let contended = self
            .connections
            .iter()
            .any(|(other, connection)| *other != id && !connection.transactions.is_empty());
        let now = self.now;
        if let Some(connection) = self.connections.get_mut(&id)
            && connection.unprivileged().is_some()
        {
            let (left, since) = connection.credit;
            let earned = now.saturating_sub(since).saturating_mul(WRITES_PER_SECOND);
            let left = left.saturating_add(earned).min(WRITES_AT_ONCE * 1000);
            let cost = if contended { 1000 } else { 0 };
            connection.credit = (left.saturating_sub(cost), now);
        }
    }

    /// When a connection may write again, in milliseconds of the daemon's clock; `None` if it may now.
    pub(super) fn held_until(&self, id: ConnectionId) -> Option<u64> {
        let (left, since) = self.connections.get(&id)?.credit;
        let missing = 1000u64.checked_sub(left).filter(|missing| *missing > 0)?;
        let until = since + missing.div_ceil(WRITES_PER_SECOND);
        (until > self.now).then_some(until)
    }
}
