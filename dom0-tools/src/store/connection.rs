//! A client of xenstored over its socket, or over the kernel's device where the daemon is elsewhere.
//!
//! Contract: public/io/xs_wire.h; one request at a time, events come between answers.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use hypercall_abi::io::xs_wire::{PAYLOAD_MAX, XsdSockmsg, XsdSockmsgType};
use zerocopy::{FromZeros, IntoBytes};

use super::{Perms, Store, StoreError, Tx, WatchEvent};
use crate::sys::poll::{Interest, poll};

/// Where the daemon listens; the second is the same folder where `/var/run` is no link.
const SOCKETS: [&str; 2] = ["/run/xenstored/socket", "/var/run/xenstored/socket"];
/// The kernel's own client, for a daemon in another domain.
const DEVICE: &str = "/dev/xen/xenbus";

/// A connection to the daemon.
#[derive(Debug)]
pub struct Connection {
    stream: File,
    events: RefCell<VecDeque<WatchEvent>>,
    next_id: Cell<u32>,
}

impl Connection {
    /// Connects to the daemon of this domain.
    ///
    /// # Errors
    /// There is none.
    pub fn open() -> Result<Self, StoreError> {
        let chosen = std::env::var("XENSTORED_PATH").ok();
        let sockets = chosen
            .iter()
            .map(String::as_str)
            .chain(SOCKETS.iter().copied());
        for path in sockets {
            if let Ok(stream) = UnixStream::connect(path) {
                return Ok(Self::over(OwnedFd::from(stream)));
            }
        }
        // In a dom0 that runs the daemon itself, the device waits for ever while no daemon serves it.
        if std::fs::read_to_string("/proc/xen/capabilities")
            .is_ok_and(|text| text.contains("control_d"))
        {
            return Err(StoreError::NoDaemon(SOCKETS.join(", ")));
        }
        let device = OpenOptions::new().read(true).write(true).open(DEVICE);
        device
            .map(|file| Self::over(OwnedFd::from(file)))
            .map_err(|_| StoreError::NoDaemon(format!("{}, {DEVICE}", SOCKETS.join(", "))))
    }

    /// Speaks over an open stream.
    #[must_use]
    pub fn over(stream: OwnedFd) -> Self {
        Self {
            stream: File::from(stream),
            events: RefCell::default(),
            next_id: Cell::new(1),
        }
    }

    fn request(
        &self,
        kind: XsdSockmsgType,
        tx: Tx,
        parts: &[&[u8]],
    ) -> Result<Vec<u8>, StoreError> {
        let refused = |error: &str| StoreError::Refused {
            request: describe(kind, parts),
            error: error.to_owned(),
        };
        let len: usize = parts.iter().map(|part| part.len()).sum();
        if len > PAYLOAD_MAX {
            return Err(refused("E2BIG"));
        }
        let id = self.next_id.get();
        self.next_id.set(id.wrapping_add(1));
        let header = XsdSockmsg {
            r#type: kind,
            req_id: id,
            tx_id: tx.0,
            len: len as u32,
        };
        let mut message = header.as_bytes().to_vec();
        for part in parts {
            message.extend_from_slice(part);
        }
        (&self.stream)
            .write_all(&message)
            .map_err(StoreError::Broken)?;
        loop {
            let (header, payload) = self.receive().map_err(StoreError::Broken)?;
            match header.r#type {
                XsdSockmsgType::WATCH_EVENT => self.keep_event(&payload),
                _ if header.req_id != id => {}
                XsdSockmsgType::ERROR => {
                    let error = payload.strip_suffix(&[0]).unwrap_or(&payload);
                    return Err(refused(&String::from_utf8_lossy(error)));
                }
                _ => return Ok(payload),
            }
        }
    }

    fn receive(&self) -> io::Result<(XsdSockmsg, Vec<u8>)> {
        let mut header = XsdSockmsg::new_zeroed();
        (&self.stream).read_exact(header.as_mut_bytes())?;
        let len = header.len as usize;
        if len > PAYLOAD_MAX {
            return Err(io::Error::other(
                "an answer longer than the protocol allows",
            ));
        }
        let mut payload = vec![0; len];
        (&self.stream).read_exact(&mut payload)?;
        Ok((header, payload))
    }

    fn keep_event(&self, payload: &[u8]) {
        let mut parts = payload.split(|byte| *byte == 0);
        let (Some(path), Some(token)) = (parts.next(), parts.next()) else {
            return;
        };
        self.events.borrow_mut().push_back(WatchEvent {
            path: String::from_utf8_lossy(path).into_owned(),
            token: String::from_utf8_lossy(token).into_owned(),
        });
    }

    fn path_request(
        &self,
        kind: XsdSockmsgType,
        tx: Tx,
        path: &str,
    ) -> Result<Option<Vec<u8>>, StoreError> {
        match self.request(kind, tx, &[path.as_bytes(), &[0]]) {
            Ok(payload) => Ok(Some(payload)),
            Err(error) if error.is(hypercall_abi::Errno::ENOENT) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// A request for people: its name and its path.
fn describe(kind: XsdSockmsgType, parts: &[&[u8]]) -> String {
    let name = kind.name().unwrap_or("").trim_start_matches("XS_");
    let path = parts.first().copied().unwrap_or_default();
    format!("{} {}", name.to_lowercase(), String::from_utf8_lossy(path))
}

impl AsFd for Connection {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}

impl Store for Connection {
    fn read(&self, tx: Tx, path: &str) -> Result<Option<Vec<u8>>, StoreError> {
        self.path_request(XsdSockmsgType::READ, tx, path)
    }

    fn list(&self, tx: Tx, path: &str) -> Result<Option<Vec<String>>, StoreError> {
        let payload = match self.path_request(XsdSockmsgType::DIRECTORY, tx, path) {
            Err(error) if error.is(hypercall_abi::Errno::E2BIG) => Some(self.long_list(tx, path)?),
            payload => payload?,
        };
        Ok(payload.map(|payload| {
            let mut names: Vec<String> = payload
                .split(|byte| *byte == 0)
                .filter(|name| !name.is_empty())
                .map(|name| String::from_utf8_lossy(name).into_owned())
                .collect();
            names.sort();
            names
        }))
    }

    fn write(&self, tx: Tx, path: &str, value: &[u8]) -> Result<(), StoreError> {
        self.request(XsdSockmsgType::WRITE, tx, &[path.as_bytes(), &[0], value])
            .map(|_| ())
    }

    fn mkdir(&self, tx: Tx, path: &str) -> Result<(), StoreError> {
        self.request(XsdSockmsgType::MKDIR, tx, &[path.as_bytes(), &[0]])
            .map(|_| ())
    }

    fn remove(&self, tx: Tx, path: &str) -> Result<bool, StoreError> {
        self.path_request(XsdSockmsgType::RM, tx, path)
            .map(|answer| answer.is_some())
    }

    fn set_perms(&self, tx: Tx, path: &str, perms: &Perms) -> Result<(), StoreError> {
        let parts: [&[u8]; 3] = [path.as_bytes(), &[0], perms.0.as_bytes()];
        self.request(XsdSockmsgType::SET_PERMS, tx, &parts)
            .map(|_| ())
    }

    fn perms(&self, tx: Tx, path: &str) -> Result<Perms, StoreError> {
        let payload = self.request(XsdSockmsgType::GET_PERMS, tx, &[path.as_bytes(), &[0]])?;
        Ok(Perms(String::from_utf8_lossy(&payload).into_owned()))
    }

    fn begin(&self) -> Result<Tx, StoreError> {
        let payload = self.request(XsdSockmsgType::TRANSACTION_START, Tx::NONE, &[&[0]])?;
        let text = String::from_utf8_lossy(&payload);
        text.trim_end_matches('\0')
            .parse()
            .map(Tx)
            .map_err(|_| StoreError::Broken(io::Error::other("a transaction without a number")))
    }

    fn end(&self, tx: Tx, commit: bool) -> Result<bool, StoreError> {
        let verdict: &[u8] = if commit { b"T\0" } else { b"F\0" };
        match self.request(XsdSockmsgType::TRANSACTION_END, tx, &[verdict]) {
            Ok(_) => Ok(true),
            Err(error) if error.is(hypercall_abi::Errno::EAGAIN) => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn watch(&self, path: &str, token: &str) -> Result<(), StoreError> {
        let parts: [&[u8]; 4] = [path.as_bytes(), &[0], token.as_bytes(), &[0]];
        self.request(XsdSockmsgType::WATCH, Tx::NONE, &parts)
            .map(|_| ())
    }

    fn unwatch(&self, path: &str, token: &str) -> Result<(), StoreError> {
        let parts: [&[u8]; 4] = [path.as_bytes(), &[0], token.as_bytes(), &[0]];
        self.request(XsdSockmsgType::UNWATCH, Tx::NONE, &parts)
            .map(|_| ())
    }

    fn event(&self, timeout: Option<Duration>) -> Result<Option<WatchEvent>, StoreError> {
        let deadline = timeout.map(|timeout| std::time::Instant::now() + timeout);
        loop {
            if let Some(event) = self.events.borrow_mut().pop_front() {
                return Ok(Some(event));
            }
            let left = deadline
                .map(|deadline| deadline.saturating_duration_since(std::time::Instant::now()));
            let interest = Interest {
                file: self.as_fd(),
                write: false,
            };
            let ready = poll(&[interest], left).map_err(StoreError::Broken)?;
            if ready.first().is_some_and(|ready| ready.readable) {
                let (header, payload) = self.receive().map_err(StoreError::Broken)?;
                if header.r#type == XsdSockmsgType::WATCH_EVENT {
                    self.keep_event(&payload);
                }
            } else if left.is_some_and(|left| left.is_zero()) {
                return Ok(None);
            }
        }
    }

    fn introduce(&self, domain: u16, mfn: u64, port: u32) -> Result<(), StoreError> {
        let text = format!("{domain}\0{mfn}\0{port}\0");
        self.request(XsdSockmsgType::INTRODUCE, Tx::NONE, &[text.as_bytes()])
            .map(|_| ())
    }

    fn release(&self, domain: u16) -> Result<(), StoreError> {
        let text = format!("{domain}\0");
        self.request(XsdSockmsgType::RELEASE, Tx::NONE, &[text.as_bytes()])
            .map(|_| ())
    }

    fn resume(&self, domain: u16) -> Result<(), StoreError> {
        let text = format!("{domain}\0");
        self.request(XsdSockmsgType::RESUME, Tx::NONE, &[text.as_bytes()])
            .map(|_| ())
    }
}

impl Connection {
    /// A list that does not fit one message: read in parts, from the start again when it changes meanwhile.
    fn long_list(&self, tx: Tx, path: &str) -> Result<Vec<u8>, StoreError> {
        'again: loop {
            let mut names = Vec::new();
            let mut generation = None;
            loop {
                let offset = names.len().to_string();
                let parts: [&[u8]; 4] = [path.as_bytes(), &[0], offset.as_bytes(), &[0]];
                let payload = self.request(XsdSockmsgType::DIRECTORY_PART, tx, &parts)?;
                let split = payload.iter().position(|byte| *byte == 0);
                let (count, part) = payload.split_at(split.map_or(payload.len(), |at| at + 1));
                if generation.get_or_insert_with(|| count.to_vec()) != count {
                    continue 'again;
                }
                // An empty name ends the last part.
                match part {
                    [] | [0] => return Ok(names),
                    [rest @ .., 0] if rest.ends_with(&[0]) => {
                        names.extend_from_slice(rest);
                        return Ok(names);
                    }
                    part => names.extend_from_slice(part),
                }
            }
        }
    }
}
