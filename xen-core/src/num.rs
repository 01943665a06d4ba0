//! Numbers that must not be confused, one newtype each.
//!
//! Conversions are named (`Mfn::from_addr`, `Pfn::new`), never `From`: a frame number, an address and an index
//! are all `u64` to the machine, and mixing them up is how hypervisors are broken.

use core::fmt;

macro_rules! number {
    ($(#[$doc:meta])* $name:ident($inner:ty)) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
        #[repr(transparent)]
        pub struct $name(pub $inner);

        impl $name {
            /// Names a raw number.
            #[must_use]
            pub const fn new(raw: $inner) -> Self {
                Self(raw)
            }

            /// The raw number.
            #[must_use]
            pub const fn get(self) -> $inner {
                self.0
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({:#x})"), self.0)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:#x}", self.0)
            }
        }
    };
}

/// log2 of the page size.
pub const PAGE_SHIFT: u32 = 12;
/// Bytes in a page.
pub const PAGE_SIZE: u64 = 1 << PAGE_SHIFT;
/// 64-bit words, and so page-table entries, in a page.
pub const WORDS_PER_PAGE: usize = 512;

number! {
    /// Machine frame number: a page of the computer's real memory.
    Mfn(u64)
}
number! {
    /// Guest (pseudo-physical) frame number: a page as its owner numbers it.
    Pfn(u64)
}
number! {
    /// A vCPU's number within its domain.
    VcpuId(u32)
}
number! {
    /// A processor of the machine, in the order in which Xenolith found them.
    CpuId(u32)
}
number! {
    /// An event-channel port of one domain.
    Port(u32)
}
number! {
    /// Index of an entry in a domain's grant table.
    GrantRef(u32)
}
number! {
    /// Index into a domain's table of granted pages that it has mapped.
    GrantHandle(u32)
}
number! {
    /// Global system interrupt: an IO-APIC input, numbered across all IO-APICs.
    Gsi(u32)
}
number! {
    /// A guest's number for a physical interrupt (for the hardware domain equal to the GSI below `nr_gsis`).
    Pirq(u32)
}
number! {
    /// Interrupt vector of a processor.
    Vector(u8)
}

impl Mfn {
    /// The number that never names a page (all ones, as in the ABI).
    pub const INVALID: Self = Self(u64::MAX);

    /// The frame that holds machine address `addr`.
    #[must_use]
    pub const fn from_addr(addr: u64) -> Self {
        Self(addr >> PAGE_SHIFT)
    }

    /// First machine address of the frame; wraps for numbers no machine has.
    #[must_use]
    pub const fn addr(self) -> u64 {
        self.0 << PAGE_SHIFT
    }

    /// The frame `n` places further on.
    #[must_use]
    pub const fn offset(self, n: u64) -> Self {
        Self(self.0.wrapping_add(n))
    }
}

impl Pfn {
    /// The number that never names a page (all ones: an invalid M2P entry).
    pub const INVALID: Self = Self(u64::MAX);

    /// First pseudo-physical address of the frame.
    #[must_use]
    pub const fn addr(self) -> u64 {
        self.0 << PAGE_SHIFT
    }

    /// The frame `n` places further on.
    #[must_use]
    pub const fn offset(self, n: u64) -> Self {
        Self(self.0.wrapping_add(n))
    }
}

/// Whether `addr` is canonical for 48-bit virtual addresses.
#[must_use]
pub const fn is_canonical(addr: u64) -> bool {
    let upper = addr >> 47;
    upper == 0 || upper == 0x1_ffff
}
