//! Huffman codes of literals.
//!
//! Contract: RFC 8878, 4.2.

use super::Malformed;
use super::bits::Backward;
use super::fse::{Cursor, Table};

/// Longest code.
const MAX_BITS: u32 = 11;
const MAX_WEIGHTS: usize = 255;
/// Accuracy limit of the weights' table, and their number of symbols (weights 0 to 12).
const WEIGHT_LOG: u32 = 6;
const WEIGHTS: usize = 13;

#[derive(Clone, Copy, Default)]
struct Entry {
    symbol: u8,
    bits: u8,
}

/// A decoding table: what the next bits mean.
pub(super) struct Code {
    bits: u32,
    entries: [Entry; 1 << MAX_BITS],
}

impl Code {
    /// Reads a description of the code; returns what follows it.
    pub(super) fn read(data: &[u8]) -> Result<(Self, &[u8]), Malformed> {
        let ends = Malformed("a Huffman code ends early");
        let (&header, rest) = data.split_first().ok_or(ends)?;
        let mut weights = [0u8; MAX_WEIGHTS];
        let (count, rest) = if let Some(count) = header.checked_sub(127) {
            let count = usize::from(count);
            let (packed, rest) = rest.split_at_checked(count.div_ceil(2)).ok_or(ends)?;
            let nibbles = packed.iter().flat_map(|&byte| [byte >> 4, byte & 0xf]);
            for (weight, nibble) in weights.iter_mut().zip(nibbles).take(count) {
                *weight = nibble;
            }
            (count, rest)
        } else {
            let (packed, rest) = rest.split_at_checked(header.into()).ok_or(ends)?;
            (unpack_weights(packed, &mut weights)?, rest)
        };
        let weights = weights.get(..count).ok_or(ends)?;
        Ok((Self::from_weights(weights)?, rest))
    }

    /// Builds the table; the last symbol's weight is what the others leave.
    fn from_weights(weights: &[u8]) -> Result<Self, Malformed> {
        let bad = Malformed("a Huffman code is malformed");
        let mut used = 0u32;
        for &weight in weights {
            if u32::from(weight) > MAX_BITS {
                return Err(bad);
            }
            used += (1 << weight) >> 1;
        }
        let bits = used.checked_ilog2().ok_or(bad)? + 1;
        let left = (1u32 << bits) - used;
        if bits > MAX_BITS || !left.is_power_of_two() {
            return Err(bad);
        }
        let last = left.ilog2() as u8 + 1;
        let mut code = Self {
            bits,
            entries: [Entry::default(); 1 << MAX_BITS],
        };
        let mut at = 0;
        // Longest codes first, in symbol order; a weight is how many entries a code fills.
        for weight in 1..=bits as u8 {
            for (symbol, &own) in (0u8..=255).zip(weights.iter().chain([&last])) {
                if own == weight {
                    let reach = 1usize << (weight - 1);
                    let filled = code.entries.get_mut(at..at + reach).ok_or(bad)?;
                    filled.fill(Entry {
                        symbol,
                        bits: bits as u8 + 1 - weight,
                    });
                    at += reach;
                }
            }
        }
        Ok(code)
    }

    /// Decodes one stream that holds exactly `out.len()` symbols.
    pub(super) fn decode(&self, stream: &[u8], out: &mut [u8]) -> Result<(), Malformed> {
        let mut bits = Backward::new(stream)?;
        for byte in out {
            let index = bits.peek(self.bits) as usize & ((1 << MAX_BITS) - 1);
            let entry = self.entries[index];
            *byte = entry.symbol;
            bits.consume(entry.bits.into());
        }
        if bits.finished() {
            Ok(())
        } else {
            Err(Malformed("a literal stream has a wrong length"))
        }
    }
}

/// Decodes weights that are FSE-coded with two alternating states; returns their number.
fn unpack_weights(packed: &[u8], weights: &mut [u8; MAX_WEIGHTS]) -> Result<usize, Malformed> {
    let (table, stream) = Table::read(packed, WEIGHTS, WEIGHT_LOG)?;
    let mut bits = Backward::new(stream)?;
    let mut even = Cursor::new(&table, &mut bits);
    let mut odd = Cursor::new(&table, &mut bits);
    let mut out = weights.iter_mut();
    let mut count = 0;
    let mut put = |symbol: u8| {
        *out.next()
            .ok_or(Malformed("a Huffman code has too many symbols"))? = symbol;
        count += 1;
        Ok(())
    };
    // The state that runs out of bits leaves the other's symbol as the last.
    loop {
        put(even.symbol())?;
        even.advance(&mut bits);
        if bits.overran() {
            put(odd.symbol())?;
            return Ok(count);
        }
        core::mem::swap(&mut even, &mut odd);
    }
}
