//! LZMA's range decoder: adaptive bits, direct bits and bit trees.
//!
//! Contract: the public-domain "LZMA specification". A probability is that of a 0 bit in units
//! of 1/2048; it stays within 31..=2017, so a range never becomes 0.

use super::lzma::LzmaError;

/// The range decoder over one run of input. Small and copied into the loops that use it, where it lives in registers;
/// so everything it does there is inlined. Arithmetic wraps: most of the time of a boot is spent here, and no value of
/// the input can do more than decode to nonsense.
#[derive(Clone, Copy)]
pub(super) struct RangeDecoder<'a> {
    input: &'a [u8],
    position: usize,
    range: u32,
    code: u32,
}

impl<'a> RangeDecoder<'a> {
    pub(super) fn new(input: &'a [u8]) -> Result<Self, LzmaError> {
        let head: [u8; 5] = *input.first_chunk().ok_or(LzmaError::InputEnds)?;
        let [zero, code @ ..] = head;
        if zero != 0 {
            return Err(LzmaError::Malformed(
                "its range coder does not start with zero",
            ));
        }
        Ok(Self {
            input,
            position: head.len(),
            range: u32::MAX,
            code: u32::from_be_bytes(code),
        })
    }

    /// Whether the run was used up exactly, as it must be at its end.
    pub(super) fn finished(&mut self) -> bool {
        self.normalise();
        self.code == 0 && self.position == self.input.len()
    }

    pub(super) fn overran(&self) -> bool {
        self.position > self.input.len()
    }

    #[inline(always)]
    fn normalise(&mut self) {
        if self.range < 1 << 24 {
            self.range <<= 8;
            // Past the end zeros are read; `overran` reports it before the next symbol.
            let next = self.input.get(self.position).copied().unwrap_or(0);
            self.code = self.code << 8 | u32::from(next);
            self.position = self.position.wrapping_add(1);
        }
    }

    #[inline(always)]
    pub(super) fn bit(&mut self, probability: &mut u16) -> usize {
        self.normalise();
        let bound = (self.range >> 11).wrapping_mul(u32::from(*probability));
        if self.code < bound {
            self.range = bound;
            *probability = probability.wrapping_add(2048u16.wrapping_sub(*probability) >> 5);
            0
        } else {
            self.range = self.range.wrapping_sub(bound);
            self.code = self.code.wrapping_sub(bound);
            *probability = probability.wrapping_sub(*probability >> 5);
            1
        }
    }

    #[inline(always)]
    pub(super) fn direct(&mut self, bits: u32) -> u32 {
        let mut value = 0;
        for _ in 0..bits {
            self.normalise();
            self.range >>= 1;
            let one = self.code >= self.range;
            if one {
                self.code = self.code.wrapping_sub(self.range);
            }
            value = value << 1 | u32::from(one);
        }
        value
    }

    /// A symbol below `N`, a power of two, most significant bit first.
    #[inline(always)]
    pub(super) fn tree<const N: usize>(&mut self, tree: &mut [u16; N]) -> usize {
        const { assert!(N.is_power_of_two()) };
        let mut symbol = 1;
        while symbol < N {
            symbol = symbol << 1 | self.bit(&mut tree[symbol]);
        }
        symbol - N
    }

    /// A symbol of `bits` bits, least significant bit first.
    #[inline(always)]
    pub(super) fn reverse_tree(&mut self, tree: &mut [u16], bits: u32) -> u32 {
        let mut node = 1;
        let mut symbol = 0;
        for shift in 0..bits {
            let bit = self.bit(&mut tree[node]);
            node = node << 1 | bit;
            symbol |= (bit as u32) << shift;
        }
        symbol
    }
}
