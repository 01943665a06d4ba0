//! Messages as bytes: the header, payloads made of strings, errors by name.
//!
//! Contract: `io/xs_wire.h`. Nothing here trusts its input: a length is checked before anything is kept.

use hypercall_abi::Errno;
use hypercall_abi::io::xs_wire::{PAYLOAD_MAX, XSD_ERRORS, XsdSockmsg, XsdSockmsgType};
use zerocopy::{FromBytes, IntoBytes};

/// Bytes of a header.
pub const HEADER: usize = size_of::<XsdSockmsg>();

/// A message with its payload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// What is asked or answered.
    pub kind: XsdSockmsgType,
    /// The asker's number, returned in the answer.
    pub request: u32,
    /// Transaction, or 0.
    pub transaction: u32,
    /// What follows the header.
    pub payload: Vec<u8>,
}

impl Message {
    /// A watch event for `path` with the watcher's token.
    #[must_use]
    pub fn event(path: &str, token: &[u8]) -> Self {
        Self {
            kind: XsdSockmsgType::WATCH_EVENT,
            request: 0,
            transaction: 0,
            payload: [path.as_bytes(), b"\0", token, b"\0"].concat(),
        }
    }

    /// Header and payload.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(HEADER + self.payload.len());
        let header = XsdSockmsg {
            r#type: self.kind,
            req_id: self.request,
            tx_id: self.transaction,
            len: u32::try_from(self.payload.len()).unwrap_or(u32::MAX),
        };
        bytes.extend_from_slice(header.as_bytes());
        bytes.extend_from_slice(&self.payload);
        bytes
    }
}

/// A payload longer than the protocol allows: the stream cannot be followed any further.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooLong(
    /// The length in the header, in bytes.
    pub u32,
);

/// Cuts a stream of bytes into messages.
#[derive(Debug, Default)]
pub struct Parser {
    bytes: Vec<u8>,
}

impl Parser {
    /// A parser that has these bytes of an unfinished message already.
    #[must_use]
    pub const fn resumed(bytes: Vec<u8>) -> Self {
        Self { bytes }
    }

    /// Bytes of the unfinished message.
    #[must_use]
    pub fn partial(&self) -> &[u8] {
        &self.bytes
    }

    /// How many bytes are to be read next: what the header, or the payload it announces, still lacks. 0 if the message is whole.
    ///
    /// # Errors
    /// The header announces too long a payload.
    pub fn wanted(&self) -> Result<usize, TooLong> {
        let Ok((header, rest)) = XsdSockmsg::read_from_prefix(&self.bytes) else {
            return Ok(HEADER - self.bytes.len());
        };
        match usize::try_from(header.len) {
            Ok(len) if len <= PAYLOAD_MAX => Ok(len.saturating_sub(rest.len())),
            _ => Err(TooLong(header.len)),
        }
    }

    /// Adds bytes, at most as many as [`Self::wanted`] said.
    pub fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// The message, once it is whole.
    pub fn take(&mut self) -> Option<Message> {
        let (header, payload) = XsdSockmsg::read_from_prefix(&self.bytes).ok()?;
        if payload.len() < usize::try_from(header.len).ok()? {
            return None;
        }
        let message = Message {
            kind: header.r#type,
            request: header.req_id,
            transaction: header.tx_id,
            payload: payload.to_vec(),
        };
        self.bytes.clear();
        Some(message)
    }
}

/// The name of an error in an `ERROR` message; `EINVAL` for one that the protocol cannot spell.
#[must_use]
pub fn error_name(error: Errno) -> &'static str {
    XSD_ERRORS
        .iter()
        .find(|(known, _)| *known == error)
        .map_or("EINVAL", |(_, name)| name)
}

/// The error with this name; `EINVAL` for an unknown one, as Xen's library takes it.
#[must_use]
pub fn error_named(name: &[u8]) -> Errno {
    XSD_ERRORS
        .iter()
        .find(|(_, known)| known.as_bytes() == name)
        .map_or(Errno::EINVAL, |(error, _)| *error)
}

/// The strings of a payload that end with a nul; what stands behind the last nul is left out.
pub fn strings(payload: &[u8]) -> impl Iterator<Item = &[u8]> {
    let ended = payload
        .iter()
        .rposition(|byte| *byte == 0)
        .map_or(&[][..], |last| &payload[..=last]);
    ended
        .split_inclusive(|byte| *byte == 0)
        .map(|string| &string[..string.len() - 1])
}

/// The only string of a payload.
///
/// # Errors
/// `EINVAL` unless the payload is one string with its nul at the very end.
pub fn only_string(payload: &[u8]) -> Result<&[u8], Errno> {
    match payload.split_last() {
        Some((0, string)) if !string.contains(&0) => Ok(string),
        _ => Err(Errno::EINVAL),
    }
}

/// A string as text; a path or a number is ASCII or nothing.
///
/// # Errors
/// `EINVAL` if it is not.
pub fn text(string: &[u8]) -> Result<&str, Errno> {
    std::str::from_utf8(string).map_err(|_| Errno::EINVAL)
}

/// A decimal number read as C's `atoi` reads it: leading blanks, a sign, digits; anything else ends it, and nothing is 0.
#[must_use]
pub fn number(string: &[u8]) -> i64 {
    let string = string.trim_ascii_start();
    let (negative, digits) = match string.split_first() {
        Some((b'-', rest)) => (true, rest),
        Some((b'+', rest)) => (false, rest),
        _ => (false, string),
    };
    let value =
        digits
            .iter()
            .take_while(|byte| byte.is_ascii_digit())
            .fold(0i64, |value, digit| {
                value
                    .saturating_mul(10)
                    .saturating_add(i64::from(digit - b'0'))
            });
    if negative { -value } else { value }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn strings_end_with_nuls() {
        assert_eq!(strings(b"a\0b\0rest").collect::<Vec<_>>(), [b"a", b"b"]);
        assert_eq!(strings(b"\0").collect::<Vec<_>>(), [b""]);
        assert_eq!(strings(b"abc").count(), 0);
        assert_eq!(only_string(b"a\0"), Ok(&b"a"[..]));
        for bad in [&b""[..], b"a", b"a\0b\0", b"a\0b"] {
            assert_eq!(only_string(bad), Err(Errno::EINVAL));
        }
    }

    #[test]
    fn numbers_are_atois() {
        for (text, value) in [("12", 12), (" -3x", -3), ("", 0), ("x", 0), ("+7", 7)] {
            assert_eq!(number(text.as_bytes()), value, "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_stream_is_cut_or_refused(chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..64), 0..64)) {
            let mut parser = Parser::default();
            for mut chunk in chunks.iter().map(Vec::as_slice) {
                while !chunk.is_empty() {
                    let Ok(wanted) = parser.wanted() else { return Ok(()) };
                    prop_assert!(wanted > 0 && parser.partial().len() + wanted <= HEADER + PAYLOAD_MAX);
                    let (now, later) = chunk.split_at(wanted.min(chunk.len()));
                    parser.push(now);
                    chunk = later;
                    if parser.wanted() == Ok(0) {
                        prop_assert!(parser.take().is_some());
                    }
                }
            }
        }

        #[test]
        fn a_message_survives_the_wire(kind in 0u32..30, request: u32, transaction: u32, payload in prop::collection::vec(any::<u8>(), 0..200), cut in 1usize..50) {
            let message = Message { kind: XsdSockmsgType(kind), request, transaction, payload };
            let mut parser = Parser::default();
            let bytes = message.to_bytes();
            let mut rest = bytes.as_slice();
            while !rest.is_empty() {
                let now = parser.wanted().unwrap().min(cut).min(rest.len());
                parser.push(&rest[..now]);
                rest = &rest[now..];
            }
            prop_assert_eq!(parser.take(), Some(message));
        }
    }
}
