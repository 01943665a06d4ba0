//! UEFI's tables, as they are after the loader has ended the boot services (UEFI 2.10, chapters 4 and 7.2).

use alloc::vec::Vec;

use arrayvec::ArrayVec;

use super::BootMemory;
use super::bytes::{u16_at, u32_at, u64_at};

/// `EFI_SYSTEM_TABLE_SIGNATURE`.
const SIGNATURE: u64 = 0x5453_5953_2049_4249;
/// Size of `EFI_SYSTEM_TABLE` on 64-bit processors.
const SYSTEM_TABLE_SIZE: u64 = 120;
/// Longest vendor name that is kept, in characters; the last is NUL.
pub const VENDOR_MAX: usize = 100;
/// Most memory descriptors that are kept: firmware has hundreds at most.
const DESCRIPTORS_MAX: usize = 4096;
const PAGE: u64 = 4096;

/// What the system table says.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct SystemTable {
    /// Version of UEFI: major in the upper half, ten times minor and the revision in the lower.
    pub revision: u32,
    /// The vendor's version of the firmware.
    pub firmware_revision: u32,
    /// The vendor, in UCS-2 with a NUL behind.
    pub vendor: ArrayVec<u16, VENDOR_MAX>,
    /// Physical address of the configuration table.
    pub config_table: u64,
    /// Its entries.
    pub config_entries: u32,
}

/// One `EFI_MEMORY_DESCRIPTOR`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Descriptor {
    /// First physical address.
    pub start: u64,
    /// Bytes.
    pub size: u64,
    /// `EFI_MEMORY_TYPE`.
    pub kind: u32,
    /// `EFI_MEMORY_UC` and so on.
    pub attributes: u64,
}

/// What is kept of UEFI.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct EfiFacts {
    /// The system table.
    pub system_table: SystemTable,
    /// The memory map, in the firmware's order.
    pub memory_map: Vec<Descriptor>,
}

impl EfiFacts {
    /// The descriptor of the memory at `addr`.
    pub fn descriptor(&self, addr: u64) -> Option<&Descriptor> {
        self.memory_map.iter().find(|entry| {
            addr.checked_sub(entry.start)
                .is_some_and(|at| at < entry.size)
        })
    }
}

/// Reads the system table at physical address `addr`; None if it is none or cannot be read.
pub fn system_table<'a>(addr: u64, memory: &impl BootMemory<'a>) -> Option<SystemTable> {
    let table = memory.bytes(addr, SYSTEM_TABLE_SIZE)?;
    if u64_at(table, 0)? != SIGNATURE {
        return None;
    }
    Some(SystemTable {
        revision: u32_at(table, 8)?,
        firmware_revision: u32_at(table, 32)?,
        vendor: vendor(u64_at(table, 24)?, memory),
        config_entries: u32::try_from(u64_at(table, 104)?).ok()?,
        config_table: u64_at(table, 112)?,
    })
}

/// The characters at `addr` to the NUL; a name that is too long is cut.
fn vendor<'a>(addr: u64, memory: &impl BootMemory<'a>) -> ArrayVec<u16, VENDOR_MAX> {
    let mut name = ArrayVec::new();
    while name.len() < VENDOR_MAX - 1 {
        let at = addr.saturating_add(2 * name.len() as u64);
        let character = memory.bytes(at, 2).and_then(|bytes| u16_at(bytes, 0));
        match character {
            None | Some(0) => break,
            Some(character) => name.push(character),
        }
    }
    name.push(0);
    name
}

/// The descriptors in the body of multiboot 2's tag 17: size and version of a descriptor, then as many as there are
/// (Multiboot2 Specification 2.0, 3.6.17). Their size is the firmware's choice.
pub fn memory_map(body: &[u8]) -> impl Iterator<Item = Descriptor> {
    let size = u32_at(body, 0).unwrap_or(0) as usize;
    // Smaller ones hold no descriptor; no entry is read then.
    let entries = if size < 40 {
        &[]
    } else {
        body.get(8..).unwrap_or_default()
    };
    let entries = entries.chunks_exact(size.max(40)).take(DESCRIPTORS_MAX);
    entries.filter_map(|entry| {
        Some(Descriptor {
            kind: u32_at(entry, 0)?,
            start: u64_at(entry, 8)?,
            size: u64_at(entry, 24)?.saturating_mul(PAGE),
            attributes: u64_at(entry, 32)?,
        })
    })
}

#[cfg(test)]
mod tests {
    use super::super::testing::Pieces;
    use super::*;
    use std::vec;

    fn table(vendor_at: u64) -> Vec<u8> {
        let mut bytes = vec![0; 120];
        let mut put =
            |at: usize, value: u64| bytes[at..at + 8].copy_from_slice(&value.to_le_bytes());
        put(0, SIGNATURE);
        put(8, 0x2_0046);
        put(24, vendor_at);
        put(32, 7);
        put(104, 9);
        put(112, 0x3f00_0000);
        bytes
    }

    #[test]
    fn the_system_table_is_read() {
        let mut memory = Pieces::default();
        memory.put(0x1000, table(0x5000));
        memory.put(0x5000, vec![b'E', 0, b'D', 0, 0, 0, b'X', 0]);
        let found = system_table(0x1000, &memory).unwrap();
        assert_eq!(found.revision, 0x2_0046);
        assert_eq!(found.firmware_revision, 7);
        assert_eq!((found.config_table, found.config_entries), (0x3f00_0000, 9));
        assert_eq!(found.vendor[..], [u16::from(b'E'), u16::from(b'D'), 0]);
    }

    #[test]
    fn what_is_no_system_table_is_refused() {
        let mut memory = Pieces::default();
        memory.put(0x1000, vec![0; 120]);
        memory.put(0x2000, table(0)[..119].to_vec());
        assert_eq!(system_table(0x1000, &memory), None);
        assert_eq!(system_table(0x2000, &memory), None);
        assert_eq!(system_table(u64::MAX, &memory), None);
    }

    #[test]
    fn a_vendor_without_an_end_is_cut() {
        let mut memory = Pieces::default();
        memory.put(0x1000, table(0x5000));
        memory.put(0x5000, vec![1; 1000]);
        let found = system_table(0x1000, &memory).unwrap();
        assert_eq!(found.vendor.len(), VENDOR_MAX);
        assert_eq!(found.vendor.last(), Some(&0));
    }

    #[test]
    fn memory_is_found_by_its_address() {
        let mut body = vec![0; 8];
        body[0] = 48;
        for (kind, start, pages) in [(7_u32, 0x1000_u64, 2_u64), (6, 0x8000, 1)] {
            let mut entry = vec![0; 48];
            entry[..4].copy_from_slice(&kind.to_le_bytes());
            entry[8..16].copy_from_slice(&start.to_le_bytes());
            entry[24..32].copy_from_slice(&pages.to_le_bytes());
            entry[32] = 0xf;
            body.extend(entry);
        }
        let facts = EfiFacts {
            memory_map: memory_map(&body).collect(),
            ..EfiFacts::default()
        };
        assert_eq!(facts.descriptor(0x2fff).unwrap().kind, 7);
        assert_eq!(facts.descriptor(0x3000), None);
        assert_eq!(facts.descriptor(0x8000).unwrap().attributes, 0xf);
        assert_eq!(memory_map(&[39, 0, 0, 0, 1, 0, 0, 0]).count(), 0);
        assert_eq!(memory_map(&[]).count(), 0);
    }
}
