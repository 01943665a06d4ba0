//! Decompression of the kernel payload into a buffer the caller provides.
//!
//! The buffer is the decoders' window, so that a dictionary of 32 MiB (xz) or 128 MiB (zstd)
//! costs no heap beyond the decoding tables ([`HEAP_NEEDED`]). Input is hostile until a checksum
//! says otherwise: every decoder bounds its output by the buffer and returns an error for
//! anything malformed.
//!
//! Contract: the formats `scripts/Makefile.lib` of Linux produces for x86 kernels.

mod bcj_x86;
mod crc;
mod gzip;
mod input;
mod lz4;
mod lzma;
mod lzma2;
mod lzma_alone;
mod lzo;
mod output;
mod range_coder;
mod xz;
mod zstd;

use super::bzimage::{Compression, Payload, compression_of};
use super::error::KernelError;

/// How many bytes `payload` decompresses to: the size of the buffer for [`decompress`].
///
/// Exact, except for a bare LZ4 or LZMA file that does not state its size: there it is an upper
/// bound, or an error where none exists.
///
/// # Errors
/// The payload is truncated or malformed where it states its size.
pub fn uncompressed_size(payload: &Payload<'_>) -> Result<usize, KernelError> {
    if let Some(size) = payload.stated_size {
        return Ok(size as usize);
    }
    match payload.compression {
        Compression::None => Ok(payload.data.len()),
        Compression::Gzip => gzip::uncompressed_size(payload.data),
        Compression::Xz => xz::uncompressed_size(payload.data),
        Compression::Lzma => lzma_alone::uncompressed_size(payload.data),
        Compression::Lz4 => lz4::uncompressed_size(payload.data),
        Compression::Lzo => lzo::uncompressed_size(payload.data),
        Compression::Zstd => zstd::uncompressed_size(payload.data),
        Compression::Bzip2 => Err(KernelError::UnsupportedCompression(Compression::Bzip2)),
    }
}

/// The most heap that [`decompress`] takes for any payload, beside `out`.
pub const HEAP_NEEDED: usize = 256 << 10;

/// Decompresses `payload` into the front of `out` and returns the length written.
///
/// # Errors
/// The payload is corrupt, uses an option that is not supported, or does not fit `out`.
pub fn decompress(payload: &Payload<'_>, out: &mut [u8]) -> Result<usize, KernelError> {
    let kind = payload.compression;
    let length = match kind {
        Compression::None => {
            out.get_mut(..payload.data.len())
                .ok_or(KernelError::OutputTooLarge(kind))?
                .copy_from_slice(payload.data);
            payload.data.len()
        }
        Compression::Gzip => gzip::decompress(payload.data, out)?,
        Compression::Xz => xz::decompress(payload.data, out)?,
        Compression::Lzma => lzma_alone::decompress(payload.data, out)?,
        Compression::Lz4 => lz4::decompress(payload.data, out)?,
        Compression::Lzo => lzo::decompress(payload.data, out)?,
        Compression::Zstd => zstd::decompress(payload.data, out)?,
        Compression::Bzip2 => return Err(KernelError::UnsupportedCompression(kind)),
    };
    if let Some(expected) = payload.stated_size
        && expected as usize != length
    {
        return Err(KernelError::WrongLength {
            expected: expected as usize,
            found: length,
        });
    }
    let again = out.get(..length).and_then(compression_of);
    if kind != Compression::None && again.is_some_and(|inner| inner != Compression::None) {
        return Err(KernelError::StillCompressed);
    }
    Ok(length)
}

#[cfg(test)]
mod tests;
