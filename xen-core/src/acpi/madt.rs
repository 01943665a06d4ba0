//! Multiple APIC description table (ACPI 6.5, 5.2.12).

use arrayvec::ArrayVec;

use crate::boot::bytes::{u8_at, u16_at, u32_at, u64_at};

/// Most processors that are kept.
pub const MAX_CPUS: usize = 256;

/// A processor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CpuEntry {
    /// Its local APIC's id.
    pub apic_id: u32,
    /// Its id in the ACPI namespace.
    pub acpi_id: u32,
    /// It can be used now; otherwise it may be plugged in.
    pub enabled: bool,
}

/// An IO-APIC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IoApicEntry {
    /// Its id.
    pub id: u8,
    /// Physical address of its registers.
    pub address: u32,
    /// Number of its first input.
    pub gsi_base: u32,
}

/// An ISA interrupt that is wired differently from its number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Override {
    /// ISA interrupt.
    pub source: u8,
    /// Global interrupt.
    pub gsi: u32,
    /// Active low.
    pub active_low: bool,
    /// Level triggered.
    pub level: bool,
}

/// The table.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Madt {
    /// Physical address of the local APICs.
    pub local_apic_address: u64,
    /// The old pair of interrupt controllers is there too.
    pub has_8259: bool,
    /// Processors, in the table's order.
    pub cpus: ArrayVec<CpuEntry, MAX_CPUS>,
    /// IO-APICs.
    pub io_apics: ArrayVec<IoApicEntry, 32>,
    /// Overrides of ISA interrupts.
    pub overrides: ArrayVec<Override, 16>,
}

impl Madt {
    /// How ISA interrupt `irq` arrives: one to one, edge-triggered and active high unless overridden.
    pub fn isa(&self, irq: u8) -> Override {
        let identity = Override {
            source: irq,
            gsi: u32::from(irq),
            active_low: false,
            level: false,
        };
        self.overrides
            .iter()
            .find(|entry| entry.source == irq)
            .copied()
            .unwrap_or(identity)
    }
}

const LOCAL_APIC: u8 = 0;
const IO_APIC: u8 = 1;
const SOURCE_OVERRIDE: u8 = 2;
const LOCAL_APIC_ADDRESS: u8 = 5;
const LOCAL_X2APIC: u8 = 9;
const ENABLED: u32 = 1;
const ONLINE_CAPABLE: u32 = 2;

/// Reads the table's body (after the header).
pub fn parse(body: &[u8]) -> Option<Madt> {
    let mut madt = Madt {
        local_apic_address: u64::from(u32_at(body, 0)?),
        has_8259: u32_at(body, 4)? & 1 != 0,
        ..Madt::default()
    };
    let mut rest = body.get(8..)?;
    while let (Some(kind), Some(length)) = (u8_at(rest, 0), u8_at(rest, 1)) {
        let Some(entry) = rest
            .get(..usize::from(length))
            .filter(|entry| entry.len() >= 2)
        else {
            break;
        };
        // An entry that is shorter than its kind is skipped; lists that are full stay as they are.
        let _ = read_entry(&mut madt, kind, entry);
        rest = rest.get(usize::from(length)..).unwrap_or_default();
    }
    Some(madt)
}

fn read_entry(madt: &mut Madt, kind: u8, entry: &[u8]) -> Option<()> {
    match kind {
        LOCAL_APIC => {
            let (acpi_id, apic_id) = (u32::from(u8_at(entry, 2)?), u32::from(u8_at(entry, 3)?));
            push_cpu(madt, apic_id, acpi_id, u32_at(entry, 4)?, 0xff);
        }
        LOCAL_X2APIC => push_cpu(
            madt,
            u32_at(entry, 4)?,
            u32_at(entry, 12)?,
            u32_at(entry, 8)?,
            u32::MAX,
        ),
        IO_APIC => {
            let io_apic = IoApicEntry {
                id: u8_at(entry, 2)?,
                address: u32_at(entry, 4)?,
                gsi_base: u32_at(entry, 8)?,
            };
            let _ = madt.io_apics.try_push(io_apic);
        }
        SOURCE_OVERRIDE => {
            let flags = u16_at(entry, 8)?;
            let entry = Override {
                source: u8_at(entry, 3)?,
                gsi: u32_at(entry, 4)?,
                // 0 means "as the bus has it": for ISA active high and edge.
                active_low: flags & 0x3 == 0x3,
                level: flags >> 2 & 0x3 == 0x3,
            };
            let _ = madt.overrides.try_push(entry);
        }
        LOCAL_APIC_ADDRESS => madt.local_apic_address = u64_at(entry, 4)?,
        _ => {}
    }
    Some(())
}

/// Adds a processor, unless it is a mere placeholder or named a second time (by its other kind of entry).
fn push_cpu(madt: &mut Madt, apic_id: u32, acpi_id: u32, flags: u32, invalid_id: u32) {
    let usable = flags & (ENABLED | ONLINE_CAPABLE) != 0 && apic_id != invalid_id;
    if usable && !madt.cpus.iter().any(|cpu| cpu.apic_id == apic_id) {
        let _ = madt.cpus.try_push(CpuEntry {
            apic_id,
            acpi_id,
            enabled: flags & ENABLED != 0,
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec;

    fn body(entries: &[&[u8]]) -> Vec<u8> {
        let mut bytes = std::vec![0, 0, 0xe0, 0xfe, 1, 0, 0, 0];
        for entry in entries {
            bytes.extend_from_slice(entry);
        }
        bytes
    }

    #[test]
    fn a_usual_machine() {
        let madt = parse(&body(&[
            &[0, 8, 0, 0, 1, 0, 0, 0],
            &[0, 8, 1, 1, 1, 0, 0, 0],
            &[0, 8, 2, 2, 0, 0, 0, 0],
            &[0, 8, 3, 0xff, 1, 0, 0, 0],
            &[1, 12, 0, 0, 0, 0, 0xc0, 0xfe, 0, 0, 0, 0],
            &[2, 10, 0, 0, 2, 0, 0, 0, 0, 0],
            &[2, 10, 0, 9, 9, 0, 0, 0, 0xd, 0],
            &[9, 16, 0, 0, 0x34, 0x12, 0, 0, 1, 0, 0, 0, 7, 0, 0, 0],
            &[9, 16, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 7, 0, 0, 0],
        ]))
        .unwrap();
        assert_eq!(madt.local_apic_address, 0xfee0_0000);
        assert!(madt.has_8259);
        let ids: Vec<_> = madt.cpus.iter().map(|cpu| cpu.apic_id).collect();
        assert_eq!(ids, [0, 1, 0x1234]);
        assert_eq!(
            &madt.io_apics[..],
            [IoApicEntry {
                id: 0,
                address: 0xfec0_0000,
                gsi_base: 0
            }]
        );
        assert_eq!(
            madt.isa(0),
            Override {
                source: 0,
                gsi: 2,
                active_low: false,
                level: false
            }
        );
        assert_eq!(
            madt.isa(9),
            Override {
                source: 9,
                gsi: 9,
                active_low: false,
                level: true
            }
        );
        assert_eq!(
            madt.isa(4),
            Override {
                source: 4,
                gsi: 4,
                active_low: false,
                level: false
            }
        );
    }

    #[test]
    fn broken_entries() {
        assert_eq!(parse(&[0; 7]), None);
        // Length 0 or 1 must not loop; one past the end is cut.
        for entry in [&[0u8, 0][..], &[0, 1], &[0, 200, 1], &[1, 4, 0, 0], &[9]] {
            let madt = parse(&body(&[entry])).unwrap();
            assert!(madt.cpus.is_empty() && madt.io_apics.is_empty());
        }
    }

    #[test]
    fn active_low() {
        let madt = parse(&body(&[&[2, 10, 0, 5, 20, 0, 0, 0, 0xf, 0]])).unwrap();
        assert_eq!(
            madt.isa(5),
            Override {
                source: 5,
                gsi: 20,
                active_low: true,
                level: true
            }
        );
    }
}
