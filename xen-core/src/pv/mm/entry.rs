//! TRUSTED: what the bits of a page-table entry mean, and which of them a guest may choose.
//!
//! Contract: 64-bit PV page tables of Xen 4.17; SDM volume 3, 4.5. The rules are the same on every path by which an
//! entry can get into a table: promotion, update, fast update and emulated write (XSA-148, XSA-182).

use core::ops::Range;

use crate::num::Mfn;

/// Present.
pub const PRESENT: u64 = 1;
/// Writable.
pub const RW: u64 = 1 << 1;
/// Accessible in ring 3.
pub const USER: u64 = 1 << 2;
/// Write-through.
pub const PWT: u64 = 1 << 3;
/// Cache disable.
pub const PCD: u64 = 1 << 4;
/// Accessed.
pub const ACCESSED: u64 = 1 << 5;
/// Dirty.
pub const DIRTY: u64 = 1 << 6;
/// Page attribute table, in an L1 entry; superpage in the levels above.
pub const PAT: u64 = 1 << 7;
/// Global.
pub const GLOBAL: u64 = 1 << 8;
/// For the guest's own use.
pub const AVAIL: u64 = 0xe00;
/// Marks a page of the guest's kernel, whose entry had `USER` added.
pub const GUEST_KERNEL: u64 = 1 << 52;
/// For the guest's own use, the marker included.
pub const AVAIL_HIGH: u64 = 0x7ff << 52;
/// No execution.
pub const NX: u64 = 1 << 63;

const ADDRESS: u64 = 0x000f_ffff_ffff_f000;
const CACHE: u64 = PAT | PCD | PWT;
const ALWAYS_ALLOWED: u64 =
    PRESENT | RW | USER | ACCESSED | DIRTY | AVAIL | AVAIL_HIGH | NX | ADDRESS;
/// Changes that need no new validation, at any level. A list of what is harmless, never of what is not.
const HARMLESS: u64 = ACCESSED | DIRTY | GLOBAL | AVAIL | AVAIL_HIGH | NX | USER;

/// The frame number that an entry without any address bit clear names: no frame.
pub const INVALID_TARGET: Mfn = Mfn(ADDRESS >> 12);

/// L4 slots that belong to the hypervisor.
pub const HYPERVISOR_SLOTS: Range<usize> = 256..272;

/// Whether the entry is present.
#[must_use]
pub const fn is_present(entry: u64) -> bool {
    entry & PRESENT != 0
}

/// Whether the entry allows writing.
#[must_use]
pub const fn is_writable(entry: u64) -> bool {
    entry & RW != 0
}

/// The entry without the right to write.
#[must_use]
pub const fn without_write(entry: u64) -> u64 {
    entry & !RW
}

/// The entry with another frame.
#[must_use]
pub const fn with_target(entry: u64, mfn: Mfn) -> u64 {
    entry & !ADDRESS | mfn.addr() & ADDRESS
}

/// The frame that the entry points to.
#[must_use]
pub const fn target(entry: u64) -> Mfn {
    Mfn((entry & ADDRESS) >> 12)
}

/// Whether a present entry of `level` has bits that the guest may not choose. `devices`: the domain has rights on
/// device memory and so a say in cacheability.
#[must_use]
pub const fn is_disallowed(entry: u64, level: u32, devices: bool) -> bool {
    let mut allowed = ALWAYS_ALLOWED;
    if level == 1 {
        allowed |= GLOBAL;
        if devices {
            allowed |= CACHE;
        }
    }
    entry & !allowed != 0
}

/// The entry with the bits that the hypervisor adds. Guest kernel and guest user both run in ring 3: kernel pages get
/// `USER` and a marker, user pages stay in the TLB over the change between the two.
#[must_use]
pub const fn adjust(entry: u64, level: u32) -> u64 {
    if !is_present(entry) {
        return entry;
    }
    match level {
        1 if entry & USER == 0 => entry | USER | GUEST_KERNEL,
        1 if entry & GUEST_KERNEL == 0 => entry | GLOBAL,
        1 => entry,
        4 => entry | USER | ACCESSED,
        _ => entry | USER,
    }
}

/// Whether a present entry differs from another only in bits that need no validation. `rw`: whether writability may
/// differ too (levels above 1, which give no right by themselves, unless tables can be mapped through themselves).
#[must_use]
pub const fn differs_harmlessly(old: u64, new: u64, rw: bool) -> bool {
    let mut harmless = HARMLESS;
    if rw {
        harmless |= RW;
    }
    (old ^ new) & !harmless == 0
}

/// Whether two values of an entry differ at most in what the processor sets by itself.
#[must_use]
pub const fn differs_by_hardware_only(old: u64, new: u64) -> bool {
    (old ^ new) & !(ACCESSED | DIRTY) == 0
}

/// The entry with caching turned off if its attribute caches reads (write-back, write-through, write-protect by the
/// PAT that Xen gives guests).
#[must_use]
pub const fn uncached(entry: u64) -> u64 {
    match entry & CACHE {
        0 | PWT => entry | PCD | PWT,
        flags if flags == PAT | PWT => entry | PCD | PWT,
        _ => entry,
    }
}

/// Whether an L1 entry asks for write-back caching, the only attribute that cannot disagree with anybody else's.
#[must_use]
pub const fn is_write_back(entry: u64) -> bool {
    entry & CACHE == 0
}

/// Index of the entry that translates `addr` in a table of `level`.
#[must_use]
pub const fn index(addr: u64, level: u32) -> usize {
    ((addr >> (12 + 9 * (level - 1))) & 511) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernel_pages_are_marked_and_stay_marked() {
        let kernel = adjust(0x1000 | PRESENT | RW, 1);
        assert_eq!(kernel, 0x1000 | PRESENT | RW | USER | GUEST_KERNEL);
        assert_eq!(adjust(kernel, 1), kernel);
        assert_eq!(
            adjust(0x1000 | PRESENT | USER, 1),
            0x1000 | PRESENT | USER | GLOBAL
        );
        assert_eq!(adjust(0x1000 | RW, 1), 0x1000 | RW);
    }

    #[test]
    fn superpages_and_cache_bits_are_refused_above_l1() {
        for level in 2..=4 {
            for bit in [PAT, GLOBAL, PWT, PCD] {
                assert!(is_disallowed(PRESENT | bit, level, true));
            }
        }
        assert!(!is_disallowed(PRESENT | GLOBAL, 1, false));
        assert!(is_disallowed(PRESENT | PCD, 1, false));
        assert!(!is_disallowed(PRESENT | PCD, 1, true));
    }

    #[test]
    fn only_whitelisted_bits_are_harmless() {
        for bit in 0..64 {
            let flag = 1u64 << bit;
            let expected = HARMLESS & flag != 0;
            assert_eq!(
                differs_harmlessly(PRESENT, PRESENT ^ flag, false),
                expected,
                "bit {bit}"
            );
        }
        assert!(differs_harmlessly(PRESENT, PRESENT | RW, true));
    }

    #[test]
    fn cached_attributes_become_uncached() {
        assert_eq!(uncached(0), PCD | PWT);
        assert_eq!(uncached(PWT), PCD | PWT);
        assert_eq!(uncached(PCD), PCD);
        assert_eq!(uncached(PAT), PAT);
        assert_eq!(uncached(PAT | PWT), PAT | PCD | PWT);
    }

    #[test]
    fn every_level_has_its_nine_bits() {
        let addr = 0xffff_ffff_ffff_f000;
        for level in 1..=4 {
            assert_eq!(index(addr, level), 511);
        }
        assert_eq!(index(0xffff_8000_0000_0000, 4), 256);
        assert_eq!(index(0x20_1000, 2), 1);
        assert_eq!(index(0x20_1000, 1), 1);
    }
}
