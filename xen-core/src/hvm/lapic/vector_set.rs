//! A bit per interrupt vector: IRR, ISR and TMR (SDM volume 3, 11.8.4).

/// 256 bits, in the words that the registers show.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct VectorSet([u32; 8]);

impl VectorSet {
    /// A set from its eight registers.
    #[must_use]
    pub const fn from_words(words: [u32; 8]) -> Self {
        Self(words)
    }

    /// Its eight registers, that of vectors 0 to 31 first.
    #[must_use]
    pub const fn words(&self) -> &[u32; 8] {
        &self.0
    }

    /// Whether `vector` is in the set.
    #[must_use]
    pub const fn has(&self, vector: u8) -> bool {
        self.0[(vector >> 5) as usize] & (1 << (vector & 31)) != 0
    }

    /// Puts `vector` in or takes it out; returns whether that changed anything.
    pub const fn set(&mut self, vector: u8, on: bool) -> bool {
        let changes = self.has(vector) != on;
        if changes {
            self.0[(vector >> 5) as usize] ^= 1 << (vector & 31);
        }
        changes
    }

    /// The highest vector, which has the highest priority.
    #[must_use]
    pub fn highest(&self) -> Option<u8> {
        (0u8..8).rev().find_map(|word| {
            let bits = self.0[usize::from(word)];
            #[expect(clippy::cast_possible_truncation, reason = "a bit number is below 32")]
            (bits != 0).then(|| word * 32 + (31 - bits.leading_zeros()) as u8)
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::VectorSet;

    proptest! {
        #[test]
        fn behaves_as_an_array_of_flags(steps in prop::collection::vec((any::<u8>(), any::<bool>()), 0..64)) {
            let mut set = VectorSet::default();
            let mut model = [false; 256];
            for (vector, on) in steps {
                let slot = &mut model[usize::from(vector)];
                prop_assert_eq!(set.set(vector, on), *slot != on);
                *slot = on;
            }
            for vector in 0..=255 {
                prop_assert_eq!(set.has(vector), model[usize::from(vector)]);
            }
            let highest = model.iter().rposition(|&on| on);
            prop_assert_eq!(set.highest().map(usize::from), highest);
            prop_assert_eq!(VectorSet::from_words(*set.words()), set);
        }
    }
}
