//! ACPI tables: bytes in, facts out (ACPI 6.5, chapter 5).
//!
//! Tables are the firmware's, and firmware has bugs: everything is bounded and checksummed, and a table that does not
//! hold is as good as absent.

pub mod dsdt;
pub mod fadt;
pub mod hpet;
pub mod madt;
pub mod mcfg;
pub mod rsdp;
pub mod slit;
pub mod srat;
pub mod tables;

use crate::boot::BootMemory;

/// What the hypervisor wants to know from ACPI.
#[derive(Debug, Default)]
pub struct AcpiFacts {
    /// Address of the root pointer in physical memory, where it was found by scanning.
    pub rsdp_address: Option<u64>,
    /// Processors and interrupt controllers.
    pub madt: Option<madt::Madt>,
    /// Fixed hardware: power management ports, reset register.
    pub fadt: Option<fadt::Fadt>,
    /// High-precision event timer.
    pub hpet: Option<hpet::Hpet>,
    /// PCI configuration space in memory.
    pub mcfg: mcfg::Mcfg,
    /// Which processors and memory are near each other.
    pub srat: srat::Srat,
    /// How far they are apart.
    pub slit: Option<slit::Slit>,
    /// How to switch the machine off.
    pub soft_off: Option<dsdt::SleepType>,
}

impl AcpiFacts {
    /// Reads all tables. `rsdp` is the loader's copy of the root pointer; without one, the low memory is searched.
    pub fn read<'a>(rsdp: Option<&[u8]>, memory: &impl BootMemory<'a>) -> Self {
        let mut facts = Self::default();
        let root = rsdp.and_then(rsdp::parse).or_else(|| {
            let (address, root) = rsdp::search(memory)?;
            facts.rsdp_address = Some(address);
            Some(root)
        });
        let Some(root) = root else { return facts };
        for table in tables::walk(root, memory) {
            match &table.signature {
                b"APIC" => facts.madt = madt::parse(table.body),
                b"FACP" => facts.fadt = fadt::parse(table.body),
                b"HPET" => facts.hpet = hpet::parse(table.body),
                b"MCFG" => facts.mcfg = mcfg::parse(table.body),
                b"SLIT" => facts.slit = slit::parse(table.body),
                b"SRAT" => facts.srat = srat::parse(table.body),
                _ => {}
            }
        }
        let dsdt = facts
            .fadt
            .as_ref()
            .and_then(|fadt| tables::read(fadt.dsdt, memory));
        facts.soft_off = dsdt
            .filter(|table| table.signature == *b"DSDT")
            .and_then(|table| dsdt::find_s5(table.body));
        facts
    }
}

#[cfg(test)]
pub(crate) mod testing {
    //! Tables made by hand.

    use std::vec::Vec;

    /// A table with a correct header and checksum around `body`.
    pub(crate) fn table(signature: &[u8; 4], body: &[u8]) -> Vec<u8> {
        let mut bytes = signature.to_vec();
        bytes.extend((body.len() as u32 + 36).to_le_bytes());
        bytes.resize(36, 0);
        bytes.extend(body);
        fix_checksum(&mut bytes, 9);
        bytes
    }

    /// Makes all bytes add up to zero by changing the one at `place`.
    pub(crate) fn fix_checksum(bytes: &mut [u8], place: usize) {
        bytes[place] = 0;
        let sum = bytes.iter().fold(0u8, |sum, &byte| sum.wrapping_add(byte));
        bytes[place] = sum.wrapping_neg();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::boot::testing::Pieces;
    use std::vec::Vec;

    #[test]
    fn everything_from_the_root_pointer_down() {
        let mut fadt = std::vec![0u8; 240];
        fadt[40 - 36..44 - 36].copy_from_slice(&0x6000u32.to_le_bytes());
        let dsdt = [
            0x08, b'_', b'S', b'5', b'_', 0x12, 0x06, 0x04, 0x0a, 5, 0x0a, 6, 0, 0,
        ];
        let mut rsdt = Vec::new();
        for address in [0x4000u32, 0x5000, 0x9999] {
            rsdt.extend(address.to_le_bytes());
        }
        let mut rsdp = b"RSD PTR \0OEMID\0".to_vec();
        rsdp.resize(20, 0);
        rsdp[16..20].copy_from_slice(&0x3000u32.to_le_bytes());
        testing::fix_checksum(&mut rsdp, 8);
        let mut low = std::vec![0u8; 0x2_0000];
        low[0x1230..0x1230 + 20].copy_from_slice(&rsdp);

        let mut memory = Pieces::default();
        memory
            .put(0xe_0000, low)
            .put(0x3000, testing::table(b"RSDT", &rsdt))
            .put(0x4000, testing::table(b"FACP", &fadt))
            .put(
                0x5000,
                testing::table(b"APIC", &[0, 0, 0xe0, 0xfe, 1, 0, 0, 0]),
            )
            .put(0x6000, testing::table(b"DSDT", &dsdt));
        let facts = AcpiFacts::read(None, &memory);
        assert_eq!(facts.rsdp_address, Some(0xe_1230));
        assert_eq!(facts.madt.unwrap().local_apic_address, 0xfee0_0000);
        assert_eq!(facts.soft_off, Some(dsdt::SleepType { a: 5, b: 6 }));
        assert!(facts.hpet.is_none());
    }

    #[test]
    fn nothing_at_all() {
        let facts = AcpiFacts::read(None, &Pieces::default());
        assert!(facts.madt.is_none() && facts.fadt.is_none() && facts.soft_off.is_none());
    }
}
