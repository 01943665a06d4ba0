//! Code written to the paging traits of the `x86_64` crate, on a PV kernel: maps, uses, flushes, unmaps and cleans up.
#![cfg_attr(target_os = "none", no_std, no_main)]

#[cfg(target_os = "none")]
mod guest {
    use pv_guest_shim::hypercall_abi::errno::Errno;
    use pv_guest_shim::hypercall_abi::sched::ShutdownReason;
    use pv_guest_shim::hypercall_abi::xen::StartInfo;
    use pv_guest_shim::mapper::{Frames, PvPageTable};
    use pv_guest_shim::{logger, memory, mmu, privileged, sched, start};
    use x86_64::VirtAddr;
    use x86_64::structures::paging::mapper::{CleanUp, MapToError, UnmapError};
    use x86_64::structures::paging::{
        FrameAllocator, FrameDeallocator, Mapper, Page, PageTableFlags as Flags, PhysFrame,
        Size4KiB, Translate,
    };

    pv_guest_shim::entry!(main);

    const PAGE: u64 = 0x4444_4444_0000;

    /// As a kernel's tutorial has it: knows the traits only.
    fn example_mapping(
        page: Page,
        frame: PhysFrame,
        mapper: &mut impl Mapper<Size4KiB>,
        frames: &mut impl FrameAllocator<Size4KiB>,
    ) {
        // SAFETY: the page is not in use.
        unsafe { mapper.map_to(page, frame, Flags::PRESENT | Flags::WRITABLE, frames) }
            .expect("map_to")
            .flush();
    }

    fn main(start_info: &'static StartInfo) -> ! {
        assert_eq!(start::init(start_info), 0);
        privileged::answer_faults();
        assert!(logger::init(log::LevelFilter::Info));
        // SAFETY: the only allocator and the only mapper.
        let (mut frames, mut mapper) = unsafe { (Frames::new(start_info), PvPageTable::active()) };
        let page = Page::containing_address(VirtAddr::new(PAGE));
        let pointer = PAGE as *mut u64;

        let [first, second] = [(); 2].map(|()| frames.allocate_frame().expect("a frame"));
        example_mapping(page, first, &mut mapper, &mut frames);
        // SAFETY: mapped just now.
        unsafe { pointer.write_volatile(0x1111) };
        assert_eq!(
            mapper.translate_addr(VirtAddr::new(PAGE + 8)),
            Some(first.start_address() + 8)
        );
        let pfn = mmu::mfn_to_pfn(first.start_address().as_u64() >> 12);
        // SAFETY: the same frame in the linear mapping.
        let linear = unsafe { (mmu::pfn_to_virt(pfn) as *const u64).read_volatile() };
        log::info!("one frame, two places: {linear:#x}");
        // SAFETY: mapped already.
        let again = unsafe { mapper.map_to(page, second, Flags::PRESENT, &mut frames) };
        assert!(matches!(again, Err(MapToError::PageAlreadyMapped(frame)) if frame == first));

        let (gone, flush) = mapper.unmap(page).expect("unmap");
        flush.flush();
        assert_eq!(gone, first);
        example_mapping(page, second, &mut mapper, &mut frames);
        // SAFETY: mapped just now.
        unsafe { pointer.write_volatile(0x2222) };
        // SAFETY: the first frame in the linear mapping.
        let kept = unsafe { (mmu::pfn_to_virt(pfn) as *const u64).read_volatile() };
        assert_eq!(kept, 0x1111, "the flush had no effect");
        mapper.unmap(page).expect("unmap").1.flush();
        assert!(matches!(mapper.unmap(page), Err(UnmapError::PageNotMapped)));
        log::info!("invlpg is answered");

        // A page table must not be mapped writable.
        let root = PhysFrame::containing_address(x86_64::PhysAddr::new(mapper.root() << 12));
        let rights = Flags::PRESENT | Flags::WRITABLE;
        // SAFETY: nothing is mapped at the page, and the hypervisor refuses a writable mapping of a page table.
        let refused = unsafe { mapper.map_to(page, root, rights, &mut frames) };
        assert!(matches!(refused, Err(MapToError::FrameAllocationFailed)));
        log::info!("refused: {:?}", mapper.refusal());

        // SAFETY: what is cleaned up maps nothing.
        unsafe {
            mapper.clean_up_addr_range(Page::range_inclusive(page, page), &mut frames);
            frames.deallocate_frame(first);
            frames.deallocate_frame(second);
        }
        let left = frames.left();
        for _ in 0..5 {
            frames.allocate_frame().expect("a frame given back");
        }
        assert_eq!(frames.left(), left, "tables and pages come back");
        let mut taken = 0;
        while taken < 2000
            && let Some(frame) = frames.allocate_frame()
        {
            let pfn = mmu::mfn_to_pfn(frame.start_address().as_u64() >> 12);
            // SAFETY: the frame is ours, in the linear mapping.
            unsafe { (mmu::pfn_to_virt(pfn) as *mut u64).write_volatile(pfn) };
            taken += 1;
        }
        log::info!("wrote to {taken} frames");
        balloon(&mut frames);
        sched::shutdown(ShutdownReason::POWEROFF)
    }

    fn balloon(frames: &mut Frames) {
        let before = memory::current().expect("current_reservation");
        let frame = frames.allocate_frame().expect("a frame");
        let pfn = mmu::mfn_to_pfn(frame.start_address().as_u64() >> 12);
        // SAFETY: nobody uses the page.
        unsafe { memory::release(pfn) }.expect("release");
        assert_eq!(memory::current(), Ok(before - 1));
        // SAFETY: it has no frame.
        assert_eq!(unsafe { memory::release(pfn) }, Err(Errno::EINVAL));
        let new = memory::populate(pfn).expect("populate");
        assert_eq!(memory::current(), Ok(before));
        assert_eq!(memory::populate(pfn), Err(Errno::EINVAL));
        assert_eq!(
            (mmu::pfn_to_mfn(pfn), mmu::mfn_to_pfn(new)),
            (Some(new), pfn)
        );
        // SAFETY: mapped again.
        unsafe { (mmu::pfn_to_virt(pfn) as *mut u64).write_volatile(1) };
        log::info!("balloon: {before} frames before and after");
    }
}

#[cfg(not(target_os = "none"))]
fn main() {
    println!("a PV guest: build it with --target x86_64-unknown-none");
}
