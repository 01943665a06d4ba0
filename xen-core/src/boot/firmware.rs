//! What the firmware told before it was left behind (XENPF_firmware_info): the hardware domain cannot ask any more.

use alloc::vec::Vec;

use super::efi::EfiFacts;
use super::numa::Numa;

/// What a BIOS knows of one disk (INT 13h, AH=08h, 41h and 48h).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BiosDisk {
    /// Its number, from 0x80.
    pub device: u8,
    /// Version of the extensions.
    pub version: u8,
    /// Which extensions there are.
    pub interface_support: u16,
    /// Highest cylinder.
    pub max_cylinder: u16,
    /// Highest head.
    pub max_head: u8,
    /// Sectors of a track.
    pub sectors_per_track: u8,
    /// The parameter block; its first word is its length.
    pub parameters: Vec<u8>,
}

/// The signature in the first sector of a disk, by which an operating system finds the disk again.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct MbrSignature {
    /// The BIOS's number of the disk.
    pub device: u8,
    /// Four bytes at offset 0x1b8.
    pub signature: u32,
}

/// What is known of the screen (INT 10h, AX=4F15h).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ScreenIdentity {
    /// Capabilities of the data channel.
    pub capabilities: u8,
    /// Seconds for one block.
    pub transfer_time: u8,
    /// The EDID block.
    pub edid: [u8; 128],
}

/// All of it. The default is a machine that told nothing.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct FirmwareInfo {
    /// Disks.
    pub disks: Vec<BiosDisk>,
    /// Signatures of disks.
    pub mbr_signatures: Vec<MbrSignature>,
    /// The screen.
    pub screen: Option<ScreenIdentity>,
    /// Shift keys and locks of the keyboard (BIOS data area, 0x417).
    pub keyboard_flags: u8,
    /// Processors: local APIC id, and the number by which ACPI's namespace calls them.
    pub processors: Vec<(u32, u32)>,
    /// Nodes.
    pub numa: Numa,
    /// UEFI's tables, where the machine was booted by it.
    pub efi: Option<EfiFacts>,
}

impl FirmwareInfo {
    /// The number by which ACPI calls the processor with this local APIC id.
    #[must_use]
    pub fn acpi_id(&self, apic_id: u32) -> Option<u32> {
        let known = self.processors.iter().find(|&&(apic, _)| apic == apic_id);
        known.map(|&(_, acpi)| acpi)
    }

    /// The local APIC id of the processor that ACPI calls by this number.
    #[must_use]
    pub fn apic_id(&self, acpi_id: u32) -> Option<u32> {
        let known = self.processors.iter().find(|&&(_, acpi)| acpi == acpi_id);
        known.map(|&(apic, _)| apic)
    }
}
