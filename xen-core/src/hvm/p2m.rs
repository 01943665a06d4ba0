//! The physical-to-machine map of a guest whose frames the hypervisor translates: the nested tables themselves.
//!
//! Readers take no lock: an entry is one word. A frame that is taken out stays safe to use, for a processor that has read
//! the entry, until that processor looks up: a frame is not given to somebody else before every processor has dropped its
//! translations (`mm::TlbClock`), and one that copies has interrupts off. So copies need no reference of their own;
//! whoever keeps a frame number for longer takes one.

use alloc::vec;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU64, Ordering};

use hypercall_abi::errno::Errno;

use super::nested;
use crate::machine::{Cpus, Frames};
use crate::mm::Memory;
use crate::num::{Mfn, Pfn};
use crate::sync::{Rank, RankedMutex};

/// Levels of nested tables.
const LEVELS: u32 = 4;
/// Index bits of a level.
const INDEX_BITS: u32 = 9;
/// First guest frame number that the tables cannot express.
pub const END_GFN: u64 = 1 << (LEVELS * INDEX_BITS);

/// What a guest frame is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum P2mKind {
    /// Nothing: accesses are somebody's to emulate.
    Hole = 0,
    /// Memory of the guest.
    Ram = 1,
    /// Memory that the guest can read; writes are dropped.
    RamReadOnly = 2,
    /// Memory whose writes go to an I/O request server.
    IoreqServer = 3,
    /// A page of the hypervisor's that belongs to the guest: shared_info, grant table.
    Special = 4,
    /// A page of another domain, mapped by its grant.
    Grant = 5,
    /// The same, for reading.
    GrantReadOnly = 6,
    /// A page of another domain, mapped by privilege.
    Foreign = 7,
}

impl P2mKind {
    pub(super) const fn from_bits(bits: u8) -> Self {
        match bits {
            1 => Self::Ram,
            2 => Self::RamReadOnly,
            3 => Self::IoreqServer,
            4 => Self::Special,
            5 => Self::Grant,
            6 => Self::GrantReadOnly,
            7 => Self::Foreign,
            _ => Self::Hole,
        }
    }

    /// Whether the guest may write.
    #[must_use]
    pub const fn is_writable(self) -> bool {
        matches!(
            self,
            Self::Ram | Self::Special | Self::Grant | Self::Foreign
        )
    }

    /// Whether it is the guest's own memory.
    #[must_use]
    pub const fn is_ram(self) -> bool {
        matches!(self, Self::Ram | Self::RamReadOnly | Self::IoreqServer)
    }
}

/// What a guest frame number leads to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Mapped {
    /// The frame.
    pub mfn: Mfn,
    /// What it is.
    pub kind: P2mKind,
}

/// The map.
#[derive(Debug)]
pub struct P2m {
    root: Mfn,
    tables: RankedMutex<Vec<Mfn>>,
    /// One past the highest guest frame number that ever was mapped.
    end: AtomicU64,
    /// Tables that it may have.
    limit: AtomicU64,
}

/// Finds what `gfn` leads to in the tables under `root`.
#[must_use]
pub fn lookup(frames: &impl Frames, root: Mfn, gfn: Pfn) -> Option<Mapped> {
    if gfn.0 >= END_GFN {
        return None;
    }
    let mut table = root;
    let mut level = LEVELS;
    loop {
        let entry = frames.words(table)[index(gfn, level)].load(Ordering::Acquire);
        match nested::next_table(entry, level) {
            Some(next) => {
                table = next;
                level -= 1;
            }
            None => {
                let (first, kind) = nested::mapped(entry)?;
                let within = gfn.0 & (span(level) - 1);
                return Some(Mapped {
                    mfn: first.offset(within),
                    kind,
                });
            }
        }
    }
}

const fn span(level: u32) -> u64 {
    1 << ((level - 1) * INDEX_BITS)
}

const fn index(gfn: Pfn, level: u32) -> usize {
    (gfn.0 >> ((level - 1) * INDEX_BITS) & ((1 << INDEX_BITS) - 1)) as usize
}

impl P2m {
    /// An empty map. `None` without memory.
    #[must_use]
    pub fn new<M: Frames + Cpus>(mem: &Memory, machine: &M, limit: u64) -> Option<Self> {
        let root = mem.allocate_private(machine)?;
        Some(Self {
            root,
            tables: RankedMutex::new(Rank::PageTable, vec![root]),
            end: AtomicU64::new(0),
            limit: AtomicU64::new(limit),
        })
    }

    /// Root of the nested tables.
    #[must_use]
    pub const fn root(&self) -> Mfn {
        self.root
    }

    /// How many tables it may have.
    #[must_use]
    pub fn limit(&self) -> u64 {
        self.limit.load(Ordering::Relaxed)
    }

    /// Sets how many tables it may have; those that there are stay.
    pub fn set_limit(&self, tables: u64) {
        self.limit.store(tables, Ordering::Relaxed);
    }

    /// The highest guest frame number that was mapped.
    #[must_use]
    pub fn highest(&self) -> u64 {
        self.end.load(Ordering::Relaxed).saturating_sub(1)
    }

    /// What `gfn` leads to.
    #[must_use]
    pub fn get(&self, frames: &impl Frames, gfn: Pfn) -> Option<Mapped> {
        lookup(frames, self.root, gfn)
    }

    /// Maps `1 << order` frames from `mfn` on at `gfn`, in as large pages as `order` allows, over nothing: `EEXIST` if
    /// there is anything in the way.
    ///
    /// # Errors
    /// `EINVAL` for numbers beyond the tables, `ENOMEM`, `EEXIST`; nothing is mapped then.
    pub fn map<M: Frames + Cpus>(
        &self,
        mem: &Memory,
        machine: &M,
        gfn: Pfn,
        mfn: Mfn,
        order: u32,
        kind: P2mKind,
    ) -> Result<(), Errno> {
        let mut tables = self.tables.lock();
        let count = 1u64 << order;
        if gfn.0.checked_add(count).is_none_or(|end| end > END_GFN) {
            return Err(Errno::EINVAL);
        }
        let step = page_order(gfn, mfn, order);
        let mut done = 0;
        while done < count {
            let at = Pfn(gfn.0 + done);
            if let Err(errno) = self.put(
                &mut tables,
                mem,
                machine,
                at,
                step,
                nested_value(mfn.offset(done), step, kind),
                false,
            ) {
                for undone in (0..done).step_by(1 << step) {
                    let _ = self.put(
                        &mut tables,
                        mem,
                        machine,
                        Pfn(gfn.0 + undone),
                        step,
                        0,
                        true,
                    );
                }
                return Err(errno);
            }
            done += 1 << step;
        }
        self.end.fetch_max(gfn.0 + count, Ordering::Relaxed);
        Ok(())
    }

    /// Replaces what `gfn` leads to by one frame, or by nothing. Returns what was there: the caller has translations
    /// dropped, and gives back what the map held.
    ///
    /// # Errors
    /// `EINVAL`, `ENOMEM`; nothing has changed then.
    pub fn replace<M: Frames + Cpus>(
        &self,
        mem: &Memory,
        machine: &M,
        gfn: Pfn,
        new: Option<Mapped>,
    ) -> Result<Option<Mapped>, Errno> {
        let mut tables = self.tables.lock();
        if gfn.0 >= END_GFN {
            return Err(Errno::EINVAL);
        }
        let old = lookup(machine, self.root, gfn);
        if old.is_none() && new.is_none() {
            return Ok(None);
        }
        let value = new.map_or(0, |new| nested::leaf(new.mfn, 1, new.kind));
        self.put(&mut tables, mem, machine, gfn, 0, value, true)?;
        if new.is_some() {
            self.end.fetch_max(gfn.0 + 1, Ordering::Relaxed);
        }
        Ok(old)
    }

    /// Changes what `gfn` is from one kind to another, if it is that.
    ///
    /// # Errors
    /// `EBUSY` if it is something else, `ENOMEM`.
    pub fn change_kind<M: Frames + Cpus>(
        &self,
        mem: &Memory,
        machine: &M,
        gfn: Pfn,
        from: P2mKind,
        to: P2mKind,
    ) -> Result<(), Errno> {
        let mut tables = self.tables.lock();
        let old = lookup(machine, self.root, gfn).filter(|old| old.kind == from);
        let old = old.ok_or(Errno::EBUSY)?;
        let value = nested::leaf(old.mfn, 1, to);
        self.put(&mut tables, mem, machine, gfn, 0, value, true)
    }

    /// Writes an entry of the level for pages of `order`, making and splitting tables on the way.
    #[expect(clippy::too_many_arguments, reason = "one place writes entries")]
    fn put<M: Frames + Cpus>(
        &self,
        tables: &mut Vec<Mfn>,
        mem: &Memory,
        machine: &M,
        gfn: Pfn,
        order: u32,
        value: u64,
        over: bool,
    ) -> Result<(), Errno> {
        let wanted = order / INDEX_BITS + 1;
        let mut table = self.root;
        let mut level = LEVELS;
        while level > wanted {
            let slot = &machine.words(table)[index(gfn, level)];
            let entry = slot.load(Ordering::Acquire);
            table = match nested::next_table(entry, level) {
                Some(next) => next,
                None => {
                    if tables.len() as u64 >= self.limit() {
                        return Err(Errno::ENOMEM);
                    }
                    tables.try_reserve(1).map_err(|_| Errno::ENOMEM)?;
                    let next = mem.allocate_private(machine).ok_or(Errno::ENOMEM)?;
                    if let Some((first, kind)) = nested::mapped(entry) {
                        for (i, word) in machine.words(next).iter().enumerate() {
                            let mfn = first.offset(i as u64 * span(level - 1));
                            word.store(nested::leaf(mfn, level - 1, kind), Ordering::Relaxed);
                        }
                    }
                    tables.push(next);
                    slot.store(nested::table(next), Ordering::Release);
                    next
                }
            };
            level -= 1;
        }
        let slot = &machine.words(table)[index(gfn, level)];
        let entry = slot.load(Ordering::Acquire);
        let occupied =
            nested::mapped(entry).is_some() || nested::next_table(entry, level).is_some();
        if occupied && !over {
            return Err(Errno::EEXIST);
        }
        slot.store(value, Ordering::Release);
        Ok(())
    }

    /// Gives the tables back. Nothing runs on them any more.
    pub fn free(&self, mem: &Memory) {
        let mut tables = self.tables.lock();
        for table in tables.drain(..) {
            mem.free_private(table);
        }
    }

    /// Number of tables.
    #[must_use]
    pub fn table_count(&self) -> u64 {
        self.tables.lock().len() as u64
    }
}

/// The order of pages with which an extent can be mapped.
fn page_order(gfn: Pfn, mfn: Mfn, order: u32) -> u32 {
    let aligned = (gfn.0 | mfn.0).trailing_zeros().min(order);
    if aligned >= 2 * INDEX_BITS {
        2 * INDEX_BITS
    } else if aligned >= INDEX_BITS {
        INDEX_BITS
    } else {
        0
    }
}

fn nested_value(mfn: Mfn, order: u32, kind: P2mKind) -> u64 {
    nested::leaf(mfn, order / INDEX_BITS + 1, kind)
}
