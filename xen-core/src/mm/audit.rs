//! Recounting: what the page tables say against what the records say.
//!
//! The page tables are read as they are and every reference they imply is counted anew, together with the holders that
//! the caller knows (roots of vCPUs, descriptor tables, grants). Any difference is a bug. Only for a machine at rest.

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::ops::Range;
use core::sync::atomic::Ordering;

use hypercall_abi::xen::DomId;

use super::{FrameState, Memory, PageType};
use crate::machine::Frames;
use crate::num::Mfn;
use crate::pv::mm::entry::{self, HYPERVISOR_SLOTS};

/// L4 tables that the context of a vCPU holds at most.
const ROOTS: u64 = 2;
/// Descriptor pages that the context of a vCPU holds at most: GDT and LDT.
const DESCRIPTOR_PAGES: u64 = 32;

/// References counted for one page.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Tally {
    general: u32,
    typed: u32,
    kind: Option<PageType>,
    writable_mapping: bool,
}

/// References that are not in a page table.
#[derive(Clone, Debug, Default)]
pub struct Holders {
    /// General references.
    pub general: Vec<Mfn>,
    /// General and type references: roots, descriptor frames, writable pages held by the hypervisor.
    pub typed: Vec<(Mfn, PageType)>,
    /// vCPUs by domain whose contexts nobody can look into because they run. What they may hold is let pass.
    pub running: BTreeMap<DomId, u64>,
}

impl Memory {
    /// Compares the records of all frames with a recount. Returns one line for each difference; empty if all is well.
    #[must_use]
    pub fn audit<M: Frames>(&self, machine: &M, holders: &Holders) -> Vec<String> {
        let end = self.frames.len();
        let mut faults = Vec::new();
        let mut start = 0;
        // As many frames at a time as there is memory to keep tallies of.
        let mut size = end;
        while start < end {
            let mut tallies = Vec::new();
            size = size.min(end - start);
            let room = usize::try_from(size).unwrap_or(usize::MAX);
            if tallies.try_reserve_exact(room).is_err() {
                size /= 2;
                if size == 0 {
                    faults.push("no memory for a recount".into());
                    break;
                }
                continue;
            }
            tallies.resize(room, Tally::default());
            let mut recount = Recount {
                mem: self,
                machine,
                window: start..start + size,
                tallies,
                allowance: Allowance::new(holders),
                faults,
            };
            recount.count(holders);
            recount.compare();
            faults = recount.faults;
            start += size;
        }
        faults
    }
}

/// What running vCPUs may hold, by owner of the pages.
struct Allowance(BTreeMap<DomId, (u64, u64)>);

impl Allowance {
    fn new(holders: &Holders) -> Self {
        let of = |(&id, &vcpus): (&DomId, &u64)| {
            (
                id,
                (
                    vcpus.saturating_mul(ROOTS),
                    vcpus.saturating_mul(DESCRIPTOR_PAGES),
                ),
            )
        };
        Self(holders.running.iter().map(of).collect())
    }

    /// Whether `references` more on a page of this type than were counted can be those of running vCPUs.
    fn covers(&mut self, owner: Option<DomId>, kind: PageType, references: u64) -> bool {
        let Some((roots, descriptors)) = owner.and_then(|owner| self.0.get_mut(&owner)) else {
            return false;
        };
        let left = match kind {
            PageType::L4 => roots,
            PageType::SegDesc => descriptors,
            _ => return false,
        };
        match left.checked_sub(references) {
            Some(less) => {
                *left = less;
                true
            }
            None => false,
        }
    }
}

struct Recount<'a, M> {
    mem: &'a Memory,
    machine: &'a M,
    /// The frames whose references are counted this time.
    window: Range<u64>,
    tallies: Vec<Tally>,
    allowance: Allowance,
    faults: Vec<String>,
}

impl<M: Frames> Recount<'_, M> {
    fn count(&mut self, holders: &Holders) {
        for mfn in (0..self.mem.frames.len()).map(Mfn) {
            self.page(mfn);
        }
        for &mfn in &holders.general {
            self.general(mfn);
        }
        for &(mfn, kind) in &holders.typed {
            self.reference(mfn, kind);
        }
    }

    /// The tally of a frame, if it is one of those that count this time.
    fn tally(&mut self, mfn: Mfn) -> Option<&mut Tally> {
        let index = mfn.0.checked_sub(self.window.start)?;
        self.tallies.get_mut(usize::try_from(index).ok()?)
    }

    /// Notes what is wrong with a page by itself, once.
    fn fault(&mut self, page: Mfn, text: String) {
        if self.window.contains(&page.0) {
            self.faults.push(text);
        }
    }

    fn general(&mut self, mfn: Mfn) {
        if let Some(tally) = self.tally(mfn) {
            tally.general += 1;
        } else if self.window.start == 0 && mfn.0 >= self.mem.frames.len() {
            self.faults.push(format!(
                "{mfn:?} is outside the frame table but referred to"
            ));
        }
    }

    /// A general and a type reference.
    fn reference(&mut self, mfn: Mfn, kind: PageType) {
        self.general(mfn);
        let Some(tally) = self.tally(mfn) else { return };
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
                let text = format!(
                    "{mfn:?} is {:?} but has references ({count:?}, {word:?})",
                    count.state()
                );
                self.fault(mfn, text);
            }
            return;
        }
        if count.is_allocated() {
            self.general(mfn);
        }
        if count.is_special() {
            if let Some(tally) = self.tally(mfn).filter(|_| count.is_allocated()) {
                tally.typed += 1;
                tally.kind = Some(word.kind());
            }
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
                    self.fault(mfn, format!("{mfn:?} is being validated"));
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
                self.fault(table, format!("L{level} {table:?} holds {value:#x}"));
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
            if let Some(tally) = self.tally(target) {
                tally.writable_mapping = true;
            }
        } else {
            self.general(target);
        }
    }

    fn compare(&mut self) {
        for (mfn, counted) in self
            .window
            .clone()
            .map(Mfn)
            .zip(core::mem::take(&mut self.tallies))
        {
            let Some(info) = self.mem.frames.get(mfn) else {
                continue;
            };
            let (count, word) = (info.count(), self.mem.type_of(mfn));
            if count.state() != FrameState::InUse {
                if counted.general != 0 {
                    self.faults
                        .push(format!("{mfn:?} is {:?} but {counted:?}", count.state()));
                }
                continue;
            }
            let more = count.count().checked_sub(counted.general.into());
            let same = more.is_some() && more == word.count().checked_sub(counted.typed.into());
            let excess = more.filter(|&more| same && more != 0);
            let covered = same
                && excess.is_none_or(|more| self.allowance.covers(info.owner(), word.kind(), more));
            if !covered {
                self.faults.push(format!(
                    "{mfn:?} of {:?} recorded {count:?}, {word:?}; counted {counted:?}",
                    info.owner()
                ));
            }
            let agrees = counted.kind.is_none_or(|kind| kind == word.kind());
            if !agrees || (counted.writable_mapping && word.kind() != PageType::Writable) {
                self.faults.push(format!(
                    "{mfn:?} has type {word:?} but is used as {counted:?}"
                ));
            }
        }
    }
}
