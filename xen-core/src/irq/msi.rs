//! Message-signalled interrupts: finding the capability of a device, programming message and mask bits.
//!
//! PCI Local Bus Specification 3.0, section 6.8. Configuration space is the device's word: every walk is bounded and
//! every address checked.

use core::ops::Range;

use hypercall_abi::errno::Errno;

use crate::machine::{MsiMessage, Pio, Width};

/// A PCI function.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct PciAddress {
    /// Segment.
    pub segment: u16,
    /// Bus.
    pub bus: u8,
    /// Device (bits 7-3) and function (bits 2-0).
    pub devfn: u8,
}

impl core::fmt::Display for PciAddress {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let Self {
            segment,
            bus,
            devfn,
        } = *self;
        write!(
            f,
            "{segment:04x}:{bus:02x}:{:02x}.{}",
            devfn >> 3,
            devfn & 7
        )
    }
}

const COMMAND: u16 = 0x04;
const COMMAND_MEMORY: u32 = 1 << 1;
const STATUS: u16 = 0x06;
const STATUS_CAPABILITIES: u32 = 1 << 4;
const HEADER_TYPE: u16 = 0x0e;
const FIRST_BAR: u16 = 0x10;
const CAPABILITIES: u16 = 0x34;
const CAPABILITIES_CARDBUS: u16 = 0x14;

const CAP_MSI: u32 = 0x05;
const CAP_MSIX: u32 = 0x11;
/// 192 bytes of configuration space hold no more capabilities of four bytes.
const MAX_CAPABILITIES: u32 = 48;

const MSI_ENABLE: u32 = 1 << 0;
const MSI_MULTIPLE_ENABLE: u32 = 7 << 4;
const MSI_64BIT: u32 = 1 << 7;
const MSI_MASKABLE: u32 = 1 << 8;

const MSIX_ENABLE: u32 = 1 << 15;
const MSIX_TABLE_SIZE: u32 = 0x7ff;
const MSIX_ENTRY_BYTES: u64 = 16;
const MSIX_ENTRY_MASKED: u32 = 1;

impl PciAddress {
    fn read(self, pio: &impl Pio, offset: u16, width: Width) -> u32 {
        pio.pci_read(self.segment, self.bus, self.devfn, offset, width)
    }

    fn write(self, pio: &impl Pio, offset: u16, width: Width, value: u32) {
        pio.pci_write(self.segment, self.bus, self.devfn, offset, width, value);
    }

    /// Offset of the capability `id`, if the function has it.
    fn capability(self, pio: &impl Pio, id: u32) -> Option<u16> {
        let status = self.read(pio, STATUS, Width::Word);
        // All ones: nobody answers.
        if status == 0xffff || status & STATUS_CAPABILITIES == 0 {
            return None;
        }
        let start = match self.read(pio, HEADER_TYPE, Width::Byte) & 0x7f {
            2 => CAPABILITIES_CARDBUS,
            _ => CAPABILITIES,
        };
        let mut at = self.read(pio, start, Width::Byte) & !3;
        for _ in 0..MAX_CAPABILITIES {
            if !(0x40..0x100).contains(&at) {
                return None;
            }
            let offset = u16::try_from(at).ok()?;
            let header = self.read(pio, offset, Width::Word);
            if header & 0xff == id {
                return Some(offset);
            }
            if header & 0xff == 0xff {
                return None;
            }
            at = (header >> 8) & 0xfc;
        }
        None
    }

    /// Address that memory BAR `index` decodes, if it is one and decodes at all.
    fn memory_bar(self, pio: &impl Pio, index: u32) -> Option<u64> {
        if index > 5 || self.read(pio, COMMAND, Width::Word) & COMMAND_MEMORY == 0 {
            return None;
        }
        let offset = FIRST_BAR + u16::try_from(index).ok()? * 4;
        let low = self.read(pio, offset, Width::Dword);
        let base = match low & 7 {
            0 => u64::from(low & !15),
            4 if index < 5 => {
                u64::from(self.read(pio, offset + 4, Width::Dword)) << 32 | u64::from(low & !15)
            }
            _ => return None,
        };
        (base != 0).then_some(base)
    }
}

/// The way a message is programmed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Registers {
    /// In configuration space.
    Msi {
        capability: u16,
        wide: bool,
        maskable: bool,
    },
    /// In a table in the device's memory.
    MsiX { capability: u16, entry_addr: u64 },
}

/// A message-signalled interrupt of a device.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct MsiSource {
    pub device: PciAddress,
    /// Number in the MSI-X table; `None` for plain MSI.
    pub entry: Option<u32>,
    registers: Registers,
}

impl MsiSource {
    /// The plain MSI of `device`.
    pub(super) fn find_msi(pio: &impl Pio, device: PciAddress) -> Result<Self, Errno> {
        let capability = device.capability(pio, CAP_MSI).ok_or(Errno::ENODEV)?;
        let control = device.read(pio, capability + 2, Width::Word);
        let registers = Registers::Msi {
            capability,
            wide: control & MSI_64BIT != 0,
            maskable: control & MSI_MASKABLE != 0,
        };
        Ok(Self {
            device,
            entry: None,
            registers,
        })
    }

    /// Entry `entry` of the MSI-X table of `device`. The table must lie where `is_device` says a device may
    /// be: the device's own registers tell the address, and the hardware domain can write those.
    pub(super) fn find_msix(
        pio: &impl Pio,
        device: PciAddress,
        entry: u32,
        is_device: &dyn Fn(u64) -> bool,
    ) -> Result<Self, Errno> {
        let capability = device.capability(pio, CAP_MSIX).ok_or(Errno::ENODEV)?;
        let control = device.read(pio, capability + 2, Width::Word);
        if entry > control & MSIX_TABLE_SIZE {
            return Err(Errno::EINVAL);
        }
        let table = device.read(pio, capability + 4, Width::Dword);
        let base = device.memory_bar(pio, table & 7).ok_or(Errno::ENXIO)?;
        let entry_addr = base
            .checked_add(u64::from(table & !7))
            .and_then(|addr| addr.checked_add(u64::from(entry) * MSIX_ENTRY_BYTES))
            .ok_or(Errno::ENXIO)?;
        let last = entry_addr
            .checked_add(MSIX_ENTRY_BYTES - 1)
            .ok_or(Errno::ENXIO)?;
        if !is_device(entry_addr) || !is_device(last) {
            return Err(Errno::ENXIO);
        }
        Ok(Self {
            device,
            entry: Some(entry),
            registers: Registers::MsiX {
                capability,
                entry_addr,
            },
        })
    }

    /// Whether the device has MSI-X at all.
    pub(super) fn has_msix(pio: &impl Pio, device: PciAddress) -> bool {
        device.capability(pio, CAP_MSIX).is_some()
    }

    /// Bytes of the device's memory that hold its MSI-X table and its pending bits, as far as it decodes them.
    pub(super) fn msix_areas(pio: &impl Pio, device: PciAddress) -> [Option<Range<u64>>; 2] {
        let Some(capability) = device.capability(pio, CAP_MSIX) else {
            return [None, None];
        };
        let control = device.read(pio, capability + 2, Width::Word);
        let entries = u64::from(control & MSIX_TABLE_SIZE) + 1;
        let area = |register: u16, size: u64| {
            let place = device.read(pio, capability + register, Width::Dword);
            let start = device
                .memory_bar(pio, place & 7)?
                .checked_add(u64::from(place & !7))?;
            Some(start..start.checked_add(size)?)
        };
        [
            area(4, entries * MSIX_ENTRY_BYTES),
            area(8, entries.div_ceil(64) * 8),
        ]
    }

    /// Whether interrupts can be held back one by one.
    pub(super) fn is_maskable(&self) -> bool {
        match self.registers {
            Registers::Msi { maskable, .. } => maskable,
            Registers::MsiX { .. } => true,
        }
    }

    /// Writes the message and leaves the interrupt masked, or, if it has no mask bit, disabled.
    pub(super) fn program(&self, pio: &impl Pio, message: MsiMessage) {
        self.set_masked(pio, true);
        let [low, high] = [message.address as u32, (message.address >> 32) as u32];
        let device = self.device;
        match self.registers {
            Registers::Msi {
                capability,
                wide,
                maskable,
            } => {
                if !maskable {
                    self.set_enabled(pio, false);
                }
                device.write(pio, capability + 4, Width::Dword, low);
                let data = if wide {
                    device.write(pio, capability + 8, Width::Dword, high);
                    capability + 12
                } else {
                    capability + 8
                };
                device.write(pio, data, Width::Word, message.data & 0xffff);
                if maskable {
                    self.set_enabled(pio, true);
                }
            }
            Registers::MsiX { entry_addr, .. } => {
                pio.mmio_write32(entry_addr, low);
                pio.mmio_write32(entry_addr + 4, high);
                pio.mmio_write32(entry_addr + 8, message.data);
                self.set_enabled(pio, true);
            }
        }
    }

    /// Writes the address of a message whose data stays: another processor, the same vector. The upper half of the
    /// address is 0 for all processors (SDM volume 3, 11.11.1).
    pub(super) fn redirect(&self, pio: &impl Pio, message: MsiMessage) {
        let low = message.address as u32;
        match self.registers {
            Registers::Msi { capability, .. } => {
                self.device.write(pio, capability + 4, Width::Dword, low);
            }
            Registers::MsiX { entry_addr, .. } => {
                // A function may use an entry that is being changed unless it is masked (PCI 3.0, 6.8.2).
                self.set_masked(pio, true);
                pio.mmio_write32(entry_addr, low);
            }
        }
    }

    /// Masks or unmasks. Plain MSI without a mask bit is enabled instead of unmasked, and stays so.
    pub(super) fn set_masked(&self, pio: &impl Pio, masked: bool) {
        match self.registers {
            Registers::Msi {
                capability,
                wide,
                maskable: true,
            } => {
                let offset = capability + if wide { 16 } else { 12 };
                let mask = self.device.read(pio, offset, Width::Dword);
                let mask = if masked { mask | 1 } else { mask & !1 };
                self.device.write(pio, offset, Width::Dword, mask);
            }
            Registers::Msi {
                maskable: false, ..
            } => {
                if !masked {
                    self.set_enabled(pio, true);
                }
            }
            Registers::MsiX { entry_addr, .. } => {
                let control = pio.mmio_read32(entry_addr + 12);
                let control = if masked {
                    control | MSIX_ENTRY_MASKED
                } else {
                    control & !MSIX_ENTRY_MASKED
                };
                pio.mmio_write32(entry_addr + 12, control);
            }
        }
    }

    /// Enables or disables the capability as a whole, with one message.
    pub(super) fn set_enabled(&self, pio: &impl Pio, enabled: bool) {
        let (capability, enable, clear) = match self.registers {
            Registers::Msi { capability, .. } => (capability, MSI_ENABLE, MSI_MULTIPLE_ENABLE),
            Registers::MsiX { capability, .. } => (capability, MSIX_ENABLE, 0),
        };
        let control = self.device.read(pio, capability + 2, Width::Word) & !(enable | clear);
        let control = if enabled { control | enable } else { control };
        self.device.write(pio, capability + 2, Width::Word, control);
    }
}
