//! Page tables between frames of the machine and frames of the guest.
//!
//! Contract: PAGE_DATA of libxc-migration-stream; `XEN_DOMCTL_PFINFO_*` of public/domctl.h.

use super::{FRAME_BITS, MigrationError};

/// Entries of a table.
pub const ENTRIES: usize = 512;
const PRESENT: u64 = 1;
const LARGE: u64 = 1 << 7;
/// Entries of a level-4 table that are the hypervisor's.
const HYPERVISORS: std::ops::RangeInclusive<usize> = 256..=271;

/// What a page is, as the stream and getpageframeinfo3 say: the upper four bits of a word of 32.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PageType(pub u32);

impl PageType {
    /// No frame of the domain.
    pub const NONE: Self = Self(0xf);
    /// A frame without contents in the stream.
    const ALLOCATED: Self = Self(0xe);
    /// A frame with a hardware error.
    const BROKEN: Self = Self(0xd);

    /// From a word of getpageframeinfo3.
    pub fn of_info(word: u64) -> Self {
        Self((word >> 28) as u32 & 0xf)
    }

    /// The level of a page table, 1 to 4.
    pub fn level(self) -> Option<u32> {
        matches!(self.0, 1..=4 | 9..=12).then_some(self.0 & 7)
    }

    /// Whether it is a page table that is pinned.
    pub fn is_pinned(self) -> bool {
        self.0 & 8 != 0 && self.level().is_some()
    }

    /// Whether the stream has its contents.
    pub fn has_data(self) -> bool {
        self == Self(0) || self.level().is_some()
    }

    /// Whether a new domain gets a frame for it.
    pub fn is_allocated(self) -> bool {
        self.has_data() || self == Self::ALLOCATED
    }

    /// Whether there is such a type.
    pub fn exists(self) -> bool {
        self.is_allocated() || self == Self::BROKEN || self == Self::NONE
    }
}

/// Puts the result of `translate` for its frame into each present entry of `table`, a table of `level`. Entries that the
/// hypervisor made for itself go.
///
/// # Errors
/// An entry is a large page, or `translate` fails.
pub fn translate(
    table: &mut [u64; ENTRIES],
    level: u32,
    mut frame: impl FnMut(u64) -> Result<u64, MigrationError>,
) -> Result<(), MigrationError> {
    for (index, entry) in table.iter_mut().enumerate() {
        if level == 4 && HYPERVISORS.contains(&index) {
            *entry = 0;
        }
        if *entry & PRESENT == 0 {
            continue;
        }
        if level > 1 && *entry & LARGE != 0 {
            return super::guest_error(format!(
                "entry {index} of a level-{level} table is a large page"
            ));
        }
        *entry = *entry & !FRAME_BITS | frame((*entry & FRAME_BITS) >> 12)? << 12 & FRAME_BITS;
    }
    Ok(())
}
