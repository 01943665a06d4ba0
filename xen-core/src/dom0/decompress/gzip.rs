//! gzip (RFC 1952) around DEFLATE, one member.

use alloc::boxed::Box;

use miniz_oxide::inflate::TINFLStatus;
use miniz_oxide::inflate::core::{DecompressorOxide, decompress as inflate, inflate_flags};

use super::KernelError;
use super::crc::crc32;
use super::input::Input;
use crate::dom0::bzimage::Compression;

const DEFLATE: u8 = 8;
// Bits of FLG.
const HEADER_CRC: u8 = 1 << 1;
const EXTRA: u8 = 1 << 2;
const NAME: u8 = 1 << 3;
const COMMENT: u8 = 1 << 4;
const RESERVED: u8 = 0xe0;

/// ISIZE, the last four bytes.
pub(super) fn uncompressed_size(data: &[u8]) -> Result<usize, KernelError> {
    let size = data
        .last_chunk()
        .ok_or(KernelError::Truncated("the gzip trailer"))?;
    Ok(u32::from_le_bytes(*size) as usize)
}

pub(super) fn decompress(data: &[u8], out: &mut [u8]) -> Result<usize, KernelError> {
    let mut input = Input::new(data, Compression::Gzip);
    skip_header(&mut input)?;

    let mut state = Box::<DecompressorOxide>::default();
    let flags = inflate_flags::TINFL_FLAG_USING_NON_WRAPPING_OUTPUT_BUF;
    let (status, consumed, written) = inflate(&mut state, input.rest(), out, 0, flags);
    match status {
        TINFLStatus::Done => {}
        TINFLStatus::HasMoreOutput => return Err(KernelError::OutputTooLarge(Compression::Gzip)),
        TINFLStatus::NeedsMoreInput | TINFLStatus::FailedCannotMakeProgress => {
            return Err(input.corrupt("it ends early"));
        }
        _ => return Err(input.corrupt("a DEFLATE block is malformed")),
    }
    input.take(consumed)?;

    let crc = input.u32_le()?;
    let size = input.u32_le()?;
    let produced = out
        .get(..written)
        .ok_or(KernelError::OutputTooLarge(Compression::Gzip))?;
    if crc != crc32(produced) {
        return Err(input.corrupt("its CRC-32 does not match"));
    }
    if u64::from(size) != (written as u64 & 0xffff_ffff) {
        return Err(input.corrupt("its stated length does not match"));
    }
    Ok(written)
}

fn skip_header(input: &mut Input<'_>) -> Result<(), KernelError> {
    let [_, _, method, flags] = input.array()?;
    let [_mtime @ .., _xfl, _os] = input.array::<6>()?;
    if method != DEFLATE || flags & RESERVED != 0 {
        return Err(KernelError::CompressionOption(
            Compression::Gzip,
            "an unknown method or flag",
        ));
    }
    if flags & EXTRA != 0 {
        let length = u16::from_le_bytes(input.array()?);
        input.take(length.into())?;
    }
    for field in [NAME, COMMENT] {
        if flags & field != 0 {
            while input.u8()? != 0 {}
        }
    }
    if flags & HEADER_CRC != 0 {
        input.take(2)?;
    }
    Ok(())
}
