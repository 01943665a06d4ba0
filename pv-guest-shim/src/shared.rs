//! The page that a guest shares with the hypervisor, mapped at a page of the kernel's own.
// UNSAFETY: memory that the hypervisor writes too.
#![expect(unsafe_code, reason = "memory shared with the hypervisor")]

use core::cell::UnsafeCell;
use core::mem::offset_of;
use core::ptr;
use core::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};

use hypercall_abi::vcpu::{VcpuOp, VcpuRegisterVcpuInfo};
use hypercall_abi::xen::{SharedInfo, StartInfo, UvmFlags, VcpuInfo, VcpuTimeInfo};

use crate::{hypercall, mmu};

/// Room for the shared page, which is mapped over it.
#[repr(C, align(4096))]
struct Window(UnsafeCell<[u8; 4096]>);

// SAFETY: accessed by atomic or volatile operations only.
unsafe impl Sync for Window {}

static WINDOW: Window = Window(UnsafeCell::new([0; 4096]));
/// Where vCPU 0's part is if it was moved.
static VCPU_INFO: AtomicU64 = AtomicU64::new(0);
static MAPPED: AtomicBool = AtomicBool::new(false);

/// Maps the shared page. 0, or a negative errno.
pub fn map(start_info: &StartInfo) -> i64 {
    let entry = start_info.shared_info | mmu::PRESENT | mmu::WRITABLE | mmu::USER | mmu::ACCESSED;
    // SAFETY: the window's own frame is not used by anything.
    let result = unsafe { mmu::update_va_mapping(address(), entry, UvmFlags::INVLPG.bits()) };
    MAPPED.store(result == 0, Ordering::Release);
    result
}

/// Where the shared page is.
#[must_use]
pub fn address() -> u64 {
    WINDOW.0.get() as u64
}

/// A copy of the shared page's structure, not consistent while the hypervisor writes.
#[must_use]
pub fn snapshot() -> SharedInfo {
    // SAFETY: the window is larger than the structure, and any bytes are valid for it.
    unsafe { ptr::read_volatile(WINDOW.0.get().cast::<SharedInfo>()) }
}

/// A byte of the shared page.
///
/// # Panics
/// If the offset is outside the page.
#[must_use]
pub fn byte(offset: usize) -> &'static AtomicU8 {
    assert!(offset < 4096);
    // SAFETY: inside the window, and every access is atomic.
    unsafe { AtomicU8::from_ptr(WINDOW.0.get().cast::<u8>().add(offset)) }
}

/// A 64-bit word of the shared page.
///
/// # Panics
/// If the offset is outside the page or not aligned.
#[must_use]
pub fn word(offset: usize) -> &'static AtomicU64 {
    assert!(offset < 4096 && offset.is_multiple_of(8));
    // SAFETY: inside the window, aligned, and every access is atomic.
    unsafe { AtomicU64::from_ptr(WINDOW.0.get().cast::<u8>().add(offset).cast()) }
}

/// Moves vCPU 0's part of the shared page into a page of the kernel. 0, or a negative errno.
///
/// # Safety
/// The page must be the kernel's to share, and stay mapped at `address`, which is that of the structure.
pub unsafe fn move_vcpu_info(address: u64) -> i64 {
    let mut arg = VcpuRegisterVcpuInfo {
        mfn: mmu::virt_to_mfn(address),
        offset: (address % mmu::PAGE_SIZE) as u32,
        rsvd: 0,
    };
    let result = hypercall::vcpu_op(VcpuOp::REGISTER_VCPU_INFO, 0, &mut arg);
    if result == 0 {
        VCPU_INFO.store(address, Ordering::Release);
    }
    result
}

/// Where vCPU 0's part is.
fn vcpu_info(offset: usize) -> *mut u8 {
    let moved = VCPU_INFO.load(Ordering::Acquire);
    let base = if moved == 0 { address() } else { moved };
    (base + offset as u64) as *mut u8
}

/// vCPU 0: whether an event is pending.
#[must_use]
pub fn upcall_pending() -> &'static AtomicU8 {
    // SAFETY: inside vCPU 0's structure, and every access is atomic.
    unsafe { AtomicU8::from_ptr(vcpu_info(offset_of!(VcpuInfo, evtchn_upcall_pending))) }
}

/// vCPU 0: whether events are masked.
#[must_use]
pub fn upcall_mask() -> &'static AtomicU8 {
    // SAFETY: inside vCPU 0's structure, and every access is atomic.
    unsafe { AtomicU8::from_ptr(vcpu_info(offset_of!(VcpuInfo, evtchn_upcall_mask))) }
}

/// vCPU 0: the bits that say in which words of the pending ports to look.
#[must_use]
pub fn pending_selector() -> &'static AtomicU64 {
    let at = vcpu_info(offset_of!(VcpuInfo, evtchn_pending_sel));
    // SAFETY: inside vCPU 0's structure, aligned, and every access is atomic.
    unsafe { AtomicU64::from_ptr(at.cast()) }
}

/// vCPU 0: the parameters of the clock, not consistent while the hypervisor writes.
#[must_use]
pub fn time_info() -> VcpuTimeInfo {
    let at = vcpu_info(offset_of!(VcpuInfo, time));
    // SAFETY: inside vCPU 0's structure, aligned, and any bytes are valid.
    unsafe { ptr::read_volatile(at.cast()) }
}

/// The word of pending bits that holds a port, and the port's bit.
#[must_use]
pub fn pending_word(port: u32) -> (&'static AtomicU64, u64) {
    port_word(offset_of!(SharedInfo, evtchn_pending), port)
}

/// The word of mask bits that holds a port, and the port's bit.
#[must_use]
pub fn mask_word(port: u32) -> (&'static AtomicU64, u64) {
    port_word(offset_of!(SharedInfo, evtchn_mask), port)
}

fn port_word(base: usize, port: u32) -> (&'static AtomicU64, u64) {
    (word(base + port as usize / 64 * 8), 1 << (port % 64))
}

/// The event mask and the fault address of vCPU 0; 0 before the page is mapped.
pub(crate) fn upcall_mask_and_cr2() -> (u8, u64) {
    if !MAPPED.load(Ordering::Acquire) {
        return (0, 0);
    }
    let cr2 = vcpu_info(offset_of!(VcpuInfo, arch));
    (
        upcall_mask().load(Ordering::Relaxed),
        // SAFETY: inside vCPU 0's structure, and aligned.
        unsafe { ptr::read_volatile(cr2.cast()) },
    )
}
