//! High-precision event timer table (IA-PC HPET Specification 1.0a, 3.2.4).

use crate::boot::bytes::{u8_at, u64_at};

/// The timer block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hpet {
    /// Physical address of its registers.
    pub address: u64,
    /// Its number.
    pub number: u8,
}

/// Reads the table's body (after the header). Only a block in memory is of use.
pub fn parse(body: &[u8]) -> Option<Hpet> {
    const SPACE_MEMORY: u8 = 0;
    let address =
        u64_at(body, 8).filter(|&address| address != 0 && u8_at(body, 4) == Some(SPACE_MEMORY))?;
    Some(Hpet {
        address,
        number: u8_at(body, 16)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn block_in_memory() {
        let mut body = [
            0x01, 0xa2, 0x86, 0x80, 0, 0, 0, 0, 0, 0, 0xd0, 0xfe, 0, 0, 0, 0, 3, 0, 0, 0,
        ];
        assert_eq!(
            parse(&body),
            Some(Hpet {
                address: 0xfed0_0000,
                number: 3
            })
        );
        body[4] = 1;
        assert_eq!(parse(&body), None);
        assert_eq!(parse(&body[..10]), None);
    }
}
