//! Ports and PCI configuration space on behalf of the hardware domain.
// UNSAFETY: port I/O and device registers.

use alloc::vec::Vec;

use spin::{Mutex, Once};
use x86_64::instructions::port::Port;
use xen_core::acpi::mcfg::Mcfg;
use xen_core::machine::Width;

use crate::metal::mem::vmap;

/// Address and data port of PCI configuration mechanism 1 (PCI Local Bus Specification 3.0, 3.2.2.3.2).
const PCI_ADDRESS: u16 = 0xcf8;
const PCI_DATA: u16 = 0xcfc;
const PCI_ENABLE: u32 = 1 << 31;

/// One access at a time: address, then data.
static PCI: Mutex<()> = Mutex::new(());

/// A window into configuration space in memory.
struct Window {
    segment: u16,
    first_bus: u8,
    last_bus: u8,
    /// Virtual address of the first bus.
    base: u64,
}

static WINDOWS: Once<Vec<Window>> = Once::new();

/// Maps the windows that ACPI names.
pub fn set_up(mcfg: &Mcfg) {
    WINDOWS.call_once(|| {
        let map = |entry: &xen_core::acpi::mcfg::Window| {
            let start = entry.address + (u64::from(entry.first_bus) << 20);
            let buses = u64::from(entry.last_bus - entry.first_bus) + 1;
            let base = vmap::map_device(start, buses << 20);
            Window {
                segment: entry.segment,
                first_bus: entry.first_bus,
                last_bus: entry.last_bus,
                base,
            }
        };
        mcfg.iter().map(map).collect()
    });
}

/// Reads a port.
pub fn read_port(port: u16, width: Width) -> u32 {
    // SAFETY: the library checked that the port is the domain's.
    unsafe {
        match width {
            Width::Byte => u32::from(Port::<u8>::new(port).read()),
            Width::Word => u32::from(Port::<u16>::new(port).read()),
            Width::Dword => Port::<u32>::new(port).read(),
        }
    }
}

/// Writes a port.
pub fn write_port(port: u16, width: Width, value: u32) {
    // SAFETY: the library checked that the port is the domain's.
    unsafe {
        match width {
            Width::Byte => Port::new(port).write(value as u8),
            Width::Word => Port::new(port).write(value as u16),
            Width::Dword => Port::new(port).write(value),
        }
    }
}

/// A register of a function in memory.
fn in_memory(segment: u16, bus: u8, devfn: u8, offset: u16) -> Option<u64> {
    let windows = WINDOWS.get()?;
    let holds = |window: &&Window| {
        window.segment == segment && (window.first_bus..=window.last_bus).contains(&bus)
    };
    let window = windows.iter().find(holds)?;
    let place = u64::from(bus - window.first_bus) << 20
        | u64::from(devfn) << 12
        | u64::from(offset & 0xfff);
    Some(window.base + place)
}

/// Runs `access` with the data port that shows a register.
fn by_port<R>(bus: u8, devfn: u8, offset: u16, access: impl FnOnce(u16) -> R) -> R {
    let _guard = PCI.lock();
    let address =
        PCI_ENABLE | u32::from(bus) << 16 | u32::from(devfn) << 8 | u32::from(offset & 0xfc);
    write_port(PCI_ADDRESS, Width::Dword, address);
    access(PCI_DATA + (offset & 3))
}

/// Reads configuration space; all ones where there is nothing.
pub fn read_pci(segment: u16, bus: u8, devfn: u8, offset: u16, width: Width) -> u32 {
    if segment == 0 && offset < 256 {
        return by_port(bus, devfn, offset, |port| read_port(port, width));
    }
    let Some(address) = in_memory(segment, bus, devfn, offset) else {
        return u32::MAX;
    };
    // SAFETY: the window is mapped for ever.
    unsafe {
        match width {
            Width::Byte => u32::from((address as *const u8).read_volatile()),
            Width::Word => u32::from(((address & !1) as *const u16).read_volatile()),
            Width::Dword => ((address & !3) as *const u32).read_volatile(),
        }
    }
}

/// Writes configuration space; nothing happens where there is nothing.
pub fn write_pci(segment: u16, bus: u8, devfn: u8, offset: u16, width: Width, value: u32) {
    if segment == 0 && offset < 256 {
        return by_port(bus, devfn, offset, |port| write_port(port, width, value));
    }
    let Some(address) = in_memory(segment, bus, devfn, offset) else {
        return;
    };
    // SAFETY: the window is mapped for ever; the library checked that the device is the domain's.
    unsafe {
        match width {
            Width::Byte => (address as *mut u8).write_volatile(value as u8),
            Width::Word => ((address & !1) as *mut u16).write_volatile(value as u16),
            Width::Dword => ((address & !3) as *mut u32).write_volatile(value),
        }
    }
}
