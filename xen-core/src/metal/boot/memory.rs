//! From the first page tables to the hypervisor's own, and to a heap.
// UNSAFETY: builds and loads page tables, hands memory to the heap.

use xen_core::boot::e820::E820;
use xen_core::boot::modules::PhysRange;
use xen_core::boot::plan::{self, Plan};

use crate::metal::backtrace;
use crate::metal::mem::heap;
use crate::metal::mem::layout::{
    DIRECT_MAP_BASE, DIRECT_MAP_SIZE, FRAME_TABLE_BASE, HEAP_BASE, IMAGE_BASE, M2P_BASE,
    M2P_GUEST_BASE,
};
use crate::metal::mem::paging::{self, Rights, Tables};

unsafe extern "C" {
    static __text_start: [u8; 0];
    static __text_end: [u8; 0];
    static __rodata_start: [u8; 0];
    static __rodata_end: [u8; 0];
    static __data_start: [u8; 0];
    static __data_end: [u8; 0];
    static __image_start: [u8; 0];
    static __image_end: [u8; 0];
}

/// The physical pages between two addresses of the image.
fn physical(start: u64, end: u64) -> PhysRange {
    PhysRange::new(start - IMAGE_BASE, end - IMAGE_BASE).pages_around()
}

/// The image and the symbol table behind it.
pub fn image() -> PhysRange {
    let end =
        backtrace::symbols().map_or(&raw const __image_end as u64, |(start, len)| start + len);
    physical(&raw const __image_start as u64, end)
}

/// Builds the hypervisor's own page tables and switches to them; then there is a heap.
///
/// # Safety
/// Once, on the page tables of `head.S`; `plan` must hold for `memory` and the image.
pub unsafe fn switch_to_own_tables(memory: &E820, plan: &Plan) {
    // SAFETY: the plan chose the pool from free memory below the end of the early direct map; the final direct map
    // below covers it too.
    let mut tables = unsafe { Tables::new(plan.tables) };
    let sections = [
        (
            &raw const __text_start as u64,
            &raw const __text_end as u64,
            Rights::Text,
        ),
        (
            &raw const __rodata_start as u64,
            &raw const __rodata_end as u64,
            Rights::ReadOnly,
        ),
        (
            &raw const __data_start as u64,
            &raw const __data_end as u64,
            Rights::ReadWrite,
        ),
    ];
    for (start, end, rights) in sections {
        let range = physical(start, end);
        tables.map(IMAGE_BASE + range.start, range.start, range.len(), rights);
    }
    if let Some((start, len)) = backtrace::symbols() {
        let range = physical(start, start + len);
        tables.map(
            IMAGE_BASE + range.start,
            range.start,
            range.len(),
            Rights::ReadOnly,
        );
    }
    // The direct map leaves out what is mapped elsewhere: text must not be writable through it, and Rust's memory has
    // one address.
    let elsewhere = [image(), plan.heap, plan.frame_table, plan.m2p];
    for range in plan::ranges_outside(memory, &elsewhere, 0) {
        let end = range.end.min(DIRECT_MAP_SIZE);
        let range = PhysRange::new(range.start.min(end), end);
        tables.map(
            DIRECT_MAP_BASE + range.start,
            range.start,
            range.len(),
            Rights::ReadWrite,
        );
    }
    tables.map(
        HEAP_BASE,
        plan.heap.start,
        plan.heap.len(),
        Rights::ReadWrite,
    );
    tables.map(
        FRAME_TABLE_BASE,
        plan.frame_table.start,
        plan.frame_table.len(),
        Rights::ReadWrite,
    );
    tables.map(M2P_BASE, plan.m2p.start, plan.m2p.len(), Rights::ReadWrite);
    tables.map(
        M2P_GUEST_BASE,
        plan.m2p.start,
        plan.m2p.len(),
        Rights::GuestReadOnly,
    );
    // SAFETY: image, boot stack (in its data) and direct map are where they were. Frame table, M2P and heap were free
    // memory, and this is their only use.
    unsafe {
        paging::adopt(tables);
        core::ptr::write_bytes(
            FRAME_TABLE_BASE as *mut u8,
            0,
            plan.frame_table.len() as usize,
        );
        // No frame has an owner's number yet: all ones.
        core::ptr::write_bytes(M2P_BASE as *mut u8, 0xff, plan.m2p.len() as usize);
        assert!(
            heap::extend(HEAP_BASE, plan.heap.len()),
            "the heap is too small to be one"
        );
    }
}
