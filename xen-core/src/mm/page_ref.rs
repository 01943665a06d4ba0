//! References on pages as values: they go back when dropped.

use hypercall_abi::errno::Errno;
use hypercall_abi::xen::DomId;

use super::page_type::Got;
use super::{FrameState, Memory, OwnedPages, PageType};
use crate::num::Mfn;

/// A general reference: the page stays allocated and keeps its owner. Xen: `get_page`/`put_page`.
#[derive(Debug)]
#[must_use]
pub struct PageRef<'a> {
    mem: &'a Memory,
    mfn: Mfn,
}

impl PageRef<'_> {
    /// The page.
    #[must_use]
    pub const fn mfn(&self) -> Mfn {
        self.mfn
    }

    /// Keeps the reference as a bare number: [`Memory::adopt_page`] takes it up again.
    #[must_use]
    pub fn into_raw(self) -> Mfn {
        let mfn = self.mfn;
        core::mem::forget(self);
        mfn
    }
}

impl Drop for PageRef<'_> {
    fn drop(&mut self) {
        self.mem.put_page(self.mfn);
    }
}

/// A general reference and one of type *writable*: the page is no table while this exists.
#[derive(Debug)]
#[must_use]
pub struct WritableRef<'a> {
    mem: &'a Memory,
    mfn: Mfn,
}

impl WritableRef<'_> {
    /// The page.
    #[must_use]
    pub const fn mfn(&self) -> Mfn {
        self.mfn
    }

    /// Keeps the references as a bare number: [`Memory::adopt_writable`] takes them up again.
    #[must_use]
    pub fn into_raw(self) -> Mfn {
        let mfn = self.mfn;
        core::mem::forget(self);
        mfn
    }
}

impl Drop for WritableRef<'_> {
    fn drop(&mut self) {
        self.mem.put_writable(self.mfn);
    }
}

impl Memory {
    /// Takes a reference on a page of `owner`.
    #[must_use]
    pub fn get_page(&self, mfn: Mfn, owner: DomId) -> Option<PageRef<'_>> {
        let page = self.get_any_page(mfn)?;
        // Stable now that there is a reference.
        (self.owner(mfn) == Some(owner)).then_some(page)
    }

    /// Takes a reference on a page, whoever owns it.
    #[must_use]
    pub fn get_any_page(&self, mfn: Mfn) -> Option<PageRef<'_>> {
        let info = self.frames.get(mfn)?;
        let mut seen = info.count();
        loop {
            if seen.state() != FrameState::InUse || seen.count() == 0 {
                return None;
            }
            match info.change_count(seen, seen.with_count(seen.count() + 1)?) {
                Ok(()) => return Some(PageRef { mem: self, mfn }),
                Err(now) => seen = now,
            }
        }
    }

    /// Takes a general and a writable reference on a page of `owner`.
    ///
    /// # Errors
    /// `EINVAL` if the page is not the owner's, or is in use as a table or descriptor page.
    pub fn get_writable(&self, mfn: Mfn, owner: DomId) -> Result<WritableRef<'_>, Errno> {
        let page = self.get_page(mfn, owner).ok_or(Errno::EINVAL)?;
        match self.try_get_type(mfn, PageType::Writable) {
            Got::Taken => {
                let _ = page.into_raw();
                Ok(WritableRef { mem: self, mfn })
            }
            _ => Err(Errno::EINVAL),
        }
    }

    /// Takes up a reference given by [`PageRef::into_raw`].
    pub const fn adopt_page(&self, mfn: Mfn) -> PageRef<'_> {
        PageRef { mem: self, mfn }
    }

    /// Takes up references given by [`WritableRef::into_raw`].
    pub const fn adopt_writable(&self, mfn: Mfn) -> WritableRef<'_> {
        WritableRef { mem: self, mfn }
    }

    /// Gives a writable and a general reference back.
    pub(crate) fn put_writable(&self, mfn: Mfn) {
        // Writable pages hold no references of their own: dropping the type never leaves work.
        let _ = self.put_type(mfn);
        self.put_page(mfn);
    }

    /// Gives a general reference back; the last one frees the page.
    pub(crate) fn put_page(&self, mfn: Mfn) {
        let Some(info) = self.frames.get(mfn) else {
            return;
        };
        let mut seen = info.count();
        loop {
            let Some(less) = seen
                .count()
                .checked_sub(1)
                .and_then(|count| seen.with_count(count))
            else {
                log::error!("mm: reference on {mfn:?} given back twice ({seen:?})");
                debug_assert!(false, "reference on {mfn:?} given back twice");
                return;
            };
            match info.change_count(seen, less) {
                Ok(()) => {
                    if less.count() == 0 {
                        self.free_page(mfn);
                    } else if less.count() == 1 && less.is_special() {
                        self.note_leftover_freed();
                    }
                    return;
                }
                Err(now) => seen = now,
            }
        }
    }

    /// Takes the allocation of a page away from its owner (XENMEM_decrease_reservation, destruction): the page is
    /// freed when the last reference is gone. The caller holds one. False if there was no allocation to take.
    #[must_use]
    pub(crate) fn drop_allocation(&self, pages: &OwnedPages, mfn: Mfn) -> bool {
        let Some(info) = self.frames.get(mfn) else {
            return false;
        };
        {
            let _list = pages.lock();
            let mut seen = info.count();
            loop {
                if !seen.is_allocated() || seen.is_special() || info.owner() != Some(pages.id) {
                    return false;
                }
                match info.change_count(seen, seen.without_allocation()) {
                    Ok(()) => break,
                    Err(now) => seen = now,
                }
            }
        }
        self.put_page(mfn);
        true
    }
}
