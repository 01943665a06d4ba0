//! `Mapper<Size4KiB>` and `Translate`.
// UNSAFETY: the traits' functions are unsafe to call; nothing here needs more than what they promise.
#![expect(unsafe_code, reason = "implements unsafe functions of a trait")]

use hypercall_abi::errno::Errno;
use x86_64::structures::paging::mapper::{
    FlagUpdateError, MapToError, MappedFrame, Mapper, MapperFlush, MapperFlushAll, Translate,
    TranslateError, TranslateResult, UnmapError,
};
use x86_64::structures::paging::page_table::PageTableFlags as Flags;
use x86_64::structures::paging::{FrameAllocator, Page, PhysFrame, Size4KiB};
use x86_64::{PhysAddr, VirtAddr};

use super::table::{FRAME, PvPageTable, Tables, flags, leaf};

const PRESENT: u64 = Flags::PRESENT.bits();
const HUGE: u64 = Flags::HUGE_PAGE.bits();

/// Why a walk ended early.
enum Missing {
    NotPresent,
    Huge,
}

/// Index of an address in a table of `level`.
pub(super) const fn index(address: u64, level: u32) -> u64 {
    (address >> (12 + 9 * (level - 1))) & 0x1ff
}

impl<T: Tables> PvPageTable<T> {
    /// The table of `level` for an address.
    fn table(&self, address: VirtAddr, level: u32) -> Result<u64, Missing> {
        let mut table = self.root;
        for at in (level + 1..=4).rev() {
            let entry = self.tables.read(table, index(address.as_u64(), at));
            if entry & PRESENT == 0 {
                return Err(Missing::NotPresent);
            }
            if at < 4 && entry & HUGE != 0 {
                return Err(Missing::Huge);
            }
            table = (entry & FRAME) >> 12;
        }
        Ok(table)
    }

    /// The level-1 table for an address, made if there is none.
    fn make<A: FrameAllocator<Size4KiB> + ?Sized>(
        &mut self,
        address: VirtAddr,
        wanted: Flags,
        allocator: &mut A,
    ) -> Result<u64, MapToError<Size4KiB>> {
        let refused = |_: Errno| MapToError::FrameAllocationFailed;
        // The hypervisor sets U/S in any case; an entry that says so from the start reads back as it was written.
        let wanted = (wanted | Flags::PRESENT | Flags::USER_ACCESSIBLE).bits();
        let mut table = self.root;
        for at in (2..=4).rev() {
            let slot = index(address.as_u64(), at);
            let entry = self.tables.read(table, slot);
            let next = if entry & PRESENT == 0 {
                let frame = allocator
                    .allocate_frame()
                    .ok_or(MapToError::FrameAllocationFailed)?;
                let mfn = frame.start_address().as_u64() >> 12;
                if let Err(error) = self.tables.make_table(mfn) {
                    self.refusal = Some(error);
                    return Err(refused(error));
                }
                self.write(table, slot, mfn << 12 | wanted)
                    .map_err(refused)?;
                mfn
            } else {
                if at < 4 && entry & HUGE != 0 {
                    return Err(MapToError::ParentEntryHugePage);
                }
                if entry & wanted != wanted {
                    self.write(table, slot, entry | wanted).map_err(refused)?;
                }
                (entry & FRAME) >> 12
            };
            table = next;
        }
        Ok(table)
    }

    fn set_parent_flags(
        &mut self,
        page: Page<Size4KiB>,
        level: u32,
        flags: Flags,
    ) -> Result<MapperFlushAll, FlagUpdateError> {
        let address = page.start_address();
        let table = self.table(address, level).map_err(flag_error)?;
        let slot = index(address.as_u64(), level);
        let entry = self.tables.read(table, slot);
        if entry & PRESENT == 0 {
            return Err(FlagUpdateError::PageNotMapped);
        }
        if level < 4 && entry & HUGE != 0 {
            return Err(FlagUpdateError::ParentEntryHugePage);
        }
        let value = entry & FRAME | (flags | Flags::USER_ACCESSIBLE).bits();
        self.write(table, slot, value)
            .map_err(|_| FlagUpdateError::PageNotMapped)?;
        Ok(MapperFlushAll::new())
    }
}

fn flag_error(missing: Missing) -> FlagUpdateError {
    match missing {
        Missing::NotPresent => FlagUpdateError::PageNotMapped,
        Missing::Huge => FlagUpdateError::ParentEntryHugePage,
    }
}

impl<T: Tables> Mapper<Size4KiB> for PvPageTable<T> {
    unsafe fn map_to_with_table_flags<A>(
        &mut self,
        page: Page<Size4KiB>,
        frame: PhysFrame<Size4KiB>,
        flags: Flags,
        parent_table_flags: Flags,
        allocator: &mut A,
    ) -> Result<MapperFlush<Size4KiB>, MapToError<Size4KiB>>
    where
        A: FrameAllocator<Size4KiB> + ?Sized,
    {
        let address = page.start_address();
        let table = self.make(address, parent_table_flags, allocator)?;
        let slot = index(address.as_u64(), 1);
        let old = self.tables.read(table, slot);
        if old != 0 {
            let frame = PhysFrame::containing_address(PhysAddr::new(old & FRAME));
            return Err(MapToError::PageAlreadyMapped(frame));
        }
        self.write(table, slot, leaf(frame.start_address().as_u64(), flags))
            .map_err(|_| MapToError::FrameAllocationFailed)?;
        Ok(MapperFlush::new(page))
    }

    fn unmap(
        &mut self,
        page: Page<Size4KiB>,
    ) -> Result<(PhysFrame<Size4KiB>, MapperFlush<Size4KiB>), UnmapError> {
        let address = page.start_address();
        let table = self.table(address, 1).map_err(|missing| match missing {
            Missing::NotPresent => UnmapError::PageNotMapped,
            Missing::Huge => UnmapError::ParentEntryHugePage,
        })?;
        let slot = index(address.as_u64(), 1);
        let old = self.tables.read(table, slot);
        if old & PRESENT == 0 {
            return Err(UnmapError::PageNotMapped);
        }
        let frame = PhysAddr::new(old & FRAME);
        self.write(table, slot, 0)
            .map_err(|_| UnmapError::InvalidFrameAddress(frame))?;
        Ok((PhysFrame::containing_address(frame), MapperFlush::new(page)))
    }

    unsafe fn update_flags(
        &mut self,
        page: Page<Size4KiB>,
        flags: Flags,
    ) -> Result<MapperFlush<Size4KiB>, FlagUpdateError> {
        let address = page.start_address();
        let table = self.table(address, 1).map_err(flag_error)?;
        let slot = index(address.as_u64(), 1);
        let old = self.tables.read(table, slot);
        if old == 0 {
            return Err(FlagUpdateError::PageNotMapped);
        }
        self.write(table, slot, leaf(old, flags))
            .map_err(|_| FlagUpdateError::PageNotMapped)?;
        Ok(MapperFlush::new(page))
    }

    unsafe fn set_flags_p4_entry(
        &mut self,
        page: Page<Size4KiB>,
        flags: Flags,
    ) -> Result<MapperFlushAll, FlagUpdateError> {
        self.set_parent_flags(page, 4, flags)
    }

    unsafe fn set_flags_p3_entry(
        &mut self,
        page: Page<Size4KiB>,
        flags: Flags,
    ) -> Result<MapperFlushAll, FlagUpdateError> {
        self.set_parent_flags(page, 3, flags)
    }

    unsafe fn set_flags_p2_entry(
        &mut self,
        page: Page<Size4KiB>,
        flags: Flags,
    ) -> Result<MapperFlushAll, FlagUpdateError> {
        self.set_parent_flags(page, 2, flags)
    }

    fn translate_page(&self, page: Page<Size4KiB>) -> Result<PhysFrame<Size4KiB>, TranslateError> {
        let address = page.start_address();
        let table = self.table(address, 1).map_err(|missing| match missing {
            Missing::NotPresent => TranslateError::PageNotMapped,
            Missing::Huge => TranslateError::ParentEntryHugePage,
        })?;
        let entry = self.tables.read(table, index(address.as_u64(), 1));
        if entry & PRESENT == 0 {
            return Err(TranslateError::PageNotMapped);
        }
        let frame = PhysAddr::new(entry & FRAME);
        Ok(PhysFrame::containing_address(frame))
    }
}

impl<T: Tables> Translate for PvPageTable<T> {
    fn translate(&self, address: VirtAddr) -> TranslateResult {
        let Ok(table) = self.table(address, 1) else {
            return TranslateResult::NotMapped;
        };
        let entry = self.tables.read(table, index(address.as_u64(), 1));
        if entry & PRESENT == 0 {
            return TranslateResult::NotMapped;
        }
        let frame = PhysFrame::containing_address(PhysAddr::new(entry & FRAME));
        TranslateResult::Mapped {
            frame: MappedFrame::Size4KiB(frame),
            offset: address.as_u64() & 0xfff,
            flags: flags(entry),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::model::{Model, mapper};
    use super::*;

    const PAGE: u64 = 0x4444_4444_0000;

    fn page(address: u64) -> Page<Size4KiB> {
        Page::containing_address(VirtAddr::new(address))
    }

    fn frame(mfn: u64) -> PhysFrame<Size4KiB> {
        PhysFrame::containing_address(PhysAddr::new(mfn << 12))
    }

    fn map(
        table: &mut PvPageTable<Model>,
        at: u64,
        mfn: u64,
        flags: Flags,
    ) -> Result<(), MapToError<Size4KiB>> {
        let mut frames = table.tables.frames();
        // SAFETY: a model.
        unsafe { table.map_to(page(at), frame(mfn), flags, &mut frames) }.map(MapperFlush::ignore)
    }

    #[test]
    fn a_page_maps_translates_and_goes() {
        let mut table = mapper();
        map(&mut table, PAGE, 77, Flags::PRESENT | Flags::WRITABLE).unwrap();
        assert_eq!(
            table.translate_addr(VirtAddr::new(PAGE + 5)),
            Some(PhysAddr::new(77 << 12 | 5))
        );
        assert_eq!(table.translate_page(page(PAGE)).unwrap(), frame(77));
        let TranslateResult::Mapped { flags, .. } = table.translate(VirtAddr::new(PAGE)) else {
            panic!("not mapped");
        };
        assert_eq!(flags, Flags::PRESENT | Flags::WRITABLE);
        let (gone, flush) = table.unmap(page(PAGE)).unwrap();
        flush.ignore();
        assert_eq!(gone, frame(77));
        assert!(matches!(
            table.unmap(page(PAGE)),
            Err(UnmapError::PageNotMapped)
        ));
        assert!(table.translate_addr(VirtAddr::new(PAGE)).is_none());
    }

    #[test]
    fn neighbours_share_tables() {
        let mut table = mapper();
        map(&mut table, PAGE, 77, Flags::PRESENT).unwrap();
        let before = table.tables.made();
        map(&mut table, PAGE + 4096, 78, Flags::PRESENT).unwrap();
        assert_eq!((before, table.tables.made()), (3, 3));
        map(&mut table, PAGE + (1 << 39), 79, Flags::PRESENT).unwrap();
        assert_eq!(table.tables.made(), 6);
    }

    #[test]
    fn a_mapped_page_does_not_map_again() {
        let mut table = mapper();
        map(&mut table, PAGE, 77, Flags::PRESENT).unwrap();
        let again = map(&mut table, PAGE, 78, Flags::PRESENT);
        assert!(matches!(again, Err(MapToError::PageAlreadyMapped(f)) if f == frame(77)));
    }

    #[test]
    fn user_pages_read_back_as_such() {
        let mut table = mapper();
        let wanted = Flags::PRESENT | Flags::USER_ACCESSIBLE | Flags::NO_EXECUTE;
        map(&mut table, PAGE, 77, Flags::PRESENT).unwrap();
        // SAFETY: a model.
        unsafe { table.update_flags(page(PAGE), wanted) }
            .unwrap()
            .ignore();
        let TranslateResult::Mapped { flags, .. } = table.translate(VirtAddr::new(PAGE)) else {
            panic!("not mapped");
        };
        assert_eq!(flags, wanted);
    }

    #[test]
    fn parents_gain_flags_and_keep_their_frame() {
        let mut table = mapper();
        map(&mut table, PAGE, 77, Flags::PRESENT).unwrap();
        let before = table.tables.read(table.root, index(PAGE, 4));
        map(
            &mut table,
            PAGE + 4096,
            78,
            Flags::PRESENT | Flags::WRITABLE,
        )
        .unwrap();
        let after = table.tables.read(table.root, index(PAGE, 4));
        assert_eq!(after, before | Flags::WRITABLE.bits());
        // SAFETY: a model.
        unsafe { table.set_flags_p2_entry(page(PAGE), Flags::PRESENT) }
            .unwrap()
            .ignore();
        assert_eq!(table.translate_page(page(PAGE)).unwrap(), frame(77));
    }

    #[test]
    fn a_refusal_is_reported() {
        let mut table = mapper();
        table.tables.refuse_frame(77);
        let result = map(&mut table, PAGE, 77, Flags::PRESENT);
        assert!(matches!(result, Err(MapToError::FrameAllocationFailed)));
        assert_eq!(table.refusal(), Some(Errno::EPERM));
        assert_eq!(table.refusal(), None);
    }

    #[test]
    fn no_frames_no_mapping() {
        struct Empty;
        // SAFETY: hands out nothing.
        unsafe impl FrameAllocator<Size4KiB> for Empty {
            fn allocate_frame(&mut self) -> Option<PhysFrame> {
                None
            }
        }
        let mut table = mapper();
        // SAFETY: a model.
        let result = unsafe { table.map_to(page(PAGE), frame(1), Flags::PRESENT, &mut Empty) };
        assert!(matches!(result, Err(MapToError::FrameAllocationFailed)));
        assert_eq!(table.refusal(), None);
    }
}
