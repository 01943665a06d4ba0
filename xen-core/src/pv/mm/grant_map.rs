//! TRUSTED: the page-table entry through which a PV guest sees a granted page.
//!
//! The entry holds the page like any other entry; that the page is another domain's is the only difference. Contract:
//! flags of gnttab_map_grant_ref in the public header grant_table.h.

use core::sync::atomic::Ordering;

use hypercall_abi::grant_table::{GUEST_AVAIL0, GntStatus, GntmapFlags};
use hypercall_abi::xen::DomId;

use super::entry;
use super::update::{L1Operation, L1Written};
use crate::domain::Domain;
use crate::hypervisor::Hypervisor;
use crate::machine::Machine;
use crate::num::Mfn;

/// Times that an entry is read again because the processor set accessed or dirty in it meanwhile.
const ATTEMPTS: u32 = 4;
/// First bit of [`entry::AVAIL`].
const AVAIL_SHIFT: u32 = 9;

/// Where a guest wants a granted page, or has it.
#[derive(Clone, Copy, Debug)]
pub struct Place {
    /// The L4 table that is loaded.
    pub root: Option<Mfn>,
    /// Linear address, or machine address of an L1 entry.
    pub host_addr: u64,
    /// Which of the two.
    pub contains_pte: bool,
}

/// An L1 entry by table and index. That the table is one is checked when the entry is changed.
#[derive(Clone, Copy, Debug)]
struct Entry {
    table: Mfn,
    index: usize,
}

impl Entry {
    const fn address(self) -> u64 {
        self.table.addr() + self.index as u64 * 8
    }
}

impl Place {
    fn find<M: Machine>(self, hv: &Hypervisor<M>) -> Result<Entry, GntStatus> {
        if !self.contains_pte {
            return find_linear(hv, self.root, self.host_addr);
        }
        // XSA-227.
        if !self.host_addr.is_multiple_of(8) {
            return Err(GntStatus::GENERAL_ERROR);
        }
        Ok(Entry {
            table: Mfn::from_addr(self.host_addr),
            index: (self.host_addr & 0xfff) as usize / 8,
        })
    }
}

fn find_linear<M: Machine>(
    hv: &Hypervisor<M>,
    root: Option<Mfn>,
    addr: u64,
) -> Result<Entry, GntStatus> {
    let root = root.ok_or(GntStatus::GENERAL_ERROR)?;
    let (table, index) = super::find_l1(&hv.machine, root, addr).ok_or(GntStatus::GENERAL_ERROR)?;
    Ok(Entry { table, index })
}

/// The entry that `flags` ask for.
fn value(frame: Mfn, flags: GntmapFlags) -> u64 {
    let mut value = frame.addr() | entry::PRESENT | entry::ACCESSED | entry::DIRTY | entry::NX;
    if !flags.contains(GntmapFlags::READONLY) {
        value |= entry::RW;
    }
    if flags.contains(GntmapFlags::APPLICATION_MAP) {
        value |= entry::USER;
    }
    value | (u64::from(flags.bits() >> GUEST_AVAIL0) << AVAIL_SHIFT) & entry::AVAIL
}

/// Maps `frame` of `granter` at `place` in the tables of `domain`.
///
/// # Errors
/// `general_error` if there is no such place or it is not an entry of one of the domain's L1 tables.
pub fn create<M: Machine>(
    hv: &Hypervisor<M>,
    domain: &Domain,
    place: Place,
    frame: Mfn,
    granter: DomId,
    flags: GntmapFlags,
) -> Result<(), GntStatus> {
    let at = place.find(hv)?;
    super::write_l1(
        hv,
        domain,
        at.address(),
        value(frame, flags),
        granter,
        false,
    )
    .map_err(|_| GntStatus::GENERAL_ERROR)
}

/// Clears the entry at `place`, which must map `frame` with this right to write (XSA-234).
///
/// # Errors
/// `general_error` if it does not.
pub fn destroy<M: Machine>(
    hv: &Hypervisor<M>,
    domain: &Domain,
    place: Place,
    frame: Mfn,
    write: bool,
) -> Result<(), GntStatus> {
    let at = place.find(hv)?;
    take_out(hv, domain, at, |seen| maps(seen, frame, write)).map(|_| ())
}

const fn maps(seen: u64, frame: Mfn, write: bool) -> bool {
    entry::is_present(seen) && entry::target(seen).0 == frame.0 && entry::is_writable(seen) == write
}

/// Clears an entry whose value `fits`; returns what it was.
fn take_out<M: Machine>(
    hv: &Hypervisor<M>,
    domain: &Domain,
    at: Entry,
    fits: impl Fn(u64) -> bool,
) -> Result<u64, GntStatus> {
    // The page must be the domain's before a word of it is looked at.
    let _table = hv
        .mem
        .get_page(at.table, domain.id)
        .ok_or(GntStatus::GENERAL_ERROR)?;
    let mut seen = hv
        .machine
        .words(at.table)
        .get(at.index)
        .ok_or(GntStatus::GENERAL_ERROR)?
        .load(Ordering::SeqCst);
    for _ in 0..ATTEMPTS {
        if !fits(seen) {
            return Err(GntStatus::GENERAL_ERROR);
        }
        let operation = L1Operation::CompareExchange { old: seen, new: 0 };
        match super::emulated_write(hv, domain, at.table, at.index, operation) {
            Ok(L1Written::Stored(old)) => return Ok(old),
            Ok(L1Written::Mismatch(now)) => seen = now,
            Err(_) => return Err(GntStatus::GENERAL_ERROR),
        }
    }
    Err(GntStatus::GENERAL_ERROR)
}

/// As [`destroy`]; the mapping of linear address `by` moves to `place`.
///
/// # Errors
/// `general_error` if there is no such mapping, or `place` is not a linear address.
pub fn replace<M: Machine>(
    hv: &Hypervisor<M>,
    domain: &Domain,
    place: Place,
    frame: Mfn,
    write: bool,
    by: u64,
) -> Result<(), GntStatus> {
    if place.contains_pte {
        return Err(GntStatus::GENERAL_ERROR);
    }
    let at = place.find(hv)?;
    let source = find_linear(hv, place.root, by)?;
    take_out(hv, domain, at, |seen| maps(seen, frame, write))?;
    // From here on the grant is unmapped whatever comes: what is left is the guest's own mapping.
    let moved = hv.machine.words(source.table)[source.index & 511].load(Ordering::SeqCst);
    if entry::is_present(moved) {
        transfer(hv, domain, source, moved, at);
    }
    Ok(())
}

/// Moves a present mapping, whose entry was `moved` when it was looked at, to another place.
fn transfer<M: Machine>(hv: &Hypervisor<M>, domain: &Domain, source: Entry, moved: u64, to: Entry) {
    // Held over the move, so that what arrives is what left.
    let Some(page) = hv.mem.get_any_page(entry::target(moved)) else {
        return;
    };
    let Some(owner) = hv.mem.owner(page.mfn()) else {
        return;
    };
    // The old entry goes first: one that another vCPU has changed or unmapped meanwhile must not turn into a mapping
    // that nobody granted of a page that may be another domain's.
    let left = take_out(hv, domain, source, |seen| {
        entry::differs_by_hardware_only(seen, moved)
    });
    if left.is_ok() {
        // Refused only if the guest itself has taken the table away.
        let _ = super::write_l1(hv, domain, to.address(), moved, owner, false);
    }
}

#[cfg(test)]
mod tests {
    use super::{Entry, transfer};
    use crate::machine::Frames;
    use crate::num::{Mfn, Pfn};
    use crate::pv::mm::entry::{self, PRESENT, RW};
    use crate::pv::mm::write_l1;
    use crate::sim::{PvGuest, audit, world};

    #[test]
    fn a_mapping_that_changed_since_it_was_seen_does_not_move() {
        let hv = world();
        let granter = PvGuest::unprivileged(&hv, 5, 40);
        let mapper = PvGuest::unprivileged(&hv, 6, 40);
        let page = granter.mfn(Pfn(3));
        let [from, to] = [10, 11].map(|pfn| {
            let addr = mapper.pte_addr(Pfn(pfn));
            Entry {
                table: Mfn::from_addr(addr),
                index: (addr & 0xfff) as usize / 8,
            }
        });
        let value = |at: Entry| {
            hv.machine.words(at.table)[at.index].load(core::sync::atomic::Ordering::SeqCst)
        };
        let set = |at: Entry, new| {
            write_l1(
                &hv,
                &mapper.domain,
                at.address(),
                new,
                granter.domain.id,
                false,
            )
            .unwrap();
        };
        set(to, 0);
        set(from, page.addr() | PRESENT | RW);
        let seen = value(from);
        // A bit of the guest's own, or the whole entry: unmapped properly, and the granter has its page back.
        for now in [seen ^ 1 << 9, 0] {
            set(from, now);
            transfer(&hv, &mapper.domain, from, seen, to);
            assert_eq!((value(from), value(to)), (now, 0));
        }
        set(from, seen);
        transfer(&hv, &mapper.domain, from, seen, to);
        assert_eq!((value(from), entry::target(value(to))), (0, page));
        // What nobody granted must not be there when the books are compared.
        set(to, 0);
        audit(&hv, &[&granter, &mapper]);
    }
}
