//! Zstandard's two bit orders: forward for table descriptions, backward for coded data.
//!
//! Contract: RFC 8878, 4.1 (forward, least significant bit first; a backward stream is read from
//! its last byte, whose highest set bit marks the end).

use super::Malformed;

/// Eight bytes of `data` from `byte`, zeros past the end.
#[inline]
fn word(data: &[u8], byte: usize) -> u64 {
    let rest = data.get(byte..).unwrap_or_default();
    match rest.first_chunk() {
        Some(bytes) => u64::from_le_bytes(*bytes),
        None => rest
            .iter()
            .rev()
            .fold(0, |word, &byte| word << 8 | u64::from(byte)),
    }
}

/// Reads from the first byte on.
pub(super) struct Forward<'a> {
    data: &'a [u8],
    position: usize,
}

impl<'a> Forward<'a> {
    pub(super) fn new(data: &'a [u8]) -> Self {
        Self { data, position: 0 }
    }

    /// The next `count` bits, at most 16, without consuming them; zeros past the end.
    pub(super) fn peek(&self, count: u32) -> u32 {
        (word(self.data, self.position / 8) >> (self.position % 8)) as u32 & ((1 << count) - 1)
    }

    pub(super) fn consume(&mut self, count: u32) {
        self.position += count as usize;
    }

    pub(super) fn read(&mut self, count: u32) -> u32 {
        let bits = self.peek(count);
        self.consume(count);
        bits
    }

    /// What follows the last byte that was touched.
    pub(super) fn rest(&self) -> Result<&'a [u8], Malformed> {
        self.data
            .get(self.position.div_ceil(8)..)
            .ok_or(Malformed("a table ends early"))
    }
}

/// Reads from the last bit on.
pub(super) struct Backward<'a> {
    data: &'a [u8],
    /// Bits not yet read; negative once more were read than there are.
    left: isize,
}

impl<'a> Backward<'a> {
    pub(super) fn new(data: &'a [u8]) -> Result<Self, Malformed> {
        let last = *data.last().ok_or(Malformed("a bit stream is empty"))?;
        if last == 0 {
            return Err(Malformed("a bit stream has no end mark"));
        }
        let mark = last.leading_zeros() as isize + 1;
        Ok(Self {
            data,
            left: data.len().cast_signed() * 8 - mark,
        })
    }

    /// The next `count` bits, at most 32, without consuming them; zeros past the beginning.
    #[inline]
    pub(super) fn peek(&self, count: u32) -> u64 {
        let mask = (1u64 << count) - 1;
        let start = self.left - count as isize;
        if start >= 0 {
            let start = start.cast_unsigned();
            return word(self.data, start / 8) >> (start % 8) & mask;
        }
        // Fewer bits are left: they are the high ones.
        let missing = start.unsigned_abs();
        if missing >= count as usize {
            0
        } else {
            word(self.data, 0) << missing & mask
        }
    }

    #[inline]
    pub(super) fn consume(&mut self, count: u32) {
        self.left -= count as isize;
    }

    #[inline]
    pub(super) fn read(&mut self, count: u32) -> u64 {
        let bits = self.peek(count);
        self.consume(count);
        bits
    }

    /// Whether every bit was read, and none beyond.
    pub(super) fn finished(&self) -> bool {
        self.left == 0
    }

    /// Whether more bits were read than there are.
    pub(super) fn overran(&self) -> bool {
        self.left < 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forward_reads_low_bits_first() {
        let mut bits = Forward::new(&[0b1010_0110, 0x0f, 0xee]);
        assert_eq!(
            (bits.read(3), bits.read(4), bits.read(5)),
            (0b110, 0b0100, 0b11111)
        );
        assert_eq!(bits.rest(), Ok(&[0xee][..]));
        bits.consume(13);
        assert!(bits.rest().is_err());
    }

    #[test]
    fn backward_reads_from_below_the_mark() {
        // Mark, then 101, then 0xab, then 0xcd.
        let mut bits = Backward::new(&[0xcd, 0xab, 0b1101]).unwrap();
        assert_eq!(
            (bits.read(3), bits.read(8), bits.read(4)),
            (0b101, 0xab, 0xc)
        );
        assert_eq!(bits.peek(6), 0xd << 2, "zeros follow the last bit");
        assert_eq!(bits.read(4), 0xd);
        assert!(bits.finished() && !bits.overran());
        assert_eq!(bits.read(5), 0);
        assert!(bits.overran());
        assert!(Backward::new(&[]).is_err());
        assert!(Backward::new(&[1, 0]).is_err());
    }
}
