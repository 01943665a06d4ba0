//! The FIFO format: event words in pages that the guest gives, linked to queues by priority and vCPU.
//!
//! Contract: public header event_channel.h and the design "Xen FIFO-based Event Channels". Everything but the tails
//! is writable by the guest: a LINK field is written and never followed, so nothing here walks a queue.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

use hypercall_abi::errno::Errno;
use hypercall_abi::event_channel::{FIFO_MAX_QUEUES, FIFO_NR_CHANNELS};

use super::Raised;
use super::event_word::{HalfWord, LINKED, MASKED, PENDING};
use super::port::{FifoPort, LastQueue};
use super::table::VcpuEvents;
use crate::machine::Frames;
use crate::num::{Mfn, Port, VcpuId, WORDS_PER_PAGE};
use crate::sync::{Rank, RankedGuard, RankedMutex};

/// Event words in a page.
pub const WORDS_PER_ARRAY_PAGE: u32 = 1024;
/// The most pages of event words.
const MAX_PAGES: usize = (FIFO_NR_CHANNELS / WORDS_PER_ARRAY_PAGE) as usize;
/// "No frame" and "no control block".
const NOWHERE: u64 = u64::MAX;

/// State of the format for a domain. Frames named here hold a writable reference.
#[derive(Debug)]
pub struct Fifo {
    active: AtomicBool,
    /// Which use of the format this is.
    era: AtomicU32,
    array: Box<[AtomicU64]>,
    /// Pages of the array that exist. Changed under the table's lock.
    pages: AtomicU32,
}

/// State of the format for a vCPU.
#[derive(Debug)]
pub struct VcpuQueues {
    /// Frame and word of the control block.
    control: AtomicU64,
    /// By priority: the port linked last; 0 = none.
    tails: [RankedMutex<u32>; FIFO_MAX_QUEUES],
}

/// A vCPU's `struct evtchn_fifo_control_block`.
#[derive(Clone, Copy, Debug)]
pub struct ControlBlock {
    /// Its frame.
    pub mfn: Mfn,
    /// Its first word.
    pub first_word: usize,
}

impl ControlBlock {
    const fn pack(self) -> u64 {
        (self.mfn.0 << 9) | (self.first_word as u64 & 511)
    }

    const fn unpack(packed: u64) -> Option<Self> {
        if packed == NOWHERE {
            return None;
        }
        Some(Self {
            mfn: Mfn(packed >> 9),
            first_word: (packed & 511) as usize,
        })
    }

    /// The 32-bit word at `index`: 0 is `ready`, 2 and up are the heads.
    fn word(self, frames: &impl Frames, index: usize) -> HalfWord<'_> {
        let at = (self.first_word + index / 2) % WORDS_PER_PAGE;
        HalfWord::new(&frames.words(self.mfn)[at], index)
    }

    fn ready(self, frames: &impl Frames) -> HalfWord<'_> {
        self.word(frames, 0)
    }

    fn head(self, frames: &impl Frames, priority: u32) -> HalfWord<'_> {
        self.word(frames, 2 + priority as usize)
    }
}

impl VcpuQueues {
    /// No control block, empty queues.
    #[must_use]
    pub fn new() -> Self {
        Self {
            control: AtomicU64::new(NOWHERE),
            tails: core::array::from_fn(|_| RankedMutex::new(Rank::EventQueue, 0)),
        }
    }

    /// Where the control block is.
    #[must_use]
    pub fn control(&self) -> Option<ControlBlock> {
        ControlBlock::unpack(self.control.load(Ordering::Acquire))
    }

    /// Registers the control block.
    ///
    /// # Errors
    /// `EINVAL` if there is one.
    pub fn set_control(&self, block: ControlBlock) -> Result<(), Errno> {
        self.control
            .compare_exchange(NOWHERE, block.pack(), Ordering::AcqRel, Ordering::Relaxed)
            .map(|_| ())
            .map_err(|_| Errno::EINVAL)
    }

    /// Forgets everything; returns the control block's frame, whose reference goes to the caller.
    fn reset(&self) -> Option<Mfn> {
        for tail in &self.tails {
            *tail.lock() = 0;
        }
        ControlBlock::unpack(self.control.swap(NOWHERE, Ordering::AcqRel)).map(|block| block.mfn)
    }
}

impl Default for VcpuQueues {
    fn default() -> Self {
        Self::new()
    }
}

/// One or two locked queues.
enum Tails<'a> {
    Same(RankedGuard<'a, u32>),
    Moved {
        new: RankedGuard<'a, u32>,
        old: RankedGuard<'a, u32>,
    },
}

impl Tails<'_> {
    fn new_mut(&mut self) -> &mut u32 {
        match self {
            Self::Same(tail) | Self::Moved { new: tail, .. } => tail,
        }
    }

    fn old_mut(&mut self) -> &mut u32 {
        match self {
            Self::Same(tail) | Self::Moved { old: tail, .. } => tail,
        }
    }
}

impl Fifo {
    /// Not in use.
    #[must_use]
    pub fn new() -> Self {
        Self {
            active: AtomicBool::new(false),
            era: AtomicU32::new(0),
            array: (0..MAX_PAGES).map(|_| AtomicU64::new(NOWHERE)).collect(),
            pages: AtomicU32::new(0),
        }
    }

    /// Whether the domain uses this format.
    #[must_use]
    pub fn is_active(&self) -> bool {
        self.active.load(Ordering::SeqCst)
    }

    /// Switches to this format. The table is locked.
    pub fn activate(&self) {
        self.era.fetch_add(1, Ordering::Relaxed);
        self.active.store(true, Ordering::SeqCst);
    }

    /// Switches back. The table is locked and no port is bound, so nobody raises an event. Returns the frames whose
    /// references go to the caller.
    #[must_use]
    pub fn deactivate(&self, vcpus: &[VcpuEvents]) -> Vec<Mfn> {
        self.active.store(false, Ordering::SeqCst);
        let mut frames: Vec<Mfn> = vcpus
            .iter()
            .filter_map(|vcpu| vcpu.queues.reset())
            .collect();
        for page in &self.array {
            let mfn = page.swap(NOWHERE, Ordering::AcqRel);
            if mfn != NOWHERE {
                frames.push(Mfn(mfn));
            }
        }
        self.pages.store(0, Ordering::Relaxed);
        frames
    }

    /// Adds the next page of event words, whose reference stays here; returns the first port that it serves. The table
    /// is locked.
    ///
    /// # Errors
    /// `ENOSPC` if the array has all the pages that it can have.
    pub fn add_page(&self, mfn: Mfn) -> Result<Port, Errno> {
        let pages = self.pages.load(Ordering::Relaxed);
        let place = self.array.get(pages as usize).ok_or(Errno::ENOSPC)?;
        place.store(mfn.0, Ordering::Release);
        self.pages.store(pages + 1, Ordering::Relaxed);
        Ok(Port(pages * WORDS_PER_ARRAY_PAGE))
    }

    /// The frames that the format holds references on.
    #[must_use]
    pub fn frames(&self, vcpus: &[VcpuEvents]) -> Vec<Mfn> {
        let blocks = vcpus.iter().filter_map(|vcpu| vcpu.queues.control());
        let pages = self.array.iter().map(|page| page.load(Ordering::Acquire));
        blocks
            .map(|block| block.mfn)
            .chain(pages.filter(|&mfn| mfn != NOWHERE).map(Mfn))
            .collect()
    }

    /// Whether another page fits.
    #[must_use]
    pub fn has_room(&self) -> bool {
        (self.pages.load(Ordering::Relaxed) as usize) < self.array.len()
    }

    fn word<'f>(&self, frames: &'f impl Frames, port: Port) -> Option<HalfWord<'f>> {
        let page = self
            .array
            .get((port.0 / WORDS_PER_ARRAY_PAGE) as usize)?
            .load(Ordering::Acquire);
        if page == NOWHERE {
            return None;
        }
        let index = (port.0 % WORDS_PER_ARRAY_PAGE) as usize;
        Some(HalfWord::new(&frames.words(Mfn(page))[index / 2], index))
    }

    /// Whether the format is in use and the guest says that `port` is in a queue. The table is locked.
    #[must_use]
    pub fn is_linked(&self, frames: &impl Frames, port: Port) -> bool {
        self.is_active()
            && self
                .word(frames, port)
                .is_some_and(|word| word.load() & LINKED != 0)
    }

    /// Whether `port` is pending. Its slot is locked and the port is bound, as for everything below.
    #[must_use]
    pub fn is_pending(&self, frames: &impl Frames, port: Port, state: &FifoPort) -> bool {
        self.word(frames, port)
            .map_or(state.owed, |word| word.load() & PENDING != 0)
    }

    /// Whether `port` is masked.
    #[must_use]
    pub fn is_masked(&self, frames: &impl Frames, port: Port) -> bool {
        self.word(frames, port)
            .is_none_or(|word| word.load() & MASKED != 0)
    }

    /// Makes `port` not pending. It stays linked: the guest unlinks it and ignores what is not pending.
    pub fn clear_pending(&self, frames: &impl Frames, port: Port, state: &mut FifoPort) {
        state.owed = false;
        if let Some(word) = self.word(frames, port) {
            word.clear(PENDING);
        }
    }

    /// Makes `port` pending and links it behind the others of its priority for vCPU `notify`.
    pub fn raise(
        &self,
        frames: &impl Frames,
        vcpus: &[VcpuEvents],
        port: Port,
        state: &mut FifoPort,
        notify: VcpuId,
    ) -> Raised {
        let Some(word) = self.word(frames, port) else {
            let newly_pending = !state.owed;
            state.owed = true;
            return Raised {
                newly_pending,
                upcall: false,
            };
        };
        let newly_pending = word.set(PENDING) & PENDING == 0;
        let upcall = self.enqueue(frames, vcpus, port, word, state, notify);
        Raised {
            newly_pending,
            upcall,
        }
    }

    /// Clears the mask of `port`; true if the vCPU must be told of what was pending behind it.
    pub fn unmask(
        &self,
        frames: &impl Frames,
        vcpus: &[VcpuEvents],
        port: Port,
        state: &mut FifoPort,
        notify: VcpuId,
    ) -> bool {
        let Some(word) = self.word(frames, port) else {
            return false;
        };
        word.clear(MASKED) & PENDING != 0 && self.enqueue(frames, vcpus, port, word, state, notify)
    }

    /// Links `port` unless it is masked or linked; true if the vCPU must be told.
    fn enqueue(
        &self,
        frames: &impl Frames,
        vcpus: &[VcpuEvents],
        port: Port,
        word: HalfWord<'_>,
        state: &mut FifoPort,
        notify: VcpuId,
    ) -> bool {
        let Some(target) = vcpus.get(notify.0 as usize).map(|vcpu| &vcpu.queues) else {
            return false;
        };
        // Without a control block (XSA-107) the event stays pending; the guest may unmask only once there is one.
        let Some(control) = target.control() else {
            return false;
        };
        if word.load() & (MASKED | LINKED) != 0 {
            return false;
        }
        let queue = LastQueue {
            era: self.era.load(Ordering::Relaxed),
            vcpu: notify,
            priority: state.priority,
        };
        let last = if state.last.era == queue.era {
            state.last
        } else {
            queue
        };
        let Some(mut tails) = lock_tails(vcpus, queue, last) else {
            return false;
        };
        if word.set(LINKED) & LINKED != 0 {
            return false;
        }
        // The guest has taken the port out of its last queue. If it was the last one there, that queue is empty, and
        // nothing may be linked behind the port, which is about to be in another place.
        if *tails.old_mut() == port.0 {
            *tails.old_mut() = 0;
        }
        state.last = queue;
        let tail = tails.new_mut();
        let behind_tail = *tail != 0
            && self
                .word(frames, Port(*tail))
                .is_some_and(|tail_word| tail_word.link_to(port));
        if !behind_tail {
            control.head(frames, state.priority).store(port.0);
        }
        *tail = port.0;
        drop(tails);
        let ready = 1 << state.priority;
        !behind_tail && control.ready(frames).set(ready) & ready == 0
    }
}

impl Default for Fifo {
    fn default() -> Self {
        Self::new()
    }
}

/// Locks the queue that a port goes to and the one that it was in, the lower (vCPU, priority) first.
fn lock_tails(vcpus: &[VcpuEvents], new: LastQueue, old: LastQueue) -> Option<Tails<'_>> {
    let find = |queue: LastQueue| {
        vcpus
            .get(queue.vcpu.0 as usize)?
            .queues
            .tails
            .get(queue.priority as usize)
    };
    let (new_tail, old_tail) = (find(new)?, find(old)?);
    let place = |queue: LastQueue| (queue.vcpu, queue.priority);
    if place(new) == place(old) {
        return Some(Tails::Same(new_tail.lock()));
    }
    if place(new) < place(old) {
        let new = new_tail.lock();
        Some(Tails::Moved {
            new,
            old: old_tail.lock_second(),
        })
    } else {
        let old = old_tail.lock();
        Some(Tails::Moved {
            old,
            new: new_tail.lock_second(),
        })
    }
}
