//! `CleanUp`: gives back tables that map nothing.
// UNSAFETY: the trait's functions are unsafe to call, and so is giving a frame back.
#![expect(unsafe_code, reason = "implements unsafe functions of a trait")]

use x86_64::structures::paging::mapper::CleanUp;
use x86_64::structures::paging::page::PageRangeInclusive;
use x86_64::structures::paging::page_table::PageTableFlags as Flags;
use x86_64::structures::paging::{FrameDeallocator, Page, PhysFrame, Size4KiB};
use x86_64::{PhysAddr, VirtAddr};

use super::table::{FRAME, PvPageTable, Tables};
use super::walk::index;

/// First and last slot of the level-4 table that belong to the hypervisor (public/arch-x86/xen-x86_64.h).
const HYPERVISOR_SLOTS: core::ops::RangeInclusive<u64> = 256..=271;

impl<T: Tables> PvPageTable<T> {
    /// Cleans a table of `level` between two addresses. Whether it is empty then.
    fn clean<D: FrameDeallocator<Size4KiB>>(
        &mut self,
        table: u64,
        level: u32,
        (first, last): (u64, u64),
        frames: &mut D,
    ) -> bool {
        if level > 1 {
            let size = 1u64 << (12 + 9 * (level - 1));
            for slot in index(first, level)..=index(last, level) {
                let entry = self.tables.read(table, slot);
                let huge = level < 4 && entry & Flags::HUGE_PAGE.bits() != 0;
                let hypervisor = level == 4 && HYPERVISOR_SLOTS.contains(&slot);
                if entry & Flags::PRESENT.bits() == 0 || huge || hypervisor {
                    continue;
                }
                let first_here = if slot == index(first, level) {
                    first & (size - 1)
                } else {
                    0
                };
                let last_here = if slot == index(last, level) {
                    last & (size - 1)
                } else {
                    size - 1
                };
                let below = (entry & FRAME) >> 12;
                if self.clean(below, level - 1, (first_here, last_here), frames)
                    && self.write(table, slot, 0).is_ok()
                    && self.tables.unmake_table(below).is_ok()
                {
                    let frame = PhysFrame::containing_address(PhysAddr::new(below << 12));
                    // SAFETY: the table was the frame's only use, and is not linked any more.
                    unsafe { frames.deallocate_frame(frame) };
                }
            }
        }
        (0..512).all(|slot| self.tables.read(table, slot) == 0)
    }
}

impl<T: Tables> CleanUp for PvPageTable<T> {
    unsafe fn clean_up<D: FrameDeallocator<Size4KiB>>(&mut self, frames: &mut D) {
        self.clean(self.root, 4, (0, (1 << 48) - 1), frames);
    }

    unsafe fn clean_up_addr_range<D: FrameDeallocator<Size4KiB>>(
        &mut self,
        range: PageRangeInclusive,
        frames: &mut D,
    ) {
        let bits = |page: Page| VirtAddr::as_u64(page.start_address()) & ((1 << 48) - 1);
        if range.start <= range.end {
            self.clean(self.root, 4, (bits(range.start), bits(range.end)), frames);
        }
    }
}

#[cfg(test)]
mod tests {
    use x86_64::structures::paging::mapper::{Mapper, MapperFlush};

    use super::super::model::{Freed, Model, mapper};
    use super::*;

    fn page(address: u64) -> Page {
        Page::containing_address(VirtAddr::new(address))
    }

    fn map(table: &mut PvPageTable<Model>, at: u64) {
        let mut frames = table.tables.frames();
        let frame = PhysFrame::containing_address(PhysAddr::new(77 << 12));
        // SAFETY: a model.
        unsafe { table.map_to(page(at), frame, Flags::PRESENT, &mut frames) }
            .map(MapperFlush::ignore)
            .unwrap();
    }

    #[test]
    fn empty_tables_are_given_back_and_full_ones_stay() {
        let mut table = mapper();
        map(&mut table, 0x1000);
        map(&mut table, 0x40_0000_0000);
        table.unmap(page(0x1000)).unwrap().1.ignore();
        let mut freed = Freed::default();
        // SAFETY: a model.
        unsafe { table.clean_up(&mut freed) };
        assert_eq!((freed.0.len(), table.tables.made()), (2, 3));
        assert!(table.translate_page(page(0x40_0000_0000)).is_ok());
        map(&mut table, 0x1000);
    }

    #[test]
    fn only_the_range_is_cleaned() {
        let mut table = mapper();
        for at in [0x1000, 0x8000_0000_0000 - 0x1000] {
            map(&mut table, at);
            table.unmap(page(at)).unwrap().1.ignore();
        }
        let mut freed = Freed::default();
        // SAFETY: a model.
        unsafe {
            table.clean_up_addr_range(Page::range_inclusive(page(0), page(0x5000)), &mut freed);
        }
        assert_eq!((freed.0.len(), table.tables.made()), (3, 3));
    }
}
