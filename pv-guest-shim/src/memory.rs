//! Ballooning: giving pages of the domain back to the hypervisor, and asking for them again.
//!
//! Contract: public/memory.h, `decrease_reservation`, `populate_physmap`, `current_reservation`.
// UNSAFETY: takes memory away from the kernel, and gives it new memory.
#![expect(unsafe_code, reason = "memory comes and goes")]

use hypercall_abi::errno::Errno;
use hypercall_abi::guest_handle::GuestHandle;
use hypercall_abi::memory::{MemoryDomain, MemoryOp, MemoryReservation};
use hypercall_abi::xen::{DomId, HypercallNr, UvmFlags};

use crate::hypercall::{self, checked};
use crate::mmu;

fn query(op: MemoryOp) -> Result<u64, Errno> {
    let mut arg = MemoryDomain { domid: DomId::SELF };
    checked(hypercall::command(
        HypercallNr::MEMORY_OP,
        op.0.into(),
        &mut arg,
    ))
}

/// Frames that the domain has.
///
/// # Errors
/// As the hypervisor says.
pub fn current() -> Result<u64, Errno> {
    query(MemoryOp::CURRENT_RESERVATION)
}

/// Frames that it may have.
///
/// # Errors
/// As the hypervisor says.
pub fn maximum() -> Result<u64, Errno> {
    query(MemoryOp::MAXIMUM_RESERVATION)
}

/// One frame, in or out. The result says how many were done.
fn reservation(op: MemoryOp, frame: &mut u64) -> Result<(), Errno> {
    let mut arg = MemoryReservation {
        extent_start: GuestHandle::from_addr(core::ptr::from_mut(frame) as u64),
        nr_extents: 1,
        extent_order: 0,
        mem_flags: 0,
        domid: DomId::SELF,
        _pad: [0; 6],
    };
    match checked(hypercall::command(
        HypercallNr::MEMORY_OP,
        op.0.into(),
        &mut arg,
    ))? {
        1 => Ok(()),
        _ => Err(Errno::ENOMEM),
    }
}

fn mapped(address: u64) -> bool {
    mmu::leaf(address).is_some_and(|entry| entry.value & mmu::PRESENT != 0)
}

/// Gives the frame of a page back. The page has no frame then, and no place in the linear mapping.
///
/// # Safety
/// Nobody may use the page, and it must not be mapped anywhere but in the linear mapping.
///
/// # Errors
/// `EINVAL` for a page without a frame, or what the hypervisor answers: the page is as before then.
pub unsafe fn release(pfn: u64) -> Result<(), Errno> {
    let mut mfn = match mmu::pfn_to_mfn(pfn) {
        Some(mfn) if mfn != u64::MAX => mfn,
        _ => return Err(Errno::EINVAL),
    };
    let address = mmu::pfn_to_virt(pfn);
    let was_mapped = mapped(address);
    let entry = mfn << 12 | mmu::KERNEL_RW;
    if was_mapped {
        // SAFETY: nobody uses the page, says the caller.
        checked(unsafe { mmu::update_va_mapping(address, 0, UvmFlags::INVLPG.bits()) })?;
    }
    let result = reservation(MemoryOp::DECREASE_RESERVATION, &mut mfn);
    if result.is_ok() {
        mmu::set_p2m(pfn, u64::MAX);
    } else if was_mapped {
        // SAFETY: the page as it was.
        checked(unsafe { mmu::update_va_mapping(address, entry, UvmFlags::INVLPG.bits()) })?;
    }
    result
}

/// Gets a frame for a page that has none, and maps it in the linear mapping if there is a table for it. Its content is not
/// defined. Returns the machine frame.
///
/// # Errors
/// `EINVAL` for a page that has a frame or is past the domain's end, `ENOMEM` if the hypervisor has none to give.
pub fn populate(pfn: u64) -> Result<u64, Errno> {
    if mmu::pfn_to_mfn(pfn) != Some(u64::MAX) {
        return Err(Errno::EINVAL);
    }
    let mut frame = pfn;
    reservation(MemoryOp::POPULATE_PHYSMAP, &mut frame)?;
    mmu::set_p2m(pfn, frame);
    let address = mmu::pfn_to_virt(pfn);
    if mmu::leaf(address).is_some() {
        let entry = frame << 12 | mmu::KERNEL_RW;
        // SAFETY: nothing was mapped there, and the frame is new.
        checked(unsafe { mmu::update_va_mapping(address, entry, UvmFlags::INVLPG.bits()) })?;
    }
    Ok(frame)
}
