//! The form in which text goes to the line, and lines of guests that may not write to it directly.

use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;

use hypercall_abi::xen::DomId;

/// Bytes handed to the machine at a time.
const CHUNK: usize = 128;

/// Writes bytes with line ends as a terminal wants them: a carriage return before every line feed, as Xen's serial
/// driver adds it.
pub(super) fn write_cooked(write: &dyn Fn(&[u8]), bytes: &[u8]) {
    let mut chunk = [0u8; CHUNK];
    let mut used = 0;
    for &byte in bytes {
        if used + 2 > CHUNK {
            write(&chunk[..used]);
            used = 0;
        }
        if byte == b'\n' {
            chunk[used] = b'\r';
            used += 1;
        }
        chunk[used] = byte;
        used += 1;
    }
    if used > 0 {
        write(&chunk[..used]);
    }
}

/// Longest line of a guest; longer ones are broken.
const MAX_GUEST_LINE: usize = 200;

/// Lines that guests have begun.
#[derive(Debug, Default)]
pub(super) struct GuestLines {
    begun: BTreeMap<u16, String>,
}

impl GuestLines {
    /// Adds text of `domain`; returns the lines that are complete now. Only printable ASCII and tabs survive: a guest
    /// must not control the operator's terminal.
    pub(super) fn add(&mut self, domain: DomId, bytes: &[u8]) -> Vec<String> {
        let line = self.begun.entry(domain.0).or_default();
        let mut complete = Vec::new();
        for &byte in bytes {
            match byte {
                b'\n' => complete.push(core::mem::take(line)),
                b'\t' | b' '..=b'~' => {
                    if line.len() >= MAX_GUEST_LINE {
                        complete.push(core::mem::take(line));
                    }
                    line.push(char::from(byte));
                }
                _ => {}
            }
        }
        complete
    }

    /// Drops what `domain` had begun.
    pub(super) fn forget(&mut self, domain: DomId) {
        self.begun.remove(&domain.0);
    }
}

#[cfg(test)]
mod tests {
    use core::cell::RefCell;

    use super::*;

    #[test]
    fn line_feeds_get_a_carriage_return_also_at_chunk_borders() {
        let written = RefCell::new(Vec::new());
        let write = |bytes: &[u8]| {
            assert!(bytes.len() <= CHUNK);
            written.borrow_mut().extend_from_slice(bytes);
        };
        let text = "x\n".repeat(CHUNK);
        write_cooked(&write, text.as_bytes());
        assert_eq!(
            written.borrow().as_slice(),
            "x\r\n".repeat(CHUNK).as_bytes()
        );
    }

    #[test]
    fn guest_lines_wait_for_their_end_and_lose_control_characters() {
        let mut lines = GuestLines::default();
        assert!(lines.add(DomId(1), b"he\x1b[2J").is_empty());
        assert!(lines.add(DomId(2), b"other").is_empty());
        assert_eq!(lines.add(DomId(1), b"llo\r\nnext"), ["he[2Jllo"]);
        assert_eq!(lines.add(DomId(1), b"\n"), ["next"]);
    }

    #[test]
    fn a_guest_line_without_end_is_broken() {
        let mut lines = GuestLines::default();
        let complete = lines.add(DomId(1), &[b'a'; 2 * MAX_GUEST_LINE + 1]);
        assert_eq!(complete.len(), 2);
        assert!(complete.iter().all(|line| line.len() == MAX_GUEST_LINE));
    }
}
