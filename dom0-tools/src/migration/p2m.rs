//! A running guest's table from its frames to the machine's, and back.
//!
//! Contract: `arch_shared_info` of public/arch-x86/xen.h: a list at a virtual address (`p2m_vaddr` under `p2m_cr3`), or the older
//! tree of frames (`pfn_to_mfn_frame_list_list`).

use std::mem::offset_of;

use hypercall_abi::arch_x86::ArchSharedInfo;
use hypercall_abi::arch_x86::xen_x86_64::cr3_to_pfn;
use hypercall_abi::xen::{DomId, SharedInfo};

use super::page_table::ENTRIES;
use super::{FRAME_BITS, INVALID, MigrationError, guest_error};
use crate::xen::{GuestMemory, PAGE, Xen};

/// Bits that mark frames which are not the guest's (Linux's identity and foreign frames).
const MARKS: u64 = 3 << 62;

/// A guest's P2M.
#[derive(Debug)]
pub struct P2m {
    /// Machine frame of each guest frame; [`INVALID`] for none.
    pub frames: Vec<u64>,
    /// Guest frames that hold the table in the guest.
    pub holders: Vec<u64>,
    /// Machine frame and guest frame, sorted.
    backward: Vec<(u64, u64)>,
}

impl P2m {
    /// Reads that of `domain` from its shared page; it may number less than `limit` frames.
    pub fn read(
        xen: &dyn Xen,
        domain: DomId,
        shared: &dyn GuestMemory,
        limit: u64,
    ) -> Result<Self, MigrationError> {
        let arch = |field: usize| {
            let mut word = [0; 8];
            shared.read(offset_of!(SharedInfo, arch) + field, &mut word);
            u64::from_le_bytes(word)
        };
        let count = arch(offset_of!(ArchSharedInfo, max_pfn));
        if count == 0 || count > limit {
            return guest_error(format!(
                "it says that it has {count} frames (at most {limit} are possible): it has not started yet, or is no guest that \
                 can be saved"
            ));
        }
        let holders = count.div_ceil(ENTRIES as u64);
        let reader = Reader { xen, domain };
        let cr3 = arch(offset_of!(ArchSharedInfo, p2m_cr3));
        let machine_holders = if cr3 == 0 {
            let root = arch(offset_of!(ArchSharedInfo, pfn_to_mfn_frame_list_list));
            reader.tree(root, holders)?
        } else {
            let start = arch(offset_of!(ArchSharedInfo, p2m_vaddr));
            reader.list(cr3_to_pfn(cr3), start, holders)?
        };
        let mut frames = Vec::with_capacity(usize::try_from(count).unwrap_or(0));
        for chunk in machine_holders.chunks(super::BATCH) {
            let memory = xen.map_frames(domain, chunk, false)?;
            for index in 0..chunk.len() {
                frames.extend(words(&*memory, index).map(|frame| {
                    // Whatever is marked belongs to somebody else.
                    if frame & MARKS == 0 { frame } else { INVALID }
                }));
            }
        }
        frames.truncate(usize::try_from(count).unwrap_or(usize::MAX));
        let mut backward: Vec<(u64, u64)> = frames
            .iter()
            .zip(0..)
            .filter(|(frame, _)| **frame != INVALID)
            .map(|(frame, pfn)| (*frame, pfn))
            .collect();
        backward.sort_unstable();
        let mut p2m = Self {
            frames,
            holders: Vec::new(),
            backward,
        };
        p2m.holders = machine_holders
            .iter()
            .map(|frame| p2m.guest_frame(*frame, "the table of its frames"))
            .collect::<Result<_, _>>()?;
        Ok(p2m)
    }

    /// The guest frame of the machine frame `frame`, which is in use as `what`.
    pub fn guest_frame(&self, frame: u64, what: &str) -> Result<u64, MigrationError> {
        let at = self.backward.partition_point(|(other, _)| *other < frame);
        match self.backward.get(at) {
            Some((other, pfn)) if *other == frame => Ok(*pfn),
            _ => guest_error(format!(
                "machine frame {frame:#x}, which it has in {what}, is not in its own list of frames"
            )),
        }
    }
}

/// The numbers in page `index` of `memory`.
fn words(memory: &dyn GuestMemory, index: usize) -> impl Iterator<Item = u64> + use<> {
    let mut page = vec![0; PAGE as usize];
    memory.read(index * PAGE as usize, &mut page);
    let (words, _) = page.as_chunks();
    words
        .iter()
        .map(|word| u64::from_le_bytes(*word))
        .collect::<Vec<_>>()
        .into_iter()
}

struct Reader<'a> {
    xen: &'a dyn Xen,
    domain: DomId,
}

impl Reader<'_> {
    fn page(&self, frame: u64) -> Result<Vec<u64>, MigrationError> {
        let memory = self.xen.map_frames(self.domain, &[frame], false)?;
        Ok(words(&*memory, 0).collect())
    }

    /// The first `count` frames of leaves of the tree under `root`.
    fn tree(&self, root: u64, count: u64) -> Result<Vec<u64>, MigrationError> {
        let mut leaves = Vec::new();
        for middle in self.page(root)? {
            if leaves.len() as u64 >= count {
                break;
            }
            leaves.extend(self.page(middle)?);
        }
        leaves.truncate(usize::try_from(count).unwrap_or(usize::MAX));
        if leaves.len() as u64 == count {
            Ok(leaves)
        } else {
            guest_error("its list of frames is too short")
        }
    }

    /// The frames of `count` pages from the virtual address `start` under the level-4 table `root`.
    fn list(&self, root: u64, start: u64, count: u64) -> Result<Vec<u64>, MigrationError> {
        // The last table of each level: neighbours are in the same.
        let mut tables: [(u64, Vec<u64>); 4] = std::array::from_fn(|_| (INVALID, Vec::new()));
        let mut leaves = Vec::new();
        for page in 0..count {
            let address = start.wrapping_add(page * PAGE);
            let mut frame = root;
            for (table, shift) in tables.iter_mut().zip([39, 30, 21, 12]) {
                if table.0 != frame {
                    *table = (frame, self.page(frame)?);
                }
                let index = (address >> shift) as usize % ENTRIES;
                let entry = table.1.get(index).copied().unwrap_or(0);
                if entry & 1 == 0 {
                    return guest_error(format!(
                        "its list of frames is not mapped at {address:#x}"
                    ));
                }
                frame = (entry & FRAME_BITS) >> 12;
            }
            leaves.push(frame);
        }
        Ok(leaves)
    }
}
