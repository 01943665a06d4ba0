//! Which ports a domain reaches, and what it finds where it may not go.
//!
//! Contract: abi-requirements 1.8 (rights of the hardware domain) and 5.5.

use crate::domain::Domain;
use crate::hypervisor::Hypervisor;
use crate::machine::{Machine, Width};

/// Ports that the hypervisor keeps even from the hardware domain: both PICs, the PIT with its gate, the CMOS, PCI
/// configuration data.
const fn is_reserved(port: u16) -> bool {
    matches!(port, 0x20 | 0x21 | 0xa0 | 0xa1 | 0x40..=0x43 | 0x61 | 0x70 | 0x71 | 0xcfc..=0xcff)
}

/// PCI configuration address port.
const PCI_ADDRESS: u16 = 0xcf8;
/// Enable bit of the address.
const PCI_ENABLE: u32 = 1 << 31;
/// CMOS index port; data follows it.
const CMOS_INDEX: u16 = 0x70;
const CMOS_DATA: u16 = 0x71;

/// What an access to less than the whole operand is.
enum Piece {
    Pit,
    CmosIndex,
    CmosData,
    PciAddress,
    PciData(Width),
    Nothing,
}

/// The next piece of an access to `left` bytes at `port`, and its size.
const fn piece(port: u16, left: u32) -> (Piece, u32) {
    match port {
        0x42 | 0x43 | 0x61 => (Piece::Pit, 1),
        CMOS_INDEX => (Piece::CmosIndex, 1),
        CMOS_DATA => (Piece::CmosData, 1),
        PCI_ADDRESS if left == 4 => (Piece::PciAddress, 4),
        0xcfc..=0xcff => {
            let room = 4 - (port & 3) as u32;
            match if left < room { left } else { room } {
                4 => (Piece::PciData(Width::Dword), 4),
                2 | 3 if port & 1 == 0 => (Piece::PciData(Width::Word), 2),
                _ => (Piece::PciData(Width::Byte), 1),
            }
        }
        _ => (Piece::Nothing, 1),
    }
}

/// A function's configuration register, decoded from the address port.
struct PciTarget {
    bus: u8,
    devfn: u8,
    offset: u16,
}

/// What `address` and a data port select; `None` without the enable bit.
fn pci_target(address: u32, port: u16) -> Option<PciTarget> {
    if address & PCI_ENABLE == 0 {
        return None;
    }
    let [register, devfn, bus, _] = address.to_le_bytes();
    Some(PciTarget {
        bus,
        devfn,
        offset: u16::from(register & 0xfc) | (port & 3),
    })
}

/// Whether `domain` may use all `bytes` ports from `port` on directly.
fn has_rights<M: Machine>(hv: &Hypervisor<M>, domain: &Domain, port: u16, bytes: u32) -> bool {
    // The configuration address is latched for its domain, but only as a whole.
    let latched = port == PCI_ADDRESS && bytes == 4;
    !latched
        && (0..bytes).all(|i| {
            u16::try_from(u32::from(port) + i).is_ok_and(|port| permitted(hv, domain, port))
        })
}

/// Whether `domain` may use `port` directly: the hardware domain any that the hypervisor does not keep, others those
/// that they were given.
#[must_use]
pub fn permitted<M: Machine>(hv: &Hypervisor<M>, domain: &Domain, port: u16) -> bool {
    let given = || {
        let range = u64::from(port)..u64::from(port) + 1;
        domain.rights.lock().ports.contains(&range)
    };
    (domain.privileges.hardware || given()) && !is_reserved(port) && !hv.machine.is_own_port(port)
}

/// Reads a port for `domain`. Never faults: what is not there reads as ones.
pub(super) fn read<M: Machine>(
    hv: &Hypervisor<M>,
    domain: &Domain,
    port: u16,
    width: Width,
) -> u32 {
    if has_rights(hv, domain, port, width.bytes()) {
        return hv.machine.port_in(port, width);
    }
    let mut value: u64 = 0;
    let mut done = 0;
    while done < width.bytes() {
        let at = port.wrapping_add(done as u16);
        let (piece, size) = piece(at, width.bytes() - done);
        let part = read_piece(hv, domain, at, piece);
        let mask = (1u64 << (size * 8)) - 1;
        value |= (u64::from(part) & mask) << (done * 8);
        done += size;
    }
    value as u32
}

/// Writes a port for `domain`. Never faults: what is not there is not written.
pub(super) fn write<M: Machine>(
    hv: &Hypervisor<M>,
    domain: &Domain,
    port: u16,
    width: Width,
    value: u32,
) {
    if has_rights(hv, domain, port, width.bytes()) {
        hv.machine.port_out(port, width, value);
        return;
    }
    let mut done = 0;
    while done < width.bytes() {
        let at = port.wrapping_add(done as u16);
        let (piece, size) = piece(at, width.bytes() - done);
        let mask = (1u64 << (size * 8)) - 1;
        let part = (u64::from(value) >> (done * 8)) & mask;
        write_piece(hv, domain, at, piece, part as u32);
        done += size;
    }
}

fn read_piece<M: Machine>(hv: &Hypervisor<M>, domain: &Domain, port: u16, piece: Piece) -> u32 {
    let hardware = domain.privileges.hardware;
    match piece {
        Piece::Pit => domain
            .legacy_ports
            .lock()
            .read_pit(port, hv.machine.now_ns())
            .into(),
        Piece::CmosIndex => domain.legacy_ports.lock().cmos_index.into(),
        Piece::CmosData if hardware => {
            // Index and data are one transaction with the hypervisor's own reads of the clock: under the lock.
            let ports = domain.legacy_ports.lock();
            hv.machine
                .port_out(CMOS_INDEX, Width::Byte, ports.cmos_index.into());
            hv.machine.port_in(CMOS_DATA, Width::Byte)
        }
        Piece::PciAddress => domain.legacy_ports.lock().pci_address,
        Piece::PciData(width) if hardware => {
            let address = domain.legacy_ports.lock().pci_address;
            pci_target(address, port).map_or(u32::MAX, |at| {
                hv.machine.pci_read(0, at.bus, at.devfn, at.offset, width)
            })
        }
        Piece::CmosData | Piece::PciData(_) | Piece::Nothing => u32::MAX,
    }
}

fn write_piece<M: Machine>(
    hv: &Hypervisor<M>,
    domain: &Domain,
    port: u16,
    piece: Piece,
    value: u32,
) {
    let hardware = domain.privileges.hardware;
    match piece {
        Piece::Pit => domain
            .legacy_ports
            .lock()
            .write_pit(port, value as u8, hv.machine.now_ns()),
        Piece::CmosIndex => {
            // Bit 7, where it masks NMIs, is not the guest's.
            domain.legacy_ports.lock().cmos_index = value as u8 & 0x7f;
        }
        Piece::CmosData if hardware => {
            let ports = domain.legacy_ports.lock();
            hv.machine
                .port_out(CMOS_INDEX, Width::Byte, ports.cmos_index.into());
            hv.machine.port_out(CMOS_DATA, Width::Byte, value);
        }
        Piece::PciAddress => domain.legacy_ports.lock().pci_address = value,
        Piece::PciData(width) if hardware => {
            let address = domain.legacy_ports.lock().pci_address;
            if let Some(at) = pci_target(address, port) {
                hv.machine
                    .pci_write(0, at.bus, at.devfn, at.offset, width, value);
            }
        }
        Piece::CmosData | Piece::PciData(_) | Piece::Nothing => {}
    }
}
