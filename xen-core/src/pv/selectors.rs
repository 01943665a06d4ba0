//! Selectors that every PV guest may use from the start (public header arch-x86/xen-x86_64.h), and the rule for those
//! that it chooses itself.

/// 64-bit code, ring 3 (FLAT_RING3_CS64).
pub const FLAT_CS64: u16 = 0xe033;
/// 32-bit code, ring 3 (FLAT_RING3_CS32).
pub const FLAT_CS32: u16 = 0xe023;
/// Stack and data, ring 3 (FLAT_RING3_SS64).
pub const FLAT_SS: u16 = 0xe02b;

/// A selector that came from a guest, as the processor will get it: always ring 3.
#[must_use]
pub const fn ring3(selector: u16) -> u16 {
    selector | 3
}
