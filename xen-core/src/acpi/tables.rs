//! System description tables: header, checksum, and the walk over the list of them (ACPI 6.5, 5.2.6 to 5.2.8).

use super::rsdp::Root;
use crate::boot::BootMemory;
use crate::boot::bytes::{array_at, sums_to_zero, u32_at, u64_at};

/// Bytes of the header that all tables begin with.
pub const HEADER_SIZE: usize = 36;
/// Longer than any table; bounds what a broken length makes us read.
const MAX_LENGTH: u32 = 16 << 20;

/// A table whose checksum is right.
#[derive(Debug, Clone, Copy)]
pub struct Table<'a> {
    /// Its name.
    pub signature: [u8; 4],
    /// Its content after the header. Offsets in the specification count from the header's start.
    pub body: &'a [u8],
}

/// The table at `address`.
pub fn read<'a>(address: u64, memory: &impl BootMemory<'a>) -> Option<Table<'a>> {
    let header = memory.bytes(address, HEADER_SIZE as u64)?;
    let signature = array_at(header, 0)?;
    let length =
        u32_at(header, 4).filter(|length| (HEADER_SIZE as u32..=MAX_LENGTH).contains(length))?;
    let whole = memory.bytes(address, u64::from(length))?;
    sums_to_zero(whole).then_some(Table {
        signature,
        body: whole.get(HEADER_SIZE..)?,
    })
}

/// All tables that the root list names and that can be read.
pub fn walk<'a, M: BootMemory<'a>>(root: Root, memory: &M) -> impl Iterator<Item = Table<'a>> {
    let (address, signature, width) = match root {
        Root::Rsdt(address) => (address, b"RSDT", 4),
        Root::Xsdt(address) => (address, b"XSDT", 8),
    };
    let list = read(address, memory).filter(|table| table.signature == *signature);
    let entries = list.map_or(&[][..], |table| table.body).chunks_exact(width);
    let addresses =
        entries.filter_map(|entry| u64_at(entry, 0).or_else(|| u32_at(entry, 0).map(u64::from)));
    addresses.filter_map(|address| read(address, memory))
}

#[cfg(test)]
mod tests {
    use super::super::testing::table;
    use super::*;
    use crate::boot::testing::Pieces;
    use std::vec::Vec;

    #[test]
    fn tables_with_wrong_checksum_or_length_are_skipped() {
        let mut broken = table(b"BAD1", b"x");
        broken[36] ^= 1;
        let mut long = table(b"BAD2", b"x");
        long[4..8].copy_from_slice(&u32::MAX.to_le_bytes());
        let list: Vec<u8> = [0x2000u64, 0x3000, 0x4000, u64::MAX]
            .iter()
            .flat_map(|a| a.to_le_bytes())
            .collect();
        let mut memory = Pieces::default();
        memory
            .put(0x1000, table(b"XSDT", &list))
            .put(0x2000, broken)
            .put(0x3000, long)
            .put(0x4000, table(b"GOOD", b"yes"));
        let found: Vec<_> = walk(Root::Xsdt(0x1000), &memory)
            .map(|t| (t.signature, t.body.to_vec()))
            .collect();
        assert_eq!(found, [(*b"GOOD", b"yes".to_vec())]);
        assert_eq!(
            walk(Root::Rsdt(0x1000), &memory).count(),
            0,
            "an XSDT is no RSDT"
        );
    }
}
