//! Giving frames to domains and taking them back.

use alloc::sync::Arc;
use core::sync::atomic::Ordering;

use hypercall_abi::xen::DomId;

use super::{CountWord, Memory, OwnedPages, PageType};
use crate::machine::{Cpus, Frames};
use crate::num::{Mfn, PAGE_SHIFT, Pfn};

/// How to allocate.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct AllocOptions {
    /// All machine addresses must fit in this many bits.
    pub address_bits: Option<u32>,
    /// The only node that will do.
    pub exact_node: Option<u32>,
    /// What the frames hold does not matter: whoever gets them may see it and will overwrite it. For the first domain
    /// at boot only, when no other has had them.
    pub uncleared: bool,
}

/// Nodes of the machine: all memory is one.
const NODES: u32 = 1;

impl AllocOptions {
    /// From the low byte of `mem_flags` (0 = any).
    #[must_use]
    pub const fn below_bits(bits: u32) -> Self {
        Self {
            address_bits: if bits == 0 { None } else { Some(bits) },
            exact_node: None,
            uncleared: false,
        }
    }

    /// Whether no memory can be what is asked for.
    pub(super) fn is_impossible(self) -> bool {
        self.exact_node.is_some_and(|node| node >= NODES)
    }

    fn width(self) -> Option<u32> {
        self.address_bits
            .map(|bits| bits.saturating_sub(PAGE_SHIFT))
    }
}

impl Memory {
    /// Gives `1 << order` zeroed frames to a domain; their M2P entries are invalid. `None` if the domain's limit, a
    /// claim of another domain or the free memory does not allow it.
    #[must_use]
    pub fn allocate<M: Frames + Cpus>(
        &self,
        machine: &M,
        pages: &OwnedPages,
        order: u32,
        options: AllocOptions,
    ) -> Option<Mfn> {
        let count = 1u64.checked_shl(order)?;
        if options.is_impossible() {
            return None;
        }
        // Room in the account first, so that two processors cannot both use the last of it.
        let claimed = {
            let mut list = pages.lock();
            if list.closed {
                return None;
            }
            if pages.total_pages().checked_add(count)? > pages.max_pages() {
                return None;
            }
            pages.add_total(count);
            let claimed = list.claim.min(count);
            list.claim -= claimed;
            claimed
        };
        let start = self.take_clean(machine, order, options, claimed);
        let Some(start) = start else {
            let mut list = pages.lock();
            pages.subtract_total(count);
            list.claim += claimed;
            return None;
        };
        self.own(pages, start, count).then_some(start)
    }

    /// A zeroed page of the hypervisor's that `pages.id` may map writable but that never becomes a table. It is not
    /// counted against the domain's limit. Give it back with [`Memory::free_shared`].
    #[must_use]
    pub fn allocate_shared<M: Frames + Cpus>(
        &self,
        machine: &M,
        pages: &OwnedPages,
    ) -> Option<Mfn> {
        let mfn = self.take_clean(machine, 0, AllocOptions::default(), 0)?;
        let info = self.frames.get(mfn)?;
        self.set_fixed_type(mfn, PageType::Writable);
        pages.add_shared();
        info.set_owner(Some(pages.id));
        info.set_count(CountWord::allocated().special());
        Some(mfn)
    }

    /// A zeroed frame for the hypervisor's own tables, which no guest can refer to. Give it back with
    /// [`Memory::free_private`].
    #[must_use]
    pub fn allocate_private<M: Frames + Cpus>(&self, machine: &M) -> Option<Mfn> {
        self.take_clean(machine, 0, AllocOptions::default(), 0)
    }

    /// Gives back a frame of [`Memory::allocate_private`]. Processors that walked it drop what they remember before it
    /// is used again.
    pub fn free_private(&self, mfn: Mfn) {
        self.release_detached(mfn, 0);
    }

    /// Gives up the hypervisor's hold on a page of [`Memory::allocate_shared`]. The frame is free when the last
    /// mapping is gone. Call once.
    pub fn free_shared(&self, mfn: Mfn) {
        let _ = self.put_type(mfn);
        self.put_page(mfn);
    }

    /// Enters detached frames, which count already, in a domain's list. If destruction has begun meanwhile they are freed:
    /// nobody would take them away any more.
    #[must_use]
    pub(super) fn own(&self, pages: &OwnedPages, start: Mfn, count: u64) -> bool {
        let mut list = pages.lock();
        if list.closed {
            pages.subtract_total(count);
            drop(list);
            for i in 0..count {
                self.release_detached(start.offset(i), 0);
            }
            return false;
        }
        for i in 0..count {
            let mfn = start.offset(i);
            let Some(info) = self.frames.get(mfn) else {
                continue;
            };
            info.set_owner(Some(pages.id));
            list.add(&self.frames, mfn);
            // Visible to `get_page` from here on: everything else is in place.
            info.set_count(info.count().allocated_again());
        }
        true
    }

    /// Takes frames from the allocator, free of the past: stale translations flushed, caches written back, contents
    /// zeroed, type forgotten.
    pub(super) fn take_clean<M: Frames + Cpus>(
        &self,
        machine: &M,
        order: u32,
        options: AllocOptions,
        claimed: u64,
    ) -> Option<Mfn> {
        let count = 1u64.checked_shl(order)?;
        let start = {
            let mut buddy = self.buddy.lock();
            // What others have claimed is not there for us.
            let promised = self.claims.load(Ordering::SeqCst).saturating_sub(claimed);
            if buddy.free_frames() < promised.saturating_add(count) {
                return None;
            }
            let start = buddy.take(&self.frames, order, options.width())?;
            self.claims.fetch_sub(claimed, Ordering::SeqCst);
            start
        };
        let mut owing = crate::machine::CpuMask::EMPTY;
        let online = machine.online();
        let mut last_stamp = None;
        for i in 0..count {
            let Some(info) = self.frames.get(start.offset(i)) else {
                continue;
            };
            let stamp = info.stamp().load(Ordering::SeqCst);
            if last_stamp != Some(stamp) {
                owing = owing.or(&self.clock.owing(&online, stamp));
                last_stamp = Some(stamp);
            }
        }
        self.clock
            .flush(machine, &owing, crate::machine::Flush::All);
        if self.noncoherent_freed.swap(false, Ordering::SeqCst) {
            machine.flush_caches();
        }
        for i in 0..count {
            let mfn = start.offset(i);
            self.reset_type(mfn);
            if !options.uncleared {
                machine.zero(mfn);
            }
            if let Some(entry) = machine.m2p(mfn) {
                entry.store(Pfn::INVALID.get(), Ordering::Relaxed);
            }
        }
        Some(start)
    }

    /// Gives detached frames back to the allocator.
    pub(super) fn release_detached(&self, start: Mfn, order: u32) {
        for i in 0..1u64 << order {
            if let Some(info) = self.frames.get(start.offset(i)) {
                self.clock.stamp(info.stamp());
                if info.count().is_noncoherent() {
                    self.noncoherent_freed.store(true, Ordering::SeqCst);
                }
            }
        }
        self.buddy.lock().release(&self.frames, start, order);
    }

    /// The last reference is gone.
    pub(super) fn free_page(&self, mfn: Mfn) {
        let Some(info) = self.frames.get(mfn) else {
            return;
        };
        let owner = info.owner();
        let word = info.count();
        if let Some(pages) = owner.and_then(|owner| self.account(owner)) {
            if word.is_special() {
                pages.subtract_shared();
                self.note_leftover_freed();
            } else {
                let mut list = pages.lock();
                list.remove(&self.frames, mfn);
                pages.subtract_total(1);
                if list.claim != 0 {
                    // ABI: while a claim is not met, what the domain gives back is part of it again.
                    list.claim += 1;
                    self.claims.fetch_add(1, Ordering::SeqCst);
                }
                if list.closed {
                    self.note_leftover_freed();
                }
            }
        }
        info.set_owner(None);
        info.set_count(word.detached());
        // ABI: the M2P entry lives as long as the frame: a mapping that outlives the allocation still finds it.
        if let Some(entry) = self.m2p.get().and_then(|m2p| m2p.get(mfn.0 as usize)) {
            entry.store(Pfn::INVALID.get(), Ordering::Relaxed);
        }
        self.release_detached(mfn, 0);
    }

    /// Promises the domain that it will be able to own `total` pages in all; 0 cancels (XENMEM_claim_pages).
    ///
    /// # Errors
    /// `EINVAL` for a second claim, one that is already met or one beyond the limit; `ENOMEM` if so much is not free.
    pub fn claim(&self, pages: &OwnedPages, total: u64) -> Result<(), hypercall_abi::errno::Errno> {
        use hypercall_abi::errno::Errno;
        let mut list = pages.lock();
        if total == 0 {
            self.claims.fetch_sub(list.claim, Ordering::SeqCst);
            list.claim = 0;
            return Ok(());
        }
        let owned = pages.total_pages();
        if list.claim != 0 || total <= owned || total > pages.max_pages() {
            return Err(Errno::EINVAL);
        }
        let buddy = self.buddy.lock();
        let free = buddy
            .free_frames()
            .saturating_sub(self.claims.load(Ordering::SeqCst));
        if total - owned > free {
            return Err(Errno::ENOMEM);
        }
        list.claim = total - owned;
        self.claims.fetch_add(list.claim, Ordering::SeqCst);
        Ok(())
    }

    /// Opens the account of a new domain; `None` if the number has one.
    #[must_use]
    pub fn open_account(&self, id: DomId) -> Option<Arc<OwnedPages>> {
        let pages = OwnedPages::new(id);
        self.accounts.insert(id, pages.clone()).then_some(pages)
    }

    /// Closes an account; false while a frame is the domain's, be it only by somebody else's reference, or work is left:
    /// the next domain of that number must not find itself the owner of such a frame.
    #[must_use]
    pub fn close_account(&self, id: DomId) -> bool {
        let Some(pages) = self.account(id) else {
            return true;
        };
        let closed = self
            .accounts
            .edit(id, |entry| entry.take_if(|pages| !pages.owns_frames()))
            .is_some();
        if !closed {
            return false;
        }
        !pages.has_demotions() && self.claim(&pages, 0).is_ok()
    }

    /// The account of a domain.
    #[must_use]
    pub fn account(&self, id: DomId) -> Option<Arc<OwnedPages>> {
        self.accounts.get(id)
    }
}
