//! Swapping pages of a domain for others (XENMEM_exchange).

use hypercall_abi::errno::Errno;

use super::{AllocOptions, FrameState, Memory, OwnedPages};
use crate::machine::{Cpus, Frames};
use crate::num::Mfn;

impl Memory {
    /// Frames for an exchange: zeroed and nobody's yet. Hand them to [`Memory::adopt_exchanged`] or
    /// [`Memory::return_detached`].
    #[must_use]
    pub fn allocate_detached<M: Frames + Cpus>(
        &self,
        machine: &M,
        order: u32,
        options: AllocOptions,
    ) -> Option<Mfn> {
        if options.is_impossible() {
            return None;
        }
        self.take_clean(machine, order, options, 0)
    }

    /// Gives frames of [`Memory::allocate_detached`] back.
    pub fn return_detached(&self, start: Mfn, order: u32) {
        self.release_detached(start, order);
    }

    /// Takes a page away from a domain if nothing refers to it but its allocation: not mapped, not pinned, no type
    /// (XSA-287). It keeps counting against the limit: either a page comes in for it, or it goes back.
    ///
    /// # Errors
    /// `EINVAL` if the page is not the domain's or is in use.
    pub fn steal(&self, pages: &OwnedPages, mfn: Mfn) -> Result<(), Errno> {
        let info = self.frames.get(mfn).ok_or(Errno::EINVAL)?;
        // Excludes every other change of this domain's list.
        let mut list = pages.lock();
        let seen = info.count();
        let idle = seen.state() == FrameState::InUse
            && seen.is_allocated()
            && !seen.is_special()
            && seen.count() == 1;
        if info.owner() != Some(pages.id) || !idle {
            return Err(Errno::EINVAL);
        }
        // A page without further references has no type references either: each implies a general one.
        info.change_count(seen, seen.detached())
            .map_err(|_| Errno::EINVAL)?;
        list.remove(&self.frames, mfn);
        info.set_owner(None);
        Ok(())
    }

    /// Puts a stolen page back.
    pub fn unsteal(&self, pages: &OwnedPages, mfn: Mfn) {
        // A domain that is being destroyed loses it.
        let _ = self.own(pages, mfn, 1);
    }

    /// Gives fresh frames to a domain in place of as many stolen ones.
    ///
    /// # Errors
    /// `EINVAL` if the domain is being destroyed; the frames are free again.
    pub fn adopt_exchanged(&self, pages: &OwnedPages, start: Mfn, order: u32) -> Result<(), Errno> {
        if self.own(pages, start, 1 << order) {
            Ok(())
        } else {
            Err(Errno::EINVAL)
        }
    }

    /// Frees a stolen page.
    pub fn free_stolen(&self, mfn: Mfn) {
        self.reset_type(mfn);
        self.release_detached(mfn, 0);
    }
}
