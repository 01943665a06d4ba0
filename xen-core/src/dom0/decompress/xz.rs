//! The .xz container: one stream of blocks, each LZMA2 behind an optional x86 branch filter.
//!
//! Contract: "The .xz File Format" 1.1. Checks none, CRC-32 and CRC-64 are verified, as are the
//! CRCs of every header, the index and the footer.

use super::KernelError;
use super::bcj_x86;
use super::crc::{crc32, crc64};
use super::input::Input;
use super::lzma::Decoder;
use super::lzma2;
use super::output::Output;
use crate::dom0::bzimage::Compression;

const HEADER_MAGIC: [u8; 6] = [0xfd, b'7', b'z', b'X', b'Z', 0];
const FOOTER_MAGIC: [u8; 2] = *b"YZ";
const FOOTER: usize = 12;
const FILTER_X86: u64 = 0x04;
const FILTER_LZMA2: u64 = 0x21;

/// Integrity check of the blocks.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Check {
    None,
    Crc32,
    Crc64,
}

/// What the index repeats about all blocks.
#[derive(Default, PartialEq, Eq)]
struct Totals {
    blocks: u64,
    unpadded: u64,
    uncompressed: u64,
}

/// What a block header says.
struct BlockHeader {
    /// Start address of the x86 filter, if it is used.
    x86: Option<u32>,
    compressed: Option<u64>,
    uncompressed: Option<u64>,
}

pub(super) fn decompress(data: &[u8], out: &mut [u8]) -> Result<usize, KernelError> {
    let mut input = Input::new(data, Compression::Xz);
    let flags = stream_header(&mut input)?;
    let check = check_kind(flags)?;
    let mut output = Output::new(out);
    let mut decoder = None;
    let mut totals = Totals::default();
    while input.rest().first() != Some(&0) {
        block(&mut input, check, &mut output, &mut decoder, &mut totals)?;
    }
    let before = input.rest().len();
    if index(&mut input)? != totals {
        return Err(input.corrupt("its index does not match its blocks"));
    }
    let index_size = before - input.rest().len();
    footer(&mut input, flags, index_size)?;
    // Stream padding: zeros only.
    if input.rest().iter().any(|&byte| byte != 0) {
        return Err(input.corrupt("data follows its end"));
    }
    Ok(output.position())
}

/// Sum of the block sizes in the index at the end of a bare file.
pub(super) fn uncompressed_size(data: &[u8]) -> Result<usize, KernelError> {
    let corrupt = KernelError::Corrupt(Compression::Xz, "its footer does not point to an index");
    let end = data
        .iter()
        .rposition(|&byte| byte != 0)
        .map_or(0, |last| last + 1);
    let (body, footer) = data
        .get(..end)
        .and_then(|stream| stream.split_last_chunk::<FOOTER>())
        .ok_or(KernelError::Truncated("the xz stream"))?;
    let mut fields = Input::new(footer, Compression::Xz);
    let _crc = fields.u32_le()?;
    let index_size = (u64::from(fields.u32_le()?) + 1) * 4;
    let start = usize::try_from(index_size)
        .ok()
        .and_then(|size| body.len().checked_sub(size));
    let stored = start.and_then(|start| body.get(start..)).ok_or(corrupt)?;
    let totals = index(&mut Input::new(stored, Compression::Xz))?;
    usize::try_from(totals.uncompressed).map_err(|_| corrupt)
}

/// Returns the stream flags.
fn stream_header(input: &mut Input<'_>) -> Result<[u8; 2], KernelError> {
    if input.array()? != HEADER_MAGIC {
        return Err(input.corrupt("it does not start with its magic"));
    }
    let flags: [u8; 2] = input.array()?;
    if input.u32_le()? != crc32(&flags) {
        return Err(input.corrupt("its header's CRC-32 does not match"));
    }
    Ok(flags)
}

fn check_kind(flags: [u8; 2]) -> Result<Check, KernelError> {
    match flags {
        [0, 0] => Ok(Check::None),
        [0, 1] => Ok(Check::Crc32),
        [0, 4] => Ok(Check::Crc64),
        _ => Err(KernelError::CompressionOption(
            Compression::Xz,
            "an integrity check other than CRC-32 and CRC-64",
        )),
    }
}

fn block(
    input: &mut Input<'_>,
    check: Check,
    output: &mut Output<'_>,
    decoder: &mut Option<Decoder>,
    totals: &mut Totals,
) -> Result<(), KernelError> {
    let before = input.rest().len();
    let header = block_header(input)?;
    let data_before = input.rest().len();
    let from = output.position();
    lzma2::decode(input, output, decoder)?;

    let packed = (data_before - input.rest().len()) as u64;
    let unpacked = (output.position() - from) as u64;
    if header.compressed.is_some_and(|size| size != packed)
        || header.uncompressed.is_some_and(|size| size != unpacked)
    {
        return Err(input.corrupt("a block's size does not match its header"));
    }
    let unpadded = before - input.rest().len();
    zero_padding(input, unpadded)?;

    let produced = output.since_mut(from);
    if let Some(start) = header.x86 {
        bcj_x86::decode(produced, start);
    }
    let (matches, check_size) = match check {
        Check::None => (true, 0),
        Check::Crc32 => (input.u32_le()? == crc32(produced), 4),
        Check::Crc64 => (input.u64_le()? == crc64(produced), 8),
    };
    if !matches {
        return Err(input.corrupt("a block's checksum does not match"));
    }
    totals.blocks += 1;
    totals.unpadded += unpadded as u64 + check_size;
    totals.uncompressed += unpacked;
    Ok(())
}

fn block_header(input: &mut Input<'_>) -> Result<BlockHeader, KernelError> {
    let mut peek = input.clone();
    let size = (usize::from(peek.u8()?) + 1) * 4;
    let header = input.take(size)?;
    let (header, crc) = header
        .split_last_chunk()
        .ok_or(input.corrupt("a block header is short"))?;
    if u32::from_le_bytes(*crc) != crc32(header) {
        return Err(input.corrupt("a block header's CRC-32 does not match"));
    }
    let mut fields = Input::new(header, Compression::Xz);
    let [_size, flags] = fields.array()?;
    if flags & 0x3c != 0 {
        return Err(KernelError::CompressionOption(
            Compression::Xz,
            "an unknown block flag",
        ));
    }
    let compressed = (flags & 0x40 != 0)
        .then(|| number(&mut fields))
        .transpose()?;
    let uncompressed = (flags & 0x80 != 0)
        .then(|| number(&mut fields))
        .transpose()?;
    let filters = (flags & 3) + 1;
    let filter = number(&mut fields)?;
    let x86 = match (filters, filter) {
        (1, FILTER_LZMA2) => None,
        (2, FILTER_X86) => {
            let start = match number(&mut fields)? {
                0 => 0,
                4 => fields.u32_le()?,
                _ => return Err(input.corrupt("a filter's properties have the wrong size")),
            };
            if number(&mut fields)? != FILTER_LZMA2 {
                return Err(KernelError::CompressionOption(
                    Compression::Xz,
                    "an unknown filter",
                ));
            }
            Some(start)
        }
        _ => {
            return Err(KernelError::CompressionOption(
                Compression::Xz,
                "a filter other than x86 and LZMA2",
            ));
        }
    };
    let [properties, dictionary] = fields.array()?;
    if properties != 1 || dictionary > 40 {
        return Err(input.corrupt("a filter's properties are out of range"));
    }
    if fields.rest().iter().any(|&byte| byte != 0) {
        return Err(input.corrupt("a block header's padding is not zero"));
    }
    Ok(BlockHeader {
        x86,
        compressed,
        uncompressed,
    })
}

fn index(input: &mut Input<'_>) -> Result<Totals, KernelError> {
    let start = input.rest();
    if input.u8()? != 0 {
        return Err(input.corrupt("its index is missing"));
    }
    let mut totals = Totals {
        blocks: number(input)?,
        ..Totals::default()
    };
    for _ in 0..totals.blocks {
        totals.unpadded = totals.unpadded.saturating_add(number(input)?);
        totals.uncompressed = totals.uncompressed.saturating_add(number(input)?);
    }
    zero_padding(input, start.len() - input.rest().len())?;
    let stored = start
        .get(..start.len() - input.rest().len())
        .unwrap_or_default();
    if input.u32_le()? != crc32(stored) {
        return Err(input.corrupt("its index's CRC-32 does not match"));
    }
    Ok(totals)
}

fn footer(input: &mut Input<'_>, flags: [u8; 2], index_size: usize) -> Result<(), KernelError> {
    let crc = input.u32_le()?;
    let fields: [u8; 6] = input.array()?;
    if crc != crc32(&fields) || input.array()? != FOOTER_MAGIC {
        return Err(input.corrupt("its footer is malformed"));
    }
    let [a, b, c, d, stored_flags @ ..] = fields;
    let backward = (u64::from(u32::from_le_bytes([a, b, c, d])) + 1) * 4;
    if stored_flags != flags || backward != index_size as u64 {
        return Err(input.corrupt("its footer does not match its header"));
    }
    Ok(())
}

/// Skips to the next multiple of four after `length` bytes; the skipped bytes must be zero.
fn zero_padding(input: &mut Input<'_>, length: usize) -> Result<(), KernelError> {
    let padding = input.take(length.next_multiple_of(4) - length)?;
    if padding.iter().any(|&byte| byte != 0) {
        return Err(input.corrupt("its padding is not zero"));
    }
    Ok(())
}

/// A variable-length integer: seven bits a byte, least significant first, at most nine bytes.
fn number(input: &mut Input<'_>) -> Result<u64, KernelError> {
    let mut value = 0;
    for shift in (0..63).step_by(7) {
        let byte = input.u8()?;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Ok(value);
        }
    }
    Err(input.corrupt("a number is too long"))
}
