//! Entries of nested page tables in the form of AMD-V, which is that of ordinary tables (APM volume 2, 15.25).
//!
//! Every walk is a user access, and A and D bits are set by hardware. What a frame is to the guest is kept in the bits
//! that the processor leaves to software, in entries that map nothing too.

use super::p2m::P2mKind;
use crate::num::Mfn;

/// Present.
const PRESENT: u64 = 1;
/// Writable.
const WRITABLE: u64 = 1 << 1;
/// For user accesses, which all nested walks are.
const USER: u64 = 1 << 2;
/// Accessed and dirty: set in advance, so that nobody writes them later.
const USED: u64 = 1 << 5 | 1 << 6;
/// Maps a large page.
const LARGE: u64 = 1 << 7;
/// First bit of the kind.
const KIND_SHIFT: u32 = 9;
/// Bits of the kind.
const KIND_MASK: u64 = 7;
/// Bits of the address.
const ADDRESS: u64 = 0x000f_ffff_ffff_f000;

/// An entry that points to a table.
#[must_use]
pub const fn table(mfn: Mfn) -> u64 {
    mfn.addr() | PRESENT | WRITABLE | USER | USED
}

/// An entry that maps memory, or says why there is none.
#[must_use]
pub fn leaf(mfn: Mfn, level: u32, kind: P2mKind) -> u64 {
    let kind_bits = (kind as u64) << KIND_SHIFT;
    if kind == P2mKind::Hole {
        return 0;
    }
    let large = if level > 1 { LARGE } else { 0 };
    let writable = if kind.is_writable() { WRITABLE } else { 0 };
    mfn.addr() | kind_bits | PRESENT | USER | USED | writable | large
}

/// The table that an entry points to; `None` if it maps memory or nothing.
#[must_use]
pub const fn next_table(entry: u64, level: u32) -> Option<Mfn> {
    if entry & PRESENT == 0 || level == 1 || entry & LARGE != 0 {
        return None;
    }
    Some(Mfn::from_addr(entry & ADDRESS))
}

/// The memory that an entry maps.
#[must_use]
pub fn mapped(entry: u64) -> Option<(Mfn, P2mKind)> {
    if entry & PRESENT == 0 {
        return None;
    }
    let kind = P2mKind::from_bits((entry >> KIND_SHIFT & KIND_MASK) as u8);
    Some((Mfn::from_addr(entry & ADDRESS), kind))
}
