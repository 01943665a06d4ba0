//! Zstandard: one frame with an optional checksum.
//!
//! The output buffer is the window, as large as the frame wants it.
//!
//! Contract: RFC 8878, 3.1.1; no dictionaries.

mod bits;
mod fse;
mod huffman;
mod literals;
mod sequences;

use twox_hash::XxHash64;

use self::literals::Literals;
use self::sequences::Sequences;
use super::KernelError;
use super::input::Input;
use super::output::{Output, OutputError};
use crate::dom0::bzimage::Compression;

const MAGIC: u32 = 0xfd2f_b528;
/// Largest block (3.1.1.2.4).
const MAX_BLOCK: usize = 128 << 10;

// Block types.
const RAW: u32 = 0;
const RLE: u32 = 1;
const COMPRESSED: u32 = 2;

/// What is wrong inside a block; the frame adds the format's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Malformed(&'static str);

/// What the frame header says.
struct Header {
    content_size: Option<u64>,
    has_checksum: bool,
}

fn header(input: &mut Input<'_>) -> Result<Header, KernelError> {
    if input.u32_le()? != MAGIC {
        return Err(input.corrupt("it does not start with its magic"));
    }
    let descriptor = input.u8()?;
    if descriptor & 1 << 3 != 0 {
        return Err(KernelError::CompressionOption(
            Compression::Zstd,
            "an unknown frame flag",
        ));
    }
    let single_segment = descriptor & 1 << 5 != 0;
    if !single_segment {
        let _window = input.u8()?;
    }
    let dictionary = input.take([0, 1, 2, 4][usize::from(descriptor & 3)])?;
    if dictionary.iter().any(|&byte| byte != 0) {
        return Err(KernelError::CompressionOption(
            Compression::Zstd,
            "a dictionary",
        ));
    }
    let content_size = match descriptor >> 6 {
        0 if single_segment => Some(input.u8()?.into()),
        0 => None,
        1 => Some(u64::from(u16::from_le_bytes(input.array()?)) + 256),
        2 => Some(input.u32_le()?.into()),
        _ => Some(input.u64_le()?),
    };
    Ok(Header {
        content_size,
        has_checksum: descriptor & 1 << 2 != 0,
    })
}

/// The content size of the frame header.
pub(super) fn uncompressed_size(data: &[u8]) -> Result<usize, KernelError> {
    let size = header(&mut Input::new(data, Compression::Zstd))?.content_size;
    size.and_then(|size| usize::try_from(size).ok())
        .ok_or(KernelError::CompressionOption(
            Compression::Zstd,
            "a stream of unknown size",
        ))
}

pub(super) fn decompress(data: &[u8], out: &mut [u8]) -> Result<usize, KernelError> {
    let mut input = Input::new(data, Compression::Zstd);
    let Header {
        content_size,
        has_checksum,
    } = header(&mut input)?;
    let mut output = Output::new(out);
    let mut literals = Literals::new();
    let mut sequences = Sequences::new();
    loop {
        let [a, b, c] = input.array()?;
        let block = u32::from_le_bytes([a, b, c, 0]);
        let (last, kind, size) = (block & 1 != 0, block >> 1 & 3, (block >> 3) as usize);
        if size > MAX_BLOCK {
            return Err(input.corrupt("a block is too long"));
        }
        let full = |_: OutputError| KernelError::OutputTooLarge(Compression::Zstd);
        match kind {
            RAW => output.append(input.take(size)?).map_err(full)?,
            RLE => output.fill(input.u8()?, size).map_err(full)?,
            COMPRESSED => {
                let data = input.take(size)?;
                let (literals, rest) = literals
                    .decode(data)
                    .map_err(|Malformed(why)| input.corrupt(why))?;
                sequences
                    .execute(rest, literals, &mut output)
                    .map_err(|error| match error {
                        sequences::Error::Malformed(Malformed(why)) => input.corrupt(why),
                        sequences::Error::Full => KernelError::OutputTooLarge(Compression::Zstd),
                    })?;
            }
            _ => return Err(input.corrupt("a block is of an unknown kind")),
        }
        if last {
            break;
        }
    }
    let length = output.position();
    if content_size.is_some_and(|size| size != length as u64) {
        return Err(input.corrupt("its stated length does not match"));
    }
    #[expect(
        clippy::cast_possible_truncation,
        reason = "the checksum is the hash's low half"
    )]
    if has_checksum && input.u32_le()? != XxHash64::oneshot(0, output.since_mut(0)) as u32 {
        return Err(input.corrupt("its checksum does not match"));
    }
    if !input.is_empty() {
        return Err(input.corrupt("data follows its end"));
    }
    Ok(length)
}
