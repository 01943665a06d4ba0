//! TRUSTED: making a page what it is asked to be, after looking at its contents.

use core::hint::spin_loop;
use core::sync::atomic::Ordering;

use hypercall_abi::errno::Errno;

use super::{demote, entry, segdesc, target};
use crate::domain::Domain;
use crate::hypervisor::Hypervisor;
use crate::machine::Machine;
use crate::mm::{Got, PageType};
use crate::num::{Mfn, WORDS_PER_PAGE};
use crate::outcome::{Budget, Stop};

/// Takes a general and a type reference on a page of `domain`, checking the page's contents if it was not in use as
/// that type. Give both back with [`put_table`].
///
/// # Errors
/// `EINVAL` if the page is not the domain's, is in use as something else or holds what a guest may not have, or if it
/// becomes a table while the domain is being destroyed; other
/// numbers as the entries' checks give them. `Preempted`: nothing is held; call again with the same arguments.
pub fn get_table<M: Machine>(
    hv: &Hypervisor<M>,
    domain: &Domain,
    mfn: Mfn,
    kind: PageType,
    budget: &mut Budget,
) -> Result<(), Stop> {
    let page = hv.mem.get_page(mfn, domain.id).ok_or(Errno::EINVAL)?;
    loop {
        match hv.mem.try_get_type(mfn, kind) {
            Got::Taken => break,
            Got::Refused => return Err(Errno::EINVAL.into()),
            Got::BeingValidated => {
                // The other processor may be waiting for this one to flush.
                if hv.machine.must_yield() {
                    return Err(Stop::Preempted);
                }
                spin_loop();
            }
            Got::BeingDemoted => demote::drain(hv, &domain.pages, budget)?,
            Got::Validate {
                from,
                progress,
                resumed,
            } => {
                let checked = validate(hv, domain, mfn, kind, from, progress, budget);
                if resumed {
                    // The suspended validation had its own reference.
                    hv.mem.put_page(mfn);
                }
                checked?;
                break;
            }
        }
    }
    let _ = page.into_raw();
    Ok(())
}

/// Gives back a general and a type reference. The references are gone in any case; `Preempted` only says that the
/// demotion that followed is not finished: [`drain`](super::drain) goes on with it.
///
/// # Errors
/// `Preempted`.
pub fn put_table<M: Machine>(
    hv: &Hypervisor<M>,
    mfn: Mfn,
    kind: PageType,
    budget: &mut Budget,
) -> Result<(), Stop> {
    debug_assert_eq!(hv.mem.type_of(mfn).kind(), kind);
    let owner = hv.mem.owner(mfn);
    hv.mem.put_page_and_type(mfn);
    match owner.and_then(|owner| hv.mem.account(owner)) {
        Some(pages) => demote::drain(hv, &pages, budget),
        None => Ok(()),
    }
}

/// Checks the contents and ends the validation one way or the other.
fn validate<M: Machine>(
    hv: &Hypervisor<M>,
    domain: &Domain,
    mfn: Mfn,
    kind: PageType,
    from: PageType,
    progress: usize,
    budget: &mut Budget,
) -> Result<(), Stop> {
    if domain.pages.is_closed() {
        // Destruction cancels what it finds begun; what begins behind it, or goes on, would stay for ever.
        hv.mem.abandon_validation(mfn, progress);
        let _ = demote::drain(hv, &domain.pages, budget);
        return Err(Errno::EINVAL.into());
    }
    if from == PageType::Writable {
        // No processor may be able to write to the page any more when it is looked at. The stamp is read after the
        // type has changed (XSA-408).
        hv.mem.flush_stale(&hv.machine, mfn);
    }
    if hv.mem.take_noncoherent(mfn) {
        // What caches hold and what memory holds must agree before it is looked at (XSA-402).
        hv.machine.flush_caches();
    }
    let (result, done) = match kind.level() {
        Some(level) => check_table(hv, domain, mfn, level, progress, budget),
        None => (segdesc::check_page(hv, mfn).map_err(Stop::from), 0),
    };
    match result {
        Ok(()) => hv.mem.finish_validation(mfn),
        Err(Stop::Preempted) => hv.mem.suspend_validation(mfn, done),
        Err(Stop::Fail(_)) => {
            hv.mem.abandon_validation(mfn, done);
            // Whatever is left of giving the references back can be done later.
            let _ = demote::drain(hv, &domain.pages, budget);
        }
    }
    result
}

/// Takes the references of all entries from `start` on. Also returns the number of entries that hold references.
fn check_table<M: Machine>(
    hv: &Hypervisor<M>,
    domain: &Domain,
    mfn: Mfn,
    level: u32,
    start: usize,
    budget: &mut Budget,
) -> (Result<(), Stop>, usize) {
    let words = hv.machine.words(mfn);
    for (index, word) in words.iter().enumerate().skip(start) {
        if level == 4 && entry::HYPERVISOR_SLOTS.contains(&index) {
            continue;
        }
        // Asked before, paid after: a table below that is preempted has come further, so any budget makes progress.
        if budget.is_empty() {
            return (Err(Stop::Preempted), index);
        }
        let value = word.load(Ordering::SeqCst);
        if !entry::is_present(value) {
            let _ = budget.spend(1);
            continue;
        }
        let taken = if level == 1 {
            target::get_l1(hv, domain, domain.id, value).map_err(Stop::from)
        } else {
            target::get_upper(hv, domain, mfn, level, value, budget)
        };
        match taken {
            // The table has no writable mapping and no processor walks it yet: a plain store loses nothing.
            Ok(adjusted) if adjusted != value => word.store(adjusted, Ordering::SeqCst),
            Ok(_) => {}
            Err(stop) => return (Err(stop), index),
        }
        let _ = budget.spend(1);
    }
    if level == 4 {
        for (word, slot) in words[entry::HYPERVISOR_SLOTS]
            .iter()
            .zip(hv.machine.hypervisor_l4_slots())
        {
            word.store(slot, Ordering::SeqCst);
        }
    }
    (Ok(()), WORDS_PER_PAGE)
}
