//! The LZMA decoder: probability model and LZ77 copies straight into the output.
//!
//! The output buffer is the dictionary, so the only heap is the literal model. Written against
//! the format description in Igor Pavlov's public-domain "LZMA specification". Decoding cannot
//! run away: every symbol produces at least a byte, and output is bounded by the caller.

use alloc::vec::Vec;

use super::output::{Output, OutputError};
use super::range_coder::RangeDecoder;

/// Largest sum of the literal context and position bits (also what .xz and liblzma allow).
const MAX_LITERAL_BITS: u32 = 4;
/// Probabilities of one literal coder.
const LITERAL_CODER: usize = 0x300;

const STATES: usize = 12;
/// States at or above this follow a match, so literals are coded against the byte at rep0.
const FIRST_STATE_AFTER_MATCH: usize = 7;
const POS_STATES: usize = 16;
const MIN_MATCH: usize = 2;
const EVEN: u16 = 1024;
/// Distance that ends the stream.
const END_MARKER: u32 = u32::MAX;

/// What is wrong with the stream; the caller adds the format's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LzmaError {
    /// The input ends early.
    InputEnds,
    /// Malformed; why.
    Malformed(&'static str),
    /// The symbol reaches past the permitted output.
    OutputFull,
}

impl From<OutputError> for LzmaError {
    fn from(error: OutputError) -> Self {
        match error {
            OutputError::Full => Self::OutputFull,
            OutputError::Distance => Self::Malformed("a match reaches before the data"),
        }
    }
}

/// The coder of match lengths.
struct LengthModel {
    choice: u16,
    choice2: u16,
    low: [[u16; 8]; POS_STATES],
    mid: [[u16; 8]; POS_STATES],
    high: [u16; 256],
}

impl LengthModel {
    const NEW: Self = Self {
        choice: EVEN,
        choice2: EVEN,
        low: [[EVEN; 8]; POS_STATES],
        mid: [[EVEN; 8]; POS_STATES],
        high: [EVEN; 256],
    };

    #[inline(always)]
    fn decode(&mut self, coder: &mut RangeDecoder<'_>, pos_state: usize) -> usize {
        if coder.bit(&mut self.choice) == 0 {
            coder.tree(&mut self.low[pos_state])
        } else if coder.bit(&mut self.choice2) == 0 {
            8 + coder.tree(&mut self.mid[pos_state])
        } else {
            16 + coder.tree(&mut self.high)
        }
    }
}

/// `lc`, `lp` and `pb` of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Properties {
    literal_context_bits: u32,
    literal_position_bits: u32,
    position_bits: u32,
}

impl Properties {
    /// Decodes the properties byte `(pb * 5 + lp) * 9 + lc`; None where it is out of range.
    pub(super) fn from_byte(byte: u8) -> Option<Self> {
        let byte = u32::from(byte);
        let properties = Self {
            literal_context_bits: byte % 9,
            literal_position_bits: byte / 9 % 5,
            position_bits: byte / 45,
        };
        let literal_bits = properties.literal_context_bits + properties.literal_position_bits;
        (properties.position_bits <= 4 && literal_bits <= MAX_LITERAL_BITS).then_some(properties)
    }
}

/// The probability model and LZ state of one stream.
pub(super) struct Decoder {
    properties: Properties,
    state: usize,
    reps: [u32; 4],
    literals: Vec<u16>,
    is_match: [[u16; POS_STATES]; STATES],
    is_rep: [u16; STATES],
    is_rep0: [u16; STATES],
    is_rep1: [u16; STATES],
    is_rep2: [u16; STATES],
    is_rep0_long: [[u16; POS_STATES]; STATES],
    slots: [[u16; 64]; 4],
    near: [u16; 115],
    align: [u16; 16],
    length: LengthModel,
    rep_length: LengthModel,
}

/// How a run of symbols ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    /// The output reached the wanted position.
    Full,
    /// The stream's end marker.
    Marker,
}

impl Decoder {
    pub(super) fn new(properties: Properties) -> Self {
        let mut decoder = Self {
            properties,
            state: 0,
            reps: [0; 4],
            literals: Vec::new(),
            is_match: [[EVEN; POS_STATES]; STATES],
            is_rep: [EVEN; STATES],
            is_rep0: [EVEN; STATES],
            is_rep1: [EVEN; STATES],
            is_rep2: [EVEN; STATES],
            is_rep0_long: [[EVEN; POS_STATES]; STATES],
            slots: [[EVEN; 64]; 4],
            near: [EVEN; 115],
            align: [EVEN; 16],
            length: LengthModel::NEW,
            rep_length: LengthModel::NEW,
        };
        decoder.reset_literals();
        decoder
    }

    /// Forgets what was learnt; `properties` may change.
    pub(super) fn reset(&mut self, properties: Properties) {
        self.properties = properties;
        self.state = 0;
        self.reps = [0; 4];
        self.is_match = [[EVEN; POS_STATES]; STATES];
        self.is_rep = [EVEN; STATES];
        self.is_rep0 = [EVEN; STATES];
        self.is_rep1 = [EVEN; STATES];
        self.is_rep2 = [EVEN; STATES];
        self.is_rep0_long = [[EVEN; POS_STATES]; STATES];
        self.slots = [[EVEN; 64]; 4];
        self.near = [EVEN; 115];
        self.align = [EVEN; 16];
        self.length = LengthModel::NEW;
        self.rep_length = LengthModel::NEW;
        self.reset_literals();
    }

    pub(super) fn properties(&self) -> Properties {
        self.properties
    }

    fn reset_literals(&mut self) {
        let bits = self.properties.literal_context_bits + self.properties.literal_position_bits;
        self.literals.clear();
        // Reserved at its largest once, so that a later reset never grows it.
        self.literals
            .reserve_exact(LITERAL_CODER << MAX_LITERAL_BITS);
        self.literals.resize(LITERAL_CODER << bits, EVEN);
    }

    /// Decodes symbols until `output` stands at `end` or the end marker comes.
    pub(super) fn run(
        &mut self,
        coder: &mut RangeDecoder<'_>,
        output: &mut Output<'_>,
        end: usize,
    ) -> Result<Ended, LzmaError> {
        let mut local = *coder;
        let ended = self.symbols(&mut local, output, end);
        *coder = local;
        ended
    }

    #[inline(always)]
    fn symbols(
        &mut self,
        coder: &mut RangeDecoder<'_>,
        output: &mut Output<'_>,
        end: usize,
    ) -> Result<Ended, LzmaError> {
        let pos_mask = (1 << self.properties.position_bits) - 1;
        while output.position() < end {
            if coder.overran() {
                return Err(LzmaError::InputEnds);
            }
            let pos_state = output.used() & pos_mask;
            let state = self.state;
            if coder.bit(&mut self.is_match[state][pos_state]) == 0 {
                self.literal(coder, output)?;
                continue;
            }
            let length = if coder.bit(&mut self.is_rep[state]) == 0 {
                let length = self.length.decode(coder, pos_state);
                let distance = self.distance(coder, length);
                self.reps.rotate_right(1);
                self.reps[0] = distance;
                self.state = if state < FIRST_STATE_AFTER_MATCH {
                    7
                } else {
                    10
                };
                if distance == END_MARKER {
                    return Ok(Ended::Marker);
                }
                length
            } else if self.repeats_short(coder, pos_state) {
                self.state = if state < FIRST_STATE_AFTER_MATCH {
                    9
                } else {
                    11
                };
                output.copy(self.reps[0] as usize, 1, end)?;
                continue;
            } else {
                self.state = if state < FIRST_STATE_AFTER_MATCH {
                    8
                } else {
                    11
                };
                self.rep_length.decode(coder, pos_state)
            };
            output.copy(self.reps[0] as usize, length + MIN_MATCH, end)?;
        }
        if coder.overran() {
            return Err(LzmaError::InputEnds);
        }
        Ok(Ended::Full)
    }

    /// After the wanted output: whether an end marker follows, as it may.
    pub(super) fn end_marker(&mut self, coder: &mut RangeDecoder<'_>, output: &Output<'_>) -> bool {
        let pos_mask = (1 << self.properties.position_bits) - 1;
        let pos_state = output.used() & pos_mask;
        if coder.bit(&mut self.is_match[self.state][pos_state]) == 0
            || coder.bit(&mut self.is_rep[self.state]) == 1
        {
            return false;
        }
        let length = self.length.decode(coder, pos_state);
        self.distance(coder, length) == END_MARKER && !coder.overran()
    }

    #[inline(always)]
    fn literal(
        &mut self,
        coder: &mut RangeDecoder<'_>,
        output: &mut Output<'_>,
    ) -> Result<(), LzmaError> {
        let context_bits = self.properties.literal_context_bits;
        let position_mask = (1usize << self.properties.literal_position_bits) - 1;
        let context = (output.used() & position_mask) << context_bits
            | usize::from(output.back(0)) >> (8 - context_bits);
        let (coders, _) = self.literals.as_chunks_mut::<LITERAL_CODER>();
        let tree = &mut coders[context];
        let mut symbol = 1;
        if self.state >= FIRST_STATE_AFTER_MATCH {
            let mut expected = usize::from(output.back(self.reps[0] as usize));
            let mut offset = 0x100;
            while symbol < 0x100 {
                expected <<= 1;
                let expected_bit = expected & offset;
                let bit = coder.bit(&mut tree[offset + expected_bit + symbol]);
                symbol = symbol << 1 | bit;
                offset &= if bit == 1 {
                    expected_bit
                } else {
                    !expected_bit
                };
            }
        } else {
            while symbol < 0x100 {
                symbol = symbol << 1 | coder.bit(&mut tree[symbol]);
            }
        }
        self.state = match self.state {
            0..4 => 0,
            4..10 => self.state - 3,
            _ => self.state - 6,
        };
        Ok(output.push(symbol.to_le_bytes()[0])?)
    }

    /// The distance of a match with length symbol `length`.
    #[inline(always)]
    fn distance(&mut self, coder: &mut RangeDecoder<'_>, length: usize) -> u32 {
        let slot = coder.tree(&mut self.slots[length.min(3)]) as u32;
        if slot < 4 {
            return slot;
        }
        let bits = (slot >> 1) - 1;
        let base = (2 | slot & 1) << bits;
        if slot < 14 {
            base + coder.reverse_tree(&mut self.near[(base - slot) as usize..], bits)
        } else {
            let high = coder.direct(bits - 4) << 4;
            // 2^32 - 1, the end marker, is the largest possible sum.
            base + high + coder.reverse_tree(&mut self.align, 4)
        }
    }

    /// Selects the repeated distance; true for a single byte at rep0.
    #[inline(always)]
    fn repeats_short(&mut self, coder: &mut RangeDecoder<'_>, pos_state: usize) -> bool {
        let state = self.state;
        if coder.bit(&mut self.is_rep0[state]) == 0 {
            return coder.bit(&mut self.is_rep0_long[state][pos_state]) == 0;
        }
        let chosen = if coder.bit(&mut self.is_rep1[state]) == 0 {
            1
        } else {
            2 + coder.bit(&mut self.is_rep2[state])
        };
        self.reps[..=chosen].rotate_right(1);
        false
    }
}
