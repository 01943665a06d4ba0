//! Who gets what is typed: the hardware domain, or the hypervisor's debug keys.
//!
//! Ctrl-A (option `conswitch=` changes the letter) typed three times switches. A lone Ctrl-A must still reach the
//! receiver, so it is held back until the next byte shows that it was not the first of three.

use alloc::collections::VecDeque;
use alloc::vec::Vec;

/// Bytes kept for the hardware domain; more are dropped, as a serial port without flow control does.
const INPUT_BYTES: usize = 4096;
/// How often the switch character must be typed.
const SWITCH_COUNT: u8 = 3;

/// Who gets what is typed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Receiver {
    /// The hypervisor: bytes are debug keys.
    Hypervisor,
    /// The hardware domain.
    HardwareDomain,
}

/// What one typed byte led to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Typed {
    /// Nothing yet.
    Held,
    /// Input goes to another receiver from now on.
    Switched(Receiver),
    /// Bytes were added to the hardware domain's input.
    ForDomain,
    /// A debug key.
    Key(u8),
}

/// The input side of the console.
#[derive(Debug)]
pub struct Input {
    receiver: Receiver,
    /// The control character that switches; `None` turns switching off.
    switch: Option<u8>,
    /// Switch characters typed in a row.
    held: u8,
    pending: VecDeque<u8>,
}

impl Input {
    /// Input that goes to the hypervisor until [`Input::hand_over`]. `letter` is that of option `conswitch=`.
    #[must_use]
    pub fn new(letter: Option<char>) -> Self {
        let switch = letter
            .filter(char::is_ascii_lowercase)
            .and_then(|letter| u8::try_from(letter).ok())
            .map(|letter| letter - b'a' + 1);
        Self {
            receiver: Receiver::Hypervisor,
            switch,
            held: 0,
            pending: VecDeque::with_capacity(INPUT_BYTES),
        }
    }

    /// Gives the input to `receiver`.
    pub fn hand_over(&mut self, receiver: Receiver) {
        self.receiver = receiver;
        self.held = 0;
    }

    /// The letter that switches with Ctrl, for the announcement.
    #[must_use]
    pub fn switch_letter(&self) -> Option<char> {
        self.switch.map(|code| char::from(code + b'a' - 1))
    }

    /// One byte was typed.
    pub fn typed(&mut self, byte: u8) -> Typed {
        if self.switch == Some(byte) {
            self.held += 1;
            if self.held < SWITCH_COUNT {
                return Typed::Held;
            }
            self.held = 0;
            self.receiver = match self.receiver {
                Receiver::Hypervisor => Receiver::HardwareDomain,
                Receiver::HardwareDomain => Receiver::Hypervisor,
            };
            return Typed::Switched(self.receiver);
        }
        let held = core::mem::take(&mut self.held);
        match self.receiver {
            // Control characters are not debug keys: what was held back is of no use to the hypervisor.
            Receiver::Hypervisor => Typed::Key(byte),
            Receiver::HardwareDomain => {
                for _ in 0..held {
                    self.push(self.switch.unwrap_or(0));
                }
                self.push(byte);
                Typed::ForDomain
            }
        }
    }

    fn push(&mut self, byte: u8) {
        if self.pending.len() < INPUT_BYTES {
            self.pending.push_back(byte);
        }
    }

    /// Takes up to `max` bytes of the hardware domain's input.
    #[must_use]
    pub fn take(&mut self, max: usize) -> Vec<u8> {
        let count = max.min(self.pending.len());
        self.pending.drain(..count).collect()
    }

    /// Puts back bytes that could not be handed over.
    pub fn put_back(&mut self, bytes: &[u8]) {
        for &byte in bytes.iter().rev() {
            self.pending.push_front(byte);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CTRL_A: u8 = 1;

    fn for_domain() -> Input {
        let mut input = Input::new(Some('a'));
        input.hand_over(Receiver::HardwareDomain);
        input
    }

    #[test]
    fn three_in_a_row_switch_and_back() {
        let mut input = for_domain();
        assert_eq!(input.typed(CTRL_A), Typed::Held);
        assert_eq!(input.typed(CTRL_A), Typed::Held);
        assert_eq!(input.typed(CTRL_A), Typed::Switched(Receiver::Hypervisor));
        assert_eq!(input.typed(b'h'), Typed::Key(b'h'));
        assert_eq!(input.take(10), b"");
        input.typed(CTRL_A);
        input.typed(CTRL_A);
        assert_eq!(
            input.typed(CTRL_A),
            Typed::Switched(Receiver::HardwareDomain)
        );
        assert_eq!(input.typed(b'x'), Typed::ForDomain);
        assert_eq!(input.take(10), b"x");
    }

    #[test]
    fn fewer_than_three_reach_the_domain_in_order() {
        let mut input = for_domain();
        input.typed(CTRL_A);
        input.typed(CTRL_A);
        input.typed(b'q');
        assert_eq!(input.take(10), [CTRL_A, CTRL_A, b'q']);
        input.typed(CTRL_A);
        assert_eq!(input.typed(CTRL_A), Typed::Held);
    }

    #[test]
    fn another_letter_or_none() {
        let mut other = Input::new(Some('x'));
        other.hand_over(Receiver::HardwareDomain);
        assert_eq!(other.typed(CTRL_A), Typed::ForDomain);
        assert_eq!(other.switch_letter(), Some('x'));
        let mut none = Input::new(None);
        none.hand_over(Receiver::HardwareDomain);
        for _ in 0..5 {
            assert_eq!(none.typed(CTRL_A), Typed::ForDomain);
        }
    }

    #[test]
    fn input_that_nobody_reads_is_bounded_and_keeps_the_oldest() {
        let mut input = for_domain();
        for i in 0..INPUT_BYTES + 100 {
            input.typed(if i == 0 { b'f' } else { b'm' });
        }
        let bytes = input.take(usize::MAX);
        assert_eq!(bytes.len(), INPUT_BYTES);
        assert_eq!(bytes[0], b'f');
    }

    #[test]
    fn what_is_put_back_comes_first_again() {
        let mut input = for_domain();
        for byte in *b"abc" {
            input.typed(byte);
        }
        let bytes = input.take(2);
        input.put_back(&bytes);
        assert_eq!(input.take(10), b"abc");
    }
}
