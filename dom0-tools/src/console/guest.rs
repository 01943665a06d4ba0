//! One guest's console: its ring, its event channel, its pseudo-terminal and its log.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::path::Path;
use std::time::{Duration, Instant};

use hypercall_abi::xen::DomId;

use super::rate::Rate;
use super::ring;
use super::scrollback::Scrollback;
use crate::domain::Toolstack;
use crate::store::{StoreError, Tx};
use crate::sys::event_channel::EventChannels;
use crate::sys::gntdev::GrantMaps;
use crate::sys::terminal::Pty;
use crate::xen::GuestMemory;

/// `GNTTAB_RESERVED_CONSOLE`.
const CONSOLE_REFERENCE: u32 = 0;
/// Unread bytes that are kept when the guest's nodes do not say.
const DEFAULT_LIMIT: usize = 1 << 20;
/// Least that is kept, whatever the nodes say, and most.
const LIMITS: std::ops::RangeInclusive<usize> = 4096..=16 << 20;
/// Bytes of a log at which it is begun anew; one old file is kept.
const LOG_LIMIT: u64 = 8 << 20;

/// A guest that is served.
pub struct Guest {
    /// Its id.
    pub domain: u16,
    /// The port of its events here.
    pub port: u32,
    /// What is read by whoever attaches.
    pub pty: Pty,
    ring: Box<dyn GuestMemory>,
    ring_ref: u64,
    remote_port: u32,
    unread: Scrollback,
    typed: Vec<u8>,
    log: Option<Log>,
    rate: Rate,
    /// When its port, which stays masked until then, is served again.
    pub masked_until: Option<Instant>,
}

impl Guest {
    /// Begins to serve `domain`; None if it has no console for this daemon (yet).
    ///
    /// # Errors
    /// Its ring, its port or a pseudo-terminal cannot be had.
    pub fn open(
        tools: &Toolstack,
        events: &EventChannels,
        grants: &GrantMaps,
        logs: Option<&Path>,
        domain: u16,
    ) -> Result<Option<Self>, GuestError> {
        let Some((ring_ref, remote_port)) = described(tools, domain)? else {
            return Ok(None);
        };
        // A guest built without grants has its frame in the nodes, which only the toolstack writes.
        let ring: Box<dyn GuestMemory> = match grants.map(domain, CONSOLE_REFERENCE) {
            Ok(page) => Box::new(page),
            Err(_) => tools.xen.map_frames(DomId(domain), &[ring_ref], true)?,
        };
        let port = events.bind_interdomain(domain, remote_port)?;
        let pty = match Pty::new() {
            Ok(pty) => pty,
            Err(error) => {
                events.unbind(port)?;
                return Err(error.into());
            }
        };
        let home = format!("/local/domain/{domain}/console");
        let limit = tools.store.number(&format!("{home}/limit"))?;
        let limit = limit.unwrap_or(DEFAULT_LIMIT);
        tools
            .store
            .write(Tx::NONE, &format!("{home}/tty"), pty.path.as_bytes())?;
        let name = crate::domain::name_of(tools, domain)?;
        Ok(Some(Self {
            domain,
            port,
            pty,
            ring,
            ring_ref,
            remote_port,
            unread: Scrollback::new(limit.clamp(*LIMITS.start(), *LIMITS.end())),
            typed: Vec::new(),
            log: logs.and_then(|folder| Log::open(folder, &name)),
            rate: Rate::new(Instant::now()),
            masked_until: None,
        }))
    }

    /// Whether the nodes still describe what is served: after a restart under the same id they do not.
    ///
    /// # Errors
    /// The store's.
    pub fn is_current(&self, tools: &Toolstack) -> Result<bool, StoreError> {
        Ok(described(tools, self.domain)? == Some((self.ring_ref, self.remote_port)))
    }

    /// Takes what the guest wrote and gives it what was typed; whether it is to be notified.
    pub fn exchange(&mut self) -> bool {
        let said = ring::take(&*self.ring);
        if !said.is_empty() {
            if let Some(log) = &mut self.log {
                log.write(&said);
            }
            self.unread.push(&said);
        }
        let given = ring::give(&*self.ring, &self.typed);
        self.typed.drain(..given);
        self.feed();
        !said.is_empty() || given > 0
    }

    /// Counts an event of the guest: how long its port stays masked, if at all.
    pub fn count_event(&mut self, now: Instant) -> Option<Duration> {
        self.rate.count(now)
    }

    /// Whether what the guest said waits for the terminal.
    #[must_use]
    pub fn has_unread(&self) -> bool {
        !self.unread.is_empty()
    }

    /// Whether the guest has room for what is typed.
    #[must_use]
    pub fn wants_input(&self) -> bool {
        self.typed.is_empty() && ring::room(&*self.ring) > 0
    }

    /// Writes to the terminal as much as it takes.
    pub fn feed(&mut self) {
        while !self.unread.is_empty() {
            match (&self.pty.master).write(self.unread.front()) {
                Ok(0) => return,
                Ok(count) => self.unread.consume(count),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // Nobody reads at the moment.
                Err(_) => return,
            }
        }
    }

    /// Reads what was typed and gives it to the guest; whether it is to be notified.
    pub fn read_input(&mut self) -> bool {
        let mut buffer = [0; 1024];
        let Ok(count) = (&self.pty.master).read(&mut buffer) else {
            return false;
        };
        self.typed
            .extend_from_slice(buffer.get(..count).unwrap_or_default());
        let given = ring::give(&*self.ring, &self.typed);
        self.typed.drain(..given);
        given > 0
    }
}

/// The ring and the port of a guest whose console is this daemon's.
fn described(tools: &Toolstack, domain: u16) -> Result<Option<(u64, u32)>, StoreError> {
    let home = format!("/local/domain/{domain}/console");
    let kind = tools.store.text(&format!("{home}/type"))?;
    if kind.is_some_and(|kind| kind != "xenconsoled") {
        return Ok(None);
    }
    let ring_ref = tools.store.number(&format!("{home}/ring-ref"))?;
    let port = tools.store.number(&format!("{home}/port"))?;
    Ok(ring_ref.zip(port))
}

/// Why a guest is not served.
#[derive(Debug)]
pub struct GuestError(String);

impl std::fmt::Display for GuestError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for GuestError {}

impl From<io::Error> for GuestError {
    fn from(error: io::Error) -> Self {
        Self(error.to_string())
    }
}

impl From<StoreError> for GuestError {
    fn from(error: StoreError) -> Self {
        Self(error.to_string())
    }
}

impl From<crate::xen::XenError> for GuestError {
    fn from(error: crate::xen::XenError) -> Self {
        Self(error.to_string())
    }
}

/// A guest's log file, begun anew when it is full.
struct Log {
    file: File,
    path: std::path::PathBuf,
    len: u64,
}

impl Log {
    fn open(folder: &Path, name: &str) -> Option<Self> {
        // A name is chosen by root, but no path may come out of it.
        let safe = name.replace('/', "_");
        let path = folder.join(format!("guest-{safe}.log"));
        let file = OpenOptions::new()
            .create(true)
            .append(true)
            .open(&path)
            .ok()?;
        let len = file.metadata().ok()?.len();
        Some(Self { file, path, len })
    }

    fn write(&mut self, bytes: &[u8]) {
        if self.len > LOG_LIMIT {
            let old = self.path.with_extension("log.old");
            let renamed = std::fs::rename(&self.path, old);
            let fresh = OpenOptions::new()
                .create(true)
                .append(true)
                .open(&self.path);
            if let (Ok(()), Ok(file)) = (renamed, fresh) {
                self.file = file;
                self.len = 0;
            }
        }
        // A full disk must not stop the console.
        if self.file.write_all(bytes).is_ok() {
            self.len += bytes.len() as u64;
        }
    }
}
