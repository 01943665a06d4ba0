//! The literals section of a block.
//!
//! Contract: RFC 8878, 3.1.1.3.1.

use alloc::vec::Vec;

use super::huffman::Code;
use super::{MAX_BLOCK, Malformed};

// Literals_Block_Type.
const RAW: u8 = 0;
const RLE: u8 = 1;
const COMPRESSED: u8 = 2;

const ENDS: Malformed = Malformed("a literals section ends early");

/// The literals of the current block, and the code that a later block may reuse.
pub(super) struct Literals {
    bytes: Vec<u8>,
    code: Option<Code>,
}

impl Literals {
    pub(super) fn new() -> Self {
        Self {
            bytes: Vec::with_capacity(MAX_BLOCK),
            code: None,
        }
    }

    /// Decodes the section at the start of `block`; returns its literals and what follows it.
    pub(super) fn decode<'a, 's>(
        &'s mut self,
        block: &'a [u8],
    ) -> Result<(&'s [u8], &'a [u8]), Malformed> {
        let first = *block.first().ok_or(ENDS)?;
        let (kind, format) = (first & 3, first >> 2 & 3);
        // The header's bytes, and how many bits a size has.
        let (header, size_bits) = match (kind, format) {
            (RAW | RLE, 0 | 2) => (1, 5),
            (RAW | RLE, 1) => (2, 12),
            (RAW | RLE, _) => (3, 20),
            (_, 0 | 1) => (3, 10),
            (_, 2) => (4, 14),
            (_, _) => (5, 18),
        };
        let (fields, rest) = block.split_at_checked(header).ok_or(ENDS)?;
        let fields = fields
            .iter()
            .rev()
            .fold(0u64, |all, &byte| all << 8 | u64::from(byte));
        let fields = fields >> if size_bits == 5 { 3 } else { 4 };
        let mask = (1 << size_bits) - 1;
        let size = (fields & mask) as usize;
        if size > MAX_BLOCK {
            return Err(Malformed("a literals section is too long"));
        }
        self.bytes.clear();
        let rest = match kind {
            RAW => {
                let (bytes, rest) = rest.split_at_checked(size).ok_or(ENDS)?;
                self.bytes.extend_from_slice(bytes);
                rest
            }
            RLE => {
                let (&byte, rest) = rest.split_first().ok_or(ENDS)?;
                self.bytes.resize(size, byte);
                rest
            }
            _ => {
                let packed = (fields >> size_bits & mask) as usize;
                let (packed, rest) = rest.split_at_checked(packed).ok_or(ENDS)?;
                self.bytes.resize(size, 0);
                self.huffman(packed, kind == COMPRESSED, format == 0)?;
                rest
            }
        };
        Ok((&self.bytes, rest))
    }

    fn huffman(&mut self, packed: &[u8], new: bool, single: bool) -> Result<(), Malformed> {
        let mut streams = packed;
        if new {
            let (code, rest) = Code::read(packed)?;
            self.code = Some(code);
            streams = rest;
        }
        let code = self
            .code
            .as_ref()
            .ok_or(Malformed("a block reuses a code that is not there"))?;
        if single {
            return code.decode(streams, &mut self.bytes);
        }
        // Four streams, the sizes of the first three ahead of them.
        let (&[a0, a1, b0, b1, c0, c1], mut streams) = streams.split_first_chunk().ok_or(ENDS)?;
        let share = self.bytes.len().div_ceil(4);
        let mut out = self.bytes.as_mut_slice();
        for size in [[a0, a1], [b0, b1], [c0, c1]] {
            let (stream, rest) = streams
                .split_at_checked(u16::from_le_bytes(size).into())
                .ok_or(ENDS)?;
            let (part, others) = out.split_at_mut_checked(share).ok_or(ENDS)?;
            code.decode(stream, part)?;
            (streams, out) = (rest, others);
        }
        code.decode(streams, out)
    }
}
