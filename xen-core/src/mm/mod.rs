//! TRUSTED. Frames: who owns them, how often they are referred to, what type they have, which are free.
//!
//! Contract: Xen's accounting of PV memory. Everything that makes a PV guest harmless rests on two statements kept
//! here: a page has references as long as anything can reach it, and a page that is in use as a page table or
//! descriptor page has no writable mapping. This layer counts; what the entries of a table mean is `pv::mm`'s.

mod allocate;
pub mod audit;
mod buddy;
mod exchange;
mod frame_table;
mod iomem;
mod owned;
mod page_info;
mod page_ref;
mod page_type;
mod tlb_clock;
mod vnuma;

use alloc::boxed::Box;
use alloc::sync::Arc;
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use hypercall_abi::xen::DomId;
use spin::Once;

pub use allocate::AllocOptions;
pub use buddy::MAX_ORDER;
pub use frame_table::FrameTable;
pub use owned::OwnedPages;
pub use page_info::{CountWord, FrameState, PageInfo};
pub use page_ref::{PageRef, WritableRef};
pub(crate) use page_type::{Got, Put};
pub use page_type::{PageType, TypeWord};
pub use tlb_clock::TlbClock;
pub use vnuma::Vnuma;

use crate::boot::e820::E820Entry;
use crate::machine::{CpuMask, Cpus, Flush};
use crate::num::{Mfn, PAGE_SHIFT, PAGE_SIZE};
use crate::sync::{ByDomain, Rank, RankedMutex};

/// Type of RAM in a memory map.
const E820_RAM: u32 = 1;

/// Records of all frames, and the allocator.
#[derive(Debug)]
pub struct Memory {
    pub(crate) frames: FrameTable,
    buddy: RankedMutex<buddy::Buddy>,
    accounts: ByDomain<Arc<OwnedPages>>,
    pub(crate) clock: TlbClock,
    io: iomem::IoRules,
    /// Frames claimed by domains and not yet allocated.
    claims: AtomicU64,
    /// A page that was mapped past the caches has been freed since they were last written back.
    noncoherent_freed: AtomicBool,
    /// A frame of a domain that is being destroyed, or the last foreign reference on one of the hypervisor's, was given
    /// back since this was last asked.
    leftover_freed: AtomicBool,
    /// Whether a table may refer to tables of its own level (option `pv-linear-pt`).
    linear_tables: AtomicBool,
    /// First frame of each 2 MiB chunk of the machine-to-physical table; `None` for a hole.
    m2p_chunks: Once<Box<[Option<Mfn>]>>,
    /// The machine-to-physical table, whose entries become invalid with their frames.
    m2p: Once<&'static [AtomicU64]>,
}

/// End of the memory that is the firmware's by tradition.
const LOW_MEMORY: u64 = 1 << 20;

impl Memory {
    /// Books over `frames`, of which none is usable yet: hand over RAM with [`Memory::add_range`] and tell device
    /// memory apart with [`Memory::mark_device_memory`]. `phys_bits` is the width of the processor's physical
    /// addresses.
    #[must_use]
    pub fn new(frames: &'static [PageInfo], phys_bits: u32) -> Self {
        Self {
            frames: FrameTable::new(frames),
            buddy: RankedMutex::new(Rank::Buddy, buddy::Buddy::new()),
            accounts: ByDomain::new(Rank::PageList),
            clock: TlbClock::new(),
            io: iomem::IoRules::new(1 << phys_bits.clamp(36, 52).saturating_sub(PAGE_SHIFT)),
            claims: AtomicU64::new(0),
            noncoherent_freed: AtomicBool::new(false),
            leftover_freed: AtomicBool::new(false),
            linear_tables: AtomicBool::new(false),
            m2p_chunks: Once::new(),
            m2p: Once::new(),
        }
    }

    /// Hands `count` frames of RAM from `start` on to the allocator. Frames beyond the table are ignored.
    pub fn add_range(&self, start: Mfn, count: u64) {
        let end = start.0.saturating_add(count).min(self.frames.len());
        let mut at = start.0;
        while at < end {
            // Frame 0 is a zone of its own.
            let aligned = if at == 0 {
                0
            } else {
                at.trailing_zeros().min(MAX_ORDER)
            };
            let order = aligned.min((end - at).ilog2());
            self.release_detached(Mfn(at), order);
            at += 1 << order;
        }
    }

    /// Marks as device memory every unusable frame that no RAM entry of the memory map covers whole, and the first
    /// megabyte, where firmware keeps its tables. What other RAM the hypervisor keeps for itself stays out of everybody's
    /// reach.
    pub fn mark_device_memory(&self, map: &[E820Entry]) {
        for frame in 0..self.frames.len() {
            let start = frame << PAGE_SHIFT;
            let is_ram = start >= LOW_MEMORY
                && map.iter().any(|entry| {
                    entry.kind == E820_RAM
                        && entry.addr <= start
                        && start + PAGE_SIZE <= entry.addr.saturating_add(entry.size)
                });
            if let (false, Some(info)) = (is_ram, self.frames.get(Mfn(frame)))
                && info.count().state() == FrameState::Unusable
            {
                info.set_count(CountWord::new(FrameState::Io));
            }
        }
    }

    /// Keeps `count` device frames from `start` on from every guest (local and IO-APICs, tables of the machine that
    /// are the hypervisor's).
    pub fn deny_iomem(&self, start: Mfn, count: u64) {
        self.io.deny(start, count);
    }

    /// Lets `count` device frames from `start` on be mapped, but not written (IO-APICs, which the hypervisor programs):
    /// mappings that ask for more are made read-only.
    pub fn protect_iomem(&self, start: Mfn, count: u64) {
        self.io.protect(start, count);
    }

    /// Whether a device frame may only be read.
    #[must_use]
    pub fn iomem_is_read_only(&self, mfn: Mfn) -> bool {
        self.io.is_read_only(mfn)
    }

    /// First frame number that the processor's physical addresses cannot express.
    #[must_use]
    pub const fn frame_limit(&self) -> u64 {
        self.io.limit()
    }

    /// Whether a domain with rights on devices may map this frame, which is not RAM.
    #[must_use]
    pub fn iomem_is_free(&self, mfn: Mfn) -> bool {
        self.io.permits(mfn)
    }

    /// The same for all frames of a range.
    #[must_use]
    pub fn iomem_range_is_free(&self, frames: &core::ops::Range<u64>) -> bool {
        self.io.permits_all(frames)
    }

    /// Shares `count` frames of the hypervisor's read-only with guests that may map pages of `DOMID_XEN` (the
    /// machine-to-physical table).
    pub fn share_read_only(&self, start: Mfn, count: u64) {
        for i in 0..count {
            let Some(info) = self.frames.get(start.offset(i)) else {
                continue;
            };
            // A type nobody can ask for keeps every other type away.
            self.set_fixed_type(start.offset(i), PageType::None);
            info.set_owner(Some(DomId::XEN));
            info.set_count(CountWord::allocated().special());
        }
    }

    /// Whether a frame is RAM that guests can have.
    #[must_use]
    pub fn is_ram(&self, mfn: Mfn) -> bool {
        matches!(
            self.frames.state(mfn),
            FrameState::Free | FrameState::InUse | FrameState::Detached
        )
    }

    /// Whether a frame is device memory.
    #[must_use]
    pub fn is_device(&self, mfn: Mfn) -> bool {
        self.frames.state(mfn) == FrameState::Io
    }

    /// The owner of a frame; certain only while a reference is held.
    #[must_use]
    pub fn owner(&self, mfn: Mfn) -> Option<DomId> {
        self.frames.get(mfn)?.owner()
    }

    /// Number of frames that the table covers.
    #[must_use]
    pub fn max_page(&self) -> u64 {
        self.frames.len()
    }

    /// Free frames.
    #[must_use]
    pub fn free_pages(&self) -> u64 {
        self.buddy.lock().free_frames()
    }

    /// Free frames whose numbers have at least `low` and at most `high` significant bits.
    #[must_use]
    pub fn free_pages_between(&self, low: u32, high: u32) -> u64 {
        self.buddy.lock().free_between(low, high)
    }

    /// Free frames among `count` from `first` on. Looks at every frame's record without a lock: what it finds may be out of
    /// date the next moment.
    #[must_use]
    pub fn free_pages_in(&self, first: Mfn, count: u64) -> u64 {
        let end = first.0.saturating_add(count).min(self.frames.len());
        let free = |&mfn: &u64| self.frames.state(Mfn(mfn)) == FrameState::Free;
        (first.0..end).filter(free).count() as u64
    }

    /// Frames promised to domains (XENMEM_claim_pages).
    #[must_use]
    pub fn claimed_pages(&self) -> u64 {
        self.claims.load(Ordering::SeqCst)
    }

    /// Whether the page is the hypervisor's, shared with guests.
    #[must_use]
    pub fn is_special(&self, mfn: Mfn) -> bool {
        self.frames
            .get(mfn)
            .is_some_and(|info| info.count().is_special())
    }

    /// General references on a frame.
    #[must_use]
    pub fn references(&self, mfn: Mfn) -> u64 {
        self.frames.get(mfn).map_or(0, |info| info.count().count())
    }

    /// Notes that less may keep a destroyed domain than before.
    pub fn note_leftover_freed(&self) {
        self.leftover_freed.store(true, Ordering::SeqCst);
    }

    /// Whether less may keep a destroyed domain than when this was last asked.
    #[must_use]
    pub fn take_leftover_freed(&self) -> bool {
        self.leftover_freed.load(Ordering::Relaxed)
            && self.leftover_freed.swap(false, Ordering::SeqCst)
    }

    /// Notes that a page was mapped with a cache attribute other than write-back.
    pub(crate) fn note_noncoherent(&self, mfn: Mfn) {
        if let Some(info) = self.frames.get(mfn) {
            info.set_noncoherent();
        }
    }

    /// Whether a page was mapped past the caches since this was last asked.
    pub(crate) fn take_noncoherent(&self, mfn: Mfn) -> bool {
        self.frames.get(mfn).is_some_and(PageInfo::take_noncoherent)
    }

    /// Allows tables that refer to tables of their own level, or forbids them.
    pub fn set_linear_tables(&self, allowed: bool) {
        self.linear_tables.store(allowed, Ordering::Relaxed);
    }

    /// Whether tables may refer to tables of their own level.
    #[must_use]
    pub fn linear_tables(&self) -> bool {
        self.linear_tables.load(Ordering::Relaxed)
    }

    /// Tells the entries of the machine-to-physical table, one for each frame.
    pub fn set_m2p(&self, entries: &'static [AtomicU64]) {
        self.m2p.call_once(|| entries);
    }

    /// Tells where the machine-to-physical table lies: first frame of each 2 MiB chunk, `None` where the table has a
    /// hole.
    pub fn set_m2p_chunks(&self, chunks: Box<[Option<Mfn>]>) {
        self.m2p_chunks.call_once(|| chunks);
    }

    /// First frame of each 2 MiB chunk of the machine-to-physical table.
    #[must_use]
    pub fn m2p_chunks(&self) -> &[Option<Mfn>] {
        self.m2p_chunks.get().map_or(&[], |chunks| chunks)
    }

    /// Flushes translations on the processors in `mask`. Go through here, not to the machine: a complete flush that
    /// is remembered need not be done again for the pages freed before it.
    pub fn flush_tlb(&self, machine: &impl Cpus, mask: &CpuMask, what: Flush) {
        self.clock.flush(machine, mask, what);
    }

    /// The processors of `mask` that may still use translations of `mfn` that were taken away.
    pub(crate) fn owing(&self, mask: &CpuMask, mfn: Mfn) -> CpuMask {
        match self.frames.get(mfn) {
            Some(info) => self.clock.owing(mask, info.stamp().load(Ordering::SeqCst)),
            None => CpuMask::EMPTY,
        }
    }

    /// Makes sure that no processor uses a translation of `mfn` that was taken away before now.
    pub(crate) fn flush_stale(&self, machine: &impl Cpus, mfn: Mfn) {
        let owing = self.owing(&machine.online(), mfn);
        self.clock.flush(machine, &owing, Flush::All);
    }
}
