//! TRUSTED: giving back what the entries of former tables hold.
//!
//! A table that loses its last type reference is only marked, in constant time, and put on its owner's list. The work
//! of walking it is done here, in pieces: it can be preempted anywhere, and anyone who needs the page, or merely
//! enters an MMU hypercall of the domain, goes on with it (XSA-45, XSA-290). The list is a stack, so its length is
//! bounded by the depth of the tables, not by their number.

use core::hint::spin_loop;
use core::sync::atomic::Ordering;

use super::{entry, target};
use crate::hypervisor::Hypervisor;
use crate::machine::{Flush, Machine};
use crate::mm::OwnedPages;
use crate::num::Mfn;
use crate::outcome::{Budget, Stop};

/// Pages that wait, empty, for the flush after which they may become something else.
const BATCH: usize = 64;

/// Goes on with the unfinished demotions of a domain, and waits for those that other processors have in hand.
///
/// # Errors
/// `Preempted` if some are left.
pub fn drain<M: Machine>(hv: &Hypervisor<M>, pages: &OwnedPages, budget: &mut Budget) -> Result<(), Stop> {
    if !pages.has_demotions() {
        return Ok(());
    }
    let mut emptied = Emptied { hv, owner: pages, pages: [Mfn(0); BATCH], count: 0 };
    loop {
        while let Some(mfn) = pages.pop_demotion() {
            if budget.is_empty() {
                pages.return_demotion(mfn);
                emptied.finish();
                return Err(Stop::Preempted);
            }
            if empty(hv, pages, mfn, budget) {
                emptied.add(mfn);
            }
        }
        emptied.finish();
        if !pages.has_demotions() {
            return Ok(());
        }
        // A processor is not preempted while it has a page in hand, so it soon comes back or is done; but it may be
        // waiting for this one to flush, so look up in between.
        if hv.machine.must_yield() {
            return Err(Stop::Preempted);
        }
        spin_loop();
    }
}

/// Gives the references of the table's entries back, from the last to the first, until done (true), the budget is
/// used up or a table below has to go first.
fn empty<M: Machine>(hv: &Hypervisor<M>, pages: &OwnedPages, mfn: Mfn, budget: &mut Budget) -> bool {
    let word = hv.mem.type_of(mfn);
    let Some(level) = word.kind().level() else { return true };
    let words = hv.machine.words(mfn);
    let mut left = word.progress();
    while left > 0 {
        if !budget.spend(1) {
            hv.mem.set_demotion_progress(mfn, left);
            pages.return_demotion(mfn);
            return false;
        }
        left -= 1;
        if level == 4 && entry::HYPERVISOR_SLOTS.contains(&left) {
            continue;
        }
        if let Some(child) = target::put(&hv.mem, mfn, level, words[left].load(Ordering::SeqCst)) {
            hv.mem.set_demotion_progress(mfn, left);
            pages.return_demotion(mfn);
            // Tables refer to tables of their owner only, so the child is on the same list.
            pages.push_demotion(child);
            return false;
        }
    }
    hv.mem.set_demotion_progress(mfn, 0);
    true
}

/// Tables without references that no processor may find in its paging-structure caches when they become free.
struct Emptied<'a, M: Machine> {
    hv: &'a Hypervisor<M>,
    owner: &'a OwnedPages,
    pages: [Mfn; BATCH],
    count: usize,
}

impl<M: Machine> Emptied<'_, M> {
    fn add(&mut self, mfn: Mfn) {
        if self.count == BATCH {
            self.finish();
        }
        self.pages[self.count] = mfn;
        self.count += 1;
    }

    fn finish(&mut self) {
        if self.count == 0 {
            return;
        }
        let mem = &self.hv.mem;
        let pages = &self.pages[..self.count];
        let online = self.hv.machine.online();
        let mut owing = crate::machine::CpuMask::EMPTY;
        for &mfn in pages {
            owing = owing.or(&mem.owing(&online, mfn));
        }
        mem.flush_tlb(&self.hv.machine, &owing, Flush::All);
        for &mfn in pages {
            mem.finish_demotion(mfn);
        }
        self.owner.demotions_done(self.count);
        self.count = 0;
    }
}
