//! System resource affinity table (ACPI 6.5, 5.2.16): which processors and which memory are near each other.

use arrayvec::ArrayVec;

use crate::boot::bytes::{array_at, u8_at, u32_at, u64_at};
use crate::boot::modules::PhysRange;

/// Processors and memory of proximity domains.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Srat {
    /// Local APIC id and proximity domain.
    pub cpus: ArrayVec<(u32, u32), 256>,
    /// Memory range and proximity domain.
    pub memory: ArrayVec<(PhysRange, u32), 64>,
}

const LOCAL_APIC: u8 = 0;
const MEMORY: u8 = 1;
const LOCAL_X2APIC: u8 = 2;
const ENABLED: u32 = 1;

/// Reads the table's body (after the header).
pub fn parse(body: &[u8]) -> Srat {
    let mut srat = Srat::default();
    let mut rest = body.get(12..).unwrap_or_default();
    while let (Some(kind), Some(length)) = (u8_at(rest, 0), u8_at(rest, 1)) {
        let Some(entry) = rest
            .get(..usize::from(length))
            .filter(|entry| entry.len() >= 2)
        else {
            break;
        };
        let _ = read_entry(&mut srat, kind, entry);
        rest = rest.get(usize::from(length)..).unwrap_or_default();
    }
    srat
}

fn read_entry(srat: &mut Srat, kind: u8, entry: &[u8]) -> Option<()> {
    match kind {
        LOCAL_APIC if u32_at(entry, 4)? & ENABLED != 0 => {
            let [b1, b2, b3] = array_at(entry, 9)?;
            let domain = u32::from_le_bytes([u8_at(entry, 2)?, b1, b2, b3]);
            let _ = srat.cpus.try_push((u32::from(u8_at(entry, 3)?), domain));
        }
        LOCAL_X2APIC if u32_at(entry, 12)? & ENABLED != 0 => {
            let _ = srat.cpus.try_push((u32_at(entry, 8)?, u32_at(entry, 4)?));
        }
        MEMORY if u32_at(entry, 28)? & ENABLED != 0 => {
            let start = u64_at(entry, 8)?;
            let range = PhysRange::new(start, start.saturating_add(u64_at(entry, 16)?));
            let _ = srat.memory.try_push((range, u32_at(entry, 2)?));
        }
        _ => {}
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec;

    #[test]
    fn two_nodes() {
        let mut body: Vec<u8> = std::vec![0; 12];
        body.extend([0, 16, 1, 5, 1, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0]);
        body.extend([0, 16, 1, 6, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        body.extend([
            2, 24, 0, 0, 3, 0, 0, 0, 0x34, 0x12, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
        ]);
        let mut memory = [0u8; 40];
        memory[..2].copy_from_slice(&[1, 40]);
        memory[2] = 7;
        memory[8..16].copy_from_slice(&0x10_0000u64.to_le_bytes());
        memory[16..24].copy_from_slice(&0x20_0000u64.to_le_bytes());
        memory[28] = 1;
        body.extend(memory);
        let srat = parse(&body);
        assert_eq!(&srat.cpus[..], [(5, 0x201), (0x1234, 3)]);
        assert_eq!(
            &srat.memory[..],
            [(PhysRange::new(0x10_0000, 0x30_0000), 7)]
        );
    }

    #[test]
    fn broken() {
        assert_eq!(parse(&[]), Srat::default());
        let mut body: Vec<u8> = std::vec![0; 12];
        body.extend([1, 0, 0, 0]);
        assert_eq!(parse(&body), Srat::default());
    }
}
