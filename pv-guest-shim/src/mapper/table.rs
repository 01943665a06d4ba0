//! The table itself, and what it needs of the machine.

use hypercall_abi::errno::Errno;
use x86_64::structures::paging::page_table::PageTableFlags as Flags;

/// Bit of an entry: mapped for the kernel only (`_PAGE_GUEST_KERNEL`).
pub(super) const GUEST_KERNEL: u64 = 1 << 52;
/// The frame of an entry.
pub(super) const FRAME: u64 = 0x000f_ffff_ffff_f000;

/// What a [`PvPageTable`] needs of the machine.
pub trait Tables {
    /// The entry at an index of the table in a machine frame.
    fn read(&self, table: u64, index: u64) -> u64;
    /// Asks the hypervisor to set that entry.
    ///
    /// # Errors
    /// What `mmu_update` answers.
    fn write(&mut self, table: u64, index: u64, value: u64) -> Result<(), Errno>;
    /// Makes a machine frame an empty table: zeroed, and without a writable mapping.
    ///
    /// # Errors
    /// If the frame is not the domain's, or cannot be reached.
    fn make_table(&mut self, frame: u64) -> Result<(), Errno>;
    /// Makes the frame of a table that is not in use any more an ordinary page again.
    ///
    /// # Errors
    /// If the frame is still in use as a table.
    fn unmake_table(&mut self, frame: u64) -> Result<(), Errno>;
}

/// A level-4 table of this domain and all below it.
#[derive(Debug)]
pub struct PvPageTable<T> {
    pub(super) root: u64,
    pub(super) tables: T,
    pub(super) refusal: Option<Errno>,
}

impl<T: Tables> PvPageTable<T> {
    /// The table in a machine frame.
    ///
    /// # Safety
    /// The frame must hold a level-4 table of this domain, and nobody else may change the tables meanwhile: mapping through
    /// them can otherwise pull memory from under Rust.
    // UNSAFETY: only the promise that the mapping traits rest on.
    #[expect(unsafe_code, reason = "a promise of the caller")]
    pub const unsafe fn new(root: u64, tables: T) -> Self {
        Self {
            root,
            tables,
            refusal: None,
        }
    }

    /// Machine frame of the level-4 table.
    #[must_use]
    pub const fn root(&self) -> u64 {
        self.root
    }

    /// Why the hypervisor refused the last change that failed; taken.
    pub const fn refusal(&mut self) -> Option<Errno> {
        self.refusal.take()
    }

    pub(super) fn write(&mut self, table: u64, index: u64, value: u64) -> Result<(), Errno> {
        self.tables
            .write(table, index, value)
            .inspect_err(|error| self.refusal = Some(*error))
    }
}

/// The entry for a frame with the flags of the crate.
pub(super) const fn leaf(address: u64, flags: Flags) -> u64 {
    let kernel = if flags.contains(Flags::USER_ACCESSIBLE) {
        0
    } else {
        GUEST_KERNEL
    };
    (address & FRAME) | flags.bits() | kernel
}

/// The flags of an entry as the kernel asked for them.
pub(super) fn flags(entry: u64) -> Flags {
    let all = Flags::from_bits_truncate(entry & !FRAME);
    if entry & GUEST_KERNEL == 0 {
        return all;
    }
    all - Flags::USER_ACCESSIBLE - Flags::from_bits_truncate(GUEST_KERNEL)
}
