//! A version 1 entry of a grant table: one 64-bit word shared with the guest.
//!
//! Flags in bits 0-15, grantee in 16-31, frame in 32-63. One compare-and-exchange checks all three and marks the entry
//! as in use, so there is no second fetch that could differ from the first (XSA-500).

use core::sync::atomic::{AtomicU64, Ordering};

use hypercall_abi::grant_table::{GntStatus, GrantFlags, GrantType};
use hypercall_abi::xen::DomId;

use crate::num::Mfn;

/// Changes by the guest that are waited out while the entry is marked.
const ATTEMPTS: u32 = 5;

const READING: u64 = GrantFlags::READING.bits() as u64;
const WRITING: u64 = GrantFlags::WRITING.bits() as u64;

const fn flags(word: u64) -> u16 {
    word as u16
}

const fn grantee(word: u64) -> DomId {
    DomId((word >> 16) as u16)
}

/// The frame that an entry names.
#[must_use]
pub const fn frame(word: u64) -> Mfn {
    Mfn(word >> 32)
}

/// Marks the entry as read, and as written if `write`, for `caller`. Returns the frame that it names at that moment.
///
/// # Errors
/// `general_error` if the entry does not grant this, or does not stand still.
pub fn mark(word: &AtomicU64, caller: DomId, write: bool) -> Result<Mfn, GntStatus> {
    let mut seen = word.load(Ordering::SeqCst);
    for _ in 0..ATTEMPTS {
        let kind = GrantType(flags(seen) & GrantFlags::TYPE_MASK.bits());
        if kind != GrantType::PERMIT_ACCESS || grantee(seen) != caller {
            return Err(GntStatus::GENERAL_ERROR);
        }
        if write && flags(seen) & GrantFlags::READONLY.bits() != 0 {
            return Err(GntStatus::GENERAL_ERROR);
        }
        let marks = if write { READING | WRITING } else { READING };
        match word.compare_exchange(seen, seen | marks, Ordering::SeqCst, Ordering::SeqCst) {
            Ok(_) => return Ok(frame(seen)),
            Err(now) => seen = now,
        }
    }
    Err(GntStatus::GENERAL_ERROR)
}

/// Takes marks off the entry.
pub fn unmark(word: &AtomicU64, reading: bool, writing: bool) {
    let marks = if reading { READING } else { 0 } | if writing { WRITING } else { 0 };
    if marks != 0 {
        word.fetch_and(!marks, Ordering::SeqCst);
    }
}
