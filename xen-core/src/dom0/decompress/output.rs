//! The output buffer as the decoders' dictionary: appending, and copying from what was produced.

/// Why nothing was appended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum OutputError {
    /// It would reach past the permitted end.
    Full,
    /// A copy reaches before the dictionary's start.
    Distance,
}

/// The output so far: also the dictionary.
pub(super) struct Output<'a> {
    buffer: &'a mut [u8],
    position: usize,
    /// Where the dictionary was last reset: no match reaches before it.
    start: usize,
}

impl<'a> Output<'a> {
    pub(super) fn new(buffer: &'a mut [u8]) -> Self {
        Self {
            buffer,
            position: 0,
            start: 0,
        }
    }

    pub(super) fn position(&self) -> usize {
        self.position
    }

    /// Length of the whole buffer.
    pub(super) fn capacity(&self) -> usize {
        self.buffer.len()
    }

    /// What was produced since `from`.
    pub(super) fn since_mut(&mut self, from: usize) -> &mut [u8] {
        self.buffer.get_mut(from..self.position).unwrap_or_default()
    }

    pub(super) fn reset_dictionary(&mut self) {
        self.start = self.position;
    }

    /// Appends `data` as it is.
    pub(super) fn append(&mut self, data: &[u8]) -> Result<(), OutputError> {
        self.buffer
            .get_mut(self.position..)
            .and_then(|rest| rest.get_mut(..data.len()))
            .ok_or(OutputError::Full)?
            .copy_from_slice(data);
        self.position += data.len();
        Ok(())
    }

    /// Appends `length` times `byte`.
    pub(super) fn fill(&mut self, byte: u8, length: usize) -> Result<(), OutputError> {
        self.buffer
            .get_mut(self.position..)
            .and_then(|rest| rest.get_mut(..length))
            .ok_or(OutputError::Full)?
            .fill(byte);
        self.position += length;
        Ok(())
    }

    /// Bytes since the dictionary's reset.
    pub(super) fn used(&self) -> usize {
        self.position.wrapping_sub(self.start)
    }

    /// The byte `distance + 1` back; 0 before the dictionary's start.
    #[inline(always)]
    pub(super) fn back(&self, distance: usize) -> u8 {
        if distance >= self.used() {
            return 0;
        }
        self.buffer
            .get(self.position.wrapping_sub(distance).wrapping_sub(1))
            .copied()
            .unwrap_or(0)
    }

    /// Appends a byte.
    #[inline(always)]
    pub(super) fn push(&mut self, byte: u8) -> Result<(), OutputError> {
        *self
            .buffer
            .get_mut(self.position)
            .ok_or(OutputError::Full)? = byte;
        self.position = self.position.wrapping_add(1);
        Ok(())
    }

    /// Appends `length` bytes from `distance + 1` back, no further than position `end`.
    #[inline(always)]
    pub(super) fn copy(
        &mut self,
        distance: usize,
        length: usize,
        end: usize,
    ) -> Result<(), OutputError> {
        if distance >= self.used() {
            return Err(OutputError::Distance);
        }
        if length > end - self.position {
            return Err(OutputError::Full);
        }
        let from = self.position - distance - 1;
        if distance + 1 >= length {
            self.buffer.copy_within(from..from + length, self.position);
        } else {
            // The source overlaps what the copy produces: a pattern that repeats, most often a byte.
            let window = self
                .buffer
                .get_mut(from..self.position + length)
                .ok_or(OutputError::Full)?;
            if let (0, [byte, run @ ..]) = (distance, &mut *window) {
                run.fill(*byte);
            } else {
                let mut known = distance + 1;
                while known < window.len() {
                    let next = known.min(window.len() - known);
                    window.copy_within(..next, known);
                    known += next;
                }
            }
        }
        self.position += length;
        Ok(())
    }
}
