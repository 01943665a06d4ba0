//! Boot modules: files that the loader put into memory beside us.

use arrayvec::ArrayVec;

/// A range of physical memory; `end` is the first byte after it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PhysRange {
    /// First byte.
    pub start: u64,
    /// First byte after the range.
    pub end: u64,
}

impl PhysRange {
    /// The range from `start` to before `end`; empty if `end` is not above `start`.
    pub const fn new(start: u64, end: u64) -> Self {
        Self {
            start,
            end: if end < start { start } else { end },
        }
    }

    /// Length in bytes.
    pub const fn len(&self) -> u64 {
        self.end - self.start
    }

    /// True for a range without bytes.
    pub const fn is_empty(&self) -> bool {
        self.start == self.end
    }

    /// True if the two ranges share a byte.
    pub const fn overlaps(&self, other: &Self) -> bool {
        self.start < other.end && other.start < self.end && !self.is_empty() && !other.is_empty()
    }

    /// The range widened to whole pages.
    pub const fn pages_around(&self) -> Self {
        Self {
            start: self.start & !0xfff,
            end: self.end.saturating_add(0xfff) & !0xfff,
        }
    }

    /// The range narrowed to whole pages.
    pub const fn pages_within(&self) -> Self {
        Self::new(self.start.saturating_add(0xfff) & !0xfff, self.end & !0xfff)
    }
}

/// One module.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Module<'a> {
    /// Where its bytes are.
    pub range: PhysRange,
    /// Its arguments, without the file's name.
    pub command_line: &'a str,
}

/// Most modules that are kept; more are dropped by the readers, with the number told by [`Modules::dropped`].
pub const MAX_MODULES: usize = 32;

/// The modules in the loader's order.
#[derive(Debug, Default)]
pub struct Modules<'a> {
    list: ArrayVec<Module<'a>, MAX_MODULES>,
    dropped: usize,
}

impl<'a> Modules<'a> {
    /// Adds a module.
    pub(super) fn push(&mut self, module: Module<'a>) {
        if self.list.try_push(module).is_err() {
            self.dropped = self.dropped.saturating_add(1);
        }
    }

    /// The modules that were kept.
    pub fn as_slice(&self) -> &[Module<'a>] {
        &self.list
    }

    /// How many modules did not fit.
    pub fn dropped(&self) -> usize {
        self.dropped
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges() {
        let range = PhysRange::new(0x1800, 0x3001);
        assert_eq!(range.pages_around(), PhysRange::new(0x1000, 0x4000));
        assert_eq!(range.pages_within(), PhysRange::new(0x2000, 0x3000));
        assert!(PhysRange::new(0x1001, 0x1fff).pages_within().is_empty());
        assert!(range.overlaps(&PhysRange::new(0x3000, 0x5000)));
        assert!(!range.overlaps(&PhysRange::new(0x3001, 0x5000)));
        assert!(!range.overlaps(&PhysRange::new(0x2000, 0x2000)));
        assert!(PhysRange::new(5, 4).is_empty());
    }

    #[test]
    fn modules_past_the_limit_are_counted() {
        let mut modules = Modules::default();
        for _ in 0..MAX_MODULES + 3 {
            modules.push(Module {
                range: PhysRange::new(0, 1),
                command_line: "",
            });
        }
        assert_eq!(modules.as_slice().len(), MAX_MODULES);
        assert_eq!(modules.dropped(), 3);
    }
}
