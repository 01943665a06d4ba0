//! TRUSTED: what a page is used as. One word per page, changed by compare-exchange only.
//!
//! A page has one type at a time, and the type changes only while nobody holds a reference of it; so a page table
//! never has a writable mapping. The word's states:
//!
//! | count | flag      | meaning |
//! |-------|-----------|---------|
//! | 0     |           | type is none, or writable as a reminder that stale writable translations may exist |
//! | > 0   | VALIDATED | in use as that type |
//! | 1     | none      | one processor is validating it right now |
//! | 1     | PARTIAL   | validation was preempted: entries below `progress` hold references |
//! | 1     | PENDING   | on its owner's list of demotions: entries below `progress` still hold references |
//!
//! PARTIAL and PENDING pages own their single type reference and one general reference themselves, so nobody else's
//! reference is ever confused with theirs (XSA-299, XSA-310). A preempted validation is taken over by whoever next
//! asks for the same type, and becomes a demotion when something else is asked for.

use core::hint::spin_loop;
use core::sync::atomic::Ordering;

use super::Memory;
use crate::num::Mfn;

/// What a page can be used as, with Xen's codes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum PageType {
    /// Nothing in particular.
    None,
    /// Level-1 page table.
    L1,
    /// Level-2 page table.
    L2,
    /// Level-3 page table.
    L3,
    /// Level-4 page table.
    L4,
    /// Page of a GDT or LDT.
    SegDesc,
    /// Has writable mappings.
    Writable,
}

impl PageType {
    const fn code(self) -> u64 {
        match self {
            Self::None => 0,
            Self::L1 => 1,
            Self::L2 => 2,
            Self::L3 => 3,
            Self::L4 => 4,
            Self::SegDesc => 5,
            Self::Writable => 7,
        }
    }

    const fn from_code(code: u64) -> Self {
        match code & 7 {
            1 => Self::L1,
            2 => Self::L2,
            3 => Self::L3,
            4 => Self::L4,
            5 => Self::SegDesc,
            7 => Self::Writable,
            _ => Self::None,
        }
    }

    /// The level of a page table, 1 to 4.
    #[must_use]
    pub const fn level(self) -> Option<u32> {
        match self {
            Self::L1 => Some(1),
            Self::L2 => Some(2),
            Self::L3 => Some(3),
            Self::L4 => Some(4),
            _ => None,
        }
    }

    /// The type of a table of `level`.
    #[must_use]
    pub const fn table(level: u32) -> Self {
        match level {
            1 => Self::L1,
            2 => Self::L2,
            3 => Self::L3,
            4 => Self::L4,
            _ => Self::None,
        }
    }
}

const COUNT_MASK: u64 = (1 << 32) - 1;
const TYPE_SHIFT: u32 = 32;
const PINNED: u64 = 1 << 35;
const VALIDATED: u64 = 1 << 36;
const PARTIAL: u64 = 1 << 37;
const PENDING: u64 = 1 << 38;
const LOCKED: u64 = 1 << 39;
const PROGRESS_SHIFT: u32 = 40;
const PROGRESS_MASK: u64 = 0x3ff << PROGRESS_SHIFT;
const LINEAR_SHIFT: u32 = 56;

/// A snapshot of a page's type word.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct TypeWord(u64);

impl TypeWord {
    /// The type.
    #[must_use]
    pub const fn kind(self) -> PageType {
        PageType::from_code(self.0 >> TYPE_SHIFT)
    }

    /// Type references.
    #[must_use]
    pub const fn count(self) -> u64 {
        self.0 & COUNT_MASK
    }

    /// Whether the page is in use as its type, its contents checked.
    #[must_use]
    pub const fn is_valid(self) -> bool {
        self.0 & VALIDATED != 0 && self.count() > 0
    }

    /// Whether it is pinned.
    #[must_use]
    pub const fn is_pinned(self) -> bool {
        self.0 & PINNED != 0
    }

    /// Whether a preempted validation waits to be continued.
    #[must_use]
    pub const fn is_partial(self) -> bool {
        self.0 & PARTIAL != 0
    }

    /// Whether it waits to be demoted.
    #[must_use]
    pub const fn is_pending(self) -> bool {
        self.0 & PENDING != 0
    }

    /// Entries below this index hold references, for partial and pending pages.
    #[must_use]
    pub const fn progress(self) -> usize {
        ((self.0 & PROGRESS_MASK) >> PROGRESS_SHIFT) as usize
    }

    /// Entries of the same level: positive if the page has such entries, negative if it is the target of some.
    #[must_use]
    pub const fn linear(self) -> i8 {
        self.0.to_le_bytes()[7] as i8
    }

    const fn with_linear(self, linear: i8) -> Self {
        Self((self.0 & !(0xff << LINEAR_SHIFT)) | ((linear as u8 as u64) << LINEAR_SHIFT))
    }

    const fn with_progress(self, progress: usize) -> Self {
        Self((self.0 & !PROGRESS_MASK) | ((progress as u64) << PROGRESS_SHIFT & PROGRESS_MASK))
    }
}

impl core::fmt::Debug for TypeWord {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "{:?} count {}", self.kind(), self.count())?;
        for (bit, name) in [
            (PINNED, " pinned"),
            (VALIDATED, " validated"),
            (PARTIAL, " partial"),
            (PENDING, " pending"),
            (LOCKED, " locked"),
        ] {
            if self.0 & bit != 0 {
                f.write_str(name)?;
            }
        }
        if self.progress() != 0 {
            write!(f, " progress {}", self.progress())?;
        }
        if self.linear() != 0 {
            write!(f, " linear {}", self.linear())?;
        }
        Ok(())
    }
}

/// What came of asking for a type reference.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Got {
    /// The reference is taken.
    Taken,
    /// The reference is taken, and the caller alone must now check the contents, from entry `progress` on, and end
    /// with `finish_validation`, `suspend_validation` or `abandon_validation`.
    Validate {
        /// What the page was before.
        from: PageType,
        /// Entries already checked.
        progress: usize,
        /// A preempted validation was taken over: its general reference is now the caller's to drop.
        resumed: bool,
    },
    /// The page is being demoted: help with `pv::mm::drain`, or wait for the processor that does.
    BeingDemoted,
    /// Another processor is validating it: wait.
    BeingValidated,
    /// In use as another type, or too many references.
    Refused,
}

/// What came of giving a type reference back.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use]
pub enum Put {
    /// Done.
    Done,
    /// It was the last one of a table: the page is marked for demotion and the caller's general reference now belongs
    /// to that mark; the caller must put the page on its owner's list of demotions.
    Demote,
}

impl Memory {
    /// The type of a page, as it is this moment.
    #[must_use]
    pub fn type_of(&self, mfn: Mfn) -> TypeWord {
        TypeWord(
            self.frames
                .get(mfn)
                .map_or(0, |info| info.type_word().load(Ordering::SeqCst)),
        )
    }

    fn change_type(&self, mfn: Mfn, old: TypeWord, new: TypeWord) -> bool {
        self.frames.get(mfn).is_some_and(|info| {
            info.type_word()
                .compare_exchange(old.0, new.0, Ordering::SeqCst, Ordering::SeqCst)
                .is_ok()
        })
    }

    /// Asks for a type reference. The caller holds a general reference.
    #[must_use]
    pub(crate) fn try_get_type(&self, mfn: Mfn, want: PageType) -> Got {
        // The hypervisor writes to its own pages whatever their type: they never become tables, not even when it has
        // given up its hold.
        if want != PageType::Writable && self.is_special(mfn) {
            return Got::Refused;
        }
        loop {
            let seen = self.type_of(mfn);
            let kind = seen.kind();
            let (new, got) = if seen.count() == 0 {
                if want == PageType::Writable {
                    (
                        TypeWord(want.code() << TYPE_SHIFT | VALIDATED | 1),
                        Got::Taken,
                    )
                } else {
                    // Not valid before the caller has flushed stale writable translations and checked the contents
                    // (XSA-401).
                    let validate = Got::Validate {
                        from: kind,
                        progress: 0,
                        resumed: false,
                    };
                    (TypeWord(want.code() << TYPE_SHIFT | 1), validate)
                }
            } else if seen.is_pending() {
                return Got::BeingDemoted;
            } else if seen.is_partial() {
                if kind == want {
                    let validate = Got::Validate {
                        from: kind,
                        progress: seen.progress(),
                        resumed: true,
                    };
                    (TypeWord(seen.0 & !PARTIAL), validate)
                } else {
                    // Nobody waits for that validation any more.
                    if self.change_type(mfn, seen, TypeWord((seen.0 & !PARTIAL) | PENDING)) {
                        self.queue_demotion(mfn);
                    }
                    return Got::BeingDemoted;
                }
            } else if kind != want {
                return Got::Refused;
            } else if !seen.is_valid() {
                return Got::BeingValidated;
            } else if seen.count() >= COUNT_MASK / 2 {
                return Got::Refused;
            } else {
                (TypeWord(seen.0 + 1), Got::Taken)
            };
            if self.change_type(mfn, seen, new) {
                return got;
            }
        }
    }

    /// Takes one more reference on a page that is in use as `kind`. The caller holds a general reference.
    #[must_use]
    pub(crate) fn get_valid_type(&self, mfn: Mfn, kind: PageType) -> bool {
        loop {
            let seen = self.type_of(mfn);
            if seen.kind() != kind || !seen.is_valid() || seen.count() >= COUNT_MASK / 2 {
                return false;
            }
            if self.change_type(mfn, seen, TypeWord(seen.0 + 1)) {
                return true;
            }
        }
    }

    /// The contents are checked: the page is what was asked for.
    pub(crate) fn finish_validation(&self, mfn: Mfn) {
        self.end_validation(mfn, |word| TypeWord(word.with_progress(0).0 | VALIDATED));
    }

    /// Preempted after `progress` entries. The page keeps the type reference and takes a general one.
    pub(crate) fn suspend_validation(&self, mfn: Mfn, progress: usize) {
        self.hold(mfn);
        self.end_validation(mfn, |word| {
            TypeWord(word.with_progress(progress).0 | PARTIAL)
        });
    }

    /// Turns a suspended validation into a demotion: nobody will go on with it.
    pub(crate) fn cancel_validation(&self, mfn: Mfn) {
        let seen = self.type_of(mfn);
        if seen.is_partial() && self.change_type(mfn, seen, TypeWord((seen.0 & !PARTIAL) | PENDING))
        {
            self.queue_demotion(mfn);
        }
    }

    /// Refused after `progress` entries: they give their references back as a demotion.
    pub(crate) fn abandon_validation(&self, mfn: Mfn, progress: usize) {
        self.hold(mfn);
        self.end_validation(mfn, |word| {
            TypeWord(word.with_progress(progress).0 | PENDING)
        });
        self.queue_demotion(mfn);
    }

    fn end_validation(&self, mfn: Mfn, change: impl Fn(TypeWord) -> TypeWord) {
        loop {
            // Only references to valid pages come and go, so this word is the validating processor's alone; linear
            // counts may still change.
            let seen = self.type_of(mfn);
            if self.change_type(mfn, seen, change(seen)) {
                return;
            }
        }
    }

    /// One more general reference on a page that the caller holds already.
    fn hold(&self, mfn: Mfn) {
        if let Some(page) = self.get_any_page(mfn) {
            let _ = page.into_raw();
        }
    }

    /// Gives a type reference back.
    pub(crate) fn put_type(&self, mfn: Mfn) -> Put {
        let Some(info) = self.frames.get(mfn) else {
            return Put::Done;
        };
        loop {
            let seen = self.type_of(mfn);
            // Recorded before the count can reach zero (XSA-241): whoever changes the type next must see it.
            self.clock.stamp(info.stamp());
            if seen.count() == 0 {
                log::error!("mm: type reference on {mfn:?} given back twice");
                debug_assert!(false, "type reference on {mfn:?} given back twice");
                return Put::Done;
            }
            let is_table = seen.kind().level().is_some();
            if seen.count() == 1 && is_table {
                if seen.0 & LOCKED != 0 {
                    // An entry is being stored this very moment.
                    spin_loop();
                    continue;
                }
                let pending =
                    TypeWord((seen.0 & !(VALIDATED | PINNED)) | PENDING).with_progress(512);
                if self.change_type(mfn, seen, pending) {
                    return Put::Demote;
                }
                continue;
            }
            let new = match (seen.count(), seen.kind()) {
                (1, PageType::SegDesc) => TypeWord(0),
                // The type stays, to tell that stale writable translations may exist.
                (1, _) => TypeWord(seen.kind().code() << TYPE_SHIFT),
                _ => TypeWord(seen.0 - 1),
            };
            if self.change_type(mfn, seen, new) {
                return Put::Done;
            }
        }
    }

    /// Gives a type and a general reference back; a table whose last reference this was goes on its owner's list.
    pub(crate) fn put_page_and_type(&self, mfn: Mfn) {
        match self.put_type(mfn) {
            Put::Done => self.put_page(mfn),
            Put::Demote => self.queue_demotion(mfn),
        }
    }

    /// Puts a page marked PENDING on its owner's list.
    pub(crate) fn queue_demotion(&self, mfn: Mfn) {
        match self.owner(mfn).and_then(|owner| self.account(owner)) {
            Some(pages) => pages.push_demotion(mfn),
            None => log::error!("mm: {mfn:?} waits for demotion but its owner keeps no account"),
        }
    }

    /// Records how far a demotion has come.
    pub(crate) fn set_demotion_progress(&self, mfn: Mfn, progress: usize) {
        self.end_validation(mfn, |word| word.with_progress(progress));
    }

    /// All entries of a PENDING page have given their references back and no translation of it is left anywhere.
    pub(crate) fn finish_demotion(&self, mfn: Mfn) {
        if let Some(info) = self.frames.get(mfn) {
            info.type_word().store(0, Ordering::SeqCst);
        }
        self.put_page(mfn);
    }

    /// Marks a page pinned; false if it was. The caller gives its references to the pin.
    #[must_use]
    pub(crate) fn set_pinned(&self, mfn: Mfn) -> bool {
        self.frames
            .get(mfn)
            .is_some_and(|info| info.type_word().fetch_or(PINNED, Ordering::SeqCst) & PINNED == 0)
    }

    /// Takes the pin off; false if there was none. The caller gets the pin's references.
    #[must_use]
    pub(crate) fn clear_pinned(&self, mfn: Mfn) -> bool {
        self.frames
            .get(mfn)
            .is_some_and(|info| info.type_word().fetch_and(!PINNED, Ordering::SeqCst) & PINNED != 0)
    }

    /// Keeps a table from being demoted while an entry is stored. Not a reference (XSA-242): `None` if the page is
    /// not in use as a table of that type this moment.
    #[must_use]
    pub(crate) fn lock_table(&self, mfn: Mfn, kind: PageType) -> Option<TableLock<'_>> {
        loop {
            let seen = self.type_of(mfn);
            if seen.kind() != kind || !seen.is_valid() {
                return None;
            }
            if seen.0 & LOCKED != 0 {
                spin_loop();
                continue;
            }
            if self.change_type(mfn, seen, TypeWord(seen.0 | LOCKED)) {
                return Some(TableLock { mem: self, mfn });
            }
        }
    }

    /// Counts an entry of a table that points to a table of the same level: `holder` may not itself be such a target,
    /// nor `target` have such entries, so chains have length one (XSA-240, XSA-309).
    #[must_use]
    pub(crate) fn add_linear(&self, holder: Mfn, target: Mfn) -> bool {
        if !self.shift_linear(holder, |n| if n < 0 { None } else { n.checked_add(1) }) {
            return false;
        }
        if !self.shift_linear(target, |n| if n > 0 { None } else { n.checked_sub(1) }) {
            self.shift_linear(holder, |n| n.checked_sub(1));
            return false;
        }
        true
    }

    /// Undoes [`Memory::add_linear`].
    pub(crate) fn remove_linear(&self, holder: Mfn, target: Mfn) {
        self.shift_linear(holder, |n| n.checked_sub(1));
        self.shift_linear(target, |n| n.checked_add(1));
    }

    fn shift_linear(&self, mfn: Mfn, change: impl Fn(i8) -> Option<i8>) -> bool {
        loop {
            let seen = self.type_of(mfn);
            let Some(linear) = change(seen.linear()) else {
                return false;
            };
            if self.change_type(mfn, seen, seen.with_linear(linear)) {
                return true;
            }
        }
    }

    /// Gives a fresh page its first type without contents to check: the hypervisor's shared pages.
    pub(super) fn set_fixed_type(&self, mfn: Mfn, kind: PageType) {
        if let Some(info) = self.frames.get(mfn) {
            info.type_word()
                .store(kind.code() << TYPE_SHIFT | VALIDATED | 1, Ordering::SeqCst);
        }
    }

    /// Forgets the type of a page that nobody refers to: ownership is about to change (XSA-214).
    pub(super) fn reset_type(&self, mfn: Mfn) {
        if let Some(info) = self.frames.get(mfn) {
            info.type_word().store(0, Ordering::SeqCst);
        }
    }
}

/// A table whose demotion waits until this is dropped.
#[derive(Debug)]
pub(crate) struct TableLock<'a> {
    mem: &'a Memory,
    mfn: Mfn,
}

impl Drop for TableLock<'_> {
    fn drop(&mut self) {
        if let Some(info) = self.mem.frames.get(self.mfn) {
            info.type_word().fetch_and(!LOCKED, Ordering::SeqCst);
        }
    }
}
