//! The hypervisor's own page tables (SDM 3A chapter 4): built once at boot, extended for device registers.
//!
//! All sixteen L4 slots of the hypervisor get their L3 table at once, so that an L4 entry copied into a guest's table
//! never goes stale. Global pages are not used: guests' CR3 loads may drop our translations, which costs misses and
//! keeps every flush complete.
// UNSAFETY: writes page tables and loads CR3.

use core::sync::atomic::{AtomicU64, Ordering};

use spin::Mutex;
use x86_64::structures::paging::PageTableFlags as Flags;
use xen_core::boot::modules::PhysRange;

use super::layout::{DIRECT_MAP_BASE, END_SLOT, FIRST_SLOT, M2P_GUEST_BASE};
use crate::metal::cpu::cpuid;

/// Size of the smallest page.
pub const PAGE_SIZE: u64 = 4096;
const PAGE_2M: u64 = 2 << 20;
const PAGE_1G: u64 = 1 << 30;
/// The address in a table entry.
const ADDRESS: u64 = 0x000f_ffff_ffff_f000;
/// Shift of the address bits that index an L4 table; each lower level has nine fewer.
const L4_SHIFT: u32 = 39;

/// What may be done with mapped memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rights {
    /// Code: read and execute.
    Text,
    /// Constants: read.
    ReadOnly,
    /// Data: read and write.
    ReadWrite,
    /// Read, by guests too: the machine-to-physical table only.
    GuestReadOnly,
    /// Device registers: read and write, uncached.
    Device,
}

impl Rights {
    fn flags(self) -> Flags {
        Flags::PRESENT
            | match self {
                Self::Text => Flags::empty(),
                Self::ReadOnly => Flags::NO_EXECUTE,
                Self::ReadWrite => Flags::NO_EXECUTE | Flags::WRITABLE,
                Self::GuestReadOnly => Flags::NO_EXECUTE | Flags::USER_ACCESSIBLE,
                // PAT entry 3: UC.
                Self::Device => {
                    Flags::NO_EXECUTE | Flags::WRITABLE | Flags::NO_CACHE | Flags::WRITE_THROUGH
                }
            }
            | Flags::ACCESSED
            | if matches!(self, Self::ReadWrite | Self::Device) {
                Flags::DIRTY
            } else {
                Flags::empty()
            }
    }
}

/// The page tables under construction and in use.
pub struct Tables {
    root: u64,
    /// Frames not yet handed out.
    pool: PhysRange,
    large_1g: bool,
}

/// The tables that are loaded when no guest is.
static TABLES: Mutex<Option<Tables>> = Mutex::new(None);
/// Address of their L4 table.
static ROOT: AtomicU64 = AtomicU64::new(0);

/// One table, through the direct map.
fn table(addr: u64) -> &'static [AtomicU64; 512] {
    let pointer = (DIRECT_MAP_BASE + addr) as *const [AtomicU64; 512];
    // SAFETY: table frames come from the pool, which the direct map covers for ever and nothing else uses; entries are
    // atomics, so sharing is sound.
    unsafe { &*pointer }
}

impl Tables {
    /// Empty tables out of `pool`, with the L3 tables of all the hypervisor's slots.
    ///
    /// # Safety
    /// The pool must be free memory that the direct map covers for ever, used by nothing else.
    pub unsafe fn new(pool: PhysRange) -> Self {
        let mut tables = Self {
            root: 0,
            pool: pool.pages_within(),
            large_1g: cpuid::has_1g_pages(),
        };
        tables.root = tables.allocate();
        for slot in FIRST_SLOT..END_SLOT {
            let l3 = tables.allocate();
            let flags =
                table_flags(M2P_GUEST_BASE + ((slot - FIRST_SLOT) as u64) * (1 << L4_SHIFT));
            table(tables.root)[slot].store(l3 | flags.bits(), Ordering::Relaxed);
        }
        tables
    }

    /// A zeroed frame of the pool.
    pub fn allocate(&mut self) -> u64 {
        let frame = self.pool.start;
        assert!(
            frame < self.pool.end,
            "the hypervisor's page-table pool is used up"
        );
        self.pool.start += PAGE_SIZE;
        for entry in table(frame) {
            entry.store(0, Ordering::Relaxed);
        }
        frame
    }

    /// Maps `len` bytes of physical memory at `pa` to `va` with the largest pages that fit. All three are multiples of
    /// the page size, and nothing is mapped there yet.
    pub fn map(&mut self, va: u64, pa: u64, len: u64, rights: Rights) {
        let end = va + len;
        let (mut va, mut pa) = (va, pa);
        while va < end {
            let fits = |size: u64| (va | pa) & (size - 1) == 0 && end - va >= size;
            let (size, shift) = match () {
                () if self.large_1g && fits(PAGE_1G) => (PAGE_1G, 30),
                () if fits(PAGE_2M) => (PAGE_2M, 21),
                () => (PAGE_SIZE, 12),
            };
            let large = if shift > 12 {
                Flags::HUGE_PAGE
            } else {
                Flags::empty()
            };
            let entry = self.entry(va, shift);
            assert_eq!(entry.load(Ordering::Relaxed), 0, "two mappings at {va:#x}");
            entry.store(pa | (rights.flags() | large).bits(), Ordering::Relaxed);
            va += size;
            pa += size;
        }
    }

    /// Replaces the 4 KiB mapping of `va` and drops the old translation on this CPU.
    pub fn replace(&mut self, va: u64, mapping: Option<(u64, Rights)>) {
        let value = mapping.map_or(0, |(pa, rights)| small_page(pa, rights));
        self.entry(va, 12).store(value, Ordering::Relaxed);
        x86_64::instructions::tlb::flush(x86_64::VirtAddr::new(va));
    }

    /// The table of the last level for the 2 MiB around `va`, which hold small pages only; missing tables are made.
    pub fn last_level(&mut self, va: u64) -> &'static [AtomicU64; 512] {
        table(self.entry_table(va, 12))
    }

    /// Another L4 table with the hypervisor's slots, that also maps the page at physical address `page` to itself, as
    /// code: for a CPU that is about to switch on paging there. All of it lies below 4 GiB, as the pool does.
    pub fn with_identity(&mut self, page: u64) -> u64 {
        let root = self.allocate();
        for slot in FIRST_SLOT..END_SLOT {
            let entry = table(self.root)[slot].load(Ordering::Relaxed);
            table(root)[slot].store(entry, Ordering::Relaxed);
        }
        let mut at = root;
        for shift in [L4_SHIFT, 30, 21] {
            let next = self.allocate();
            let flags = Flags::PRESENT | Flags::WRITABLE | Flags::ACCESSED;
            table(at)[(page >> shift) as usize & 511].store(next | flags.bits(), Ordering::Relaxed);
            at = next;
        }
        table(at)[(page >> 12) as usize & 511]
            .store(small_page(page, Rights::Text), Ordering::Relaxed);
        root
    }

    /// The entry that maps `va` with a page of 2 to the power of `shift` bytes; missing tables are made.
    fn entry(&mut self, va: u64, shift: u32) -> &'static AtomicU64 {
        &table(self.entry_table(va, shift))[(va >> shift) as usize & 511]
    }

    /// Address of the table that this entry lies in; missing tables are made.
    fn entry_table(&mut self, va: u64, shift: u32) -> u64 {
        let mut at = self.root;
        let mut level_shift = L4_SHIFT;
        while level_shift != shift {
            let entry = &table(at)[(va >> level_shift) as usize & 511];
            let mut value = entry.load(Ordering::Relaxed);
            if value == 0 {
                value = self.allocate() | table_flags(va).bits();
                entry.store(value, Ordering::Relaxed);
            }
            assert!(
                value & Flags::HUGE_PAGE.bits() == 0,
                "{va:#x} lies in a large page"
            );
            at = value & ADDRESS;
            level_shift -= 9;
        }
        at
    }
}

/// The entry that maps the 4 KiB at physical address `pa`.
pub fn small_page(pa: u64, rights: Rights) -> u64 {
    pa | rights.flags().bits()
}

/// Flags of entries that point to tables. Only the guests' view of the M2P is open to ring 3.
fn table_flags(va: u64) -> Flags {
    let flags = Flags::PRESENT | Flags::WRITABLE | Flags::ACCESSED;
    if va >> L4_SHIFT == M2P_GUEST_BASE >> L4_SHIFT {
        flags | Flags::USER_ACCESSIBLE
    } else {
        flags
    }
}

/// Loads `tables` and keeps them as the hypervisor's own.
///
/// # Safety
/// They must map the running code, the stack and everything else that is in use, as it is mapped now.
pub unsafe fn adopt(tables: Tables) {
    let root = tables.root;
    *TABLES.lock() = Some(tables);
    ROOT.store(root, Ordering::Relaxed);
    // SAFETY: the caller vouches for the tables.
    unsafe { load_root(root) };
}

/// Loads CR3.
///
/// # Safety
/// `root` must be an L4 table with the hypervisor's slots.
pub unsafe fn load_root(root: u64) {
    // SAFETY: the hypervisor's slots stay as they are; the caller vouches for the table.
    unsafe {
        core::arch::asm!("mov {}, %cr3", in(reg) root, options(att_syntax, nostack, preserves_flags))
    };
}

/// Address of the hypervisor's own L4 table.
pub fn own_root() -> u64 {
    ROOT.load(Ordering::Relaxed)
}

/// The L4 entries of the hypervisor's slots, for guests' tables.
pub fn hypervisor_slots() -> [u64; END_SLOT - FIRST_SLOT] {
    let root = table(own_root());
    core::array::from_fn(|index| root[FIRST_SLOT + index].load(Ordering::Relaxed))
}

/// Changes the hypervisor's own tables.
pub fn with_tables<R>(change: impl FnOnce(&mut Tables) -> R) -> R {
    let mut guard = TABLES.lock();
    let Some(tables) = guard.as_mut() else {
        panic!("page tables are used before they exist")
    };
    change(tables)
}
