//! Page tables as this domain sees them: read through the linear mapping, changed by `mmu_update`.
// UNSAFETY: reads and changes page tables.
#![expect(unsafe_code, reason = "page tables")]

use core::ptr;

use hypercall_abi::errno::Errno;
use hypercall_abi::xen::{DomId, MmuUpdate, UvmFlags};

use super::table::{PvPageTable, Tables};
use crate::hypercall::checked;
use crate::mmu;

/// This domain's page tables.
#[derive(Debug)]
pub struct Machine(());

impl PvPageTable<Machine> {
    /// The tables that the domain was built with, in which the kernel runs. `start::init` comes first.
    ///
    /// # Safety
    /// As for [`PvPageTable::new`].
    #[must_use]
    pub unsafe fn active() -> Self {
        // SAFETY: as the caller says.
        unsafe { Self::new(mmu::boot_root(), Machine(())) }
    }
}

/// Address of an own frame in the linear mapping, if it is mapped there.
pub(super) fn linear(frame: u64) -> Result<u64, Errno> {
    let pfn = mmu::mfn_to_pfn(frame);
    if mmu::pfn_to_mfn(pfn) != Some(frame) {
        return Err(Errno::EPERM);
    }
    let address = mmu::pfn_to_virt(pfn);
    match mmu::leaf(address) {
        Some(entry) if entry.value & mmu::PRESENT != 0 => Ok(address),
        _ => Err(Errno::EFAULT),
    }
}

/// Makes a frame's page in the linear mapping writable or read-only.
pub(super) fn protect(frame: u64, flags: u64) -> Result<u64, Errno> {
    let address = linear(frame)?;
    let entry = frame << 12 | flags;
    // SAFETY: the frame stays the same; the caller has made sure that nobody writes to one that becomes read-only.
    let result = unsafe { mmu::update_va_mapping(address, entry, UvmFlags::INVLPG.bits()) };
    checked(result).map(|_| address)
}

impl Tables for Machine {
    fn read(&self, table: u64, index: u64) -> u64 {
        let address = mmu::pfn_to_virt(mmu::mfn_to_pfn(table)) + index * 8;
        // SAFETY: tables of this domain are mapped there, at least for reading.
        unsafe { ptr::read_volatile(address as *const u64) }
    }

    fn write(&mut self, table: u64, index: u64, value: u64) -> Result<(), Errno> {
        let update = MmuUpdate {
            ptr: (table << 12) | (index * 8),
            val: value,
        };
        // SAFETY: who made the mapper vouched for its mappings.
        let (result, _) = unsafe { mmu::mmu_update(&[update], DomId::SELF) };
        checked(result).map(drop)
    }

    fn make_table(&mut self, frame: u64) -> Result<(), Errno> {
        let address = protect(frame, mmu::KERNEL_RW)?;
        // SAFETY: the allocator gave the frame to us, and it is mapped.
        unsafe { ptr::write_bytes(address as *mut u8, 0, 4096) };
        protect(frame, mmu::KERNEL_RO).map(drop)
    }

    fn unmake_table(&mut self, frame: u64) -> Result<(), Errno> {
        protect(frame, mmu::KERNEL_RW).map(drop)
    }
}
