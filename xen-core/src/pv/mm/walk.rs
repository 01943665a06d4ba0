//! Translating a guest address by reading the guest's tables.
//!
//! The tables under a validated root refer to RAM only, so the frames can be read without references of our own; what
//! is read may be out of date the next moment, and whoever acts on it checks again.

use core::fmt;
use core::sync::atomic::Ordering;

use super::entry;
use crate::guest::is_guest_address;
use crate::hypervisor::Hypervisor;
use crate::machine::{Frames, Machine};
use crate::num::{Mfn, PAGE_SIZE};

/// How an address is translated.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Translation {
    /// The frame.
    pub mfn: Mfn,
    /// The L1 entry.
    pub entry: u64,
    /// Machine address of the L1 entry.
    pub l1_entry_addr: u64,
    /// The L1 table.
    pub l1_table: Mfn,
    /// Index in it.
    pub index: usize,
    /// Writable at every level.
    pub writable: bool,
    /// Accessible in ring 3 at every level.
    pub user: bool,
    /// Executable at every level.
    pub executable: bool,
}

struct Path {
    table: Mfn,
    writable: bool,
    user: bool,
    executable: bool,
}

fn walk_to_l1(machine: &impl Frames, root: Mfn, addr: u64) -> Option<Path> {
    if !is_guest_address(addr) {
        return None;
    }
    let mut path = Path {
        table: root,
        writable: true,
        user: true,
        executable: true,
    };
    for level in (2..=4).rev() {
        let value = machine.words(path.table)[entry::index(addr, level)].load(Ordering::SeqCst);
        if !entry::is_present(value) {
            return None;
        }
        path.writable &= value & entry::RW != 0;
        path.user &= value & entry::USER != 0;
        path.executable &= value & entry::NX == 0;
        path.table = entry::target(value);
    }
    Some(path)
}

/// The L1 table under `root` that covers `addr` and the index of the entry, present or not.
#[must_use]
pub fn find_l1(machine: &impl Frames, root: Mfn, addr: u64) -> Option<(Mfn, usize)> {
    let path = walk_to_l1(machine, root, addr)?;
    Some((path.table, entry::index(addr, 1)))
}

/// Translates a guest address under the L4 table `root`.
#[must_use]
pub fn walk(machine: &impl Frames, root: Mfn, addr: u64) -> Option<Translation> {
    let path = walk_to_l1(machine, root, addr)?;
    let index = entry::index(addr, 1);
    let value = machine.words(path.table)[index].load(Ordering::SeqCst);
    if !entry::is_present(value) {
        return None;
    }
    Some(Translation {
        mfn: entry::target(value),
        entry: value,
        l1_entry_addr: path.table.addr() + index as u64 * 8,
        l1_table: path.table,
        index,
        writable: path.writable && value & entry::RW != 0,
        user: path.user && value & entry::USER != 0,
        executable: path.executable && value & entry::NX == 0,
    })
}

/// Writes how `addr` is translated, level by level, for a crash report.
///
/// # Errors
/// What `out` says.
pub fn write_walk<M: Machine>(
    out: &mut impl fmt::Write,
    hv: &Hypervisor<M>,
    root: Mfn,
    addr: u64,
    what: &str,
) -> fmt::Result {
    writeln!(out, "{what} {addr:#018x}:")?;
    if !is_guest_address(addr) {
        return writeln!(out, "  not a guest address");
    }
    let mut table = root;
    for level in (1..=4).rev() {
        let index = entry::index(addr, level);
        let value = hv.machine.words(table)[index].load(Ordering::SeqCst);
        let target = entry::target(value);
        let m2p = hv
            .machine
            .m2p(target)
            .map_or(u64::MAX, |pfn| pfn.load(Ordering::Relaxed));
        writeln!(out, "  L{level}[{index:#05x}] = {value:016x} pfn {m2p:#x}")?;
        if !entry::is_present(value) || (level > 1 && !hv.mem.is_ram(target)) {
            return Ok(());
        }
        table = target;
    }
    writeln!(out, "  -> {:#x}", table.addr() + addr % PAGE_SIZE)
}
