//! Machine frames for pages and tables: the domain's pages that the builder left free.
// UNSAFETY: the allocator traits are unsafe to implement, and free frames are linked through their own memory.
#![expect(unsafe_code, reason = "hands out memory")]

use core::ptr;

use hypercall_abi::xen::StartInfo;
use x86_64::structures::paging::mapper::{Mapper, MapperFlush};
use x86_64::structures::paging::page_table::PageTableFlags as Flags;
use x86_64::structures::paging::{FrameAllocator, FrameDeallocator, Page, PhysFrame, Size4KiB};
use x86_64::{PhysAddr, VirtAddr};

use super::machine::{Machine, linear, protect};
use super::table::PvPageTable;
use crate::{mmu, start::VIRT_BASE};

/// Pages that the linear mapping can hold: it ends where the address space does.
const LINEAR_PAGES: u64 = (u64::MAX - VIRT_BASE) / 4096 - 511;

/// Allocates the pages behind the boot stack, which nobody uses, and maps each at its place in the linear mapping
/// (`mmu::pfn_to_virt`).
#[derive(Debug)]
pub struct Frames {
    next: u64,
    end: u64,
    /// PFN of the first frame given back; each holds the next one's.
    free: Option<u64>,
    /// Mapped frames for the tables of the linear mapping itself.
    reserve: [Option<u64>; 2],
}

struct Reserve<'a>(&'a mut [Option<u64>; 2]);

// SAFETY: the frames are the allocator's own, and each is taken once.
unsafe impl FrameAllocator<Size4KiB> for Reserve<'_> {
    fn allocate_frame(&mut self) -> Option<PhysFrame> {
        let pfn = self.0.iter_mut().find_map(Option::take)?;
        mmu::pfn_to_mfn(pfn).map(frame)
    }
}

fn frame(mfn: u64) -> PhysFrame {
    PhysFrame::containing_address(PhysAddr::new(mfn << 12))
}

impl Frames {
    /// The frames that the builder left free.
    ///
    /// # Safety
    /// Only one allocator may have them.
    #[must_use]
    pub unsafe fn new(start_info: &StartInfo) -> Self {
        // Kernel, modules, frame table, start_info, special pages, page tables, one page of stack: in this order.
        let boot_stack = mmu::virt_to_pfn(start_info.pt_base) + start_info.nr_pt_frames;
        Self {
            next: boot_stack + 1,
            end: start_info.nr_pages.min(LINEAR_PAGES),
            free: None,
            reserve: [None; 2],
        }
    }

    /// Frames that were never handed out.
    #[must_use]
    pub const fn left(&self) -> u64 {
        self.end.saturating_sub(self.next)
    }

    /// Maps a page of the domain in the linear mapping.
    fn map(&mut self, pfn: u64, mfn: u64) -> Option<()> {
        if linear(mfn).is_ok() {
            return Some(());
        }
        let page = Page::containing_address(VirtAddr::new(mmu::pfn_to_virt(pfn)));
        // SAFETY: only the unused end of the linear mapping is changed.
        let mut table = unsafe { PvPageTable::<Machine>::active() };
        let flags = Flags::PRESENT | Flags::WRITABLE;
        // SAFETY: the page was not mapped, and its frame is not in use.
        unsafe { table.map_to(page, frame(mfn), flags, &mut Reserve(&mut self.reserve)) }
            .map(MapperFlush::ignore)
            .ok()
    }
}

// SAFETY: every frame is the domain's, not in use, and handed out once.
unsafe impl FrameAllocator<Size4KiB> for Frames {
    fn allocate_frame(&mut self) -> Option<PhysFrame> {
        if let Some(pfn) = self.free {
            // SAFETY: a frame given back is mapped, and holds the next one's number plus one.
            let link = unsafe { ptr::read_volatile(mmu::pfn_to_virt(pfn) as *const u64) };
            self.free = link.checked_sub(1);
            return mmu::pfn_to_mfn(pfn).map(frame);
        }
        while self.next < self.end {
            let pfn = self.next;
            let mfn = mmu::pfn_to_mfn(pfn)?;
            self.map(pfn, mfn)?;
            self.next += 1;
            match self.reserve.iter_mut().find(|slot| slot.is_none()) {
                Some(slot) => *slot = Some(pfn),
                None => return Some(frame(mfn)),
            }
        }
        None
    }
}

impl FrameDeallocator<Size4KiB> for Frames {
    unsafe fn deallocate_frame(&mut self, frame: PhysFrame) {
        let mfn = frame.start_address().as_u64() >> 12;
        // A frame that is still a table, or not the domain's, is lost rather than handed out again.
        if let Ok(address) = protect(mfn, mmu::KERNEL_RW) {
            let link = self.free.map_or(0, |pfn| pfn + 1);
            // SAFETY: nobody uses the frame any more, says the caller, and it is mapped.
            unsafe { ptr::write_volatile(address as *mut u64, link) };
            self.free = Some(mmu::virt_to_pfn(address));
        }
    }
}
