//! Page tables: `mmu_update`, `mmuext_op`, `update_va_mapping`, and stores into tables that the hypervisor carries out.

mod extended;
mod flush;
mod leaves;
mod stale;
mod stores;
mod trees;
mod updates;

use pv_guest_shim::hypercall_abi::xen::StartInfo;
use pv_guest_shim::mmu;

use crate::call::update_va;

/// The area.
pub fn run(_: &'static StartInfo) {
    leaves::run();
    updates::run();
    trees::run();
    extended::run();
    flush::run();
    stale::run();
    stores::run();
}

/// The flags that the hypervisor is free to change, or the processor does.
const LOOSE: u64 = mmu::ACCESSED | mmu::DIRTY;

/// Machine frame of a page of the pool.
fn frame(page: u64) -> u64 {
    mmu::virt_to_mfn(page)
}

/// An entry that maps a page with flags.
fn entry(page: u64, flags: u64) -> u64 {
    frame(page) << 12 | flags
}

/// The level 1 entry of a page in the boot tables.
fn leaf(page: u64) -> mmu::Entry {
    mmu::leaf(page).unwrap_or_default()
}

/// Takes away or gives back the right to write to a page.
fn set_writable(page: u64, writable: bool) -> i64 {
    let value = leaf(page).value & !mmu::WRITABLE;
    update_va(page, value | if writable { mmu::WRITABLE } else { 0 }, 2)
}
