//! The sequences section of a block, and carrying it out.
//!
//! Contract: RFC 8878, 3.1.1.3.2 (codes and default distributions), 3.1.1.4 and 3.1.1.5 (execution
//! and repeat offsets).

use super::Malformed;
use super::bits::Backward;
use super::fse::{Cursor, Table};
use crate::dom0::decompress::output::{Output, OutputError};

// Symbol compression modes.
const PREDEFINED: u8 = 0;
const RLE: u8 = 1;
const FSE: u8 = 2;

const ENDS: Malformed = Malformed("a sequences section ends early");

/// One of the three alphabets.
struct Alphabet {
    symbols: usize,
    max_log: u32,
    default_log: u32,
    default: &'static [i16],
}

const LITERAL_LENGTHS: Alphabet = Alphabet {
    symbols: 36,
    max_log: 9,
    default_log: 6,
    default: &[
        4, 3, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 1, 1, 1, 2, 2, 2, 2, 2, 2, 2, 2, 2, 3, 2, 1, 1, 1,
        1, 1, -1, -1, -1, -1,
    ],
};
const OFFSETS: Alphabet = Alphabet {
    symbols: 32,
    max_log: 8,
    default_log: 5,
    default: &[
        1, 1, 1, 1, 1, 1, 2, 2, 2, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, -1, -1, -1, -1, -1,
    ],
};
const MATCH_LENGTHS: Alphabet = Alphabet {
    symbols: 53,
    max_log: 9,
    default_log: 6,
    default: &[
        1, 4, 3, 2, 2, 2, 2, 2, 2, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1,
        1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, -1, -1, -1, -1, -1, -1, -1,
    ],
};

/// Baseline and extra bits of literal length codes from 16.
const LONG_LITERALS: [(u32, u8); 20] = [
    (16, 1),
    (18, 1),
    (20, 1),
    (22, 1),
    (24, 2),
    (28, 2),
    (32, 3),
    (40, 3),
    (48, 4),
    (64, 6),
    (128, 7),
    (256, 8),
    (512, 9),
    (1024, 10),
    (2048, 11),
    (4096, 12),
    (8192, 13),
    (16384, 14),
    (32768, 15),
    (65536, 16),
];
/// Baseline and extra bits of match length codes from 32.
const LONG_MATCHES: [(u32, u8); 21] = [
    (35, 1),
    (37, 1),
    (39, 1),
    (41, 1),
    (43, 2),
    (47, 2),
    (51, 3),
    (59, 3),
    (67, 4),
    (83, 4),
    (99, 5),
    (131, 7),
    (259, 8),
    (515, 9),
    (1027, 10),
    (2051, 11),
    (4099, 12),
    (8195, 13),
    (16387, 14),
    (32771, 15),
    (65539, 16),
];

/// Why a section was not carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Error {
    Malformed(Malformed),
    Full,
}

impl From<Malformed> for Error {
    fn from(malformed: Malformed) -> Self {
        Self::Malformed(malformed)
    }
}

impl From<OutputError> for Error {
    fn from(error: OutputError) -> Self {
        match error {
            OutputError::Full => Self::Full,
            OutputError::Distance => Self::Malformed(Malformed("a match reaches before the data")),
        }
    }
}

/// What a block leaves for the next: tables and the last three offsets.
pub(super) struct Sequences {
    literal_lengths: Option<Table>,
    offsets: Option<Table>,
    match_lengths: Option<Table>,
    recent: [u32; 3],
}

impl Sequences {
    pub(super) fn new() -> Self {
        Self {
            literal_lengths: None,
            offsets: None,
            match_lengths: None,
            recent: [1, 4, 8],
        }
    }

    /// Carries out the section, which is all of `data`, with the block's `literals`.
    pub(super) fn execute(
        &mut self,
        data: &[u8],
        literals: &[u8],
        output: &mut Output<'_>,
    ) -> Result<(), Error> {
        let (count, data) = sequence_count(data)?;
        if count == 0 {
            return if data.is_empty() {
                Ok(output.append(literals)?)
            } else {
                Err(Malformed("data follows a block's literals").into())
            };
        }
        let (&modes, data) = data.split_first().ok_or(ENDS)?;
        if modes & 3 != 0 {
            return Err(Malformed("a sequences section uses an unknown mode").into());
        }
        let (literal_lengths, data) = update(
            &mut self.literal_lengths,
            &LITERAL_LENGTHS,
            modes >> 6,
            data,
        )?;
        let (offsets, data) = update(&mut self.offsets, &OFFSETS, modes >> 4 & 3, data)?;
        let (match_lengths, data) = update(
            &mut self.match_lengths,
            &MATCH_LENGTHS,
            modes >> 2 & 3,
            data,
        )?;

        let mut bits = Backward::new(data)?;
        let mut literal_length = Cursor::new(literal_lengths, &mut bits);
        let mut offset = Cursor::new(offsets, &mut bits);
        let mut match_length = Cursor::new(match_lengths, &mut bits);
        let mut literals = literals;
        let end = output.capacity();
        for left in (0..count).rev() {
            let offset_bits = u32::from(offset.symbol());
            let offset_value = (1u64 << offset_bits) + bits.read(offset_bits);
            let (base, extra) = match_code(match_length.symbol())?;
            let length = base + bits.read(extra) as u32;
            let (base, extra) = literal_code(literal_length.symbol())?;
            let run = base + bits.read(extra) as u32;
            if left > 0 {
                literal_length.advance(&mut bits);
                match_length.advance(&mut bits);
                offset.advance(&mut bits);
            }
            if bits.overran() {
                return Err(ENDS.into());
            }
            let distance = resolve(&mut self.recent, offset_value, run)?;
            let (now, later) = literals
                .split_at_checked(run as usize)
                .ok_or(Malformed("a sequence uses more literals than there are"))?;
            output.append(now)?;
            output.copy(distance as usize - 1, length as usize, end)?;
            literals = later;
        }
        if !bits.finished() {
            return Err(Malformed("a sequences section has a wrong length").into());
        }
        Ok(output.append(literals)?)
    }
}

/// Number_of_Sequences, and what follows it.
fn sequence_count(data: &[u8]) -> Result<(u32, &[u8]), Malformed> {
    let (count, rest) = match *data {
        [count @ 0..128, ref rest @ ..] => (count.into(), rest),
        [255, low, high, ref rest @ ..] => {
            (u32::from(u16::from_le_bytes([low, high])) + 0x7f00, rest)
        }
        [high @ 128..=254, low, ref rest @ ..] => {
            (u32::from(u16::from_le_bytes([low, high - 128])), rest)
        }
        _ => return Err(ENDS),
    };
    Ok((count, rest))
}

/// Brings a table up to date; returns it and what follows its description.
fn update<'t, 'a>(
    table: &'t mut Option<Table>,
    alphabet: &Alphabet,
    mode: u8,
    data: &'a [u8],
) -> Result<(&'t Table, &'a [u8]), Malformed> {
    let mut rest = data;
    match mode {
        PREDEFINED => *table = Some(Table::from_counts(alphabet.default, alphabet.default_log)?),
        RLE => {
            let (&symbol, after) = data.split_first().ok_or(ENDS)?;
            if usize::from(symbol) >= alphabet.symbols {
                return Err(Malformed("a table's symbol is out of range"));
            }
            *table = Some(Table::single(symbol));
            rest = after;
        }
        FSE => {
            let (new, after) = Table::read(data, alphabet.symbols, alphabet.max_log)?;
            *table = Some(new);
            rest = after;
        }
        _ => {}
    }
    let table = table
        .as_ref()
        .ok_or(Malformed("a block reuses a table that is not there"))?;
    Ok((table, rest))
}

#[inline]
fn literal_code(code: u8) -> Result<(u32, u32), Malformed> {
    match code.checked_sub(16) {
        None => Ok((code.into(), 0)),
        Some(long) => long_code(&LONG_LITERALS, long),
    }
}

#[inline]
fn match_code(code: u8) -> Result<(u32, u32), Malformed> {
    match code.checked_sub(32) {
        None => Ok((u32::from(code) + 3, 0)),
        Some(long) => long_code(&LONG_MATCHES, long),
    }
}

#[inline]
fn long_code(codes: &[(u32, u8)], code: u8) -> Result<(u32, u32), Malformed> {
    let &(base, extra) = codes
        .get(usize::from(code))
        .ok_or(Malformed("a length code is out of range"))?;
    Ok((base, extra.into()))
}

/// The offset that `value` stands for after a run of `run` literals; updates the recent ones.
fn resolve(recent: &mut [u32; 3], value: u64, run: u32) -> Result<u32, Malformed> {
    let bad = Malformed("an offset is out of range");
    let repeat = match value {
        // Without literals, the last offset would only prolong the match: codes shift by one.
        1..=3 => value as usize - usize::from(run > 0),
        _ => {
            let offset = u32::try_from(value - 3).map_err(|_| bad)?;
            *recent = [offset, recent[0], recent[1]];
            return Ok(offset);
        }
    };
    match recent.get(repeat) {
        Some(_) => recent[..=repeat].rotate_right(1),
        None => {
            let offset = recent[0]
                .checked_sub(1)
                .filter(|&offset| offset > 0)
                .ok_or(bad)?;
            *recent = [offset, recent[0], recent[1]];
        }
    }
    Ok(recent[0])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repeat_offsets() {
        let mut recent = [10, 20, 30];
        assert_eq!(resolve(&mut recent, 1, 5), Ok(10));
        assert_eq!(recent, [10, 20, 30]);
        assert_eq!(resolve(&mut recent, 3, 5), Ok(30));
        assert_eq!(recent, [30, 10, 20]);
        assert_eq!(resolve(&mut recent, 1, 0), Ok(10));
        assert_eq!(recent, [10, 30, 20]);
        assert_eq!(resolve(&mut recent, 2, 0), Ok(20));
        assert_eq!(recent, [20, 10, 30]);
        assert_eq!(resolve(&mut recent, 3, 0), Ok(19));
        assert_eq!(recent, [19, 20, 10]);
        assert_eq!(resolve(&mut recent, 103, 0), Ok(100));
        assert_eq!(recent, [100, 19, 20]);
        assert!(resolve(&mut [1, 4, 8], 3, 0).is_err());
        assert!(resolve(&mut recent, 1 << 33, 0).is_err());
    }

    #[test]
    fn counts_of_every_width() {
        assert_eq!(sequence_count(&[0]), Ok((0, &[][..])));
        assert_eq!(sequence_count(&[127, 9]), Ok((127, &[9][..])));
        assert_eq!(sequence_count(&[0x81, 0x02]), Ok((0x102, &[][..])));
        assert_eq!(sequence_count(&[255, 1, 2]), Ok((0x7f00 + 0x201, &[][..])));
        for short in [&[][..], &[128], &[255], &[255, 0]] {
            assert_eq!(sequence_count(short), Err(ENDS));
        }
    }

    #[test]
    fn the_default_tables_are_full() {
        for alphabet in [LITERAL_LENGTHS, OFFSETS, MATCH_LENGTHS] {
            assert!(Table::from_counts(alphabet.default, alphabet.default_log).is_ok());
        }
    }
}
