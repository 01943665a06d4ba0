//! Memory of a guest that runs in hardware, by the addresses that its own page tables translate.
//!
//! The rules are the processor's (SDM volume 3, 4; APM volume 2, 5) for an access of the guest's kernel: what the guest
//! itself could not do faults here too.

use core::sync::atomic::Ordering;

use super::p2m::{self, P2mKind};
use crate::machine::{Frames, GuestFault, HvmState};
use crate::num::{Mfn, PAGE_SIZE, Pfn, is_canonical};

/// The address space that copies go to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct GuestView {
    /// Root of the nested tables.
    pub nested_root: Mfn,
    cr0: u64,
    cr3: u64,
    cr4: u64,
    efer: u64,
    /// User pages may be accessed although SMAP is on (RFLAGS.AC).
    user_access: bool,
    /// The access is user mode's.
    user: bool,
}

/// Present.
const PRESENT: u64 = 1;
const WRITABLE: u64 = 1 << 1;
const USER: u64 = 1 << 2;
const ACCESSED: u64 = 1 << 5;
const DIRTY: u64 = 1 << 6;
const LARGE: u64 = 1 << 7;
const NO_EXECUTE: u64 = 1 << 63;
const ADDRESS: u64 = 0x000f_ffff_ffff_f000;
/// RFLAGS.AC.
const ALIGNMENT_CHECK: u64 = 1 << 18;

/// What an access is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Access {
    /// Data are read.
    Read,
    /// Data are written.
    Write,
    /// Instructions are fetched.
    Fetch,
}

/// How the guest translates.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Paging {
    Off,
    Bits32,
    Pae,
    Long,
}

impl GuestView {
    /// The address space of a vCPU in `state`, for accesses of its kernel.
    #[must_use]
    pub const fn kernel(nested_root: Mfn, state: &HvmState, rflags: u64) -> Self {
        Self {
            nested_root,
            cr0: state.cr0,
            cr3: state.cr3,
            cr4: state.cr4,
            efer: state.efer,
            user_access: rflags & ALIGNMENT_CHECK != 0,
            user: false,
        }
    }

    /// The same, for areas that the kernel has registered: they are written whatever runs, with the kernel's rights.
    #[must_use]
    pub const fn for_areas(nested_root: Mfn, state: &HvmState, rflags: u64) -> Self {
        let mut view = Self::kernel(nested_root, state, rflags);
        view.user_access = true;
        view
    }

    /// The same, for accesses of what runs.
    #[must_use]
    pub const fn current(nested_root: Mfn, state: &HvmState, rflags: u64) -> Self {
        let mut view = Self::kernel(nested_root, state, rflags);
        view.user = state.cpl == 3;
        view
    }

    const fn paging(&self) -> Paging {
        if self.cr0 & HvmState::CR0_PG == 0 {
            Paging::Off
        } else if self.efer & HvmState::EFER_LMA != 0 {
            Paging::Long
        } else if self.cr4 & HvmState::CR4_PAE != 0 {
            Paging::Pae
        } else {
            Paging::Bits32
        }
    }

    /// Translates an address to a guest-physical one.
    ///
    /// # Errors
    /// The guest's tables do not allow it.
    pub fn translate(
        &self,
        frames: &impl Frames,
        addr: u64,
        access: Access,
    ) -> Result<u64, GuestFault> {
        let (levels, width, mut table) = match self.paging() {
            Paging::Off => return Ok(addr & 0xffff_ffff),
            Paging::Long => {
                if !is_canonical(addr) {
                    return Err(fault(addr, access, false));
                }
                (4, 9, self.cr3 & ADDRESS)
            }
            Paging::Pae => (3, 9, self.cr3 & 0xffff_ffe0),
            Paging::Bits32 => (2, 10, self.cr3 & 0xffff_f000),
        };
        let addr = if levels == 4 {
            addr
        } else {
            addr & 0xffff_ffff
        };
        let entry_size = if width == 10 { 4 } else { 8 };
        let mut rights = WRITABLE | USER;
        let mut no_execute = false;
        let mut level = levels;
        loop {
            let shift = 12 + (level - 1) * width;
            let index = addr >> shift & ((1 << width) - 1);
            let at = table + index * entry_size;
            let entry = self
                .read_entry(frames, at, entry_size)
                .ok_or_else(|| fault(addr, access, false))?;
            if entry & PRESENT == 0 {
                return Err(fault(addr, access, false));
            }
            // Entries of the highest level of PAE have no rights.
            let is_pdpte = levels == 3 && level == 3;
            if !is_pdpte {
                rights &= entry;
                no_execute |= entry & NO_EXECUTE != 0 && self.efer & HvmState::EFER_NXE != 0;
            }
            let can_be_large = match levels {
                2 => self.cr4 & HvmState::CR4_PSE != 0,
                3 => level == 2,
                _ => level <= 3,
            };
            let is_leaf = level == 1 || (entry & LARGE != 0 && can_be_large && !is_pdpte);
            if is_leaf {
                if !self.allows(rights, no_execute, access) {
                    return Err(fault(addr, access, true));
                }
                self.mark(frames, at, entry_size, entry, access == Access::Write);
                let mask = (1u64 << shift) - 1;
                let base = if entry_size == 4 && level == 2 {
                    // Bits 13 to 20 are bits 32 to 39 of the address.
                    (entry & 0xffc0_0000) | (entry >> 13 & 0xff) << 32
                } else {
                    entry & ADDRESS & !mask
                };
                return Ok(base | addr & mask);
            }
            if !is_pdpte {
                self.mark(frames, at, entry_size, entry, false);
            }
            table = entry
                & if entry_size == 4 {
                    0xffff_f000
                } else {
                    ADDRESS
                };
            level -= 1;
        }
    }

    const fn allows(&self, rights: u64, no_execute: bool, access: Access) -> bool {
        let user_page = rights & USER != 0;
        if self.user && !user_page {
            return false;
        }
        if no_execute && matches!(access, Access::Fetch) {
            return false;
        }
        if !self.user
            && user_page
            && self.cr4 & HvmState::CR4_SMAP != 0
            && !self.user_access
            && !matches!(access, Access::Fetch)
        {
            return false;
        }
        let protected = self.user || self.cr0 & HvmState::CR0_WP != 0;
        !(matches!(access, Access::Write) && rights & WRITABLE == 0 && protected)
    }

    fn read_entry(&self, frames: &impl Frames, at: u64, size: u64) -> Option<u64> {
        let mapped = p2m::lookup(frames, self.nested_root, Pfn(at >> 12))?;
        let offset = (at & (PAGE_SIZE - 1)) as usize;
        let word = frames.words(mapped.mfn)[offset / 8].load(Ordering::Acquire);
        Some(if size == 8 {
            word
        } else {
            word >> (offset % 8 * 8) & 0xffff_ffff
        })
    }

    /// Sets the accessed bit, and the dirty bit, of an entry, as a processor does. An entry that has changed meanwhile
    /// is left alone.
    fn mark(&self, frames: &impl Frames, at: u64, size: u64, entry: u64, dirty: bool) {
        let bits = ACCESSED | if dirty { DIRTY } else { 0 };
        if entry & bits == bits {
            return;
        }
        let Some(mapped) = p2m::lookup(frames, self.nested_root, Pfn(at >> 12)) else {
            return;
        };
        if !mapped.kind.is_writable() {
            return;
        }
        let offset = (at & (PAGE_SIZE - 1)) as usize;
        let shift = if size == 8 { 0 } else { offset % 8 * 8 };
        frames.words(mapped.mfn)[offset / 8].fetch_or(bits << shift, Ordering::AcqRel);
    }

    fn each_page<F: Frames>(
        &self,
        frames: &F,
        addr: u64,
        len: usize,
        access: Access,
        mut piece: impl FnMut(Mfn, usize, core::ops::Range<usize>),
    ) -> Result<(), GuestFault> {
        let mut done = 0;
        while done < len {
            let at = addr.wrapping_add(done as u64);
            let physical = self.translate(frames, at, access)?;
            let offset = (physical & (PAGE_SIZE - 1)) as usize;
            let here = (PAGE_SIZE as usize - offset).min(len - done);
            let mapped = p2m::lookup(frames, self.nested_root, Pfn(physical >> 12))
                .ok_or_else(|| fault(at, access, true))?;
            match (access, mapped.kind) {
                // Dropped, as the processor's own would be.
                (Access::Write, P2mKind::RamReadOnly) => {}
                (Access::Write, kind) if !kind.is_writable() => {
                    return Err(fault(at, access, true));
                }
                _ => piece(mapped.mfn, offset, done..done + here),
            }
            done += here;
        }
        Ok(())
    }

    /// Copies out of the guest.
    ///
    /// # Errors
    /// The first address that faults.
    pub fn copy_from(
        &self,
        frames: &impl Frames,
        addr: u64,
        buf: &mut [u8],
    ) -> Result<(), GuestFault> {
        self.each_page(
            frames,
            addr,
            buf.len(),
            Access::Read,
            |mfn, offset, range| {
                frames.read_frame(mfn, offset, &mut buf[range]);
            },
        )
    }

    /// Fetches instructions.
    ///
    /// # Errors
    /// The first address that faults.
    pub fn fetch(&self, frames: &impl Frames, addr: u64, buf: &mut [u8]) -> Result<(), GuestFault> {
        self.each_page(
            frames,
            addr,
            buf.len(),
            Access::Fetch,
            |mfn, offset, range| {
                frames.read_frame(mfn, offset, &mut buf[range]);
            },
        )
    }

    /// Copies into the guest.
    ///
    /// # Errors
    /// The first address that faults; what comes before it has been written.
    pub fn copy_to(&self, frames: &impl Frames, addr: u64, buf: &[u8]) -> Result<(), GuestFault> {
        self.each_page(
            frames,
            addr,
            buf.len(),
            Access::Write,
            |mfn, offset, range| {
                frames.write_frame(mfn, offset, &buf[range]);
            },
        )
    }
}

const fn fault(addr: u64, access: Access, present: bool) -> GuestFault {
    GuestFault {
        addr,
        write: matches!(access, Access::Write),
        present,
    }
}
