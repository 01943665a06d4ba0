//! The memory map, under its BIOS name (ACPI 6.5, chapter 15), made sorted and free of overlaps.

use arrayvec::ArrayVec;

use super::modules::PhysRange;

/// Type of a region, as in the BIOS map.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kind(pub u32);

impl Kind {
    /// Usable memory.
    pub const RAM: Self = Self(1);
    /// Not to be used.
    pub const RESERVED: Self = Self(2);
    /// ACPI tables: usable once they have been read.
    pub const ACPI: Self = Self(3);
    /// Memory that ACPI firmware needs for ever.
    pub const NVS: Self = Self(4);
    /// Memory with errors.
    pub const UNUSABLE: Self = Self(5);

    /// Which type wins where regions overlap: the one that forbids more.
    fn rank(self) -> u32 {
        match self {
            Self::RAM => 0,
            Self::ACPI => 1,
            Self::NVS => 2,
            Self::UNUSABLE => 4,
            _ => 3,
        }
    }
}

impl core::fmt::Display for Kind {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match *self {
            Self::RAM => f.write_str("usable"),
            Self::RESERVED => f.write_str("reserved"),
            Self::ACPI => f.write_str("ACPI data"),
            Self::NVS => f.write_str("ACPI NVS"),
            Self::UNUSABLE => f.write_str("unusable"),
            Self(other) => write!(f, "type {other}"),
        }
    }
}

/// One region of the map.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Region {
    /// Its addresses.
    pub range: PhysRange,
    /// Its type.
    pub kind: Kind,
}

impl Region {
    /// The region of `len` bytes at `start`; cut at the end of the address space.
    pub const fn new(start: u64, len: u64, kind: Kind) -> Self {
        Self {
            range: PhysRange::new(start, start.saturating_add(len)),
            kind,
        }
    }
}

/// A region in the shape of the BIOS map, as guests get it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct E820Entry {
    /// First byte.
    pub addr: u64,
    /// Bytes.
    pub size: u64,
    /// 1 RAM, 2 reserved, 3 ACPI, 4 NVS, 5 unusable.
    pub kind: u32,
}

/// Most regions that a map can have.
pub const MAX_REGIONS: usize = 256;

/// Regions as the firmware gave them: in any order, possibly overlapping.
#[derive(Debug, Default)]
pub struct Regions(ArrayVec<Region, MAX_REGIONS>);

impl Regions {
    /// No regions.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a region. Empty ones are ignored, and so is what comes after [`MAX_REGIONS`].
    pub fn push(&mut self, region: Region) {
        if !region.range.is_empty() {
            let _ = self.0.try_push(region);
        }
    }

    /// True if no region was added.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Sorts the regions, resolves overlaps in favour of the type that forbids more, and merges neighbours.
    pub fn sanitise(&self) -> E820 {
        let mut out = E820::default();
        let mut at = 0;
        // Each step handles the piece from `at` to the next border; there are at most twice as many borders as regions.
        while let Some(start) = self
            .0
            .iter()
            .filter(|r| r.range.end > at)
            .map(|r| r.range.start.max(at))
            .min()
        {
            let borders = self.0.iter().flat_map(|r| [r.range.start, r.range.end]);
            let end = borders
                .filter(|&border| border > start)
                .min()
                .unwrap_or(start);
            let covering = self
                .0
                .iter()
                .filter(|r| r.range.start <= start && r.range.end > start);
            if let Some(region) = covering.max_by_key(|r| r.kind.rank()) {
                out.append(Region {
                    range: PhysRange::new(start, end),
                    kind: region.kind,
                });
            }
            at = end;
        }
        out
    }
}

/// A memory map that is sorted, without overlaps, and whose neighbours differ in type.
#[derive(Debug, Default, Clone)]
pub struct E820(ArrayVec<Region, MAX_REGIONS>);

impl E820 {
    /// The regions in ascending order.
    pub fn regions(&self) -> &[Region] {
        &self.0
    }

    /// The regions in the shape of the BIOS map.
    pub fn entries(&self) -> impl Iterator<Item = E820Entry> + '_ {
        self.0.iter().map(|region| E820Entry {
            addr: region.range.start,
            size: region.range.len(),
            kind: region.kind.0,
        })
    }

    /// The regions of usable memory.
    pub fn ram(&self) -> impl Iterator<Item = PhysRange> + Clone + '_ {
        self.0
            .iter()
            .filter(|region| region.kind == Kind::RAM)
            .map(|region| region.range)
    }

    /// Bytes of usable memory.
    pub fn ram_bytes(&self) -> u64 {
        self.ram()
            .map(|range| range.len())
            .fold(0, u64::saturating_add)
    }

    /// End of the highest usable memory.
    pub fn ram_end(&self) -> u64 {
        self.ram().map(|range| range.end).max().unwrap_or(0)
    }

    /// This map with usable memory above `limit` made reserved (option `mem=`).
    pub fn limited(&self, limit: u64) -> Self {
        let mut out = Regions::new();
        for region in &self.0 {
            let PhysRange { start, end } = region.range;
            if region.kind != Kind::RAM || end <= limit {
                out.push(*region);
                continue;
            }
            out.push(Region {
                range: PhysRange::new(start, limit),
                kind: Kind::RAM,
            });
            out.push(Region {
                range: PhysRange::new(start.max(limit), end),
                kind: Kind::RESERVED,
            });
        }
        out.sanitise()
    }

    fn append(&mut self, region: Region) {
        if let Some(last) = self.0.last_mut()
            && last.kind == region.kind
            && last.range.end == region.range.start
        {
            last.range.end = region.range.end;
            return;
        }
        // A map that splits into more pieces than fit loses its upper end: less memory, never wrong memory.
        let _ = self.0.try_push(region);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec;

    fn map(regions: &[(u64, u64, u32)]) -> E820 {
        let mut raw = Regions::new();
        for &(start, end, kind) in regions {
            raw.push(Region {
                range: PhysRange::new(start, end),
                kind: Kind(kind),
            });
        }
        raw.sanitise()
    }

    fn plain(map: &E820) -> Vec<(u64, u64, u32)> {
        map.regions()
            .iter()
            .map(|r| (r.range.start, r.range.end, r.kind.0))
            .collect()
    }

    #[test]
    fn sorts_and_merges() {
        assert_eq!(
            plain(&map(&[(8, 10, 1), (0, 4, 1), (4, 8, 1), (20, 30, 2)])),
            [(0, 10, 1), (20, 30, 2)]
        );
    }

    #[test]
    fn overlap_goes_to_the_stricter_type() {
        assert_eq!(
            plain(&map(&[(0, 100, 1), (10, 20, 2), (15, 30, 4)])),
            [(0, 10, 1), (10, 20, 2), (20, 30, 4), (30, 100, 1)]
        );
        assert_eq!(plain(&map(&[(10, 20, 2), (0, 100, 5)])), [(0, 100, 5)]);
    }

    #[test]
    fn agrees_with_a_bytewise_model() {
        // A small linear congruential generator: the same maps on every run.
        let mut state = 12345u64;
        let mut next = |bound: u64| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            (state >> 33) % bound
        };
        for _ in 0..200 {
            let regions: Vec<_> = (0..next(8))
                .map(|_| (next(64), next(64), 1 + next(6) as u32))
                .collect();
            let map = map(&regions);
            for byte in 0..64 {
                let expected = regions
                    .iter()
                    .filter(|r| r.0 <= byte && byte < r.1)
                    .map(|r| Kind(r.2))
                    .max_by_key(|kind| kind.rank())
                    .map(Kind::rank);
                let found = map
                    .regions()
                    .iter()
                    .find(|r| r.range.start <= byte && byte < r.range.end);
                assert_eq!(
                    found.map(|r| r.kind.rank()),
                    expected,
                    "byte {byte} of {regions:?}"
                );
            }
            assert!(
                map.regions()
                    .windows(2)
                    .all(|w| w[0].range.end <= w[1].range.start)
            );
        }
    }

    #[test]
    fn totals_and_limit() {
        let map = map(&[
            (0, 0x9f000, 1),
            (0xf0000, 0x10_0000, 2),
            (0x10_0000, 0x4000_0000, 1),
        ]);
        assert_eq!(map.ram_end(), 0x4000_0000);
        let limited = map.limited(0x2000_0000);
        assert_eq!(limited.ram_end(), 0x2000_0000);
        assert_eq!(limited.ram_bytes(), 0x9f000 + 0x1ff0_0000);
        assert_eq!(
            limited.regions().last().map(|r| r.kind),
            Some(Kind::RESERVED)
        );
    }

    #[test]
    fn end_of_address_space() {
        assert_eq!(
            plain(&map(&[(u64::MAX - 5, u64::MAX, 2)])),
            [(u64::MAX - 5, u64::MAX, 2)]
        );
        assert_eq!(
            Region::new(u64::MAX - 5, 100, Kind::RAM).range.end,
            u64::MAX
        );
    }
}
