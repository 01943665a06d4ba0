//! PCI configuration space in memory (PCI Firmware Specification 3.0, 4.1.2).

use arrayvec::ArrayVec;

use crate::boot::bytes::{u8_at, u16_at, u64_at};

/// One window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// Physical address that bus 0 of the segment would have.
    pub address: u64,
    /// Segment.
    pub segment: u16,
    /// First bus.
    pub first_bus: u8,
    /// Last bus.
    pub last_bus: u8,
}

/// All windows.
pub type Mcfg = ArrayVec<Window, 16>;

/// Reads the table's body (after the header).
pub fn parse(body: &[u8]) -> Mcfg {
    const ENTRY_SIZE: usize = 16;
    let mut out = Mcfg::new();
    for entry in body.get(8..).unwrap_or_default().chunks_exact(ENTRY_SIZE) {
        if let (Some(address), Some(segment), Some(first_bus), Some(last_bus)) = (
            u64_at(entry, 0),
            u16_at(entry, 8),
            u8_at(entry, 10),
            u8_at(entry, 11),
        ) && address != 0
            && first_bus <= last_bus
        {
            let _ = out.try_push(Window {
                address,
                segment,
                first_bus,
                last_bus,
            });
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows() {
        let mut body = [0u8; 8 + 2 * 16];
        body[11] = 0xe0;
        body[8 + 11] = 0xff;
        assert_eq!(
            &parse(&body)[..],
            [Window {
                address: 0xe000_0000,
                segment: 0,
                first_bus: 0,
                last_bus: 255
            }]
        );
        assert!(parse(&body[..20]).is_empty());
    }
}
