//! What is said to whom, for people: a file (`-T`, `CONTROL logfile`), and the system's log for what matters.

use std::fmt::Write as _;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;

use hypercall_abi::io::xs_wire::XenstoreError;

use super::connection::ConnectionId;
use crate::xenstore::wire::Message;

/// Where the system's log listens.
const SYSLOG: &str = "/dev/log";

/// The trace.
#[derive(Debug, Default)]
pub struct Trace {
    path: Option<PathBuf>,
    file: Option<File>,
    /// Every message goes to standard output, too.
    pub verbose: bool,
}

impl Trace {
    /// Traces into this file from now on; whether it can be opened.
    pub fn open(&mut self, path: PathBuf) -> bool {
        self.path = Some(path);
        self.reopen()
    }

    /// Opens the file again, after somebody has moved it away; whether that worked.
    pub fn reopen(&mut self) -> bool {
        self.file = self.path.as_ref().and_then(|path| {
            OpenOptions::new()
                .append(true)
                .create(true)
                .mode(0o600)
                .open(path)
                .ok()
        });
        self.line("\n***");
        self.file.is_some()
    }

    /// Stops.
    pub fn close(&mut self) {
        self.file = None;
    }

    fn line(&mut self, text: &str) {
        if let Some(file) = &mut self.file {
            // A trace that cannot be written must not stop the store.
            let _ = writeln!(file, "{text}");
        }
        if self.verbose {
            println!("{text}");
        }
    }

    const fn is_on(&self) -> bool {
        self.file.is_some() || self.verbose
    }

    fn message(&mut self, direction: &str, id: ConnectionId, message: &Message) {
        if !self.is_on() {
            return;
        }
        let name = message
            .kind
            .name()
            .and_then(|name| name.strip_prefix("XS_"))
            .unwrap_or("**UNKNOWN**");
        let mut line = format!("{direction} {} {name} (", id.0);
        for byte in &message.payload {
            let _ = match byte {
                0 => write!(line, " "),
                0x20..=0x7e => write!(line, "{}", char::from(*byte)),
                other => write!(line, "\\x{other:02x}"),
            };
        }
        line.push(')');
        self.line(&line);
    }

    pub(super) fn received(&mut self, id: ConnectionId, message: &Message) {
        self.message("IN", id, message);
    }

    pub(super) fn queued(&mut self, id: ConnectionId, message: &Message) {
        self.message("OUT", id, message);
    }

    pub(super) fn created(&mut self, id: ConnectionId) {
        self.line(&format!("CREATE connection {}", id.0));
    }

    pub(super) fn destroyed(&mut self, id: ConnectionId) {
        self.line(&format!("DESTROY connection {}", id.0));
    }

    pub(super) fn ignored(&mut self, id: ConnectionId, why: XenstoreError) {
        self.line(&format!("CONN {} ignored, reason {}", id.0, why.0));
    }

    /// Something that the administrator should know.
    pub fn report(&mut self, text: &str) {
        self.line(text);
        // Facility daemon, level error. Without a listener it goes to standard error, where an init system keeps it.
        let packet = format!("<27>xenstored[{}]: {text}", std::process::id());
        let sent = UnixDatagram::unbound()
            .and_then(|socket| {
                socket.set_nonblocking(true)?;
                socket.send_to(packet.as_bytes(), SYSLOG)
            })
            .is_ok();
        if !sent {
            eprintln!("xenstored: {text}");
        }
    }
}
