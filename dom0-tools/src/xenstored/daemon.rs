//! The daemon's state, and one request after the other.

use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;

use hypercall_abi::io::xs_wire::{PAYLOAD_MAX, XenstoreError, XsdSockmsgType as Kind};
use hypercall_abi::{DomId, Errno};

use super::connection::{Cause, Connection, ConnectionId, Outgoing};
use super::database::Database;
use super::domain::Domain;
use super::journal::{Record, packed};
use super::node::{Entry, Permissions};
use super::operations::{self, Asker, Limits};
use super::platform::Platform;
use super::quota::{Limit, Quotas};
use super::trace::Trace;
use super::transaction::View;
use super::watch::{Event, Watches};
use crate::xenstore::permission::{Access, Permission};
use crate::xenstore::wire::{self, Message, error_name};

/// How long an unprivileged domain may leave a watch event untaken, in milliseconds, unless an option sets another time.
pub const WATCH_EVENT_TIMEOUT: u64 = 20_000;

/// The special paths that can be watched: who may is set with SET_PERMS.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Special {
    /// A domain was introduced.
    Introduce,
    /// A domain shut down or is gone.
    Release,
}

impl Special {
    /// What the path is.
    #[must_use]
    pub const fn path(self) -> &'static str {
        match self {
            Self::Introduce => "@introduceDomain",
            Self::Release => "@releaseDomain",
        }
    }

    /// The special path with this name.
    #[must_use]
    pub fn named(path: &[u8]) -> Option<Self> {
        [Self::Introduce, Self::Release]
            .into_iter()
            .find(|special| special.path().as_bytes() == path)
    }
}

/// What is done after a request is answered.
#[derive(Debug)]
pub(super) enum Deferred {
    /// The first event of a new watch.
    First(Message),
    /// A special event.
    Special(Special),
}

/// The state.
pub struct Daemon {
    pub(super) database: Database,
    pub(super) watches: Watches,
    pub(super) connections: BTreeMap<ConnectionId, Connection>,
    pub(super) domains: BTreeMap<DomId, Domain>,
    pub(super) specials: [Permissions; 2],
    pub(super) platform: Box<dyn Platform>,
    /// Limits of unprivileged domains.
    pub quotas: Quotas,
    /// Milliseconds an unprivileged domain may leave an event untaken; 0 for ever.
    pub watch_event_timeout: u64,
    /// Nodes of a domain that is gone go to the control domain instead of away.
    pub keep_orphans: bool,
    /// What is said to whom, for people.
    pub trace: Trace,
    pub(super) records: Vec<Record>,
    pub(super) deferred: Vec<Deferred>,
    pub(super) now: u64,
    /// Connections that were found bad or released since the last look.
    pub(super) closed: Vec<ConnectionId>,
    causes: HashMap<Cause, (ConnectionId, usize)>,
    cause: Option<Cause>,
    counter: u64,
}

impl Daemon {
    /// A daemon with nothing but `/tool/xenstored` in its store.
    #[must_use]
    pub fn new(platform: Box<dyn Platform>) -> Self {
        let privileged: Permissions =
            [Entry::from(Permission::new(DomId(0), Access::empty()))].into();
        let mut daemon = Self {
            database: Database::default(),
            watches: Watches::default(),
            connections: BTreeMap::new(),
            domains: BTreeMap::new(),
            specials: [Rc::clone(&privileged), privileged],
            platform,
            quotas: Quotas::default(),
            watch_event_timeout: WATCH_EVENT_TIMEOUT,
            keep_orphans: false,
            trace: Trace::default(),
            records: Vec::new(),
            deferred: Vec::new(),
            now: 0,
            closed: Vec::new(),
            causes: HashMap::new(),
            cause: None,
            counter: 0,
        };
        daemon.domains.insert(DomId(0), Domain::default());
        daemon.make("/tool/xenstored");
        daemon
    }

    /// Makes a node as the daemon itself.
    fn make(&mut self, path: &str) {
        let asker = self.asker_of(&Connection::new(None));
        let mut view = View {
            database: &mut self.database,
            transaction: None,
            most: usize::MAX,
            events: Vec::new(),
        };
        let payload = [path.as_bytes(), b"\0"].concat();
        // Cannot fail: the path is valid and nothing limits the daemon.
        let _ = operations::make(&mut view, &asker, &payload);
    }

    /// Tells the daemon the time, in milliseconds of a clock that never goes back.
    pub const fn set_time(&mut self, now: u64) {
        self.now = now;
    }

    pub(super) const fn tick(&mut self) -> u64 {
        self.counter += 1;
        self.counter
    }

    /// A new connection over a socket.
    pub fn connect(&mut self) -> ConnectionId {
        self.add_connection(None)
    }

    pub(super) fn add_connection(&mut self, domain: Option<DomId>) -> ConnectionId {
        let id = ConnectionId(self.tick());
        self.connections.insert(id, Connection::new(domain));
        self.trace.created(id);
        id
    }

    /// A connection is gone, with its watches and transactions.
    pub fn disconnect(&mut self, id: ConnectionId) {
        self.watches.remove_all(id);
        self.drop_output(id);
        if self.connections.remove(&id).is_some() {
            self.trace.destroyed(id);
        }
    }

    /// Nothing is taken from or sent to this connection any more, and it has nothing left.
    pub(super) fn mark_bad(&mut self, id: ConnectionId, why: XenstoreError) {
        self.watches.remove_all(id);
        self.drop_output(id);
        let Some(connection) = self.connections.get_mut(&id) else {
            return;
        };
        connection.transactions.clear();
        connection.bad = Some(why);
        match connection.domain {
            Some(domain) => self.records.push(Record::Bad {
                domain: domain.0,
                why: why.0,
            }),
            None => self.closed.push(id),
        }
        self.trace.ignored(id, why);
    }

    pub(super) fn drop_output(&mut self, id: ConnectionId) {
        let Some(connection) = self.connections.get_mut(&id) else {
            return;
        };
        let dropped = std::mem::take(&mut connection.out);
        connection.out_bytes = 0;
        for message in dropped {
            self.taken(message.cause);
        }
    }

    /// Sockets whose peers broke the protocol: to be closed.
    pub fn take_closed(&mut self) -> Vec<ConnectionId> {
        std::mem::take(&mut self.closed)
    }

    /// A payload was too long to be followed: the connection ends.
    pub fn protocol_error(&mut self, id: ConnectionId) {
        self.mark_bad(id, XenstoreError::PROTO);
    }

    pub(super) fn asker(&self, id: ConnectionId) -> Result<Asker, Errno> {
        self.connections
            .get(&id)
            .map(|connection| {
                let mut asker = self.asker_of(connection);
                if connection.unprivileged().is_some() {
                    asker.limits.memory = self
                        .quotas
                        .get(Limit::Memory)
                        .saturating_sub(self.memory_of(id, connection));
                }
                asker
            })
            .ok_or(Errno::EIO)
    }

    fn asker_of(&self, connection: &Connection) -> Asker {
        Asker {
            domain: connection.domain,
            unprivileged: connection.unprivileged(),
            target: connection.target,
            limits: Limits {
                nodes: self.quotas.get(Limit::Nodes),
                node_size: self.quotas.get(Limit::NodeSize),
                path: self.quotas.get(Limit::PathMax),
                permissions: self.quotas.get(Limit::Permissions),
                memory: usize::MAX,
            },
        }
    }

    /// Bytes kept for the sake of a connection and its domain.
    pub(super) fn memory_of(&self, id: ConnectionId, connection: &Connection) -> usize {
        let owned = connection
            .domain
            .map_or(0, |domain| self.database.owned(domain).bytes);
        let watches: usize = self
            .watches
            .of(id)
            .map(|watch| watch.path.len() + watch.token.len())
            .sum();
        let transactions: usize = connection
            .transactions
            .values()
            .map(|transaction| transaction.bytes())
            .sum();
        owned + watches + transactions + connection.out_bytes
    }

    /// One request: what it asks for is done and its answer queued, behind the events that it causes.
    pub fn handle(&mut self, id: ConnectionId, message: &Message) {
        self.trace.received(id, message);
        let Some(connection) = self.connections.get_mut(&id) else {
            return;
        };
        if connection.unprivileged().is_some() {
            connection.outstanding += 1;
            let cause = Cause(self.tick());
            self.causes.insert(cause, (id, 1));
            self.cause = Some(cause);
        }
        let (kind, payload) = match self.perform(id, message) {
            Ok(payload) if payload.len() <= PAYLOAD_MAX => (message.kind, payload),
            Ok(_) => error_answer(Errno::E2BIG),
            Err(error) => error_answer(error),
        };
        let answer = Message {
            kind,
            payload,
            ..*message
        };
        self.queue(id, &answer, false);
        let cause = self.cause.take();
        self.taken(cause);
        for deferred in std::mem::take(&mut self.deferred) {
            match deferred {
                Deferred::First(event) => self.queue(id, &event, true),
                Deferred::Special(special) => self.tell_special(special),
            }
        }
    }

    fn perform(&mut self, id: ConnectionId, message: &Message) -> Result<Vec<u8>, Errno> {
        let payload = &message.payload;
        let transaction = message.transaction;
        let privileged_only = matches!(
            message.kind,
            Kind::CONTROL
                | Kind::INTRODUCE
                | Kind::RELEASE
                | Kind::IS_DOMAIN_INTRODUCED
                | Kind::RESUME
                | Kind::SET_TARGET
        );
        let connection = self.connections.get(&id).ok_or(Errno::EIO)?;
        if privileged_only && connection.unprivileged().is_some() {
            return Err(Errno::EACCES);
        }
        let takes_transaction = !matches!(message.kind, Kind::WATCH | Kind::UNWATCH);
        let known = message.kind.0 < Kind::TYPE_COUNT.0 && message.kind.0 != 20;
        if known
            && takes_transaction
            && transaction != 0
            && !connection.transactions.contains_key(&transaction)
        {
            return Err(Errno::ENOENT);
        }
        match message.kind {
            Kind::CONTROL => self.control(payload),
            Kind::DIRECTORY => self.through(id, transaction, |view, asker| {
                operations::directory(view, asker, payload)
            }),
            Kind::DIRECTORY_PART => self.through(id, transaction, |view, asker| {
                operations::directory_part(view, asker, payload)
            }),
            Kind::READ => self.through(id, transaction, |view, asker| {
                operations::read(view, asker, payload)
            }),
            Kind::GET_PERMS => self.through(id, transaction, |view, asker| {
                operations::get_permissions(view, asker, payload)
            }),
            Kind::WRITE => self
                .through(id, transaction, |view, asker| {
                    operations::write(view, asker, payload)
                })
                .map(ok),
            Kind::MKDIR => self
                .through(id, transaction, |view, asker| {
                    operations::make(view, asker, payload)
                })
                .map(ok),
            Kind::RM => self
                .through(id, transaction, |view, asker| {
                    operations::remove(view, asker, payload)
                })
                .map(ok),
            Kind::SET_PERMS => self.set_permissions(id, transaction, payload).map(ok),
            Kind::WATCH => self.watch(id, payload).map(ok),
            Kind::UNWATCH => self.unwatch(id, payload).map(ok),
            Kind::RESET_WATCHES => {
                self.reset_watches(id);
                Ok(ok(()))
            }
            Kind::TRANSACTION_START => self.start_transaction(id, transaction),
            Kind::TRANSACTION_END => self.end_transaction(id, transaction, payload).map(ok),
            Kind::INTRODUCE => self.introduce(payload).map(ok),
            Kind::RELEASE => self.release(payload).map(ok),
            Kind::RESUME => self.resume(payload).map(ok),
            Kind::SET_TARGET => self.set_target(payload).map(ok),
            Kind::IS_DOMAIN_INTRODUCED => self.is_introduced(payload),
            Kind::GET_DOMAIN_PATH => domain_path(payload),
            _ => Err(Errno::ENOSYS),
        }
    }

    /// Does something with nodes, then tells those who watch.
    fn through<T>(
        &mut self,
        id: ConnectionId,
        transaction: u32,
        work: impl FnOnce(&mut View<'_>, &Asker) -> Result<T, Errno>,
    ) -> Result<T, Errno> {
        let asker = self.asker(id)?;
        let connection = self.connections.get_mut(&id).ok_or(Errno::EIO)?;
        let most = match asker.unprivileged {
            Some(_) => self.quotas.get(Limit::TransactionNodes),
            None => usize::MAX,
        };
        let mut view = View {
            database: &mut self.database,
            transaction: match transaction {
                0 => None,
                id => Some(connection.transactions.get_mut(&id).ok_or(Errno::ENOENT)?),
            },
            most,
            events: Vec::new(),
        };
        let before = view.database.writes();
        let result = work(&mut view, &asker);
        let events = view.events;
        if self.database.writes() != before {
            self.charge_write(id);
        }
        for event in &events {
            self.tell(event);
        }
        result
    }

    fn set_permissions(
        &mut self,
        id: ConnectionId,
        transaction: u32,
        payload: &[u8],
    ) -> Result<(), Errno> {
        let mut arguments = wire::strings(payload);
        let path = arguments.next().ok_or(Errno::EINVAL)?;
        let given: Vec<_> = arguments.collect();
        let asker = self.asker(id)?;
        if given.is_empty() {
            return Err(Errno::EINVAL);
        }
        if asker.unprivileged.is_some() && given.len() > asker.limits.permissions {
            return Err(Errno::ENOSPC);
        }
        let mut entries = Vec::with_capacity(given.len());
        for text in given {
            entries.push(Entry::from(Permission::parse(text)?));
        }
        // A number that no domain has now must not give anything to the one that gets it later.
        for (index, entry) in entries.iter_mut().enumerate() {
            if !self.is_known(entry.permission.domain) {
                if index == 0 {
                    return Err(Errno::ENOENT);
                }
                entry.stale = true;
            }
        }
        if path.starts_with(b"@") {
            return self.set_special(asker.unprivileged, path, entries.into());
        }
        self.through(id, transaction, |view, asker| {
            operations::set_permissions(view, asker, path, entries.into())
        })
    }

    fn set_special(
        &mut self,
        unprivileged: Option<DomId>,
        path: &[u8],
        permissions: Permissions,
    ) -> Result<(), Errno> {
        if unprivileged.is_some() {
            return Err(Errno::EACCES);
        }
        let special = Special::named(path).ok_or(Errno::ENOENT)?;
        self.specials[special as usize] = Rc::clone(&permissions);
        self.records.push(Record::Special {
            release: special == Special::Release,
            permissions: packed(&permissions),
        });
        Ok(())
    }

    /// Queues a change for everybody who watches it and may know of it.
    pub(super) fn tell(&mut self, event: &Event) {
        let mut due = Vec::new();
        for (id, watch) in self.watches.matching(&event.path, event.exact) {
            let Some(connection) = self.connections.get(&id) else {
                continue;
            };
            let asker = self.asker_of(connection);
            let visible = asker.unprivileged.is_none()
                || [&event.before, &event.after, &event.parent]
                    .into_iter()
                    .flatten()
                    .any(|permissions| asker.access(permissions).contains(Access::READ));
            if visible {
                due.push((id, Message::event(watch.shown(&event.path), &watch.token)));
            }
        }
        for (id, message) in due {
            self.queue(id, &message, true);
        }
    }

    /// Queues a special event for everybody who watches it and may.
    pub(super) fn tell_special(&mut self, special: Special) {
        let permissions = Rc::clone(&self.specials[special as usize]);
        self.tell(&Event {
            path: special.path().into(),
            exact: false,
            before: None,
            after: Some(permissions),
            parent: None,
        });
    }

    /// Queues a message; a watch event not if it is too long, if it would break the limit of memory, or if its like waits already.
    pub(super) fn queue(&mut self, id: ConnectionId, message: &Message, event: bool) {
        let memory = self.quotas.get(Limit::Memory);
        let Some(connection) = self.connections.get(&id) else {
            return;
        };
        if connection.bad.is_some() {
            return;
        }
        let unprivileged = connection.unprivileged().is_some();
        if event {
            let special = message.payload.first() == Some(&b'@');
            if message.payload.len() > PAYLOAD_MAX
                || (!special && connection.has_waiting(message))
                || (unprivileged
                    && memory != 0
                    && self.memory_of(id, connection) + message.payload.len() > memory)
            {
                return;
            }
        }
        let deadline = (event && unprivileged && self.watch_event_timeout != 0)
            .then(|| self.now + self.watch_event_timeout);
        let cause = self.cause;
        if let Some((_, uses)) = cause.and_then(|cause| self.causes.get_mut(&cause)) {
            *uses += 1;
        }
        self.trace.queued(id, message);
        let bytes = message.to_bytes();
        if let Some(connection) = self.connections.get_mut(&id) {
            connection.out_bytes += bytes.len();
            connection.out.push_back(Outgoing {
                event,
                cause,
                deadline,
                noted: false,
                ..Outgoing::plain(bytes)
            });
        }
    }

    /// Somebody took a message that this request caused.
    pub(super) fn taken(&mut self, cause: Option<Cause>) {
        let Some(cause) = cause else { return };
        let Some((id, uses)) = self.causes.get_mut(&cause) else {
            return;
        };
        *uses -= 1;
        if *uses == 0 {
            let id = *id;
            self.causes.remove(&cause);
            if let Some(connection) = self.connections.get_mut(&id) {
                connection.outstanding -= 1;
            }
        }
    }

    /// What is to be sent next on a connection.
    #[must_use]
    pub fn output(&self, id: ConnectionId) -> Option<&[u8]> {
        let first = self.connections.get(&id)?.out.front()?;
        Some(&first.bytes[first.sent..])
    }

    /// This many bytes of [`Self::output`] are sent.
    pub fn sent(&mut self, id: ConnectionId, bytes: usize) {
        let Some(connection) = self.connections.get_mut(&id) else {
            return;
        };
        let Some(first) = connection.out.front_mut() else {
            return;
        };
        first.sent += bytes;
        if first.sent >= first.bytes.len() {
            let cause = first.cause;
            connection.out_bytes -= first.bytes.len();
            connection.out.pop_front();
            self.taken(cause);
        }
    }

    /// The tree, for tests and reports.
    #[must_use]
    pub const fn database(&self) -> &Database {
        &self.database
    }
}

fn error_answer(error: Errno) -> (Kind, Vec<u8>) {
    (Kind::ERROR, format!("{}\0", error_name(error)).into_bytes())
}

/// The answer of requests that have nothing to tell.
fn ok((): ()) -> Vec<u8> {
    b"OK\0".to_vec()
}

/// GET_DOMAIN_PATH. Numbers that no domain can have are answered too.
fn domain_path(payload: &[u8]) -> Result<Vec<u8>, Errno> {
    let number = wire::number(wire::only_string(payload)?);
    // As C reads it: what does not fit into an int wraps.
    let number = number as u32;
    Ok(format!("/local/domain/{number}\0").into_bytes())
}
