//! The daemon's loop: sockets, rings and events in; the journal; answers out.
//!
//! A turn takes what has come, writes what changed into the journal with one call, and only then lets anybody know of it.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::connection::ConnectionId;
use super::daemon::Daemon;
use super::journal::Journal;
use crate::xenstore::wire::Parser;

/// Requests that are taken from one socket in one turn.
const REQUESTS_PER_TURN: usize = 16;

/// Bytes read from a socket at once.
const CHUNK: usize = 16 << 10;

/// A socket somebody is connected with.
struct Client {
    stream: UnixStream,
    parser: Parser,
    /// Bytes read but not parsed yet.
    unread: Vec<u8>,
}

/// What a turn waited for.
#[derive(Default)]
struct Ready {
    listener: bool,
    events: bool,
    readable: Vec<ConnectionId>,
}

/// The loop.
pub struct Server {
    daemon: Daemon,
    listener: UnixListener,
    journal: Option<Journal>,
    clients: BTreeMap<ConnectionId, Client>,
    reopen_trace: Arc<AtomicBool>,
    start: Instant,
}

impl Server {
    /// A server for clients of `listener`. Without a journal the state ends with the process.
    ///
    /// # Errors
    /// The listener cannot be used.
    pub fn new(
        daemon: Daemon,
        listener: UnixListener,
        journal: Option<Journal>,
        reopen_trace: Arc<AtomicBool>,
    ) -> io::Result<Self> {
        listener.set_nonblocking(true)?;
        Ok(Self {
            daemon,
            listener,
            journal,
            clients: BTreeMap::new(),
            reopen_trace,
            start: Instant::now(),
        })
    }

    /// Serves until something breaks that cannot be mended.
    ///
    /// # Errors
    /// Waiting failed.
    pub fn run(&mut self) -> io::Result<()> {
        self.daemon.check_domains();
        loop {
            self.finish_turn();
            let ready = self.wait()?;
            self.tick();
            if ready.events && self.daemon.take_events() {
                self.daemon.check_domains();
            }
            if ready.listener {
                self.accept();
            }
            for id in ready.readable {
                self.serve(id);
            }
            self.daemon.read_rings();
            self.daemon.expire_events();
            if self.reopen_trace.swap(false, Ordering::Relaxed) {
                self.daemon.trace.reopen();
            }
        }
    }

    fn tick(&mut self) {
        let elapsed = self.start.elapsed().as_millis();
        self.daemon
            .set_time(u64::try_from(elapsed).unwrap_or(u64::MAX));
    }

    /// Enters what changed in the journal, then sends what waits.
    fn finish_turn(&mut self) {
        self.write_journal();
        self.daemon.write_rings();
        for id in self.daemon.take_closed() {
            self.clients.remove(&id);
            self.daemon.disconnect(id);
        }
        let ids: Vec<_> = self.clients.keys().copied().collect();
        for id in ids {
            self.send(id);
        }
    }

    fn write_journal(&mut self) {
        let batch = self.daemon.take_records();
        let Some(journal) = &mut self.journal else {
            return;
        };
        if batch.is_empty() {
            return;
        }
        let mut result = journal.append(&batch);
        if result.is_err() || journal.is_large() {
            result = journal.rewrite(&self.daemon.state());
        }
        if let Err(error) = result {
            self.journal = None;
            self.daemon.trace.report(&format!(
                "the journal cannot be written ({error}): the store will not survive this process"
            ));
        }
    }

    fn wait(&mut self) -> io::Result<Ready> {
        let now = self.start.elapsed();
        let busy = self.daemon.rings_are_ready()
            || self
                .clients
                .values()
                .any(|client| !client.unread.is_empty());
        let timeout = if busy {
            Some(Duration::ZERO)
        } else {
            self.daemon
                .next_deadline()
                .map(|due| Duration::from_millis(due).saturating_sub(now))
        };
        let timeout = timeout.and_then(|timeout| Timespec::try_from(timeout).ok());

        let mut fds = vec![PollFd::new(&self.listener, PollFlags::IN)];
        let events: Option<BorrowedFd<'_>> = self.daemon.event_fd();
        if let Some(fd) = &events {
            fds.push(PollFd::new(fd, PollFlags::IN));
        }
        let first_client = fds.len();
        let ids: Vec<_> = self.clients.keys().copied().collect();
        for (id, client) in &self.clients {
            let mut flags = PollFlags::IN;
            if self.daemon.output(*id).is_some() {
                flags |= PollFlags::OUT;
            }
            fds.push(PollFd::from_borrowed_fd(client.stream.as_fd(), flags));
        }
        match poll(&mut fds, timeout.as_ref()) {
            Ok(_) => {}
            Err(rustix::io::Errno::INTR) => return Ok(Ready::default()),
            Err(error) => return Err(error.into()),
        }
        let is_ready = |fd: &PollFd<'_>| !fd.revents().difference(PollFlags::OUT).is_empty();
        let readable = ids
            .into_iter()
            .zip(&fds[first_client..])
            .filter(|(id, fd)| is_ready(fd) || !self.clients[id].unread.is_empty())
            .map(|(id, _)| id)
            .collect();
        Ok(Ready {
            listener: is_ready(&fds[0]),
            events: events.is_some() && is_ready(&fds[1]),
            readable,
        })
    }

    fn accept(&mut self) {
        while let Ok((stream, _)) = self.listener.accept() {
            if stream.set_nonblocking(true).is_ok() {
                let id = self.daemon.connect();
                let client = Client {
                    stream,
                    parser: Parser::default(),
                    unread: Vec::new(),
                };
                self.clients.insert(id, client);
            }
        }
    }

    /// Reads from a socket and handles whole requests.
    fn serve(&mut self, id: ConnectionId) {
        let Some(client) = self.clients.get_mut(&id) else {
            return;
        };
        let mut gone = false;
        if client.unread.is_empty() {
            let mut chunk = [0; CHUNK];
            match client.stream.read(&mut chunk) {
                Ok(0) => gone = true,
                Ok(count) => client.unread.extend_from_slice(&chunk[..count]),
                Err(error) if is_temporary(&error) => return,
                Err(_) => gone = true,
            }
        }
        let mut used = 0;
        let mut requests = 0;
        while requests < REQUESTS_PER_TURN {
            match client.parser.wanted() {
                Err(_) => {
                    self.daemon.protocol_error(id);
                    return;
                }
                Ok(0) => {
                    if let Some(message) = client.parser.take() {
                        self.daemon.handle(id, &message);
                    }
                    requests += 1;
                }
                Ok(_) if used == client.unread.len() => break,
                Ok(wanted) => {
                    let rest = &client.unread[used..];
                    let now = wanted.min(rest.len());
                    client.parser.push(&rest[..now]);
                    used += now;
                }
            }
        }
        client.unread.drain(..used);
        if gone {
            self.close(id);
        }
    }

    fn send(&mut self, id: ConnectionId) {
        while let Some(bytes) = self.daemon.output(id) {
            let Some(client) = self.clients.get_mut(&id) else {
                return;
            };
            match client.stream.write(bytes) {
                Ok(count) => self.daemon.sent(id, count),
                Err(error) if is_temporary(&error) => return,
                Err(_) => {
                    self.close(id);
                    return;
                }
            }
        }
    }

    fn close(&mut self, id: ConnectionId) {
        self.clients.remove(&id);
        self.daemon.disconnect(id);
    }
}

fn is_temporary(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted
    )
}
