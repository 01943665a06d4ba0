//! Debian's figures, older kernels, and plans that do not fit.

use super::*;
use crate::dom0::elf::tests::{ElfBuilder, debian_kernel, plain_kernel};
use crate::dom0::notes::tests::{debian_notes, number_note, string_note};

pub(in crate::dom0) const MIB: u64 = 1 << 20;

/// The plan for `image` with `nr_pages` and an initrd.
pub(in crate::dom0) fn plan(
    image: &[u8],
    nr_pages: u64,
    initrd_len: u64,
) -> Result<Plan, KernelError> {
    Plan::new(
        &Kernel::parse(image).unwrap(),
        Demand {
            nr_pages,
            initrd_len,
            ..Demand::default()
        },
    )
}

#[test]
fn debian_with_512_mib() {
    let nr_pages = 512 * MIB / PAGE;
    let initrd_len = 31 * MIB + 5;
    let plan = plan(&debian_kernel(), nr_pages, initrd_len).unwrap();
    // 38 L1 for 76 MiB, and one of each other level.
    assert_eq!(
        plan,
        Plan {
            v_start: 0xffff_ffff_8000_0000,
            v_end: 0xffff_ffff_84c0_0000,
            image: 0xffff_ffff_8100_0000..0xffff_ffff_84a0_0000,
            initrd: Some(Initrd {
                pfn: Pfn::new(0x4c00),
                pages: 31 * 256 + 1,
                len: initrd_len,
                va: None
            }),
            p2m: P2m {
                va: 0x80_0000_0000,
                pfn: Pfn::new(0x4c00 + 31 * 256 + 1),
                frames: 256,
                // 1 MiB: one L1, one L2, one L3.
                table_frames: 3,
                in_mapping: false,
            },
            table_order: TableOrder::Walk,
            start_info: 0xffff_ffff_84a0_0000,
            pt_base: 0xffff_ffff_84a0_1000,
            nr_pt_frames: 41,
            stack_end: 0xffff_ffff_84a2_b000,
            entry: 0xffff_ffff_8307_91c0,
            hypercall_page: None,
            pae: PaeMode::ExtendedCr3,
            nr_pages,
            pages_needed: 0x4c00 + 31 * 256 + 1 + 259,
        }
    );
    assert_eq!(plan.bootstrap_tables(), 0x4a01..0x4a2a);
    assert_eq!(plan.p2m_run(), (0x4c00 + 31 * 256 + 1, 259));
    assert_eq!(
        plan.entry_state(),
        EntryState {
            rip: 0xffff_ffff_8307_91c0,
            rsp: 0xffff_ffff_84a2_b000,
            rsi: 0xffff_ffff_84a0_0000,
            rflags: 0x202,
            cs: 0xe033,
            ss: 0xe02b,
            l4: Pfn::new(0x4a01),
        }
    );
}

#[test]
fn without_an_initrd_the_p2m_follows_the_mapping() {
    let plan = plan(&debian_kernel(), 0x10_0000, 0).unwrap();
    assert_eq!(plan.initrd, None);
    // 4 GiB: 8 MiB of list in four L1.
    assert_eq!(plan.p2m_run(), (0x4c00, 2048 + 4 + 2));
}

#[test]
fn older_kernels_have_all_in_the_mapping() {
    let plan = plan(&plain_kernel(), 16384, 5000).unwrap();
    assert_eq!(plan.v_start, 0x10_0000);
    let initrd = plan.initrd.unwrap();
    assert_eq!(
        (initrd.va, initrd.pfn, initrd.pages),
        (Some(0x10_5000), Pfn::new(5), 2)
    );
    assert_eq!(
        plan.p2m,
        P2m {
            va: 0x10_7000,
            pfn: Pfn::new(7),
            frames: 32,
            table_frames: 0,
            in_mapping: true
        }
    );
    // Nothing lies behind the mapping.
    assert_eq!(plan.p2m_run(), (0x300, 0));
    assert_eq!(plan.start_info, 0x12_7000);
    assert_eq!(plan.pt_base, 0x12_8000);
    assert_eq!(plan.hypercall_page, Some(Pfn::new(3)));
    // 0x100000 to 0x400000: two L1.
    assert_eq!((plan.nr_pt_frames, plan.v_end), (5, 0x40_0000));
    assert_eq!(plan.pages_needed, 0x300);
}

#[test]
fn at_least_512_kib_follow_the_stack() {
    for pages in 0..2048u64 {
        let mem_size = 8 * MIB + pages * PAGE;
        let notes = [string_note(5, "xen-3.0"), string_note(6, "linux")].concat();
        let image = ElfBuilder::new(0)
            .load(0, 0, b"code", mem_size)
            .notes(&notes)
            .build();
        let plan = plan(&image, 16384, 0).unwrap();
        let padding = plan.v_end - plan.stack_end;
        assert!((MIN_PADDING..MIN_PADDING + END_ALIGN).contains(&padding));
        assert!(plan.v_end.is_multiple_of(END_ALIGN));
        let l1 = plan.v_end.div_ceil(2 * MIB) - plan.v_start / (2 * MIB);
        assert_eq!(plan.nr_pt_frames, 3 + l1);
    }
}

#[test]
fn too_little_memory_states_both_figures() {
    let image = debian_kernel();
    let needed = |pages: u64, initrd| match plan(&image, pages, initrd) {
        Err(KernelError::TooLittleMemory { needed, given }) => {
            assert_eq!(given, pages);
            needed
        }
        other => panic!("{other:?}"),
    };
    let least = needed(0, 0);
    assert_eq!(least, 0x4c00 + 1 + 3);
    assert!(needed(0x4c00, 0) > least);
    // The list of 0x4c2a pages has 39 frames: exactly as many pages are enough.
    assert_eq!(
        plan(&image, 0x4c00 + 39 + 3, 0).map(|plan| plan.pages_needed),
        Ok(0x4c2a)
    );
    assert_eq!(needed(0x4c00 + 39 + 2, 0), 0x4c2a);
    assert!(needed(0x4c2a, 1) > 0x4c2a);
    assert!(matches!(
        plan(&image, u64::MAX, u64::MAX),
        Err(KernelError::BadAddress(_) | KernelError::TooLittleMemory { .. })
    ));
}

#[test]
fn the_hypervisors_range_is_refused() {
    let at = |base: u64| {
        let notes = [
            string_note(5, "xen-3.0"),
            string_note(6, "linux"),
            number_note(3, base),
        ]
        .concat();
        let image = ElfBuilder::new(base)
            .load(0, 0, b"code", 4 * MIB)
            .notes(&notes)
            .build();
        plan(&image, 16384, 0).map(|plan| plan.v_start)
    };
    let overlap = Err(KernelError::OverlapsHypervisor("initial mapping"));
    assert_eq!(at(0xffff_8000_0000_0000), overlap);
    assert_eq!(at(0xffff_87ff_ffe0_0000), overlap);
    assert_eq!(at(0xffff_8800_0000_0000), Ok(0xffff_8800_0000_0000));
    assert_eq!(at(0x7fff_ff00_0000), Ok(0x7fff_ff00_0000));
    assert!(
        at(0x7fff_ffbe_0000).is_err(),
        "the padding leaves the lower half"
    );
    assert!(at(0xffff_ffff_ff80_0000).is_err(), "the padding wraps");
}

#[test]
fn a_p2m_may_not_collide() {
    let at = |p2m: u64| {
        let notes = [debian_notes(), number_note(15, p2m)].concat();
        let image = ElfBuilder::new(0)
            .load(0xffff_ffff_8100_0000, 0x100_0000, b"code", 0x3a0_0000)
            .notes(&notes)
            .build();
        plan(&image, 512 * MIB / PAGE, 0).map(|plan| plan.p2m.table_frames)
    };
    assert_eq!(
        at(0xffff_ffff_84b0_0000),
        Err(KernelError::P2mOverlapsMapping)
    );
    assert_eq!(at(0xffff_ffff_7ff0_0001 - 1), Ok(2), "shares the L3 alone");
    assert_eq!(
        at(0xffff_ffff_7fff_f000),
        Err(KernelError::P2mOverlapsMapping)
    );
    assert_eq!(at(0xffff_ffff_9000_0000), Ok(1), "shares L3 and L2");
    let overlap = Err(KernelError::OverlapsHypervisor("P2M table (note INIT_P2M)"));
    assert_eq!(at(0xffff_8000_0000_0000), overlap);
    assert_eq!(at(0xffff_87ff_fff0_1000), overlap);
    assert_eq!(
        at(0x7fff_fff0_1000),
        Err(KernelError::BadAddress("P2M table (note INIT_P2M)"))
    );
    // Two L1 where the list crosses 2 MiB.
    assert_eq!(at(0x80_001f_f000), Ok(4));
}

#[test]
fn a_hypercall_page_lies_in_the_image() {
    let at = |page: u64| {
        let notes = [debian_notes(), number_note(2, page)].concat();
        let image = ElfBuilder::new(0)
            .load(0xffff_ffff_8100_0000, 0x100_0000, b"code", 0x3a0_0000)
            .notes(&notes)
            .build();
        plan(&image, 512 * MIB / PAGE, 0).map(|plan| plan.hypercall_page)
    };
    assert_eq!(at(0xffff_ffff_8200_0000), Ok(Some(Pfn::new(0x2000))));
    assert_eq!(
        at(0xffff_ffff_8200_0010),
        Err(KernelError::BadAddress("HYPERCALL_PAGE"))
    );
    for outside in [
        0,
        0xffff_ffff_7fff_f000,
        0xffff_ffff_84a0_0000,
        0xffff_ffff_84a0_1000,
    ] {
        assert_eq!(at(outside), Err(KernelError::OutOfImage("HYPERCALL_PAGE")));
    }
}
