//! The checksums of the compressed formats.

use crc::{CRC_32_ISO_HDLC, CRC_64_XZ, Crc, Table};

static CRC32: Crc<u32, Table<16>> = Crc::<u32, Table<16>>::new(&CRC_32_ISO_HDLC);
static CRC64: Crc<u64, Table<16>> = Crc::<u64, Table<16>>::new(&CRC_64_XZ);

/// CRC-32 of gzip, xz and lzop.
pub(super) fn crc32(data: &[u8]) -> u32 {
    CRC32.checksum(data)
}

/// CRC-64 of xz.
pub(super) fn crc64(data: &[u8]) -> u64 {
    CRC64.checksum(data)
}

/// Adler-32 of lzop (RFC 1950).
pub(super) fn adler32(data: &[u8]) -> u32 {
    const MODULUS: u32 = 65521;
    // The longest run whose sums stay below 2^32 before reduction.
    const RUN: usize = 5552;
    let (mut a, mut b) = (1u32, 0u32);
    for run in data.chunks(RUN) {
        for &byte in run {
            a += u32::from(byte);
            b += a;
        }
        a %= MODULUS;
        b %= MODULUS;
    }
    b << 16 | a
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn published_check_values() {
        assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
        assert_eq!(crc64(b"123456789"), 0x995d_c9bb_df19_39fa);
        assert_eq!(adler32(b"Wikipedia"), 0x11e6_0398);
        assert_eq!(adler32(&[0xff; 100_000]), 0x149a_302c);
    }
}
