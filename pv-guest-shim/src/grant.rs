//! The grant table (version 1): offering frames to other domains.
//!
//! Contract: public/grant_table.h.
// UNSAFETY: memory that the hypervisor writes too.
#![expect(unsafe_code, reason = "memory shared with the hypervisor")]

use core::cell::UnsafeCell;
use core::sync::atomic::{AtomicU64, Ordering};

use hypercall_abi::grant_table::{GntStatus, GnttabOp, GnttabSetupTable};
use hypercall_abi::guest_handle::GuestHandle;
use hypercall_abi::xen::{DomId, HypercallNr, UvmFlags};

use crate::{hypercall, mmu};

/// Entries in the one frame that is mapped.
pub const ENTRIES: u32 = 512;

/// Room for the first frame of the table, which is mapped over it.
#[repr(C, align(4096))]
struct Window(UnsafeCell<[u64; ENTRIES as usize]>);

// SAFETY: accessed by atomic operations only.
unsafe impl Sync for Window {}

static WINDOW: Window = Window(UnsafeCell::new([0; ENTRIES as usize]));

/// `grant_table_op` on one element. 0, or a negative errno; the element has a status of its own.
pub fn op<T: zerocopy::FromBytes + zerocopy::IntoBytes>(op: GnttabOp, element: &mut T) -> i64 {
    let element: *mut T = element;
    // SAFETY: the element is ours to read and write, and any bytes are valid for it.
    unsafe {
        hypercall::raw(
            HypercallNr::GRANT_TABLE_OP,
            [op.0.into(), element as u64, 1, 0, 0],
        )
    }
}

/// Maps the first frame of the table. The status, or a negative errno.
pub fn init() -> Result<GntStatus, i64> {
    let mut frame = 0u64;
    let mut setup = GnttabSetupTable {
        dom: DomId::SELF,
        _pad0: [0; 2],
        nr_frames: 1,
        status: GntStatus(0),
        _pad1: [0; 6],
        frame_list: GuestHandle::from_addr((&raw mut frame) as u64),
    };
    match op(GnttabOp::SETUP_TABLE, &mut setup) {
        0 if setup.status == GntStatus::OKAY => {}
        0 => return Ok(setup.status),
        error => return Err(error),
    }
    let entry = (frame * mmu::PAGE_SIZE) | mmu::KERNEL_RW;
    // SAFETY: the window's own frame is not used by anything.
    match unsafe { mmu::update_va_mapping(WINDOW.0.get() as u64, entry, UvmFlags::INVLPG.bits()) } {
        0 => Ok(GntStatus::OKAY),
        error => Err(error),
    }
}

/// The entry of a reference: flags, domain and frame in one word.
///
/// # Panics
/// If the reference is behind the first frame.
#[must_use]
pub fn entry(reference: u32) -> &'static AtomicU64 {
    assert!(reference < ENTRIES);
    // SAFETY: inside the window, aligned, and every access is atomic.
    unsafe { AtomicU64::from_ptr(WINDOW.0.get().cast::<u64>().add(reference as usize)) }
}

/// Offers a frame to a domain with flags of `GTF_*`.
pub fn offer(reference: u32, flags: u16, domain: DomId, mfn: u64) {
    let word = (mfn << 32) | (u64::from(domain.0) << 16) | u64::from(flags);
    entry(reference).store(word, Ordering::Release);
}

/// The flags of a reference, in which the hypervisor says whether the frame is in use.
#[must_use]
pub fn flags(reference: u32) -> u16 {
    entry(reference).load(Ordering::Acquire) as u16
}

/// Withdraws an offer.
pub fn withdraw(reference: u32) {
    entry(reference).store(0, Ordering::Release);
}
