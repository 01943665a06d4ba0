//! Handles of the grants that a domain has mapped.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::mem;

use hypercall_abi::grant_table::GntStatus;

use crate::domain::Domain;
use crate::num::{GrantHandle, GrantRef};

/// Handles in a frame, as Xen counts them.
const PER_FRAME: u32 = 256;

/// A mapping.
#[derive(Clone, Debug)]
pub struct Mapping {
    /// Who granted. Held, so that a dying domain stays until its last page is unmapped.
    pub granter: Arc<Domain>,
    /// What was granted.
    pub reference: GrantRef,
    /// Mapped into the processor's address space: the page-table entry holds the page.
    pub host: bool,
    /// Mapped for devices: the mapping itself holds the page.
    pub device: bool,
    /// Not writable.
    pub readonly: bool,
    /// The place is given as the machine address of a page-table entry.
    pub contains_pte: bool,
}

#[derive(Debug)]
enum Slot {
    /// Free; the next free one.
    Free(Option<u32>),
    /// Handed out; the mapping is being made.
    Reserved,
    /// In use.
    Mapped(Mapping),
    /// In use; the vCPU that is unmapping parts of it has the mapping (XSA-218: only one can).
    Busy,
}

/// All handles of a domain.
#[derive(Debug)]
pub struct MapTrack {
    limit: u32,
    frames: Vec<Box<[Slot]>>,
    free: Option<u32>,
    in_use: u32,
    /// The domain is being destroyed.
    closed: bool,
    /// Handles below this have been given up.
    given_up: u32,
}

impl MapTrack {
    /// No handles; there will be no more than fit in `max_frames`.
    #[must_use]
    pub const fn new(max_frames: u32) -> Self {
        Self {
            limit: max_frames.saturating_mul(PER_FRAME),
            frames: Vec::new(),
            free: None,
            in_use: 0,
            closed: false,
            given_up: 0,
        }
    }

    /// Handles that are not free.
    #[must_use]
    pub const fn in_use(&self) -> u32 {
        self.in_use
    }

    /// All mappings. What a vCPU is changing this moment is not among them.
    #[must_use]
    pub fn mappings(&self) -> Vec<Mapping> {
        let slots = self.frames.iter().flatten();
        slots
            .filter_map(|slot| match slot {
                Slot::Mapped(mapping) => Some(mapping.clone()),
                _ => None,
            })
            .collect()
    }

    /// The mappings for devices. What a vCPU is changing this moment is not among them.
    #[must_use]
    pub fn device_mappings(&self) -> Vec<Mapping> {
        let slots = self.frames.iter().flatten();
        slots
            .filter_map(|slot| match slot {
                Slot::Mapped(mapping) if mapping.device => Some(mapping.clone()),
                _ => None,
            })
            .collect()
    }

    /// Whether no handle is handed out any more.
    #[must_use]
    pub const fn is_closed(&self) -> bool {
        self.closed
    }

    /// Handles that exist.
    #[must_use]
    pub fn len(&self) -> u32 {
        u32::try_from(self.frames.len())
            .unwrap_or(u32::MAX)
            .saturating_mul(PER_FRAME)
    }

    fn slot(&mut self, handle: GrantHandle) -> Option<&mut Slot> {
        self.frames
            .get_mut((handle.0 / PER_FRAME) as usize)?
            .get_mut((handle.0 % PER_FRAME) as usize)
    }

    fn grow(&mut self) -> Option<u32> {
        let first = self.len();
        if first >= self.limit {
            return None;
        }
        let last = first + PER_FRAME - 1;
        self.frames.push(
            (first..=last)
                .map(|index| Slot::Free((index < last).then_some(index + 1)))
                .collect(),
        );
        Some(first)
    }

    /// Hands out a handle.
    ///
    /// # Errors
    /// `no_space` if all are in use.
    pub fn reserve(&mut self) -> Result<GrantHandle, GntStatus> {
        if self.closed {
            return Err(GntStatus::NO_SPACE);
        }
        let index = match self.free {
            Some(index) => index,
            None => self.grow().ok_or(GntStatus::NO_SPACE)?,
        };
        let handle = GrantHandle(index);
        let slot = self.slot(handle).ok_or(GntStatus::NO_SPACE)?;
        let Slot::Free(next) = *slot else {
            return Err(GntStatus::NO_SPACE);
        };
        *slot = Slot::Reserved;
        self.free = next;
        self.in_use += 1;
        Ok(handle)
    }

    /// Completes the mapping of a handle just handed out.
    pub fn complete(&mut self, handle: GrantHandle, mapping: Mapping) {
        if let Some(slot @ Slot::Reserved) = self.slot(handle) {
            *slot = Slot::Mapped(mapping);
        }
    }

    /// Takes back a handle that was not completed.
    pub fn cancel(&mut self, handle: GrantHandle) {
        if let Some(Slot::Reserved) = self.slot(handle) {
            self.release(handle);
        }
    }

    fn release(&mut self, handle: GrantHandle) {
        let next = self.free;
        if let Some(slot) = self.slot(handle) {
            *slot = Slot::Free(next);
            self.free = Some(handle.0);
            self.in_use = self.in_use.saturating_sub(1);
        }
    }

    /// Takes a mapping to change it: nobody else can until [`MapTrack::give_back`].
    ///
    /// # Errors
    /// `bad_handle` if there is no such mapping, `general_error` if another vCPU is changing it.
    pub fn take(&mut self, handle: GrantHandle) -> Result<Mapping, GntStatus> {
        let slot = self.slot(handle).ok_or(GntStatus::BAD_HANDLE)?;
        match slot {
            Slot::Busy => Err(GntStatus::GENERAL_ERROR),
            Slot::Free(_) | Slot::Reserved => Err(GntStatus::BAD_HANDLE),
            Slot::Mapped(_) => match mem::replace(slot, Slot::Busy) {
                Slot::Mapped(mapping) => Ok(mapping),
                _ => Err(GntStatus::BAD_HANDLE),
            },
        }
    }

    /// Gives a changed mapping back; one that maps nothing any more frees its handle.
    pub fn give_back(&mut self, handle: GrantHandle, mapping: Mapping) {
        let Some(slot @ Slot::Busy) = self.slot(handle) else {
            return;
        };
        if mapping.host || mapping.device {
            *slot = Slot::Mapped(mapping);
        } else {
            self.release(handle);
        }
    }

    /// Hands out no handle any more, and gives up the next of those there are; `None` after the last.
    pub fn give_up_next(&mut self) -> Option<Option<Mapping>> {
        self.closed = true;
        let handle = GrantHandle(self.given_up);
        if handle.0 >= self.len() {
            return None;
        }
        self.given_up += 1;
        let mapping = self.take(handle).ok();
        if mapping.is_some() {
            self.release(handle);
        }
        Some(mapping)
    }
}
