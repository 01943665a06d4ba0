//! Which memory becomes the hypervisor's own, and what is left for guests.
//!
//! Frames are either the hypervisor's or guests', decided here once. The hypervisor takes its image, a pool of
//! page-table frames, the heap, the frame table and the machine-to-physical table. Memory below 1 MiB stays out of all
//! allocation: firmware data lives there, and other processors start there.

use arrayvec::ArrayVec;

use super::e820::E820;
use super::modules::PhysRange;

/// Bytes of one frame record.
pub const FRAME_RECORD_SIZE: u64 = 32;
/// Bytes of one entry of the machine-to-physical table.
pub const M2P_ENTRY_SIZE: u64 = 8;

const PAGE: u64 = 4096;
const LARGE_PAGE: u64 = 2 << 20;
const LOW_MEMORY_END: u64 = 1 << 20;
/// What the first domain needs; the heap grows when guests make it.
const HEAP_BASE_SIZE: u64 = 4 << 20;
const HEAP_SHARE: u64 = 1024;
const TABLES_BASE_SIZE: u64 = 1 << 20;
/// Tables of small pages at both ends of a region of the memory map.
const TABLES_PER_REGION: u64 = 16 << 10;
/// Stacks, descriptor window and system-call stubs of a processor, and what maps them.
const TABLES_PER_CPU: u64 = 256 << 10;

/// Ranges that the plan has to work around or hands out.
pub type Ranges = ArrayVec<PhysRange, 320>;

/// Where the hypervisor's own memory lies. All ranges are aligned to 2 MiB.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// Frames for page tables; below the limit that the first page tables reach.
    pub tables: PhysRange,
    /// The Rust heap.
    pub heap: PhysRange,
    /// The frame table: [`FRAME_RECORD_SIZE`] bytes for each frame below [`Self::frames`].
    pub frame_table: PhysRange,
    /// The machine-to-physical table.
    pub m2p: PhysRange,
    /// One past the highest frame number of usable memory.
    pub frames: u64,
}

/// The machine has too little memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TooLittleMemory {
    /// Bytes that the hypervisor needs in one piece.
    pub needed: u64,
    /// Bytes of usable memory in the map.
    pub usable: u64,
}

impl core::fmt::Display for TooLittleMemory {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let Self { needed, usable } = self;
        write!(
            f,
            "too little memory: {} MiB needed in one piece, {} MiB usable",
            needed >> 20,
            usable >> 20
        )
    }
}

impl Plan {
    /// Chooses the hypervisor's memory from `memory`, away from everything in `taken` (the image, boot modules, the
    /// loader's data), for `cpus` processors. The page-table pool ends below `tables_limit`.
    pub fn choose(
        memory: &E820,
        taken: &[PhysRange],
        tables_limit: u64,
        cpus: u64,
    ) -> Result<Self, TooLittleMemory> {
        let usable = memory.ram_bytes();
        let frames = memory.ram_end() / PAGE;
        let heap = round_up(HEAP_BASE_SIZE.saturating_add(usable / HEAP_SHARE));
        let frame_table = round_up(frames.saturating_mul(FRAME_RECORD_SIZE));
        let m2p = round_up(frames.saturating_mul(M2P_ENTRY_SIZE));
        let own = heap.saturating_add(frame_table).saturating_add(m2p);
        // One 8-byte entry maps 4 KiB, or 2 MiB in the direct map; twice that, and a base for the edges.
        let tables = round_up(
            TABLES_BASE_SIZE
                .saturating_add(memory.regions().len() as u64 * TABLES_PER_REGION)
                .saturating_add(cpus.saturating_mul(TABLES_PER_CPU))
                .saturating_add(own / 256)
                .saturating_add(memory.ram_end() >> 17),
        );

        let free = free_ranges(memory, taken);
        let too_little = |needed| TooLittleMemory { needed, usable };
        let tables = highest_fit(&free, tables, tables_limit).ok_or(too_little(tables))?;
        let with_tables: Ranges = taken.iter().copied().chain([tables]).collect();
        let own = highest_fit(&free_ranges(memory, &with_tables), own, u64::MAX)
            .ok_or(too_little(own))?;
        let heap = PhysRange::new(own.start, own.start + heap);
        let frame_table = PhysRange::new(heap.end, heap.end + frame_table);
        let m2p = PhysRange::new(frame_table.end, own.end);
        Ok(Self {
            tables,
            heap,
            frame_table,
            m2p,
            frames,
        })
    }

    /// Everything that the hypervisor took, without the image.
    pub fn own(&self) -> [PhysRange; 4] {
        [self.tables, self.heap, self.frame_table, self.m2p]
    }

    /// Whole pages of usable memory that neither the hypervisor nor anything in `taken` uses.
    pub fn free(&self, memory: &E820, taken: &[PhysRange]) -> Ranges {
        let all: Ranges = taken.iter().copied().chain(self.own()).collect();
        free_ranges(memory, &all)
    }
}

fn round_up(size: u64) -> u64 {
    size.checked_next_multiple_of(LARGE_PAGE)
        .unwrap_or(u64::MAX - LARGE_PAGE + 1)
}

/// Whole pages of usable memory above 1 MiB outside of `taken`, in ascending order.
#[must_use]
pub fn free_ranges(memory: &E820, taken: &[PhysRange]) -> Ranges {
    ranges_outside(memory, taken, LOW_MEMORY_END)
}

/// Whole pages of usable memory from address `from` on, outside of `taken`, in ascending order.
#[must_use]
pub fn ranges_outside(memory: &E820, taken: &[PhysRange], from: u64) -> Ranges {
    let mut out = Ranges::new();
    for ram in memory.ram() {
        let ram = PhysRange::new(ram.start.max(from), ram.end).pages_within();
        let mut at = ram.start;
        while at < ram.end {
            let taken = || {
                taken
                    .iter()
                    .map(PhysRange::pages_around)
                    .filter(|range| !range.is_empty())
            };
            if let Some(inside) = taken()
                .filter(|range| range.start <= at && at < range.end)
                .map(|r| r.end)
                .max()
            {
                at = inside;
                continue;
            }
            let end = taken()
                .map(|range| range.start)
                .filter(|&start| start > at)
                .min()
                .unwrap_or(ram.end);
            let end = end.min(ram.end);
            if out.try_push(PhysRange::new(at, end)).is_err() {
                return out;
            }
            at = end;
        }
    }
    out
}

/// The highest piece of `size` bytes, aligned to 2 MiB and ending at or below `limit`.
fn highest_fit(free: &[PhysRange], size: u64, limit: u64) -> Option<PhysRange> {
    free.iter().rev().find_map(|range| {
        let start = range.end.min(limit).checked_sub(size)? & !(LARGE_PAGE - 1);
        (start >= range.start).then(|| PhysRange::new(start, start + size))
    })
}

#[cfg(test)]
mod tests {
    use super::super::e820::{Kind, Region, Regions};
    use super::*;

    fn memory(regions: &[(u64, u64)]) -> E820 {
        let mut raw = Regions::new();
        for &(start, end) in regions {
            raw.push(Region {
                range: PhysRange::new(start, end),
                kind: Kind::RAM,
            });
        }
        raw.sanitise()
    }

    const IMAGE: PhysRange = PhysRange::new(0x20_0000, 0x50_0000);
    const FOUR_GIB: u64 = 4 << 30;

    #[test]
    fn small_machine() {
        let memory = memory(&[(0, 0x9fc00), (0x10_0000, 0x1ffe_0000)]);
        let module = PhysRange::new(0x51_0000, 0x151_1234);
        let plan = Plan::choose(&memory, &[IMAGE, module], FOUR_GIB, 1).unwrap();
        assert_eq!(plan.frames, 0x1ffe0);
        assert!(plan.frame_table.len() >= plan.frames * FRAME_RECORD_SIZE);
        assert!(plan.m2p.len() >= plan.frames * M2P_ENTRY_SIZE);
        let mut all: std::vec::Vec<_> = plan.own().into_iter().chain([IMAGE, module]).collect();
        all.sort_by_key(|range| range.start);
        assert!(
            all.windows(2).all(|pair| pair[0].end <= pair[1].start),
            "{all:x?}"
        );
        assert!(
            plan.own()
                .iter()
                .all(|range| range.start % LARGE_PAGE == 0 && range.end <= 0x1ffe_0000)
        );

        let free = plan.free(&memory, &[IMAGE, module]);
        assert_eq!(free[0], PhysRange::new(0x10_0000, 0x20_0000));
        assert_eq!(free[1], PhysRange::new(0x50_0000, 0x51_0000));
        assert_eq!(free[2].start, 0x151_2000);
        assert!(
            free.iter()
                .all(|range| plan.own().iter().all(|own| !own.overlaps(range)))
        );
    }

    #[test]
    fn memory_above_four_gib_takes_the_large_pieces_but_not_the_tables() {
        let memory = memory(&[(0x10_0000, 0xc000_0000), (FOUR_GIB, FOUR_GIB + 0x4000_0000)]);
        let plan = Plan::choose(&memory, &[IMAGE], FOUR_GIB, 1).unwrap();
        assert!(plan.heap.start >= FOUR_GIB);
        assert!(plan.tables.end <= 0xc000_0000);
        assert_eq!(plan.frames, (FOUR_GIB + 0x4000_0000) / PAGE);
    }

    #[test]
    fn too_little() {
        let error = Plan::choose(
            &memory(&[(0, 0x9fc00), (0x10_0000, 0x100_0000)]),
            &[IMAGE],
            FOUR_GIB,
            1,
        )
        .unwrap_err();
        assert_eq!(error.usable, 0x9fc00 + 0xf0_0000);
        assert!(error.needed > HEAP_BASE_SIZE);
    }

    #[test]
    fn overlapping_takers_leave_what_is_between() {
        let free = free_ranges(
            &memory(&[(0, 0x100_0000)]),
            &[
                PhysRange::new(0x10_0001, 0x20_0000),
                PhysRange::new(0x18_0000, 0x28_0001),
                PhysRange::new(0x30_0000, 0x30_0000),
            ],
        );
        assert_eq!(&free[..], [PhysRange::new(0x28_1000, 0x100_0000)]);
    }
}
