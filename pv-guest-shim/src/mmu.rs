//! Page tables of a PV kernel: the two frame tables, walks of one's own tables, and the calls that change them.
//!
//! A PV guest sees machine frames (MFNs) in its page tables and has its own dense numbering (PFNs). The kernel image's mapping
//! covers the first PFNs at [`VIRT_BASE`], page tables among them, so a walk needs no further mapping.
//!
//! Contract: public/xen.h, `mmu_update`, `mmuext_op`, `update_va_mapping`.
// UNSAFETY: reads the frame tables and page tables, and changes mappings.
#![expect(unsafe_code, reason = "page tables")]

use core::ptr;
use core::sync::atomic::{AtomicU64, Ordering};

use hypercall_abi::arch_x86::xen_x86_64::MACH2PHYS_VIRT_START;
use hypercall_abi::guest_handle::GuestHandle;
use hypercall_abi::xen::{
    DomId, HypercallNr, MmuUpdate, MmuextCmd, MmuextOp, MmuextOpArg1, MmuextOpArg2, StartInfo,
};
use zerocopy::FromZeros;

use crate::hypercall;
use crate::start::VIRT_BASE;

/// Entry: present.
pub const PRESENT: u64 = 1;
/// Entry: writable.
pub const WRITABLE: u64 = 1 << 1;
/// Entry: for ring 3, where PV kernels run too.
pub const USER: u64 = 1 << 2;
/// Entry: write-through.
pub const PWT: u64 = 1 << 3;
/// Entry: cache disabled.
pub const PCD: u64 = 1 << 4;
/// Entry: accessed.
pub const ACCESSED: u64 = 1 << 5;
/// Entry: dirty.
pub const DIRTY: u64 = 1 << 6;
/// Entry: a large page in levels 2 and 3; the PAT bit in level 1.
pub const PSE: u64 = 1 << 7;
/// Entry: global.
pub const GLOBAL: u64 = 1 << 8;
/// Entry: the hypervisor's marker of kernel pages.
pub const GUEST_KERNEL: u64 = 1 << 52;
/// Entry: no execution.
pub const NX: u64 = 1 << 63;
/// The frame of an entry.
pub const ADDRESS_MASK: u64 = 0x000f_ffff_ffff_f000;
/// Bytes of a page.
pub const PAGE_SIZE: u64 = 4096;

/// Flags of a page of the kernel.
pub const KERNEL_RW: u64 = PRESENT | WRITABLE | USER | ACCESSED | DIRTY;
/// Flags of a read-only page of the kernel.
pub const KERNEL_RO: u64 = PRESENT | USER | ACCESSED | DIRTY;

static P2M: AtomicU64 = AtomicU64::new(0);
static PAGES: AtomicU64 = AtomicU64::new(0);
static ROOT: AtomicU64 = AtomicU64::new(0);

/// Remembers where the builder put the frame table and the page tables.
pub fn init(start_info: &StartInfo) {
    P2M.store(start_info.mfn_list, Ordering::Relaxed);
    PAGES.store(start_info.nr_pages, Ordering::Relaxed);
    let root = pfn_to_mfn(virt_to_pfn(start_info.pt_base)).unwrap_or(0);
    ROOT.store(root, Ordering::Relaxed);
}

/// MFN of the level-4 table that the domain was built with.
#[must_use]
pub fn boot_root() -> u64 {
    ROOT.load(Ordering::Relaxed)
}

/// PFN of an address in the image's mapping.
#[must_use]
pub const fn virt_to_pfn(address: u64) -> u64 {
    address.wrapping_sub(VIRT_BASE) / PAGE_SIZE
}

/// Address of a PFN in the image's mapping, which does not cover all PFNs.
#[must_use]
pub const fn pfn_to_virt(pfn: u64) -> u64 {
    VIRT_BASE.wrapping_add(pfn.wrapping_mul(PAGE_SIZE))
}

/// MFN of a PFN; `None` past the end of the domain.
#[must_use]
pub fn pfn_to_mfn(pfn: u64) -> Option<u64> {
    if pfn >= PAGES.load(Ordering::Relaxed) {
        return None;
    }
    let table = P2M.load(Ordering::Relaxed) as *const u64;
    // SAFETY: the builder mapped an entry for each PFN.
    Some(unsafe { ptr::read_volatile(table.add(pfn as usize)) })
}

/// MFN of an address in the image's mapping.
#[must_use]
pub fn virt_to_mfn(address: u64) -> u64 {
    pfn_to_mfn(virt_to_pfn(address)).unwrap_or(u64::MAX)
}

/// PFN of an MFN of this domain, by the machine-to-physical table. Faults if the table has a hole there.
#[must_use]
pub fn mfn_to_pfn(mfn: u64) -> u64 {
    let table = MACH2PHYS_VIRT_START as *const u64;
    // SAFETY: the hypervisor maps the table for reading where there is memory; elsewhere the access traps.
    unsafe { ptr::read_volatile(table.wrapping_add(mfn as usize)) }
}

/// A page-table entry, and where it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Entry {
    /// Its value.
    pub value: u64,
    /// Its machine address, for `mmu_update`.
    pub machine_address: u64,
    /// Its virtual address in the image's mapping.
    pub address: u64,
}

/// The entry of `level` (1 to 4) that translates an address, in the tables below `root`. `None` if a level above is not present.
#[must_use]
pub fn entry(root: u64, address: u64, level: u32) -> Option<Entry> {
    let mut table = root;
    for at in (1..=4).rev() {
        let index = (address >> (12 + 9 * (at - 1))) & 0x1ff;
        let location = pfn_to_virt(mfn_to_pfn(table)) + index * 8;
        let found = Entry {
            // SAFETY: page tables of this kernel lie in the image's mapping.
            value: unsafe { ptr::read_volatile(location as *const u64) },
            machine_address: table * PAGE_SIZE + index * 8,
            address: location,
        };
        if at == level {
            return Some(found);
        }
        if found.value & PRESENT == 0 {
            return None;
        }
        table = (found.value & ADDRESS_MASK) / PAGE_SIZE;
    }
    None
}

/// The level-1 entry of an address in the boot tables.
#[must_use]
pub fn leaf(address: u64) -> Option<Entry> {
    entry(boot_root(), address, 1)
}

/// Sets the level-1 entry of a virtual address. 0, or a negative errno.
///
/// # Safety
/// The mapping must not be in use by Rust in a way that the new one breaks.
pub unsafe fn update_va_mapping(address: u64, entry: u64, flags: u64) -> i64 {
    // SAFETY: as the caller says.
    unsafe {
        hypercall::raw(
            HypercallNr::UPDATE_VA_MAPPING,
            [address, entry, flags, 0, 0],
        )
    }
}

/// Writes page-table entries. The result, and how many were written.
///
/// # Safety
/// As for [`update_va_mapping`].
pub unsafe fn mmu_update(updates: &[MmuUpdate], foreign: DomId) -> (i64, u32) {
    let mut done = 0u32;
    let args = [
        updates.as_ptr() as u64,
        updates.len() as u64,
        (&raw mut done) as u64,
        foreign.0.into(),
        0,
    ];
    // SAFETY: as the caller says; the arrays are valid.
    let result = unsafe { hypercall::raw(HypercallNr::MMU_UPDATE, args) };
    (result, done)
}

/// Carries out operations on page tables and TLBs. The result, and how many were done.
///
/// # Safety
/// As for [`update_va_mapping`].
pub unsafe fn mmuext_op(operations: &[MmuextOp], foreign: DomId) -> (i64, u32) {
    let mut done = 0u32;
    let args = [
        operations.as_ptr() as u64,
        operations.len() as u64,
        (&raw mut done) as u64,
        foreign.0.into(),
        0,
    ];
    // SAFETY: as the caller says; the arrays are valid.
    let result = unsafe { hypercall::raw(HypercallNr::MMUEXT_OP, args) };
    (result, done)
}

/// Which processors a flush reaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// The one that asks.
    Local,
    /// All on which the domain runs.
    All,
}

/// Drops a page's translation from TLBs. It cannot change what is mapped, so it is safe.
///
/// # Panics
/// If the hypervisor refuses, which it does for no address of a guest.
pub fn flush_page(address: u64, reach: Reach) {
    let cmd = match reach {
        Reach::Local => MmuextCmd::INVLPG_LOCAL,
        Reach::All => MmuextCmd::INVLPG_ALL,
    };
    // SAFETY: only flushes.
    let (result, _) = unsafe { mmuext_op(&[address_op(cmd, address, 0)], DomId::SELF) };
    assert!(result == 0, "flush of {address:#x}: {result}");
}

/// A byte of the kernel's code, at an address that the processor executed.
pub(crate) fn text_byte(address: u64) -> u8 {
    // SAFETY: the decoder asks for bytes of one instruction only, which the processor has fetched.
    unsafe { ptr::read_volatile(address as *const u8) }
}

/// Enters the machine frame of a PFN into the frame table; `u64::MAX` for none. False past the end of the domain.
pub(crate) fn set_p2m(pfn: u64, mfn: u64) -> bool {
    if pfn >= PAGES.load(Ordering::Relaxed) {
        return false;
    }
    let table = P2M.load(Ordering::Relaxed) as *mut u64;
    // SAFETY: the builder mapped a writable entry for each PFN, and readers use volatile accesses.
    unsafe { ptr::write_volatile(table.add(pfn as usize), mfn) };
    true
}

/// An operation on a frame, with a second frame for copies.
#[must_use]
pub fn frame_op(cmd: MmuextCmd, mfn: u64, src_mfn: u64) -> MmuextOp {
    let mut op = MmuextOp::new_zeroed();
    op.cmd = cmd;
    op.arg1 = MmuextOpArg1::from_mfn(mfn);
    op.arg2 = MmuextOpArg2::from_src_mfn(src_mfn);
    op
}

/// An operation on a linear address, with a bitmap of vCPUs at an address.
#[must_use]
pub fn address_op(cmd: MmuextCmd, linear: u64, vcpus: u64) -> MmuextOp {
    let mut op = MmuextOp::new_zeroed();
    op.cmd = cmd;
    op.arg1 = MmuextOpArg1::from_linear_addr(linear);
    op.arg2 = MmuextOpArg2::from_vcpumask(GuestHandle::from_addr(vcpus));
    op
}
