//! What a hypervisor that was started by EFI tells of it (UEFI 2.10, 4.3 and 7.2.3).

use arrayvec::ArrayVec;

use super::BootMemory;
use super::bytes::{u16_at, u32_at, u64_at};
use super::modules::PhysRange;

/// A range of EFI's memory map.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct EfiMemory {
    /// Where.
    pub range: PhysRange,
    /// EFI_MEMORY_TYPE.
    pub kind: u32,
    /// EFI_MEMORY_* attributes.
    pub attributes: u64,
}

/// The system table and the memory map.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Efi {
    /// Revision of the specification.
    pub version: u32,
    /// Revision of the firmware.
    pub firmware_revision: u32,
    /// Who made it, UCS-2, without the end.
    pub vendor: ArrayVec<u16, 63>,
    /// Physical address of the table of tables.
    pub config_table: u64,
    /// Entries of it.
    pub config_entries: u32,
    /// Memory as the firmware described it; what does not fit is left out.
    pub memory: ArrayVec<EfiMemory, 192>,
}

/// "IBI SYST".
const SIGNATURE: u64 = 0x5453_5953_2049_4249;
const TABLE_SIZE: u64 = 120;
const REVISION: usize = 8;
const VENDOR: usize = 24;
const FIRMWARE_REVISION: usize = 32;
const CONFIG_ENTRIES: usize = 104;
const CONFIG_TABLE: usize = 112;
/// More tables than any firmware has.
const MAX_CONFIG_ENTRIES: u64 = 1024;

/// Reads the system table at `address`. `map` is the loader's copy of the memory map: size of an entry, version,
/// entries.
pub fn read<'a>(address: u64, map: &[u8], memory: &impl BootMemory<'a>) -> Option<Efi> {
    let table = memory.bytes(address, TABLE_SIZE)?;
    if u64_at(table, 0)? != SIGNATURE {
        return None;
    }
    let entries = u64_at(table, CONFIG_ENTRIES)?.min(MAX_CONFIG_ENTRIES);
    let mut efi = Efi {
        version: u32_at(table, REVISION)?,
        firmware_revision: u32_at(table, FIRMWARE_REVISION)?,
        config_table: u64_at(table, CONFIG_TABLE)?,
        config_entries: u32::try_from(entries).ok()?,
        ..Efi::default()
    };
    let vendor = u64_at(table, VENDOR)?;
    for i in 0..efi.vendor.capacity() as u64 {
        let letter = vendor
            .checked_add(i * 2)
            .and_then(|at| u16_at(memory.bytes(at, 2)?, 0));
        match letter {
            Some(letter) if letter != 0 => efi.vendor.push(letter),
            _ => break,
        }
    }
    let size = u32_at(map, 0).unwrap_or(0) as usize;
    if size >= 40 {
        for entry in map.get(8..).unwrap_or_default().chunks_exact(size) {
            if let (Some(kind), Some(start), Some(pages), Some(attributes)) = (
                u32_at(entry, 0),
                u64_at(entry, 8),
                u64_at(entry, 24),
                u64_at(entry, 32),
            ) {
                let end = start.saturating_add(pages.saturating_mul(4096));
                let _ = efi.memory.try_push(EfiMemory {
                    range: PhysRange::new(start, end),
                    kind,
                    attributes,
                });
            }
        }
    }
    Some(efi)
}

#[cfg(test)]
mod tests {
    extern crate std;

    use super::super::testing::Pieces;
    use super::*;

    #[test]
    fn a_system_table_and_its_map() {
        let mut table = std::vec![0u8; 120];
        table[..8].copy_from_slice(b"IBI SYST");
        table[8..12].copy_from_slice(&0x2_0046u32.to_le_bytes());
        table[24..32].copy_from_slice(&0x2000u64.to_le_bytes());
        table[32..36].copy_from_slice(&0x1_0000u32.to_le_bytes());
        table[104] = 9;
        table[112..120].copy_from_slice(&0x3000u64.to_le_bytes());
        let mut memory = Pieces::default();
        let vendor: std::vec::Vec<u8> = "EDK II\0x"
            .encode_utf16()
            .flat_map(u16::to_le_bytes)
            .collect();
        memory.put(0x1000, table.clone()).put(0x2000, vendor);
        let mut map = std::vec![48u8, 0, 0, 0, 1, 0, 0, 0];
        for word in [6u64, 0x7000, 0, 2, 0x8000_0000_0000_000f, 0] {
            map.extend(word.to_le_bytes());
        }
        let efi = read(0x1000, &map, &memory).unwrap();
        assert_eq!((efi.version, efi.firmware_revision), (0x2_0046, 0x1_0000));
        assert_eq!((efi.config_table, efi.config_entries), (0x3000, 9));
        let vendor = std::string::String::from_utf16(&efi.vendor).unwrap();
        assert_eq!(vendor, "EDK II");
        assert_eq!(
            efi.memory[..],
            [EfiMemory {
                range: PhysRange::new(0x7000, 0x9000),
                kind: 6,
                attributes: 0x8000_0000_0000_000f
            }]
        );
        table[0] = 0;
        let mut other = Pieces::default();
        other.put(0x1000, table);
        assert_eq!(read(0x1000, &map, &other), None);
        assert_eq!(read(u64::MAX, &map, &other), None);
    }
}
