//! The console daemon: one pseudo-terminal per guest.
//!
//! It keeps nothing that matters: rings are the guests', descriptions are in xenstore. Killed and started again, it serves every
//! guest as before, on new terminals.
//!
//! Contract: what xenconsoled 4.17 does: the nodes under `console`, reserved grant reference 0, `/var/log/xen/console`.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use super::guest::Guest;
use crate::domain::{Code, State, ToolError, Toolstack};
use crate::store::Connection;
use crate::sys::event_channel::EventChannels;
use crate::sys::gntdev::GrantMaps;
use crate::sys::poll::{Interest, poll};
use crate::xen::Xen;
use crate::xen::live::LiveXen;
use std::os::fd::AsFd as _;

/// `VIRQ_CON_RING`.
const VIRQ_CON_RING: u32 = 8;

/// Of all watches: whatever has changed, all guests are looked at.
const TOKEN: &str = "domains";

/// Where the nodes of the console of `domain` are.
fn console(domain: u16) -> String {
    format!("/local/domain/{domain}/console")
}

/// What the daemon does beside serving guests.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Where guests' logs go; nowhere if absent.
    pub logs: Option<PathBuf>,
    /// Whether the hypervisor's messages are logged, too.
    pub log_hypervisor: bool,
}

/// Serves guests until it is killed, or until the store's daemon goes away.
///
/// # Errors
/// A device is missing, or the store cannot be reached any more.
pub fn serve(options: &Options) -> Result<(), ToolError> {
    let xen: Box<dyn Xen> = Box::new(LiveXen::open()?);
    let connection = Connection::open()?;
    let waiting = connection.as_fd().try_clone_to_owned()?;
    let tools = Toolstack {
        xen,
        store: Box::new(connection),
    };
    let missing = |device: &str, module: &str, error: std::io::Error| {
        ToolError::new(
            Code::Other,
            format!("{device} cannot be opened ({error}): load the kernel module {module}"),
        )
    };
    let events =
        EventChannels::open().map_err(|error| missing("/dev/xen/evtchn", "xen-evtchn", error))?;
    let grants =
        GrantMaps::open().map_err(|error| missing("/dev/xen/gntdev", "xen-gntdev", error))?;
    if let Some(folder) = &options.logs {
        std::fs::create_dir_all(folder)?;
    }
    let mut daemon = Daemon {
        tools,
        events,
        grants,
        logs: options.logs.clone(),
        guests: BTreeMap::new(),
        refused: BTreeMap::new(),
        awaited: BTreeSet::new(),
        hypervisor: None,
    };
    if options.log_hypervisor {
        daemon.log_hypervisor();
    }
    daemon.tools.store.watch("@introduceDomain", TOKEN)?;
    daemon.tools.store.watch("@releaseDomain", TOKEN)?;
    loop {
        daemon.turn(&waiting)?;
    }
}

struct Daemon {
    tools: Toolstack,
    events: EventChannels,
    grants: GrantMaps,
    logs: Option<PathBuf>,
    guests: BTreeMap<u16, Guest>,
    /// Guests that could not be served, and what was said about it, so that it is said once.
    refused: BTreeMap<u16, String>,
    /// Guests whose nodes are not there yet: libxl writes them after it has introduced the guest.
    awaited: BTreeSet<u16>,
    hypervisor: Option<HypervisorLog>,
}

struct HypervisorLog {
    port: u32,
    index: u32,
    file: std::fs::File,
}

impl Daemon {
    /// Waits for something to happen and deals with it.
    fn turn(&mut self, store: &std::os::fd::OwnedFd) -> Result<(), ToolError> {
        // An event may have come with the answer to a request.
        self.take_store_events()?;
        let now = Instant::now();
        let timeout = self
            .guests
            .values()
            .filter_map(|guest| guest.masked_until)
            .map(|until| until.saturating_duration_since(now))
            .min();
        let ids: Vec<u16> = self.guests.keys().copied().collect();
        let mut interests = vec![
            Interest {
                file: store.as_fd(),
                write: false,
            },
            Interest {
                file: self.events.as_fd(),
                write: false,
            },
        ];
        for guest in self.guests.values() {
            interests.push(Interest {
                file: guest.pty.master.as_fd(),
                write: guest.has_unread(),
            });
        }
        let ready = poll(&interests, timeout)?;
        let is = |index: usize| ready.get(index).is_some_and(|ready| ready.readable);
        if is(1) {
            self.take_events();
        }
        for (domain, ready) in ids.iter().zip(ready.iter().skip(2)) {
            let Some(guest) = self.guests.get_mut(domain) else {
                continue;
            };
            if ready.writable {
                guest.feed();
            }
            if ready.readable && guest.wants_input() && guest.read_input() {
                let _ = self.events.notify(guest.port);
            }
        }
        self.unmask_due();
        Ok(())
    }

    fn take_store_events(&mut self) -> Result<(), ToolError> {
        let mut changed = false;
        while self.tools.store.event(Some(Duration::ZERO))?.is_some() {
            changed = true;
        }
        if changed {
            self.update_guests()?;
        }
        Ok(())
    }

    /// Begins to serve new guests and forgets those that are gone.
    fn update_guests(&mut self) -> Result<(), ToolError> {
        let mut alive = Vec::new();
        for info in self.tools.xen.domains()? {
            if info.domain.0 != 0 && !State::of(&info).dying {
                alive.push(info.domain.0);
            }
        }
        let mut gone = Vec::new();
        for (domain, guest) in &mut self.guests {
            if !alive.contains(domain) || !guest.is_current(&self.tools)? {
                // Its last words.
                guest.exchange();
                gone.push(*domain);
            }
        }
        for domain in gone {
            if let Some(guest) = self.guests.remove(&domain) {
                let _ = self.events.unbind(guest.port);
            }
        }
        self.refused.retain(|domain, _| alive.contains(domain));
        for domain in std::mem::take(&mut self.awaited) {
            if alive.contains(&domain) {
                self.awaited.insert(domain);
            } else {
                self.tools.store.unwatch(&console(domain), TOKEN)?;
            }
        }
        for domain in alive {
            if self.guests.contains_key(&domain) {
                continue;
            }
            let logs = self.logs.as_deref();
            match Guest::open(&self.tools, &self.events, &self.grants, logs, domain) {
                Ok(Some(mut guest)) => {
                    // What it said before anybody listened.
                    if guest.exchange() {
                        let _ = self.events.notify(guest.port);
                    }
                    self.guests.insert(domain, guest);
                    if self.awaited.remove(&domain) {
                        self.tools.store.unwatch(&console(domain), TOKEN)?;
                    }
                }
                Ok(None) => {
                    if self.awaited.insert(domain) {
                        self.tools.store.watch(&console(domain), TOKEN)?;
                    }
                }
                Err(error) => {
                    let text = error.to_string();
                    if self.refused.get(&domain) != Some(&text) {
                        eprintln!("domain {domain} gets no console: {text}");
                        self.refused.insert(domain, text);
                    }
                }
            }
        }
        Ok(())
    }

    fn take_events(&mut self) {
        let Ok(ports) = self.events.pending() else {
            return;
        };
        let now = Instant::now();
        for port in ports {
            if self.hypervisor.as_ref().is_some_and(|log| log.port == port) {
                self.copy_hypervisor_log();
                let _ = self.events.unmask(port);
                continue;
            }
            let guest = self.guests.values_mut().find(|guest| guest.port == port);
            let Some(guest) = guest else {
                // Of a guest that went in this turn.
                continue;
            };
            if guest.exchange() {
                let _ = self.events.notify(port);
            }
            match guest.count_event(now) {
                // The port stays masked: the guest may notify as much as it likes.
                Some(wait) => guest.masked_until = Some(now + wait),
                None => {
                    let _ = self.events.unmask(port);
                }
            }
        }
    }

    /// Lets guests in again whose period is over.
    fn unmask_due(&mut self) {
        let now = Instant::now();
        for guest in self.guests.values_mut() {
            if guest.masked_until.is_some_and(|until| until <= now) {
                guest.masked_until = None;
                if guest.exchange() {
                    let _ = self.events.notify(guest.port);
                }
                let _ = self.events.unmask(guest.port);
            }
        }
    }

    fn log_hypervisor(&mut self) {
        let Some(folder) = &self.logs else { return };
        let file = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(folder.join("hypervisor.log"));
        match (self.events.bind_virq(VIRQ_CON_RING), file) {
            (Ok(port), Ok(file)) => {
                self.hypervisor = Some(HypervisorLog {
                    port,
                    index: 0,
                    file,
                });
                self.copy_hypervisor_log();
            }
            (Err(error), _) => eprintln!("the hypervisor's messages are not logged: {error}"),
            (_, Err(error)) => eprintln!("hypervisor.log cannot be written: {error}"),
        }
    }

    fn copy_hypervisor_log(&mut self) {
        let Some(log) = &mut self.hypervisor else {
            return;
        };
        while let Ok((bytes, next)) = self.tools.xen.console_ring_since(log.index) {
            log.index = next;
            if bytes.is_empty() || log.file.write_all(&bytes).is_err() {
                return;
            }
        }
    }
}
