//! The layout of dom0's first memory, and of a guest's: what lies where in the initial mapping and in PFN space.
//!
//! Contract: public/xen.h, "Start-of-day memory layout": the initial mapping starts at VIRT_BASE
//! with PFN 0 and holds, page aligned and in this order, the kernel image, the initrd (unless
//! MOD_START_PFN), the P2M (unless INIT_P2M), `start_info`, the bootstrap page tables and one
//! page of stack, with at least 512 KiB after it and an end aligned to 4 MiB.
//!
//! Beyond the mapping come the initrd and then the P2M's frames with their tables as one
//! contiguous run: Linux reserves exactly that run, and maps all of it read-only later.

use core::ops::Range;

use hypercall_abi::arch_x86::xen_x86_64::{
    FLAT_KERNEL_CS64, FLAT_KERNEL_SS64, HYPERVISOR_VIRT_END,
};

use super::KernelError;
use super::elf::Kernel;
use super::notes::{PaeMode, canonical};
use crate::num::{PAGE_SIZE as PAGE, Pfn};

/// Bytes of a P2M entry.
const P2M_ENTRY: u64 = 8;
/// Alignment of the mapping's end.
const END_ALIGN: u64 = 4 << 20;
/// Least padding after the stack.
const MIN_PADDING: u64 = 512 << 10;
/// Start of the non-canonical hole.
const LOWER_HALF_END: u64 = 1 << 47;
/// What one L1, L2 and L3 table covers, log2.
const TABLE_SHIFTS: [u32; 3] = [21, 30, 39];

/// What dom0 is given beside its kernel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Demand {
    /// Its whole memory, in pages: the length of the P2M.
    pub nr_pages: u64,
    /// Bytes of the initrd; 0 for none.
    pub initrd_len: u64,
    /// Pages between `start_info` and the page tables: the store's and the console's ring of a guest.
    pub rings: u64,
    /// The order of the page tables in PFN space.
    pub table_order: TableOrder,
}

/// In which order page tables follow each other in PFN space. Linux knows these two.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TableOrder {
    /// As a walk along the addresses needs them, L1 first: Xen's own builder.
    #[default]
    Walk,
    /// L3, L2, L1: libxenguest.
    TopDown,
}

/// Where the initrd goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Initrd {
    /// Its first page.
    pub pfn: Pfn,
    /// Its pages.
    pub pages: u64,
    /// Its exact length in bytes.
    pub len: u64,
    /// Its virtual address, if it is in the initial mapping.
    pub va: Option<u64>,
}

/// Where the P2M list goes: `nr_pages` entries of eight bytes, entry i the MFN of PFN i.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct P2m {
    /// Its virtual address.
    pub va: u64,
    /// Its first page; the list is contiguous in PFN space.
    pub pfn: Pfn,
    /// Its pages. The last is writable to its end: Linux pads the list.
    pub frames: u64,
    /// Page tables of its own, in the PFNs after it; 0 when it is in the initial mapping.
    pub table_frames: u64,
    /// Whether it is part of the initial mapping.
    pub in_mapping: bool,
}

impl P2m {
    /// The virtual addresses of its pages.
    #[must_use]
    pub fn range(&self) -> Range<u64> {
        self.va..self.va.wrapping_add(self.frames.wrapping_mul(PAGE))
    }
}

/// The plan of dom0's first memory. All addresses are virtual and page aligned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Start of the initial mapping: address of PFN 0.
    pub v_start: u64,
    /// End of the initial mapping.
    pub v_end: u64,
    /// From the first to the last byte of the kernel image; not aligned.
    pub image: Range<u64>,
    /// The initrd, if there is one.
    pub initrd: Option<Initrd>,
    /// The P2M list.
    pub p2m: P2m,
    /// The page of `start_info` and the console description behind it. A guest's rings are in the pages after it.
    pub start_info: u64,
    /// The order of the page tables.
    pub table_order: TableOrder,
    /// The bootstrap page tables; the first is the L4.
    pub pt_base: u64,
    /// How many bootstrap page tables there are.
    pub nr_pt_frames: u64,
    /// End of the stack's page: the initial RSP.
    pub stack_end: u64,
    /// Initial RIP.
    pub entry: u64,
    /// The page to fill with the hypercall page, if the kernel has one.
    pub hypercall_page: Option<Pfn>,
    /// PAE_MODE, for `start_info.magic` and the VM assist.
    pub pae: PaeMode,
    /// dom0's whole memory in pages.
    pub nr_pages: u64,
    /// The least `nr_pages` that this layout fits.
    pub pages_needed: u64,
}

/// What the first vCPU starts with; registers not named are 0 (also DS, ES, FS, GS and bases).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EntryState {
    /// Instruction pointer: ENTRY.
    pub rip: u64,
    /// Stack pointer: end of the stack's page.
    pub rsp: u64,
    /// Address of `start_info`.
    pub rsi: u64,
    /// IF set, IOPL 0.
    pub rflags: u64,
    /// `FLAT_KERNEL_CS`.
    pub cs: u16,
    /// `FLAT_KERNEL_SS`.
    pub ss: u16,
    /// The L4.
    pub l4: Pfn,
}

impl Plan {
    /// Plans the memory of `kernel`.
    ///
    /// # Errors
    /// The kernel's addresses collide with each other or with the hypervisor, or the memory is
    /// too small.
    pub fn new(kernel: &Kernel<'_>, demand: Demand) -> Result<Self, KernelError> {
        let notes = &kernel.notes;
        let placement = &kernel.placement;
        let v_start = placement.virt_base;
        let Demand {
            nr_pages,
            initrd_len,
            rings,
            table_order,
        } = demand;

        // The parts of the mapping whose size is known.
        let image_end = page_up(placement.image.end)?;
        let initrd_va = (initrd_len > 0 && !notes.mod_start_pfn).then_some(image_end);
        let initrd_pages = initrd_len.div_ceil(PAGE);
        let after_initrd = match initrd_va {
            Some(va) => add(va, bytes_of(initrd_pages)?)?,
            None => image_end,
        };
        let p2m_frames = nr_pages
            .checked_mul(P2M_ENTRY)
            .ok_or(WRAPS)?
            .div_ceil(PAGE)
            .max(1);
        let start_info = match notes.init_p2m {
            Some(_) => after_initrd,
            None => add(after_initrd, bytes_of(p2m_frames)?)?,
        };
        let pt_base = add(start_info, bytes_of(1 + rings)?)?;
        let Tail {
            nr_pt_frames,
            stack_end,
            v_end,
        } = tail(v_start, pt_base)?;
        check_range(&(v_start..v_end), "initial mapping")?;

        // Beyond the mapping: the initrd, then the P2M.
        let pfn_of = |va: u64| Pfn::new(va.wrapping_sub(v_start) / PAGE);
        let mut next = pfn_of(v_end).get();
        let initrd = (initrd_len > 0).then(|| Initrd {
            pfn: initrd_va.map_or(Pfn::new(next), pfn_of),
            pages: initrd_pages,
            len: initrd_len,
            va: initrd_va,
        });
        if initrd.is_some_and(|initrd| initrd.va.is_none()) {
            next = add(next, initrd_pages)?;
        }
        let p2m = match notes.init_p2m {
            None => P2m {
                va: after_initrd,
                pfn: pfn_of(after_initrd),
                frames: p2m_frames,
                table_frames: 0,
                in_mapping: true,
            },
            Some(va) => {
                let end = add(va, bytes_of(p2m_frames)?)?;
                let table_frames = p2m_tables(&(v_start..v_end), &(va..end))?;
                let pfn = Pfn::new(next);
                next = add(add(next, p2m_frames)?, table_frames)?;
                P2m {
                    va,
                    pfn,
                    frames: p2m_frames,
                    table_frames,
                    in_mapping: false,
                }
            }
        };
        if next > nr_pages {
            return Err(KernelError::TooLittleMemory {
                needed: next,
                given: nr_pages,
            });
        }

        let hypercall_page = notes
            .hypercall_page
            .map(|va| {
                if !va.is_multiple_of(PAGE) {
                    return Err(KernelError::BadAddress("HYPERCALL_PAGE"));
                }
                if !(v_start..image_end).contains(&va) {
                    return Err(KernelError::OutOfImage("HYPERCALL_PAGE"));
                }
                Ok(pfn_of(va))
            })
            .transpose()?;

        Ok(Self {
            v_start,
            v_end,
            image: placement.image.clone(),
            initrd,
            p2m,
            start_info,
            table_order,
            pt_base,
            nr_pt_frames,
            stack_end,
            entry: placement.entry,
            hypercall_page,
            pae: notes.pae,
            nr_pages,
            pages_needed: next,
        })
    }

    /// Pages of the initial mapping: PFNs from 0.
    #[must_use]
    pub fn mapped_pages(&self) -> u64 {
        (self.v_end - self.v_start) / PAGE
    }

    /// The PFN behind an address of the initial mapping.
    #[must_use]
    pub fn pfn_of(&self, va: u64) -> Option<Pfn> {
        (self.v_start..self.v_end)
            .contains(&va)
            .then(|| Pfn::new((va - self.v_start) / PAGE))
    }

    /// The PFNs of the bootstrap page tables.
    #[must_use]
    pub fn bootstrap_tables(&self) -> Range<u64> {
        let first = (self.pt_base - self.v_start) / PAGE;
        first..first + self.nr_pt_frames
    }

    /// `start_info.first_p2m_pfn` and `nr_p2m_frames`: the run of PFNs that holds a P2M outside
    /// the initial mapping and its tables; both 0 for one inside.
    #[must_use]
    pub fn p2m_run(&self) -> (u64, u64) {
        if self.p2m.in_mapping {
            (self.pages_needed, 0)
        } else {
            (self.p2m.pfn.get(), self.p2m.frames + self.p2m.table_frames)
        }
    }

    /// The first vCPU's registers.
    #[must_use]
    pub fn entry_state(&self) -> EntryState {
        EntryState {
            rip: self.entry,
            rsp: self.stack_end,
            rsi: self.start_info,
            rflags: 0x202,
            cs: FLAT_KERNEL_CS64,
            ss: FLAT_KERNEL_SS64,
            l4: Pfn::new(self.bootstrap_tables().start),
        }
    }
}

/// The part of the mapping whose size depends on itself.
struct Tail {
    nr_pt_frames: u64,
    stack_end: u64,
    v_end: u64,
}

/// Finds the number of page tables that maps [`v_start`, `v_end`) with themselves inside.
///
/// The count is exact: one table less would not have been enough.
fn tail(v_start: u64, pt_base: u64) -> Result<Tail, KernelError> {
    let mut nr_pt_frames = 2;
    loop {
        let stack_end = add(pt_base, bytes_of(nr_pt_frames + 1)?)?;
        let mut v_end = stack_end.checked_next_multiple_of(END_ALIGN).ok_or(WRAPS)?;
        if v_end - stack_end < MIN_PADDING {
            v_end = add(v_end, END_ALIGN)?;
        }
        let lower: u64 = TABLE_SHIFTS
            .iter()
            .map(|&shift| tables(&(v_start..v_end), shift))
            .sum();
        let needed = 1 + lower;
        if needed <= nr_pt_frames {
            return Ok(Tail {
                nr_pt_frames,
                stack_end,
                v_end,
            });
        }
        nr_pt_frames = needed;
    }
}

/// How many tables of 2^`shift` bytes reach cover `range`.
fn tables(range: &Range<u64>, shift: u32) -> u64 {
    ((range.end - 1) >> shift) - (range.start >> shift) + 1
}

/// How many tables `p2m` needs beside those of `mapping`; the L4 is shared.
fn p2m_tables(mapping: &Range<u64>, p2m: &Range<u64>) -> Result<u64, KernelError> {
    check_range(p2m, "P2M table (note INIT_P2M)")?;
    if p2m.start < mapping.end && mapping.start < p2m.end {
        return Err(KernelError::P2mOverlapsMapping);
    }
    let own = TABLE_SHIFTS.iter().map(|&shift| {
        let first = (p2m.start >> shift).max(mapping.start >> shift);
        let last = ((p2m.end - 1) >> shift).min((mapping.end - 1) >> shift);
        let shared = if first <= last { last - first + 1 } else { 0 };
        tables(p2m, shift) - shared
    });
    Ok(own.sum())
}

/// Whether `range` lies in the guest's part of the address space.
fn check_range(range: &Range<u64>, what: &'static str) -> Result<(), KernelError> {
    let lower = range.end <= LOWER_HALF_END;
    let upper = range.start >= HYPERVISOR_VIRT_END;
    if lower || upper {
        return Ok(());
    }
    if canonical(range.start) && canonical(range.end) || range.start >= LOWER_HALF_END {
        return Err(KernelError::OverlapsHypervisor(what));
    }
    Err(KernelError::BadAddress(what))
}

/// The mapping would run past the end of the address space.
const WRAPS: KernelError = KernelError::BadAddress("initial mapping");

fn add(address: u64, bytes: u64) -> Result<u64, KernelError> {
    address.checked_add(bytes).ok_or(WRAPS)
}

fn bytes_of(pages: u64) -> Result<u64, KernelError> {
    pages.checked_mul(PAGE).ok_or(WRAPS)
}

fn page_up(address: u64) -> Result<u64, KernelError> {
    address.checked_next_multiple_of(PAGE).ok_or(WRAPS)
}

#[cfg(test)]
pub(super) mod tests;
