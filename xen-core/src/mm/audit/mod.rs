//! Recounting: what the page tables say against what the records say.
//!
//! The page tables are read as they are and every reference they imply is counted anew, together with the holders that
//! the caller knows (roots of vCPUs, descriptor tables, grants). Any difference is a bug. Only for a machine at rest.
//!
//! The same walk looks at every mapping: none may let a guest write to a page table, a descriptor page or a page of the
//! hypervisor's; the hypervisor's part of every L4 table must be the hypervisor's own; pages of descriptors hold what a guest
//! may have. What owners, free lists and the machine-to-physical table say is compared in `owners`.

mod owners;

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::ops::Range;
use core::sync::atomic::Ordering;

use hypercall_abi::xen::DomId;

use super::{FrameState, Memory, PageType};
use crate::machine::{Frames, PvCpu};
use crate::num::Mfn;
use crate::pv::descriptor;
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
    /// Control domains: what they map of others needs no grant.
    pub control: Vec<DomId>,
}

/// Mappings that a domain has of pages of others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ForeignEntries {
    /// Entries that only read.
    pub read: u32,
    /// Entries that may write.
    pub write: u32,
}

/// What a recount found.
#[derive(Clone, Debug, Default)]
pub struct Findings {
    /// One line for each difference; empty if all is well.
    pub faults: Vec<String>,
    /// By owner of the page table and frame: entries for pages of other domains, in tables of domains that need a grant for
    /// that.
    pub foreign: BTreeMap<(DomId, Mfn), ForeignEntries>,
}

/// Bit of a descriptor that the processor sets by itself: accessed.
const DESCRIPTOR_ACCESSED: u64 = 1 << 40;

impl Memory {
    /// Compares the records of all frames with a recount.
    #[must_use]
    pub fn audit<M: Frames + PvCpu>(&self, machine: &M, holders: &Holders) -> Findings {
        let end = self.frames.len();
        let mut faults = Vec::new();
        let mut foreign = BTreeMap::new();
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
                slots: machine.hypervisor_l4_slots(),
                control: &holders.control,
                foreign,
                faults,
            };
            recount.count(holders);
            recount.compare();
            Recount {
                faults,
                foreign,
                ..
            } = recount;
            start += size;
        }
        self.audit_owners(machine, &mut faults);
        Findings { faults, foreign }
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
    /// The hypervisor's part of every L4 table.
    slots: [u64; 16],
    control: &'a [DomId],
    foreign: BTreeMap<(DomId, Mfn), ForeignEntries>,
    faults: Vec<String>,
}

impl<M: Frames + PvCpu> Recount<'_, M> {
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
        if word.kind() == PageType::SegDesc && word.is_valid() {
            self.descriptors(mfn);
        }
        let Some(level) = word.kind().level() else {
            return;
        };
        if level == 4 && word.is_valid() {
            self.hypervisor_slots(mfn);
        }
        let owner = info.owner();
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
            self.entry(mfn, owner, level, entry.load(Ordering::SeqCst));
        }
    }

    /// A page that the processor takes descriptors from holds only what a guest may have.
    fn descriptors(&mut self, mfn: Mfn) {
        for (index, word) in self.machine.words(mfn).iter().enumerate() {
            let value = word.load(Ordering::SeqCst);
            let harmless = descriptor::check(value)
                .is_some_and(|checked| (checked ^ value) & !DESCRIPTOR_ACCESSED == 0);
            if !harmless {
                self.fault(mfn, format!("{mfn:?} has descriptor {index} {value:#x}"));
            }
        }
    }

    /// The hypervisor's part of a table in use is the hypervisor's.
    fn hypervisor_slots(&mut self, mfn: Mfn) {
        let words = &self.machine.words(mfn)[HYPERVISOR_SLOTS];
        // The processor marks as accessed what it walks through.
        let differs = words
            .iter()
            .zip(self.slots)
            .any(|(word, slot)| (word.load(Ordering::SeqCst) ^ slot) & !entry::ACCESSED != 0);
        if differs {
            self.fault(
                mfn,
                format!("L4 {mfn:?} has slots that are not the hypervisor's"),
            );
        }
    }

    /// What an L1 table of one domain maps of another's pages.
    fn foreign(&mut self, table: Mfn, owner: Option<DomId>, target: Mfn, writable: bool) {
        let Some(owner) = owner.filter(|owner| !self.control.contains(owner)) else {
            return;
        };
        if self.window.contains(&table.0) && self.mem.owner(target) != Some(owner) {
            let entries = self.foreign.entry((owner, target)).or_default();
            if writable {
                entries.write += 1;
            } else {
                entries.read += 1;
            }
        }
    }

    fn entry(&mut self, table: Mfn, owner: Option<DomId>, level: u32, value: u64) {
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
        if entry::is_disallowed(value, 1, true) {
            self.fault(table, format!("L1 {table:?} holds {value:#x}"));
        }
        if self.mem.is_device(target) {
            let too_much = !self.mem.iomem_is_free(target)
                || (entry::is_writable(value) && self.mem.iomem_is_read_only(target));
            if too_much {
                self.fault(
                    table,
                    format!("L1 {table:?} maps device memory: {value:#x}"),
                );
            }
            return;
        }
        self.foreign(table, owner, target, entry::is_writable(value));
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
