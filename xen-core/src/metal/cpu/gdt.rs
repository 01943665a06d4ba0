//! Global and local descriptor tables of each CPU: a window of 2 MiB that guests' descriptor frames are mapped into.
//!
//! Pages 0 to 13 of the GDT are the guest's, page 14 is ours, page 15 is empty (public header `arch-x86/xen.h`,
//! `FIRST_RESERVED_GDT_PAGE`). Guests can name our descriptors, so their order is ABI (`arch-x86/xen-x86_64.h`).
// UNSAFETY: writes descriptors and loads them.

use core::arch::asm;
use core::sync::atomic::{AtomicU64, Ordering};

use x86_64::structures::DescriptorTablePointer;
use xen_core::num::Mfn;

use super::percpu::PerCpu;
use crate::metal::mem::layout::{WINDOW_LDT, WINDOW_STRIDE, WINDOWS_BASE};
use crate::metal::mem::paging::{PAGE_SIZE, Rights, small_page, with_tables};
use crate::metal::mem::stacks::this_cpu;

/// First page of the GDT that is ours.
const RESERVED_PAGE: u64 = 14;
/// Pages of the GDT.
const GDT_PAGES: u64 = 16;
/// First byte of our descriptors.
const RESERVED_BYTE: u64 = RESERVED_PAGE * PAGE_SIZE;

/// Selector of the `index`th of our descriptors.
const fn selector(index: u64) -> u16 {
    (RESERVED_BYTE + index * 8) as u16
}

/// Ring-0 code.
pub const HYPERVISOR_CS: u16 = selector(1);
/// Ring-0 data.
pub const HYPERVISOR_DS: u16 = selector(2);
const TSS: u16 = selector(8);
const LDT: u16 = selector(10);

const _: () =
    assert!(HYPERVISOR_CS == 0xe008 && HYPERVISOR_DS == 0xe010 && TSS == 0xe040 && LDT == 0xe050);

/// Flat segments: 4 GiB, page granular, present, accessed.
mod flat {
    pub const RING0_CODE64: u64 = 0x00af_9b00_0000_ffff;
    pub const RING0_DATA: u64 = 0x00cf_9300_0000_ffff;
    pub const RING1_CODE32: u64 = 0x00cf_bb00_0000_ffff;
    pub const RING3_CODE32: u64 = 0x00cf_fb00_0000_ffff;
    pub const RING3_DATA: u64 = 0x00cf_f300_0000_ffff;
    pub const RING3_CODE64: u64 = 0x00af_fb00_0000_ffff;
    pub const RING0_CODE32: u64 = 0x00cf_9b00_0000_ffff;
    /// A one-byte ring-3 data segment whose limit is the CPU's number (LSL reads it).
    pub const RING3_LIMIT: u64 = 0x0040_f200_0000_0000;
}

/// The two words of a system descriptor (SDM 3A 3.5).
fn system_descriptor(base: u64, limit: u64, kind: u64) -> [u64; 2] {
    const PRESENT: u64 = 1 << 47;
    let low = limit & 0xffff
        | (base & 0x00ff_ffff) << 16
        | kind << 40
        | PRESENT
        | (limit >> 16 & 0xf) << 48
        | (base >> 24 & 0xff) << 56;
    [low, base >> 32]
}

const KIND_LDT: u64 = 0x2;
const KIND_TSS: u64 = 0x9;

/// Start of the GDT window of CPU number `cpu`.
pub fn gdt_window(cpu: u32) -> u64 {
    WINDOWS_BASE + u64::from(cpu) * WINDOW_STRIDE
}

/// Start of the LDT window of CPU number `cpu`.
pub fn ldt_window(cpu: u32) -> u64 {
    gdt_window(cpu) + WINDOW_LDT
}

/// Our descriptors in the window of CPU number `cpu`.
fn reserved(cpu: u32) -> *mut u64 {
    (gdt_window(cpu) + RESERVED_BYTE) as *mut u64
}

/// Address of a page of zeroes that is never written.
fn zero_page() -> u64 {
    static ZERO: spin::Once<u64> = spin::Once::new();
    *ZERO.call_once(|| with_tables(|tables| tables.allocate()))
}

/// Builds the window of `cpu`: zeroes for the guest, our descriptors behind.
pub fn create(cpu: &PerCpu) {
    let zero = zero_page();
    let window = gdt_window(cpu.number);
    cpu.window
        .call_once(|| Window(with_tables(|tables| tables.last_level(window))));
    with_tables(|tables| {
        for page in (0..GDT_PAGES).filter(|&page| page != RESERVED_PAGE) {
            tables.replace(window + page * PAGE_SIZE, Some((zero, Rights::ReadOnly)));
        }
        let own = tables.allocate();
        tables.replace(window + RESERVED_BYTE, Some((own, Rights::ReadWrite)));
    });
    let tss_base = &raw const cpu.tss as u64;
    let [tss_low, tss_high] =
        system_descriptor(tss_base, size_of_val(&cpu.tss) as u64 - 1, KIND_TSS);
    let descriptors = [
        0,
        flat::RING0_CODE64,
        flat::RING0_DATA,
        flat::RING1_CODE32,
        flat::RING3_CODE32,
        flat::RING3_DATA,
        flat::RING3_CODE64,
        flat::RING0_CODE32,
        tss_low,
        tss_high,
        0,
        0,
        flat::RING3_LIMIT | u64::from(cpu.number & 0xffff),
    ];
    for (index, descriptor) in descriptors.into_iter().enumerate() {
        // SAFETY: the page was mapped just now and holds 512 descriptors.
        unsafe { reserved(cpu.number).add(index).write_volatile(descriptor) };
    }
}

/// Loads the GDT, the code, stack and null data segments, and the task register of the executing CPU.
///
/// # Safety
/// `cpu` must be the executing CPU, its window must be built.
pub unsafe fn load(cpu: &PerCpu) {
    let base = x86_64::VirtAddr::new(gdt_window(cpu.number));
    let pointer = DescriptorTablePointer {
        limit: (GDT_PAGES * PAGE_SIZE - 1) as u16,
        base,
    };
    // SAFETY: the window holds valid descriptors at the selectors that are loaded.
    unsafe {
        x86_64::instructions::tables::lgdt(&pointer);
        asm!(
            "pushq {cs}",
            "leaq 1f(%rip), {scratch}",
            "pushq {scratch}",
            "lretq",
            "1:",
            "movl {ds:e}, %ss",
            "movl {null:e}, %ds",
            "movl {null:e}, %es",
            "movl {null:e}, %fs",
            "movl {null:e}, %gs",
            "ltr {tss:x}",
            "lldt {null:x}",
            cs = in(reg) u64::from(HYPERVISOR_CS),
            ds = in(reg) u64::from(HYPERVISOR_DS),
            tss = in(reg) TSS,
            null = in(reg) 0u64,
            scratch = out(reg) _,
            options(att_syntax),
        );
    }
}

/// The page table of a CPU's window. It is that CPU's alone once the window is built.
pub struct Window(&'static [AtomicU64; 512]);

impl Window {
    /// Maps something else at `va`, which lies in the window of the executing CPU, whose table this is.
    fn set(&self, va: u64, mapping: Option<(u64, Rights)>) {
        let value = mapping.map_or(0, |(pa, rights)| small_page(pa, rights));
        let entry = &self.0[(va / PAGE_SIZE) as usize % 512];
        if entry.load(Ordering::Relaxed) != value {
            entry.store(value, Ordering::Relaxed);
            x86_64::instructions::tlb::flush(x86_64::VirtAddr::new(va));
        }
    }
}

/// Maps something else at `va` in the window of the executing CPU.
fn set_here(va: u64, mapping: Option<(u64, Rights)>) {
    let Some(window) = this_cpu().window.get() else {
        panic!("the descriptor window is not built")
    };
    window.set(va, mapping);
}

/// Maps a guest's frame, or zeroes, at one of the guest's pages of the GDT of the executing CPU, whose number is `cpu`.
pub fn set_gdt_slot(cpu: u32, slot: usize, frame: Option<Mfn>) {
    assert!(
        (slot as u64) < RESERVED_PAGE,
        "GDT page {slot} is not a guest's"
    );
    // Writable: the processor sets "accessed" bits. The frame has the type of descriptor tables, which the guest
    // cannot write.
    let mapping = frame.map_or((zero_page(), Rights::ReadOnly), |mfn| {
        (mfn.addr(), Rights::ReadWrite)
    });
    set_here(gdt_window(cpu) + slot as u64 * PAGE_SIZE, Some(mapping));
}

/// Maps a guest's frame, or nothing, at a page of the LDT of the executing CPU, whose number is `cpu`.
pub fn set_ldt_slot(cpu: u32, slot: usize, frame: Option<Mfn>) {
    assert!(slot < 16, "LDT page {slot} does not exist");
    let mapping = frame.map(|mfn| (mfn.addr(), Rights::ReadWrite));
    set_here(ldt_window(cpu) + slot as u64 * PAGE_SIZE, mapping);
}

/// Loads LDTR of the executing CPU with `entries` descriptors at the LDT window; none loads a null selector.
pub fn load_ldt(cpu: u32, entries: u32) {
    let mut selector = 0u16;
    if entries > 0 {
        let limit = u64::from(entries.min(8192)) * 8 - 1;
        let [low, high] = system_descriptor(ldt_window(cpu), limit, KIND_LDT);
        let index = (u64::from(LDT) - RESERVED_BYTE) as usize / 8;
        // SAFETY: two of our descriptors in this CPU's own window, not in use by anything but LLDT below.
        unsafe {
            reserved(cpu).add(index).write_volatile(low);
            reserved(cpu).add(index + 1).write_volatile(high);
        }
        selector = LDT;
    }
    // SAFETY: a null selector, or the LDT descriptor written above. (Not declared free of memory accesses: the
    // processor reads the descriptor.)
    unsafe { asm!("lldt {:x}", in(reg) selector, options(att_syntax, nostack, preserves_flags)) };
}

/// Offset of `addr` in the GDT window of CPU number `cpu`.
pub fn gdt_offset(cpu: u32, addr: u64) -> Option<u64> {
    addr.checked_sub(gdt_window(cpu))
        .filter(|&offset| offset < GDT_PAGES * PAGE_SIZE)
}

/// Offset of `addr` in the LDT window of CPU number `cpu`.
pub fn ldt_offset(cpu: u32, addr: u64) -> Option<u64> {
    addr.checked_sub(ldt_window(cpu))
        .filter(|&offset| offset < 16 * PAGE_SIZE)
}
