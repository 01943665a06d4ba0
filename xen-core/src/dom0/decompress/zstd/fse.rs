//! Finite state entropy: table descriptions and decoding tables.
//!
//! Contract: RFC 8878, 4.1.1.

use super::Malformed;
use super::bits::{Backward, Forward};

/// Largest accuracy log of any table.
const MAX_LOG: u32 = 9;
/// Symbols of the largest alphabet, match lengths.
const MAX_SYMBOLS: usize = 53;

/// One state: its symbol, and how the next state follows.
#[derive(Clone, Copy, Default)]
struct State {
    symbol: u8,
    bits: u8,
    base: u16,
}

/// A decoding table.
#[derive(Clone)]
pub(super) struct Table {
    log: u32,
    states: [State; 1 << MAX_LOG],
}

impl Table {
    /// The table of one symbol that takes no bits.
    pub(super) fn single(symbol: u8) -> Self {
        let mut states = [State::default(); 1 << MAX_LOG];
        states[0].symbol = symbol;
        Self { log: 0, states }
    }

    /// Reads a description of at most `symbols` symbols; returns what follows it.
    pub(super) fn read(
        data: &[u8],
        symbols: usize,
        max_log: u32,
    ) -> Result<(Self, &[u8]), Malformed> {
        let mut bits = Forward::new(data);
        let log = bits.read(4) + 5;
        if log > max_log {
            return Err(Malformed("a table's accuracy is out of range"));
        }
        let mut counts = [0i16; MAX_SYMBOLS];
        let counts = counts.get_mut(..symbols).unwrap_or_default();
        let mut remaining = 1u32 << log;
        let mut symbol = 0;
        while remaining > 0 {
            let count = counts
                .get_mut(symbol)
                .ok_or(Malformed("a table has too many symbols"))?;
            symbol += 1;
            // Values up to `remaining + 1` in as few bits as possible: small ones save a bit.
            let width = (remaining + 1).ilog2() + 1;
            let value = bits.peek(width);
            let low = value & ((1 << (width - 1)) - 1);
            let spare = (1 << width) - 1 - (remaining + 1);
            let value = if low < spare {
                bits.consume(width - 1);
                low
            } else {
                bits.consume(width);
                if value >= 1 << (width - 1) {
                    value - spare
                } else {
                    value
                }
            };
            // 0 stands for the probability "less than one", which takes one state.
            *count = value as i16 - 1;
            let states = u32::from(count.unsigned_abs());
            remaining = remaining
                .checked_sub(states)
                .ok_or(Malformed("a table is overfull"))?;
            if value == 1 {
                loop {
                    let zeros = bits.read(2);
                    symbol += zeros as usize;
                    if zeros < 3 {
                        break;
                    }
                    bits.rest()?;
                }
            }
        }
        let rest = bits.rest()?;
        Ok((Self::from_counts(counts, log)?, rest))
    }

    /// Builds the table from each symbol's number of states (-1: "less than one").
    pub(super) fn from_counts(counts: &[i16], log: u32) -> Result<Self, Malformed> {
        let mut table = Self {
            log,
            states: [State::default(); 1 << MAX_LOG],
        };
        let size = 1usize << log;
        let mut next = [0u16; MAX_SYMBOLS];
        // The rarest symbols get the last states.
        let mut end = size;
        for (symbol, (&count, next)) in (0u8..).zip(counts.iter().zip(&mut next)) {
            *next = count.unsigned_abs();
            if count < 0 {
                end = end.checked_sub(1).ok_or(Malformed("a table is overfull"))?;
                table.states[end].symbol = symbol;
            }
        }
        // The others are spread over the rest.
        let step = (size >> 1) + (size >> 3) + 3;
        let mut at = 0;
        for (symbol, &count) in (0u8..).zip(counts) {
            for _ in 0..count.max(0) {
                table.states[at].symbol = symbol;
                // The step is odd, so this visits every state; `end` is at least 1 here.
                loop {
                    at = (at + step) & (size - 1);
                    if at < end {
                        break;
                    }
                }
            }
        }
        if at != 0 {
            return Err(Malformed("a table is not full"));
        }
        for state in &mut table.states[..size] {
            let number = &mut next[usize::from(state.symbol)];
            if *number == 0 {
                return Err(Malformed("a table is not full"));
            }
            let bits = log - number.ilog2();
            state.bits = bits as u8;
            state.base = (*number << bits) - size as u16;
            *number += 1;
        }
        Ok(table)
    }
}

/// A decoder's place in a table.
pub(super) struct Cursor<'t> {
    table: &'t Table,
    state: State,
}

impl<'t> Cursor<'t> {
    pub(super) fn new(table: &'t Table, bits: &mut Backward<'_>) -> Self {
        let index = bits.read(table.log) as usize;
        Self {
            table,
            state: table.states[index],
        }
    }

    #[inline]
    pub(super) fn symbol(&self) -> u8 {
        self.state.symbol
    }

    #[inline]
    pub(super) fn advance(&mut self, bits: &mut Backward<'_>) {
        let more = bits.read(self.state.bits.into()) as usize;
        self.state =
            self.table.states[(usize::from(self.state.base) + more) & ((1 << MAX_LOG) - 1)];
    }
}
