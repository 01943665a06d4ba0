//! Recounting: what the page tables say against what the records say.
//!
//! The page tables are read as they are and every reference they imply is counted anew, together with the holders that
//! the caller knows (roots of vCPUs, descriptor tables, grants). Any difference is a bug. Only for a machine at rest.

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::sync::atomic::Ordering;

use super::{FrameState, Memory, PageType};
use crate::machine::Frames;
use crate::num::Mfn;
use crate::pv::mm::entry::{self, HYPERVISOR_SLOTS};

/// References counted for one page.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Tally {
    general: u64,
    typed: u64,
    kind: Option<PageType>,
    writable_mapping: bool,
}

/// References that are not in a page table: what a test or a dump knows of.
#[derive(Clone, Debug, Default)]
pub struct Holders {
    /// General references.
    pub general: Vec<Mfn>,
    /// General and type references: roots, descriptor frames, writable pages held by the hypervisor.
    pub typed: Vec<(Mfn, PageType)>,
}

impl Memory {
    /// Compares the records of all frames with a recount. Returns one line for each difference; empty if all is well.
    #[must_use]
    pub fn audit<M: Frames>(&self, machine: &M, holders: &Holders) -> Vec<String> {
        let mut recount = Recount {
            mem: self,
            machine,
            tallies: BTreeMap::new(),
            faults: Vec::new(),
        };
        for mfn in (0..self.frames.len()).map(Mfn) {
            recount.page(mfn);
        }
        for &mfn in &holders.general {
            recount.tallies.entry(mfn).or_default().general += 1;
        }
        for &(mfn, kind) in &holders.typed {
            recount.reference(mfn, kind);
        }
        recount.compare();
        recount.faults
    }
}

struct Recount<'a, M> {
    mem: &'a Memory,
    machine: &'a M,
    tallies: BTreeMap<Mfn, Tally>,
    faults: Vec<String>,
}

impl<M: Frames> Recount<'_, M> {
    /// A general and a type reference.
    fn reference(&mut self, mfn: Mfn, kind: PageType) {
        let tally = self.tallies.entry(mfn).or_default();
        tally.general += 1;
        tally.typed += 1;
        match tally.kind {
            Some(other) if other != kind => {
                self.faults.push(format!(
                    "{mfn:?} is referred to as {other:?} and as {kind:?}"
                ));
            }
            _ => tally.kind = Some(kind),
        }
    }

    /// What the page holds by itself, and what its entries hold.
    fn page(&mut self, mfn: Mfn) {
        let Some(info) = self.mem.frames.get(mfn) else {
            return;
        };
        let count = info.count();
        let word = self.mem.type_of(mfn);
        if count.state() != FrameState::InUse {
            if count.count() != 0 || (word.count() != 0 && count.state() != FrameState::Unusable) {
                self.faults.push(format!(
                    "{mfn:?} is {:?} but has references ({count:?}, {word:?})",
                    count.state()
                ));
            }
            return;
        }
        if count.is_allocated() {
            self.tallies.entry(mfn).or_default().general += 1;
        }
        if count.is_special() {
            let tally = self.tallies.entry(mfn).or_default();
            tally.typed += 1;
            tally.kind = Some(word.kind());
            return;
        }
        if word.is_pinned() {
            self.reference(mfn, word.kind());
        }
        if word.is_partial() || word.is_pending() {
            self.reference(mfn, word.kind());
        }
        let Some(level) = word.kind().level() else {
            return;
        };
        let end = match (word.is_valid(), word.is_partial() || word.is_pending()) {
            (true, _) => 512,
            (false, true) => word.progress(),
            (false, false) => {
                if word.count() > 0 {
                    self.faults.push(format!(
                        "{mfn:?} is being validated while the machine is at rest"
                    ));
                }
                return;
            }
        };
        for (index, entry) in self.machine.words(mfn).iter().enumerate().take(end) {
            if level == 4 && HYPERVISOR_SLOTS.contains(&index) {
                continue;
            }
            self.entry(mfn, level, entry.load(Ordering::SeqCst));
        }
    }

    fn entry(&mut self, table: Mfn, level: u32, value: u64) {
        if !entry::is_present(value) {
            return;
        }
        let target = entry::target(value);
        if level > 1 {
            if entry::is_disallowed(value, level, false) {
                self.faults
                    .push(format!("L{level} {table:?} holds {value:#x}"));
            }
            if target == table {
                return;
            }
            // A linear entry holds a reference of the table's own type.
            let kind = if self.mem.type_of(target).kind() == PageType::table(level) {
                PageType::table(level)
            } else {
                PageType::table(level - 1)
            };
            self.reference(target, kind);
            return;
        }
        if self.mem.is_device(target) {
            return;
        }
        if entry::is_writable(value) {
            self.reference(target, PageType::Writable);
            self.tallies.entry(target).or_default().writable_mapping = true;
        } else {
            self.tallies.entry(target).or_default().general += 1;
        }
    }

    fn compare(&mut self) {
        for mfn in (0..self.mem.frames.len()).map(Mfn) {
            let Some(info) = self.mem.frames.get(mfn) else {
                continue;
            };
            let counted = self.tallies.get(&mfn).copied().unwrap_or_default();
            let (count, word) = (info.count(), self.mem.type_of(mfn));
            if count.state() != FrameState::InUse {
                if counted.general != 0 {
                    self.faults
                        .push(format!("{mfn:?} is {:?} but {counted:?}", count.state()));
                }
                continue;
            }
            if count.count() != counted.general || word.count() != counted.typed {
                self.faults.push(format!(
                    "{mfn:?} recorded {count:?}, {word:?}; counted {counted:?}"
                ));
            }
            let agrees = counted.kind.is_none_or(|kind| kind == word.kind());
            if !agrees || (counted.writable_mapping && word.kind() != PageType::Writable) {
                self.faults.push(format!(
                    "{mfn:?} has type {word:?} but is used as {counted:?}"
                ));
            }
        }
        let beyond: Vec<Mfn> = self
            .tallies
            .keys()
            .copied()
            .filter(|mfn| self.mem.frames.get(*mfn).is_none())
            .collect();
        for mfn in beyond {
            self.faults.push(format!(
                "{mfn:?} is outside the frame table but referred to"
            ));
        }
    }
}
