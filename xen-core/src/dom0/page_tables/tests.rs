//! What was generated is walked as a processor would, page by page.

extern crate std;

use std::collections::BTreeMap;
use std::vec::Vec;

use super::*;
use crate::dom0::elf::tests::{ElfBuilder, debian_kernel, plain_kernel};
use crate::dom0::notes::tests::{debian_notes, number_note};
use crate::dom0::plan::tests::{MIB, plan};

/// A scattered assignment of frames, so that no test depends on contiguity.
fn mfn_of(pfn: Pfn) -> Mfn {
    Mfn::new(0x1_0000 + (pfn.get() ^ 0x35))
}

/// The tables as memory: contents by MFN.
struct Memory(BTreeMap<u64, [u64; 512]>);

impl Memory {
    fn new(tables: &PageTables<'_>) -> Self {
        let mut memory = BTreeMap::new();
        for table in tables.tables() {
            let mut words = [0; 512];
            for (index, entry) in tables.entries(table, mfn_of) {
                assert_eq!(words[index], 0, "written twice");
                words[index] = entry;
            }
            let earlier = memory.insert(mfn_of(table.pfn).get(), words);
            assert!(earlier.is_none(), "two tables in one frame");
        }
        Self(memory)
    }

    /// The leaf entry for `address`.
    fn walk(&self, plan: &Plan, address: u64) -> u64 {
        let mut frame = mfn_of(plan.entry_state().l4).get();
        for level in (1..=4).rev() {
            let table = &self.0[&frame];
            let entry = table[(address >> (12 + 9 * (level - 1)) & 511) as usize];
            if level == 1 || entry == 0 {
                return entry;
            }
            assert_eq!(entry & 0xfff, 0x67);
            frame = entry >> 12;
        }
        unreachable!()
    }

    /// Present leaf entries.
    fn leaves(&self, tables: &PageTables<'_>) -> usize {
        let l1 = tables.tables().iter().filter(|table| table.level == 1);
        l1.flat_map(|table| self.0[&mfn_of(table.pfn).get()])
            .filter(|&entry| entry != 0)
            .count()
    }
}

/// Walks every page of `plan`.
pub(in crate::dom0) fn assert_maps_the_plan(plan: &Plan) {
    let tables = PageTables::build(plan);
    let memory = Memory::new(&tables);
    for pfn in 0..plan.mapped_pages() {
        let entry = memory.walk(plan, plan.v_start + pfn * PAGE);
        let flags = if plan.bootstrap_tables().contains(&pfn) {
            0x25
        } else {
            0x27
        };
        assert_eq!(entry, mfn_of(Pfn::new(pfn)).addr() | flags);
    }
    let mut leaves = plan.mapped_pages();
    if !plan.p2m.in_mapping {
        for (index, address) in plan.p2m.range().step_by(PAGE as usize).enumerate() {
            let pfn = Pfn::new(plan.p2m.pfn.get() + index as u64);
            assert_eq!(memory.walk(plan, address), mfn_of(pfn).addr() | 0x67);
        }
        leaves += plan.p2m.frames;
    }
    assert_eq!(
        memory.leaves(&tables) as u64,
        leaves,
        "nothing else is mapped"
    );

    // The tables fill their PFNs without gaps.
    let frames: Vec<_> = tables
        .tables()
        .iter()
        .map(|table| table.pfn.get())
        .collect();
    let after_p2m = plan.p2m.pfn.get() + plan.p2m.frames;
    let own = after_p2m..after_p2m + plan.p2m.table_frames;
    assert_eq!(
        frames,
        plan.bootstrap_tables().chain(own).collect::<Vec<_>>()
    );
}

#[test]
fn debian_walks() {
    let image = debian_kernel();
    assert_maps_the_plan(&plan(&image, 512 * MIB / PAGE, 31 * MIB).unwrap());
    assert_maps_the_plan(&plan(&image, 0x10_0000, 0).unwrap());
}

#[test]
fn older_kernels_walk() {
    assert_maps_the_plan(&plan(&plain_kernel(), 16384, 5000).unwrap());
    assert_maps_the_plan(&plan(&plain_kernel(), 4 << 20, 0).unwrap());
}

#[test]
fn tables_come_in_walk_order() {
    let image = debian_kernel();
    let plan = plan(&image, 512 * MIB / PAGE, 0).unwrap();
    let tables = PageTables::build(&plan);
    let levels: Vec<_> = tables.tables().iter().map(|table| table.level).collect();
    assert_eq!(levels[..6], [4, 1, 2, 3, 1, 1]);
    assert!(levels[6..41].iter().all(|&level| level == 1));
    assert_eq!(levels[41..], [1, 2, 3]);
}

#[test]
fn a_mapping_across_every_boundary() {
    // From 2 MiB below a 512 GiB boundary: a second L3, L2 and L1 in the middle.
    let base = 0xffff_fe80_0000_0000 - 2 * MIB;
    let notes = [debian_notes(), number_note(3, base), number_note(1, base)].concat();
    let image = ElfBuilder::new(0)
        .load(0, 0, b"code", 6 * MIB)
        .notes(&notes)
        .build();
    let plan = plan(&image, 16384, 0).unwrap();
    let tables = PageTables::build(&plan);
    let levels: Vec<_> = tables.tables().iter().map(|table| table.level).collect();
    assert_eq!(levels[..7], [4, 1, 2, 3, 1, 2, 3]);
    assert_maps_the_plan(&plan);
}

#[test]
fn a_p2m_that_shares_tables_with_the_mapping() {
    for p2m in [
        0xffff_ffff_7ff0_0000,
        0xffff_ffff_9000_0000,
        0xffff_ffff_0000_0000,
        0x80_001f_f000,
    ] {
        let notes = [debian_notes(), number_note(15, p2m)].concat();
        let image = ElfBuilder::new(0)
            .load(0xffff_ffff_8100_0000, 0x100_0000, b"code", 0x3a0_0000)
            .notes(&notes)
            .build();
        assert_maps_the_plan(&plan(&image, 512 * MIB / PAGE, 0).unwrap());
    }
}

#[test]
fn a_p2m_in_the_l1_of_the_mapping() {
    // The mapping starts 1 MiB into an L1, the P2M lies below it in the same one.
    let base = 0x4010_0000;
    let notes = [
        debian_notes(),
        number_note(3, base),
        number_note(1, base),
        number_note(15, 0x4000_0000),
    ]
    .concat();
    let image = ElfBuilder::new(0)
        .load(0, 0, b"code", 6 * MIB)
        .notes(&notes)
        .build();
    let plan = plan(&image, 16384, 0).unwrap();
    assert_eq!(plan.p2m.table_frames, 0);
    assert_maps_the_plan(&plan);
}
