//! A hypervisor's page tables for the tests: refuses what the real one refuses.
// UNSAFETY: the allocator traits are unsafe to implement.
#![expect(unsafe_code, reason = "implements unsafe traits")]

extern crate std;

use std::collections::{BTreeMap, BTreeSet};
use std::vec::Vec;

use hypercall_abi::errno::Errno;
use x86_64::PhysAddr;
use x86_64::structures::paging::{FrameAllocator, FrameDeallocator, PhysFrame, Size4KiB};

use super::table::{PvPageTable, Tables};

const ROOT: u64 = 1000;
const USER: u64 = 4;

/// Tables by frame.
#[derive(Default)]
pub struct Model {
    tables: BTreeMap<u64, BTreeMap<u64, u64>>,
    refused: BTreeSet<u64>,
}

/// A mapper with an empty level-4 table.
pub fn mapper() -> PvPageTable<Model> {
    let mut model = Model::default();
    model.tables.insert(ROOT, BTreeMap::new());
    // SAFETY: a model.
    unsafe { PvPageTable::new(ROOT, model) }
}

impl Model {
    /// Tables made below the level-4 table, and not unmade.
    pub fn made(&self) -> usize {
        self.tables.len() - 1
    }

    /// Refuses to map a frame from now on.
    pub fn refuse_frame(&mut self, frame: u64) {
        self.refused.insert(frame);
    }

    /// Frames that are not tables.
    pub fn frames(&self) -> Fresh {
        let last = *self.tables.keys().next_back().unwrap();
        Fresh(last)
    }
}

impl Tables for Model {
    fn read(&self, table: u64, index: u64) -> u64 {
        self.tables[&table].get(&index).copied().unwrap_or(0)
    }

    fn write(&mut self, table: u64, index: u64, value: u64) -> Result<(), Errno> {
        if self.refused.contains(&((value >> 12) & 0xff_ffff_ffff)) {
            return Err(Errno::EPERM);
        }
        let entry = if value & 1 == 0 { value } else { value | USER };
        let slots = self.tables.get_mut(&table).ok_or(Errno::EINVAL)?;
        slots.insert(index, entry);
        Ok(())
    }

    fn make_table(&mut self, frame: u64) -> Result<(), Errno> {
        match self.tables.insert(frame, BTreeMap::new()) {
            None => Ok(()),
            Some(_) => Err(Errno::EBUSY),
        }
    }

    fn unmake_table(&mut self, frame: u64) -> Result<(), Errno> {
        self.tables.remove(&frame).map(drop).ok_or(Errno::EINVAL)
    }
}

/// Hands out frames behind all tables.
pub struct Fresh(u64);

// SAFETY: every frame only once.
unsafe impl FrameAllocator<Size4KiB> for Fresh {
    fn allocate_frame(&mut self) -> Option<PhysFrame> {
        self.0 += 1;
        Some(PhysFrame::containing_address(PhysAddr::new(self.0 << 12)))
    }
}

/// Frames given back.
#[derive(Default)]
pub struct Freed(pub Vec<PhysFrame>);

impl FrameDeallocator<Size4KiB> for Freed {
    unsafe fn deallocate_frame(&mut self, frame: PhysFrame) {
        self.0.push(frame);
    }
}
