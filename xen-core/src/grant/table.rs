//! A domain's grant table: its shared frames and what is in use of it.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::sync::atomic::AtomicU64;

use hypercall_abi::grant_table::GntStatus;
use hypercall_abi::xen::DomId;

use super::active::{Active, Use};
use super::entry;
use super::maptrack::{MapTrack, Mapping};
use crate::hvm::p2m;
use crate::machine::Frames;
use crate::mm::{Memory, PageRef, WritableRef};
use crate::num::{GrantRef, Mfn, Pfn, WORDS_PER_PAGE};
use crate::sync::{Rank, RankedMutex};

/// Grants of a domain, and what it has mapped of others'.
#[derive(Debug)]
pub struct GrantTable {
    max_frames: u32,
    /// What the domain grants.
    pub(super) given: RankedMutex<Given>,
    /// What the domain has mapped. Never held together with `given`, of whichever domain.
    pub(super) mapped: RankedMutex<MapTrack>,
}

/// What a domain grants.
#[derive(Debug, Default)]
pub struct Given {
    frames: Vec<GrantFrame>,
    /// Root of the tables that translate the domain's frame numbers; `None` if it uses the machine's.
    nested_root: Option<Mfn>,
    /// The domain is being destroyed: the table is gone and does not come back.
    closed: bool,
}

/// A frame of the table with the state of its entries.
#[derive(Debug)]
struct GrantFrame {
    /// The frame; `None` once the domain is being destroyed and the frame was freed.
    mfn: Option<Mfn>,
    active: Box<[Active]>,
}

/// A page that cannot go away, for as long as a grant of it is being looked at.
#[derive(Debug)]
#[must_use]
pub enum Held<'a> {
    /// It stays with its owner.
    Read(PageRef<'a>),
    /// And it may be written.
    Write(WritableRef<'a>),
}

impl<'a> Held<'a> {
    /// Takes a page of `owner`.
    ///
    /// # Errors
    /// `bad_page` if the page is not the owner's, `general_error` if it may not be written.
    pub fn get(mem: &'a Memory, frame: Mfn, owner: DomId, write: bool) -> Result<Self, GntStatus> {
        let page = mem.get_page(frame, owner).ok_or(GntStatus::BAD_PAGE)?;
        if !write {
            return Ok(Self::Read(page));
        }
        mem.get_writable(frame, owner)
            .map(Self::Write)
            .map_err(|_| GntStatus::GENERAL_ERROR)
    }

    /// Takes up what [`Held::into_raw`] left.
    pub const fn adopt(mem: &'a Memory, frame: Mfn, write: bool) -> Self {
        if write {
            Self::Write(mem.adopt_writable(frame))
        } else {
            Self::Read(mem.adopt_page(frame))
        }
    }

    /// The page.
    #[must_use]
    pub const fn mfn(&self) -> Mfn {
        match self {
            Self::Read(page) => page.mfn(),
            Self::Write(page) => page.mfn(),
        }
    }

    /// Keeps the references beyond this value's life.
    pub fn into_raw(self) -> Mfn {
        match self {
            Self::Read(page) => page.into_raw(),
            Self::Write(page) => page.into_raw(),
        }
    }
}

impl GrantTable {
    /// A table without frames, that can have up to `max_frames`; the domain can map what fits in `max_maptrack_frames`.
    #[must_use]
    pub const fn new(max_frames: u32, max_maptrack_frames: u32) -> Self {
        Self {
            max_frames,
            given: RankedMutex::new(
                Rank::Grant,
                Given {
                    frames: Vec::new(),
                    nested_root: None,
                    closed: false,
                },
            ),
            mapped: RankedMutex::new(Rank::Grant, MapTrack::new(max_maptrack_frames)),
        }
    }

    /// The table of a domain whose frame numbers are translated by the tables under `root`.
    #[must_use]
    pub fn translated(self, root: Mfn) -> Self {
        self.given.lock().nested_root = Some(root);
        self
    }

    /// The most frames the table can have.
    #[must_use]
    pub const fn max_frames(&self) -> u32 {
        self.max_frames
    }

    /// Frames of the table, in order.
    #[must_use]
    pub fn frames(&self) -> Vec<Mfn> {
        self.given
            .lock()
            .frames
            .iter()
            .filter_map(|frame| frame.mfn)
            .collect()
    }

    /// Closes the table for good; the caller frees its frames.
    #[must_use]
    pub fn close(&self) -> Vec<Mfn> {
        self.given.lock().close()
    }

    /// Number of frames of the table.
    #[must_use]
    pub fn frame_count(&self) -> u32 {
        self.given.lock().len()
    }

    /// Whether `grantee` uses a grant of `mfn` at this moment.
    #[must_use]
    pub fn is_used_by(&self, mfn: Mfn, grantee: DomId) -> bool {
        // The lock is let go between frames: nobody waits for the whole search.
        (0..self.frame_count()).any(|index| self.given.lock().uses(index, mfn, grantee))
    }

    /// Frames that the domain has mapped for devices, each as often as it is mapped, and whether for writing. The order
    /// of the locks is the mapping's first, the granter's then; never both.
    #[must_use]
    pub fn device_mappings(&self) -> Vec<(Mfn, bool)> {
        let mappings = self.mapped.lock().device_mappings();
        mappings
            .into_iter()
            .filter_map(|mapping| {
                let given = mapping.granter.grants.given.lock();
                let active = given.active(mapping.reference)?;
                Some((active.frame, !mapping.readonly))
            })
            .collect()
    }

    /// All mappings that the domain has.
    #[must_use]
    pub fn all_mappings(&self) -> Vec<Mapping> {
        self.mapped.lock().mappings()
    }

    /// Whether the domain, at its end, has begun to give up its mappings.
    #[must_use]
    pub fn are_given_up(&self) -> bool {
        self.mapped.lock().is_closed()
    }

    /// The grants that are in use.
    #[must_use]
    pub fn in_use(&self) -> Vec<(GrantRef, Active)> {
        let given = self.given.lock();
        let entries = given.frames.iter().flat_map(|frame| &frame.active);
        (0..)
            .map(GrantRef)
            .zip(entries)
            .filter(|(_, active)| !active.pins.is_empty())
            .map(|(reference, active)| (reference, *active))
            .collect()
    }

    /// Number of mappings that the domain has.
    #[must_use]
    pub fn mappings(&self) -> u32 {
        self.mapped.lock().in_use()
    }
}

impl Given {
    /// Frames.
    #[must_use]
    pub fn len(&self) -> u32 {
        u32::try_from(self.frames.len()).unwrap_or(u32::MAX)
    }

    /// Whether `grantee` uses a grant of `mfn` whose entry is in this frame of the table.
    fn uses(&self, index: u32, mfn: Mfn, grantee: DomId) -> bool {
        self.frames.get(index as usize).is_some_and(|frame| {
            frame.active.iter().any(|active| {
                !active.pins.is_empty() && active.frame == mfn && active.grantee == grantee
            })
        })
    }

    /// Adds a frame; false if the table is closed.
    #[must_use]
    pub fn push(&mut self, mfn: Mfn) -> bool {
        if self.closed {
            return false;
        }
        let mut active = Vec::new();
        active.resize(WORDS_PER_PAGE, Active::idle());
        self.frames.push(GrantFrame {
            mfn: Some(mfn),
            active: active.into_boxed_slice(),
        });
        true
    }

    /// Closes the table. Returns its frames, which nothing here touches any more; uses of the grants stay noted until
    /// they end.
    pub fn close(&mut self) -> Vec<Mfn> {
        self.closed = true;
        self.frames
            .iter_mut()
            .filter_map(|frame| frame.mfn.take())
            .collect()
    }

    /// The entry's shared word; `None` if there is no such entry.
    pub fn word<'f>(&self, frames: &'f impl Frames, reference: GrantRef) -> Option<&'f AtomicU64> {
        let frame = self.frames.get(reference.0 as usize / WORDS_PER_PAGE)?;
        frames
            .words(frame.mfn?)
            .get(reference.0 as usize % WORDS_PER_PAGE)
    }

    /// The state of an entry.
    #[must_use]
    pub fn active(&self, reference: GrantRef) -> Option<&Active> {
        let frame = self.frames.get(reference.0 as usize / WORDS_PER_PAGE)?;
        frame.active.get(reference.0 as usize % WORDS_PER_PAGE)
    }

    fn active_mut(&mut self, reference: GrantRef) -> Option<&mut Active> {
        let frame = self.frames.get_mut(reference.0 as usize / WORDS_PER_PAGE)?;
        frame.active.get_mut(reference.0 as usize % WORDS_PER_PAGE)
    }

    /// Begins a use of a grant of `owner` by `caller`, and takes the page.
    ///
    /// # Errors
    /// `bad_gntref` if there is no such entry, `general_error` if it does not grant this use or is in use by another
    /// domain, `bad_page` if the page is not the owner's.
    pub fn begin<'a>(
        &mut self,
        frames: &impl Frames,
        mem: &'a Memory,
        owner: DomId,
        reference: GrantRef,
        caller: DomId,
        used: Use,
    ) -> Result<Held<'a>, GntStatus> {
        let nested_root = self.nested_root;
        let word = self.word(frames, reference).ok_or(GntStatus::BAD_GNTREF)?;
        let active = self.active_mut(reference).ok_or(GntStatus::BAD_GNTREF)?;
        let before = active.pins;
        if !before.is_empty() && active.grantee != caller {
            return Err(GntStatus::GENERAL_ERROR);
        }
        let after = before.with(used).ok_or(GntStatus::GENERAL_ERROR)?;
        let mut frame = active.frame;
        if before.is_empty() || (used.write && !before.any_write()) {
            let named = entry::mark(word, caller, used.write)?;
            if before.is_empty() {
                let translated = match nested_root {
                    None => Some(named),
                    Some(root) => p2m::lookup(frames, root, Pfn(named.0))
                        .filter(|mapped| mapped.kind.is_ram())
                        .map(|mapped| mapped.mfn),
                };
                let Some(translated) = translated else {
                    entry::unmark(word, true, !before.any_write());
                    return Err(GntStatus::BAD_PAGE);
                };
                frame = translated;
            }
        }
        // The page is taken before the pin shows (XSA-235, 236).
        match Held::get(mem, frame, owner, used.write) {
            Ok(held) => {
                *active = Active {
                    pins: after,
                    grantee: caller,
                    frame,
                };
                Ok(held)
            }
            Err(status) => {
                entry::unmark(word, before.is_empty(), !before.any_write());
                Err(status)
            }
        }
    }

    /// Ends a use. The marks on the entry go with the last use of their kind.
    pub fn end(&mut self, frames: &impl Frames, reference: GrantRef, used: Use) {
        let word = self.word(frames, reference);
        let Some(active) = self.active_mut(reference) else {
            return;
        };
        let Some(after) = active.pins.without(used) else {
            log::error!("grant: use of {reference:?} ended twice");
            debug_assert!(false, "use of {reference:?} ended twice");
            return;
        };
        active.pins = after;
        if let Some(word) = word {
            entry::unmark(word, after.is_empty(), !after.any_write());
        }
    }
}
