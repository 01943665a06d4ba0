//! What one domain owns: the list of its pages, its limits and its claim.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use hypercall_abi::xen::DomId;

use super::frame_table::FrameList;
use super::{FrameTable, Memory, Vnuma};
use crate::boot::e820::E820Entry;
use crate::num::Mfn;
use crate::sync::{Rank, RankedGuard, RankedMutex};

/// Accounting of one domain's frames.
#[derive(Debug)]
pub struct OwnedPages {
    /// The domain.
    pub id: DomId,
    list: RankedMutex<PageList>,
    total: AtomicU64,
    /// The hypervisor's pages that this domain may map, for as long as anybody refers to them.
    shared: AtomicU64,
    max: AtomicU64,
    /// Former tables whose entries still hold references: work that `pv::mm::drain` finishes.
    demotions: RankedMutex<Vec<Mfn>>,
    /// Those, and the ones that a processor has in hand.
    unfinished: AtomicUsize,
    memory_map: RankedMutex<Option<Vec<E820Entry>>>,
    vnuma: RankedMutex<Option<Vnuma>>,
}

/// The part under the lock.
#[derive(Debug)]
pub(super) struct PageList {
    /// Pages, those that are only referred to included; behind the others those that destruction has dealt with.
    pub(super) pages: FrameList,
    /// The domain is being destroyed: nothing is allocated or pinned any more.
    pub(super) closed: bool,
    /// Frames promised to this domain that it has not allocated yet (XENMEM_claim_pages).
    pub(super) claim: u64,
}

impl OwnedPages {
    pub(super) fn new(id: DomId) -> Arc<Self> {
        Arc::new(Self {
            id,
            list: RankedMutex::new(
                Rank::PageList,
                PageList {
                    pages: FrameList::EMPTY,
                    claim: 0,
                    closed: false,
                },
            ),
            total: AtomicU64::new(0),
            shared: AtomicU64::new(0),
            max: AtomicU64::new(u64::from(u32::MAX)),
            demotions: RankedMutex::new(Rank::PageList, Vec::new()),
            unfinished: AtomicUsize::new(0),
            memory_map: RankedMutex::new(Rank::PageList, None),
            vnuma: RankedMutex::new(Rank::PageList, None),
        })
    }

    /// Pages that count against the limit.
    #[must_use]
    pub fn total_pages(&self) -> u64 {
        self.total.load(Ordering::SeqCst)
    }

    /// The limit (`XEN_DOMCTL_max_mem`).
    #[must_use]
    pub fn max_pages(&self) -> u64 {
        self.max.load(Ordering::SeqCst)
    }

    /// Sets the limit; what is owned beyond it stays.
    pub fn set_max_pages(&self, pages: u64) {
        self.max.store(pages, Ordering::SeqCst);
    }

    /// Frames claimed and not yet allocated.
    #[must_use]
    pub fn claimed(&self) -> u64 {
        self.list.lock().claim
    }

    /// The memory map given with XENMEM_set_memory_map.
    #[must_use]
    pub fn memory_map(&self) -> Option<Vec<E820Entry>> {
        self.memory_map.lock().clone()
    }

    /// Sets the memory map.
    pub fn set_memory_map(&self, map: Vec<E820Entry>) {
        *self.memory_map.lock() = Some(map);
    }

    /// The NUMA topology that the domain is shown, if it is given one.
    #[must_use]
    pub fn vnuma(&self) -> Option<Vnuma> {
        self.vnuma.lock().clone()
    }

    /// Sets the NUMA topology that the domain is shown.
    pub fn set_vnuma(&self, vnuma: Vnuma) {
        *self.vnuma.lock() = Some(vnuma);
    }

    /// Pages in the list, those with no allocation left but still referred to included. For tests and dumps.
    #[must_use]
    pub fn list(&self, mem: &Memory) -> Vec<Mfn> {
        let list = self.list.lock();
        let mut pages = Vec::new();
        let mut at = list.pages.first();
        while let Some(mfn) = at {
            pages.push(mfn);
            at = FrameList::next(&mem.frames, mfn);
        }
        pages
    }

    /// Calls `visit` with each page in the list, as long as it says true. `visit` takes no lock.
    pub(super) fn for_each(&self, mem: &Memory, mut visit: impl FnMut(Mfn) -> bool) {
        let list = self.list.lock();
        let mut at = list.pages.first();
        while let Some(mfn) = at.filter(|&mfn| visit(mfn)) {
            at = FrameList::next(&mem.frames, mfn);
        }
    }

    /// A page that destruction has not dealt with yet.
    #[must_use]
    pub(crate) fn first_unvisited(&self, mem: &Memory) -> Option<Mfn> {
        let first = self.list.lock().pages.first()?;
        let visited = mem.frames.get(first)?.count().is_visited();
        (!visited).then_some(first)
    }

    /// Puts a page that destruction has dealt with behind those that it has not. The caller holds a reference.
    pub(crate) fn set_visited(&self, mem: &Memory, mfn: Mfn) {
        let mut list = self.list.lock();
        if let Some(info) = mem.frames.get(mfn) {
            info.set_visited();
        }
        list.pages.remove(&mem.frames, mfn);
        list.pages.push(&mem.frames, mfn);
    }

    /// Destruction begins: no page is allocated or pinned from here on.
    pub(crate) fn close(&self) {
        self.list.lock().closed = true;
    }

    /// Whether destruction has begun.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.list.lock().closed
    }

    pub(super) fn lock(&self) -> RankedGuard<'_, PageList> {
        self.list.lock()
    }

    pub(super) fn add_total(&self, pages: u64) {
        self.total.fetch_add(pages, Ordering::SeqCst);
    }

    pub(super) fn subtract_total(&self, pages: u64) {
        self.total.fetch_sub(pages, Ordering::SeqCst);
    }

    /// Notes a page of the hypervisor's that is the domain's to map.
    pub(super) fn add_shared(&self) {
        self.shared.fetch_add(1, Ordering::SeqCst);
    }

    /// Notes that nothing refers to such a page any more.
    pub(super) fn subtract_shared(&self) {
        self.shared.fetch_sub(1, Ordering::SeqCst);
    }

    /// The hypervisor's pages that are the domain's to map and still exist.
    #[must_use]
    pub fn shared_pages(&self) -> u64 {
        self.shared.load(Ordering::SeqCst)
    }

    /// Whether frame records name this domain as owner.
    pub(super) fn owns_frames(&self) -> bool {
        self.total_pages() != 0 || self.shared.load(Ordering::SeqCst) != 0
    }

    /// Puts a page on the stack of unfinished demotions.
    pub(crate) fn push_demotion(&self, mfn: Mfn) {
        self.unfinished.fetch_add(1, Ordering::SeqCst);
        self.demotions.lock().push(mfn);
    }

    /// Puts back a page of [`OwnedPages::pop_demotion`].
    pub(crate) fn return_demotion(&self, mfn: Mfn) {
        self.demotions.lock().push(mfn);
    }

    /// Notes the end of `count` demotions.
    pub(crate) fn demotions_done(&self, count: usize) {
        self.unfinished.fetch_sub(count, Ordering::SeqCst);
    }

    /// Takes the latest unfinished demotion.
    pub(crate) fn pop_demotion(&self) -> Option<Mfn> {
        self.demotions.lock().pop()
    }

    /// Former tables on the stack. For tests and dumps.
    #[must_use]
    pub fn waiting_demotions(&self) -> usize {
        self.demotions.lock().len()
    }

    /// Whether demotions are unfinished, on the stack or in some processor's hands.
    #[must_use]
    pub fn has_demotions(&self) -> bool {
        self.unfinished.load(Ordering::SeqCst) != 0
    }
}

impl PageList {
    pub(super) fn add(&mut self, frames: &FrameTable, mfn: Mfn) {
        self.pages.push_front(frames, mfn);
    }

    pub(super) fn remove(&mut self, frames: &FrameTable, mfn: Mfn) {
        self.pages.remove(frames, mfn);
    }
}
