//! Root system description pointer (ACPI 6.5, 5.2.5).

use crate::boot::BootMemory;
use crate::boot::bytes::{sums_to_zero, u8_at, u16_at, u32_at, u64_at};

/// Where the list of tables is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Root {
    /// RSDT: 32-bit addresses.
    Rsdt(u64),
    /// XSDT: 64-bit addresses.
    Xsdt(u64),
}

const SIGNATURE: &[u8; 8] = b"RSD PTR ";
/// Length of the structure of ACPI 1.0, which the first checksum covers.
const LENGTH_V1: usize = 20;
const STEP: u64 = 16;
const BIOS_START: u64 = 0xe_0000;
const BIOS_END: u64 = 0x10_0000;
/// Where the BIOS keeps the segment of its extended data area.
const EBDA_SEGMENT: u64 = 0x40e;
const EBDA_SEARCHED: u64 = 1024;

/// Reads the structure.
pub fn parse(bytes: &[u8]) -> Option<Root> {
    if !bytes.starts_with(SIGNATURE) || !sums_to_zero(bytes.get(..LENGTH_V1)?) {
        return None;
    }
    let xsdt = || {
        // Revision 2 and later have a longer structure with a checksum of its own.
        let length = u32_at(bytes, 20).filter(|_| u8_at(bytes, 15) >= Some(2))?;
        let whole = bytes.get(..length as usize)?;
        u64_at(whole, 24).filter(|&address| address != 0 && sums_to_zero(whole))
    };
    xsdt()
        .map(Root::Xsdt)
        .or_else(|| u32_at(bytes, 16).map(|address| Root::Rsdt(u64::from(address))))
}

/// Searches where a BIOS puts the structure; returns its address too.
pub fn search<'a>(memory: &impl BootMemory<'a>) -> Option<(u64, Root)> {
    let ebda = memory
        .bytes(EBDA_SEGMENT, 2)
        .and_then(|bytes| u16_at(bytes, 0))
        .map(|segment| u64::from(segment) << 4);
    let areas = ebda
        .map(|start| (start, start + EBDA_SEARCHED))
        .into_iter()
        .chain([(BIOS_START, BIOS_END)]);
    for (start, end) in areas {
        for address in (start..end).step_by(STEP as usize) {
            let Some(head) = memory
                .bytes(address, LENGTH_V1 as u64)
                .filter(|head| head.starts_with(SIGNATURE))
            else {
                continue;
            };
            // The long form is 36 bytes.
            if let Some(root) = parse(memory.bytes(address, 36).unwrap_or(head)) {
                return Some((address, root));
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::super::testing::fix_checksum;
    use super::*;

    #[test]
    fn both_revisions() {
        let mut bytes = [0u8; 36];
        bytes[..8].copy_from_slice(SIGNATURE);
        bytes[16..20].copy_from_slice(&0x1234u32.to_le_bytes());
        fix_checksum(&mut bytes[..20], 8);
        assert_eq!(parse(&bytes), Some(Root::Rsdt(0x1234)));
        assert_eq!(parse(&bytes[..20]), Some(Root::Rsdt(0x1234)));
        bytes[15] = 2;
        bytes[20] = 36;
        bytes[24..32].copy_from_slice(&0x5678_0000_1234u64.to_le_bytes());
        fix_checksum(&mut bytes[..20], 8);
        fix_checksum(&mut bytes, 32);
        assert_eq!(parse(&bytes), Some(Root::Xsdt(0x5678_0000_1234)));
        bytes[33] ^= 1;
        assert_eq!(
            parse(&bytes),
            Some(Root::Rsdt(0x1234)),
            "bad long checksum: the short form still holds"
        );
        bytes[17] ^= 1;
        assert_eq!(parse(&bytes), None);
    }
}
