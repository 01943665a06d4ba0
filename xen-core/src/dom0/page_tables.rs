//! The page tables dom0 starts with: which frame is which table, and every entry in them.
//!
//! Contract: public/xen.h (the bootstrap tables are mapped read-only, everything else writable);
//! Linux knows two orders of the tables in PFN space, this is the one of Xen's own builder:
//! L4, L1, L2, L3, L1, L1, ... as a walk along the addresses needs them, or that of libxenguest. The tables of a P2M at
//! INIT_P2M follow its frames.

use alloc::vec::Vec;
use core::ops::Range;

use super::plan::{Plan, TableOrder};
use crate::num::{Mfn, PAGE_SIZE as PAGE, Pfn};

/// Present, writable, user, accessed.
pub const LEAF: u64 = PRESENT | WRITABLE | USER | ACCESSED;
/// A leaf that maps a page table: not writable.
pub const LEAF_READ_ONLY: u64 = PRESENT | USER | ACCESSED;
/// An entry of an L2, L3 or L4, and a leaf of the P2M.
pub const TABLE: u64 = LEAF | DIRTY;

const PRESENT: u64 = 1 << 0;
const WRITABLE: u64 = 1 << 1;
const USER: u64 = 1 << 2;
const ACCESSED: u64 = 1 << 5;
const DIRTY: u64 = 1 << 6;

/// Entries of a table.
const ENTRIES: u64 = 512;
const LEVELS: [u8; 3] = [1, 2, 3];

/// One page table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Table {
    /// The frame that is the table.
    pub pfn: Pfn,
    /// 4 for the L4 to 1 for an L1.
    pub level: u8,
    /// The address its entry 0 stands for (0 for the L4).
    pub base: u64,
}

impl Table {
    /// log2 of what one entry covers.
    fn entry_shift(&self) -> u32 {
        12 + 9 * u32::from(self.level - 1)
    }

    /// The entry that leads to `address`, if the table covers it.
    fn index_of(&self, address: u64) -> Option<usize> {
        let shift = self.entry_shift();
        let covered = self.level == 4 || address >> (shift + 9) == self.base >> (shift + 9);
        covered.then_some((address >> shift) as usize & (ENTRIES as usize - 1))
    }
}

/// All tables of a plan.
#[derive(Clone, Debug)]
pub struct PageTables<'p> {
    plan: &'p Plan,
    tables: Vec<Table>,
}

impl<'p> PageTables<'p> {
    /// Lays out the tables of `plan`.
    #[must_use]
    pub fn build(plan: &'p Plan) -> Self {
        let bootstrap = plan.bootstrap_tables();
        let mut tables = alloc::vec![Table {
            pfn: Pfn::new(bootstrap.start),
            level: 4,
            base: 0
        }];
        let mut next = bootstrap.start + 1;
        cover(
            &mut tables,
            &mut next,
            plan.v_start..plan.v_end,
            plan.table_order,
        );
        debug_assert_eq!(next, bootstrap.end);
        if !plan.p2m.in_mapping {
            next = plan.p2m.pfn.get() + plan.p2m.frames;
            cover(&mut tables, &mut next, plan.p2m.range(), plan.table_order);
            debug_assert_eq!(next, plan.pages_needed);
        }
        Self { plan, tables }
    }

    /// The L4 first, then the rest of the bootstrap tables in PFN order, then the P2M's.
    #[must_use]
    pub fn tables(&self) -> &[Table] {
        &self.tables
    }

    /// The present entries of `table` as (index, value); all others are zero.
    pub fn entries<'a>(
        &'a self,
        table: &'a Table,
        mfn_of: impl Fn(Pfn) -> Mfn + 'a,
    ) -> impl Iterator<Item = (usize, u64)> + 'a {
        let entry =
            move |(index, pfn, flags): (usize, Pfn, u64)| (index, mfn_of(pfn).addr() | flags);
        let leaves = (table.level == 1).then(|| self.leaves(table));
        let children = (table.level > 1).then(|| self.children(table));
        leaves
            .into_iter()
            .flatten()
            .chain(children.into_iter().flatten())
            .map(entry)
    }

    fn leaves(&self, table: &Table) -> impl Iterator<Item = (usize, Pfn, u64)> {
        let base = table.base;
        (0..ENTRIES).filter_map(move |index| {
            let (pfn, flags) = self.leaf(base + index * PAGE)?;
            Some((index as usize, pfn, flags))
        })
    }

    /// What `address` maps, and how.
    fn leaf(&self, address: u64) -> Option<(Pfn, u64)> {
        if let Some(pfn) = self.plan.pfn_of(address) {
            let is_table = self.plan.bootstrap_tables().contains(&pfn.get());
            return Some((pfn, if is_table { LEAF_READ_ONLY } else { LEAF }));
        }
        let p2m = &self.plan.p2m;
        (!p2m.in_mapping && p2m.range().contains(&address))
            .then(|| (Pfn::new(p2m.pfn.get() + (address - p2m.va) / PAGE), TABLE))
    }

    fn children(&self, table: &Table) -> impl Iterator<Item = (usize, Pfn, u64)> {
        let table = *table;
        self.tables
            .iter()
            .filter(move |child| child.level + 1 == table.level)
            .filter_map(move |child| Some((table.index_of(child.base)?, child.pfn, TABLE)))
    }
}

/// Adds the tables that `range` needs and `tables` lacks, in walk order: where an address needs
/// several new ones, the L1 comes first.
fn cover(tables: &mut Vec<Table>, next: &mut u64, range: Range<u64>, order: TableOrder) {
    match order {
        TableOrder::Walk => cover_levels(tables, next, range, &LEVELS),
        TableOrder::TopDown => {
            for level in LEVELS.iter().rev() {
                cover_levels(tables, next, range.clone(), core::slice::from_ref(level));
            }
        }
    }
}

/// The same for some levels, for each address in their order.
fn cover_levels(tables: &mut Vec<Table>, next: &mut u64, range: Range<u64>, levels: &[u8]) {
    const L1_REACH: u64 = ENTRIES * PAGE;
    // The tables of the range walked so far: only the last of each level can be met again, and
    // those of an earlier range.
    let earlier = tables.len();
    let mut last = [None; LEVELS.len()];
    let mut address = range.start & !(L1_REACH - 1);
    while address < range.end {
        for (&level, last) in levels.iter().zip(&mut last) {
            let base = address & (u64::MAX << (12 + 9 * u32::from(level)));
            let exists = *last == Some(base)
                || tables
                    .iter()
                    .take(earlier)
                    .any(|table| table.level == level && table.base == base);
            *last = Some(base);
            if !exists {
                tables.push(Table {
                    pfn: Pfn::new(*next),
                    level,
                    base,
                });
                *next += 1;
            }
        }
        let Some(following) = address.checked_add(L1_REACH) else {
            break;
        };
        address = following;
    }
}

#[cfg(test)]
pub(super) mod tests;
