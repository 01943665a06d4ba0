//! The protocol: one request at a time, its answer told from watch events by type and number.

use hypercall_abi::errno::Errno;
use hypercall_abi::io::xs_wire::{PAYLOAD_MAX, XSD_ERRORS, XsdSockmsg, XsdSockmsgType};
use zerocopy::{FromBytes, IntoBytes};

use crate::byte_ring::{BadIndex, ByteRing};

/// Bytes of a message's header.
const HEADER: usize = size_of::<XsdSockmsg>();

/// How the client reaches the store, and waits for it.
pub trait Link {
    /// Ring of requests.
    fn requests(&self) -> ByteRing<'_>;
    /// Ring of answers and watch events.
    fn answers(&self) -> ByteRing<'_>;
    /// Tells the store that a ring has changed.
    fn notify(&mut self);
    /// Waits until the store says that one has.
    ///
    /// # Errors
    /// If it takes too long.
    fn wait(&mut self) -> Result<(), Error>;
}

/// Why a request failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error {
    /// The store refused.
    Refused(Errno),
    /// The store refused with a word that the protocol does not have.
    UnknownRefusal,
    /// The request, or the answer, has more bytes than the protocol or the buffer allows.
    TooLong,
    /// A path or token holds a zero byte.
    ZeroByte,
    /// The store broke the ring's rules.
    Ring(BadIndex),
    /// The store sent what is no answer to the request.
    Protocol,
    /// The link gave up waiting.
    Timeout,
}

impl From<BadIndex> for Error {
    fn from(bad: BadIndex) -> Self {
        Self::Ring(bad)
    }
}

/// A client of the store. Watch events that arrive while it waits for an answer are counted, see [`Client::events`].
#[derive(Debug)]
pub struct Client<L> {
    link: L,
    last: u32,
    events: u32,
}

impl<L: Link> Client<L> {
    /// A client over a link on which no request is under way.
    #[must_use]
    pub const fn new(link: L) -> Self {
        Self {
            link,
            last: 0,
            events: 0,
        }
    }

    /// Watch events seen since the last call: after any, look again at what is watched.
    pub const fn events(&mut self) -> u32 {
        core::mem::replace(&mut self.events, 0)
    }

    /// Reads a node into a buffer. Returns the value.
    ///
    /// # Errors
    /// See [`Error`]; `Refused(ENOENT)` if there is no such node.
    pub fn read<'a>(
        &mut self,
        transaction: u32,
        path: &str,
        buffer: &'a mut [u8],
    ) -> Result<&'a [u8], Error> {
        let path = terminated(path)?;
        let parts: [&[u8]; 2] = [path, b"\0"];
        let length = self.request(XsdSockmsgType::READ, transaction, &parts, buffer)?;
        buffer.get(..length).ok_or(Error::TooLong)
    }

    /// Reads the names of a node's children into a buffer. Returns an iterator over them.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn directory<'a>(
        &mut self,
        transaction: u32,
        path: &str,
        buffer: &'a mut [u8],
    ) -> Result<impl Iterator<Item = &'a [u8]> + use<'a, L>, Error> {
        let path = terminated(path)?;
        let parts: [&[u8]; 2] = [path, b"\0"];
        let length = self.request(XsdSockmsgType::DIRECTORY, transaction, &parts, buffer)?;
        let names = buffer.get(..length).ok_or(Error::TooLong)?;
        Ok(names
            .split(|byte| *byte == 0)
            .filter(|name| !name.is_empty()))
    }

    /// Writes a node.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn write(&mut self, transaction: u32, path: &str, value: &[u8]) -> Result<(), Error> {
        let path = terminated(path)?;
        self.order(XsdSockmsgType::WRITE, transaction, &[path, b"\0", value])
    }

    /// Removes a node and all below it.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn remove(&mut self, transaction: u32, path: &str) -> Result<(), Error> {
        let path = terminated(path)?;
        self.order(XsdSockmsgType::RM, transaction, &[path, b"\0"])
    }

    /// Watches a node and all below it. The first event comes at once.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn watch(&mut self, path: &str, token: &str) -> Result<(), Error> {
        let parts = [terminated(path)?, b"\0", terminated(token)?, b"\0"];
        self.order(XsdSockmsgType::WATCH, 0, &parts)
    }

    /// Starts a transaction. Returns its number.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn begin(&mut self) -> Result<u32, Error> {
        let mut buffer = [0; 16];
        let kind = XsdSockmsgType::TRANSACTION_START;
        let length = self.request(kind, 0, &[b"\0"], &mut buffer)?;
        let digits = buffer.get(..length).ok_or(Error::Protocol)?;
        let digits = digits.strip_suffix(b"\0").unwrap_or(digits);
        let text = core::str::from_utf8(digits).map_err(|_| Error::Protocol)?;
        text.parse().map_err(|_| Error::Protocol)
    }

    /// Ends a transaction. `Refused(EAGAIN)` means that it has to be done again.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn end(&mut self, transaction: u32, commit: bool) -> Result<(), Error> {
        let word: &[u8] = if commit { b"T\0" } else { b"F\0" };
        self.order(XsdSockmsgType::TRANSACTION_END, transaction, &[word])
    }

    /// A request that is answered with `OK`.
    fn order(
        &mut self,
        kind: XsdSockmsgType,
        transaction: u32,
        parts: &[&[u8]],
    ) -> Result<(), Error> {
        let mut buffer = [0; 4];
        let length = self.request(kind, transaction, parts, &mut buffer)?;
        match buffer.get(..length) {
            Some(b"OK\0") => Ok(()),
            _ => Err(Error::Protocol),
        }
    }

    /// Sends a request and waits for its answer. The answer's length, which the buffer holds.
    fn request(
        &mut self,
        kind: XsdSockmsgType,
        transaction: u32,
        parts: &[&[u8]],
        buffer: &mut [u8],
    ) -> Result<usize, Error> {
        let length: usize = parts.iter().map(|part| part.len()).sum();
        if length > PAYLOAD_MAX {
            return Err(Error::TooLong);
        }
        self.last = self.last.wrapping_add(1);
        let header = XsdSockmsg {
            r#type: kind,
            req_id: self.last,
            tx_id: transaction,
            len: length as u32,
        };
        self.send(header.as_bytes())?;
        for part in parts {
            self.send(part)?;
        }
        loop {
            let mut bytes = [0; HEADER];
            self.receive(&mut bytes)?;
            let answer = XsdSockmsg::read_from_bytes(&bytes).map_err(|_| Error::Protocol)?;
            let length = answer.len as usize;
            if length > PAYLOAD_MAX {
                return Err(Error::Protocol);
            }
            if answer.r#type == XsdSockmsgType::WATCH_EVENT {
                self.events = self.events.saturating_add(1);
                self.skip(length)?;
                continue;
            }
            if answer.req_id != self.last {
                // The answer to a request that was given up.
                self.skip(length)?;
                continue;
            }
            if answer.r#type == XsdSockmsgType::ERROR {
                return Err(self.refusal(length)?);
            }
            let fits = buffer.get_mut(..length);
            let Some(place) = fits else {
                self.skip(length)?;
                return Err(Error::TooLong);
            };
            self.receive(place)?;
            if answer.r#type != kind || answer.tx_id != transaction {
                return Err(Error::Protocol);
            }
            return Ok(length);
        }
    }

    /// Reads the word of an error.
    fn refusal(&mut self, length: usize) -> Result<Error, Error> {
        let mut word = [0; 16];
        let Some(word) = word.get_mut(..length) else {
            self.skip(length)?;
            return Ok(Error::UnknownRefusal);
        };
        self.receive(word)?;
        let name = word.strip_suffix(b"\0").unwrap_or(word);
        let known = XSD_ERRORS
            .iter()
            .find(|(_, known)| known.as_bytes() == name);
        Ok(known.map_or(Error::UnknownRefusal, |(errno, _)| Error::Refused(*errno)))
    }

    fn send(&mut self, mut bytes: &[u8]) -> Result<(), Error> {
        while !bytes.is_empty() {
            let written = self.link.requests().write(bytes)?;
            bytes = bytes.get(written..).unwrap_or(&[]);
            if written == 0 {
                self.link.wait()?;
            } else {
                self.link.notify();
            }
        }
        Ok(())
    }

    fn receive(&mut self, mut buffer: &mut [u8]) -> Result<(), Error> {
        while !buffer.is_empty() {
            let taken = self.link.answers().read(buffer)?;
            buffer = buffer.get_mut(taken..).unwrap_or(&mut []);
            if taken == 0 {
                self.link.wait()?;
            } else {
                self.link.notify();
            }
        }
        Ok(())
    }

    fn skip(&mut self, mut length: usize) -> Result<(), Error> {
        let mut sink = [0; 64];
        while length > 0 {
            let some = length.min(sink.len());
            self.receive(sink.get_mut(..some).unwrap_or(&mut []))?;
            length -= some;
        }
        Ok(())
    }
}

/// The bytes of a path or token, which a zero byte would end early.
fn terminated(text: &str) -> Result<&[u8], Error> {
    if text.as_bytes().contains(&0) {
        return Err(Error::ZeroByte);
    }
    Ok(text.as_bytes())
}
