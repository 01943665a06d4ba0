//! Ethernet addresses.

use std::fmt;

/// A MAC address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Mac(pub [u8; 6]);

impl Mac {
    /// The address of network card `index` of the domain `uuid` when none is configured: in Xen's range 00:16:3e, and the same
    /// every time the domain is made with the same UUID.
    #[must_use]
    pub fn of(uuid: [u8; 16], index: u32) -> Self {
        // FNV-1a spreads a UUID's bytes well enough over 22 bits.
        let mut hash = 0xcbf2_9ce4_8422_2325_u64;
        for byte in uuid.iter().chain(&index.to_le_bytes()) {
            hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
        let [a, b, c, ..] = hash.to_le_bytes();
        Self([0x00, 0x16, 0x3e, a & 0x7f, b, c])
    }

    /// From six pairs of hexadecimal digits separated by colons.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let bytes: Vec<u8> = text
            .split(':')
            .map(|pair| match pair.len() {
                1 | 2 => u8::from_str_radix(pair, 16).ok(),
                _ => None,
            })
            .collect::<Option<_>>()?;
        bytes.try_into().ok().map(Self)
    }
}

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}
