//! TRUSTED: changing one entry of a table that is in use.
//!
//! New references first, then the store, then the old references back. The store happens under the table's lock, which
//! keeps the table from being demoted and is held for nothing else.

use core::sync::atomic::{AtomicU64, Ordering};

use hypercall_abi::errno::Errno;
use hypercall_abi::xen::DomId;

use super::{entry, target};
use crate::domain::Domain;
use crate::hypervisor::Hypervisor;
use crate::machine::Machine;
use crate::mm::PageType;
use crate::num::Mfn;
use crate::outcome::{Budget, Stop};

/// One change.
#[derive(Clone, Copy, Debug)]
pub struct Update {
    /// Machine address of the entry.
    pub address: u64,
    /// New value.
    pub value: u64,
    /// Owner of the page that a new L1 entry maps.
    pub page_owner: DomId,
    /// Keep accessed and dirty bits that the processor has set.
    pub preserve_ad: bool,
}

/// What else has to happen after a change.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use]
pub enum After {
    /// Nothing.
    Nothing,
    /// A present entry above level 1 changed: flush the domain's processors, paging-structure caches included, before
    /// the hypercall ends (XSA-286).
    Flush,
}

/// How an emulated instruction changes an L1 entry.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum L1Operation {
    /// Replaces the entry, whatever it was.
    Store(u64),
    /// Replaces the entry if it is `old`.
    CompareExchange {
        /// What must be there.
        old: u64,
        /// What goes there.
        new: u64,
    },
}

/// What came of an emulated write.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum L1Written {
    /// Stored; this was there before.
    Stored(u64),
    /// The comparison failed: this is there.
    Mismatch(u64),
}

/// Changes an entry of a page table of `domain`, or a word of a page that is not a table, by the page's current type.
///
/// # Errors
/// `EINVAL` if the page is not the domain's or not fully in use as a table, or for entries a guest may not have; other
/// numbers as the target's checks give them. `Preempted`: nothing was changed, call again.
pub fn write_entry<M: Machine>(
    hv: &Hypervisor<M>,
    domain: &Domain,
    update: Update,
    budget: &mut Budget,
) -> Result<After, Stop> {
    let mfn = Mfn::from_addr(update.address);
    let index = (update.address & 0xfff) as usize / 8;
    let _page = hv.mem.get_page(mfn, domain.id).ok_or(Errno::EINVAL)?;
    let word = hv.mem.type_of(mfn);
    match word.kind() {
        PageType::L1 => {
            let operation = L1Operation::Store(update.value);
            write_l1_entry(hv, domain, mfn, index, operation, update.page_owner, update.preserve_ad)?;
            Ok(After::Nothing)
        }
        PageType::L2 | PageType::L3 | PageType::L4 => {
            if update.page_owner != domain.id {
                return Err(Errno::EINVAL.into());
            }
            let level = word.kind().level().unwrap_or(4);
            write_upper_entry(hv, domain, mfn, level, index, update, budget)
        }
        PageType::None | PageType::Writable => {
            let page = hv.mem.get_writable(mfn, domain.id)?;
            hv.machine.words(page.mfn())[index].store(update.value, Ordering::SeqCst);
            Ok(After::Nothing)
        }
        PageType::SegDesc => Err(Errno::EINVAL.into()),
    }
}

/// Changes the L1 entry at a machine address. The page must be an L1 table of `domain`; a present new entry must map a
/// page of `page_owner`.
///
/// # Errors
/// As [`write_entry`].
pub fn write_l1<M: Machine>(
    hv: &Hypervisor<M>,
    domain: &Domain,
    l1_entry_address: u64,
    new: u64,
    page_owner: DomId,
    preserve_ad: bool,
) -> Result<(), Errno> {
    let mfn = Mfn::from_addr(l1_entry_address);
    let index = (l1_entry_address & 0xfff) as usize / 8;
    if l1_entry_address % 8 != 0 {
        return Err(Errno::EINVAL);
    }
    let _page = hv.mem.get_page(mfn, domain.id).ok_or(Errno::EINVAL)?;
    write_l1_entry(hv, domain, mfn, index, L1Operation::Store(new), page_owner, preserve_ad).map(|_| ())
}

/// A write by an instruction of the guest to an entry of one of its L1 tables, which it sees read-only. Foreign pages
/// cannot be mapped this way.
///
/// # Errors
/// As [`write_entry`]; the guest gets its page fault then.
pub fn emulated_write<M: Machine>(
    hv: &Hypervisor<M>,
    domain: &Domain,
    table: Mfn,
    index: usize,
    operation: L1Operation,
) -> Result<L1Written, Errno> {
    let _page = hv.mem.get_page(table, domain.id).ok_or(Errno::EINVAL)?;
    write_l1_entry(hv, domain, table, index & 511, operation, domain.id, false)
}

fn write_l1_entry<M: Machine>(
    hv: &Hypervisor<M>,
    domain: &Domain,
    table: Mfn,
    index: usize,
    operation: L1Operation,
    page_owner: DomId,
    preserve_ad: bool,
) -> Result<L1Written, Errno> {
    let (new, expected) = match operation {
        L1Operation::Store(new) => (new, None),
        L1Operation::CompareExchange { old, new } => (new, Some(old)),
    };
    let store = Store { table, kind: PageType::L1, index, preserve_ad };
    // Only a first guess: what counts is what is there under the lock.
    let seen = hv.machine.words(table)[index].load(Ordering::SeqCst);
    let mut adjusted = new;
    let mut taken = false;
    if entry::is_present(new) {
        if entry::is_disallowed(new, 1, domain.privileges.hardware) {
            return Err(Errno::EINVAL);
        }
        if entry::is_present(seen) && entry::differs_harmlessly(seen, new, false) {
            // The references that the entry holds stay as they are.
            let same = |now: u64| match expected {
                Some(old) => now == old,
                None => entry::is_present(now) && entry::differs_harmlessly(now, new, false),
            };
            match store.put(hv, entry::adjust(new, 1), same)? {
                Ok(old) => return Ok(L1Written::Stored(old)),
                Err(now) if expected.is_some() => return Ok(L1Written::Mismatch(now)),
                // Changed under our eyes: the long way round is right for any old value.
                Err(_) => {}
            }
        }
        adjusted = target::get_l1(hv, domain, page_owner, new)?;
        taken = true;
    }
    let stored = store.put(hv, adjusted, |now| expected.is_none_or(|old| now == old));
    let unused = match stored {
        Ok(Ok(old)) => {
            let _ = target::put(&hv.mem, table, 1, old);
            return Ok(L1Written::Stored(old));
        }
        Ok(Err(now)) => Ok(L1Written::Mismatch(now)),
        Err(errno) => Err(errno),
    };
    if taken {
        let _ = target::put(&hv.mem, table, 1, adjusted);
    }
    unused
}

fn write_upper_entry<M: Machine>(
    hv: &Hypervisor<M>,
    domain: &Domain,
    table: Mfn,
    level: u32,
    index: usize,
    update: Update,
    budget: &mut Budget,
) -> Result<After, Stop> {
    if level == 4 && entry::HYPERVISOR_SLOTS.contains(&index) {
        return Err(Errno::EINVAL.into());
    }
    let new = update.value;
    let kind = PageType::table(level);
    let store = Store { table, kind, index, preserve_ad: update.preserve_ad };
    let mut adjusted = new;
    if entry::is_present(new) {
        if entry::is_disallowed(new, level, false) {
            return Err(Errno::EINVAL.into());
        }
        let rw_is_harmless = !hv.mem.linear_tables();
        let same = |now: u64| entry::is_present(now) && entry::differs_harmlessly(now, new, rw_is_harmless);
        if same(hv.machine.words(table)[index].load(Ordering::SeqCst)) {
            if let Ok(old) = store.put(hv, entry::adjust(new, level), same)? {
                return Ok(after(old));
            }
        }
        adjusted = target::get_upper(hv, domain, table, level, new, budget)?;
    }
    match store.put(hv, adjusted, |_| true) {
        Ok(Ok(old) | Err(old)) => {
            drop_upper(hv, domain, table, level, old, budget);
            Ok(after(old))
        }
        Err(errno) => {
            drop_upper(hv, domain, table, level, adjusted, budget);
            Err(errno.into())
        }
    }
}

const fn after(old: u64) -> After {
    if entry::is_present(old) { After::Flush } else { After::Nothing }
}

/// Gives an entry's references back. If that starts a demotion, the door goes on with it.
fn drop_upper<M: Machine>(
    hv: &Hypervisor<M>,
    domain: &Domain,
    table: Mfn,
    level: u32,
    value: u64,
    budget: &mut Budget,
) {
    if let Some(child) = target::put(&hv.mem, table, level, value) {
        domain.pages.push_demotion(child);
        let _ = super::drain(hv, &domain.pages, budget);
    }
}

/// Where to store.
#[derive(Clone, Copy)]
struct Store {
    table: Mfn,
    kind: PageType,
    index: usize,
    preserve_ad: bool,
}

impl Store {
    /// Stores `value` if `fits` accepts what is there. Returns the old value, or the one that did not fit.
    fn put<M: Machine>(
        self,
        hv: &Hypervisor<M>,
        value: u64,
        fits: impl Fn(u64) -> bool,
    ) -> Result<Result<u64, u64>, Errno> {
        let _lock = hv.mem.lock_table(self.table, self.kind).ok_or(Errno::EINVAL)?;
        let word: &AtomicU64 = &hv.machine.words(self.table)[self.index];
        let mut seen = word.load(Ordering::SeqCst);
        loop {
            if !fits(seen) {
                return Ok(Err(seen));
            }
            let kept = if self.preserve_ad && entry::is_present(value) {
                seen & (entry::ACCESSED | entry::DIRTY)
            } else {
                0
            };
            // Only the processor changes the entry while the table is locked.
            match word.compare_exchange(seen, value | kept, Ordering::SeqCst, Ordering::SeqCst) {
                Ok(_) => return Ok(Ok(seen)),
                Err(now) => {
                    debug_assert!(entry::differs_by_hardware_only(seen, now));
                    seen = now;
                }
            }
        }
    }
}
