//! The log ring: the last messages, kept for `XEN_SYSCTL_readconsole` and for a debugger.
//!
//! Positions are free-running 32-bit counters, as the sysctl interface shows them to its callers (public header
//! sysctl.h, `xen_sysctl_readconsole.index`).

use alloc::boxed::Box;
use alloc::vec;
use alloc::vec::Vec;

/// Smallest ring; larger ones are powers of two.
pub const MIN_RING_BYTES: usize = 64 << 10;
/// Largest ring that an option may ask for.
pub const MAX_RING_BYTES: usize = 64 << 20;

/// The last bytes that were logged.
#[derive(Debug)]
pub struct LogRing {
    bytes: Box<[u8]>,
    /// Position after the newest byte.
    produced: u32,
    /// Position of the oldest byte that a plain read returns.
    consumed: u32,
}

impl LogRing {
    /// An empty ring of at least `bytes` bytes, rounded up to a power of two within the bounds above.
    #[must_use]
    pub fn new(bytes: usize) -> Self {
        let size = bytes
            .clamp(MIN_RING_BYTES, MAX_RING_BYTES)
            .next_power_of_two();
        Self {
            bytes: vec![0; size].into_boxed_slice(),
            produced: 0,
            consumed: 0,
        }
    }

    fn capacity(&self) -> u32 {
        u32::try_from(self.bytes.len()).unwrap_or(u32::MAX)
    }

    fn index(&self, position: u32) -> usize {
        (position & (self.capacity() - 1)) as usize
    }

    /// Adds bytes; the oldest ones make room.
    pub fn push(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            let at = self.index(self.produced);
            self.bytes[at] = byte;
            self.produced = self.produced.wrapping_add(1);
        }
        if self.produced.wrapping_sub(self.consumed) > self.capacity() {
            self.consumed = self.produced.wrapping_sub(self.capacity());
        }
    }

    /// Up to `max` bytes from the oldest one on, or, if `resume` is a position that is still inside, from there on.
    /// Returns them with the position after the last of them.
    #[must_use]
    pub fn read(&self, resume: Option<u32>, max: usize) -> (Vec<u8>, u32) {
        let kept = self.produced.wrapping_sub(self.consumed);
        let skip = resume
            .map(|at| at.wrapping_sub(self.consumed))
            .filter(|&skip| skip <= kept);
        let start = self.consumed.wrapping_add(skip.unwrap_or(0));
        let available = self.produced.wrapping_sub(start);
        let count = available.min(u32::try_from(max).unwrap_or(u32::MAX));
        let bytes = (0..count)
            .map(|i| self.bytes[self.index(start.wrapping_add(i))])
            .collect();
        (bytes, start.wrapping_add(count))
    }

    /// Forgets everything before `position`.
    pub fn clear_until(&mut self, position: u32) {
        let kept = self.produced.wrapping_sub(self.consumed);
        if position.wrapping_sub(self.consumed) <= kept {
            self.consumed = position;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_bytes_make_room_and_order_is_kept() {
        let mut ring = LogRing::new(0);
        let total = MIN_RING_BYTES + 1000;
        for i in 0..total {
            ring.push(&[(i % 251) as u8]);
        }
        let (bytes, end) = ring.read(None, usize::MAX);
        assert_eq!(bytes.len(), MIN_RING_BYTES);
        assert_eq!(bytes[0], (1000 % 251) as u8);
        assert_eq!(*bytes.last().unwrap(), ((total - 1) % 251) as u8);
        assert_eq!(end as usize, total);
    }

    #[test]
    fn reading_resumes_where_it_stopped_also_across_the_end_of_the_counter() {
        let mut ring = LogRing::new(0);
        ring.produced = u32::MAX - 2;
        ring.consumed = ring.produced;
        ring.push(b"hello world");
        let (first, index) = ring.read(None, 5);
        assert_eq!(first, b"hello");
        let (rest, index) = ring.read(Some(index), 100);
        assert_eq!(rest, b" world");
        assert_eq!(ring.read(Some(index), 100).0, b"");
        ring.push(b"!");
        assert_eq!(ring.read(Some(index), 100).0, b"!");
    }

    #[test]
    fn a_position_that_was_overwritten_reads_from_the_oldest_byte() {
        let mut ring = LogRing::new(0);
        ring.push(&vec![b'a'; MIN_RING_BYTES]);
        ring.push(b"tail");
        let (bytes, _) = ring.read(Some(1), usize::MAX);
        assert_eq!(bytes.len(), MIN_RING_BYTES);
        assert_eq!(&bytes[MIN_RING_BYTES - 4..], b"tail");
    }

    #[test]
    fn clearing_hides_what_was_read_only() {
        let mut ring = LogRing::new(0);
        ring.push(b"old");
        let (_, index) = ring.read(None, 10);
        ring.push(b"new");
        ring.clear_until(index);
        assert_eq!(ring.read(None, 10).0, b"new");
        ring.clear_until(index.wrapping_sub(1));
        assert_eq!(ring.read(None, 10).0, b"new");
    }

    #[test]
    fn sizes_are_powers_of_two_within_bounds() {
        assert_eq!(
            LogRing::new(MIN_RING_BYTES + 1).bytes.len(),
            2 * MIN_RING_BYTES
        );
        assert_eq!(LogRing::new(1).bytes.len(), MIN_RING_BYTES);
    }
}
