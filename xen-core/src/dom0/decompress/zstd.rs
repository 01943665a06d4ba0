//! Zstandard (RFC 8878), one frame with an optional checksum.

use ruzstd::decoding::errors::FrameDecoderError;
use ruzstd::decoding::{BlockDecodingStrategy, FrameDecoder};
use ruzstd::io::Read;

use super::KernelError;
use super::input::Input;
use crate::dom0::bzimage::Compression;

const MAGIC: u32 = 0xfd2f_b528;
/// Output is moved out of the window in steps of this size.
const STEP: usize = 1 << 20;
/// Largest block (RFC 8878, 3.1.1.2.4).
const BLOCK: usize = 128 << 10;
/// Decoding tables, literals and sequences of one block.
const TABLES: usize = 2 << 20;

/// What the frame header says.
struct Frame {
    window: u64,
    content: Option<u64>,
}

/// Reads the frame header (RFC 8878, 3.1.1.1).
fn frame(data: &[u8]) -> Result<Frame, KernelError> {
    let mut input = Input::new(data, Compression::Zstd);
    if input.u32_le()? != MAGIC {
        return Err(input.corrupt("it does not start with its magic"));
    }
    let descriptor = input.u8()?;
    let single_segment = descriptor & 1 << 5 != 0;
    let window = if single_segment {
        None
    } else {
        let byte = input.u8()?;
        let base = 1u64 << (10 + u32::from(byte >> 3));
        Some(base + base / 8 * u64::from(byte & 7))
    };
    input.take([0, 1, 2, 4][usize::from(descriptor & 3)])?; // dictionary id
    let content = match descriptor >> 6 {
        0 if single_segment => Some(input.u8()?.into()),
        0 => None,
        1 => Some(u64::from(u16::from_le_bytes(input.array()?)) + 256),
        2 => Some(input.u32_le()?.into()),
        _ => Some(input.u64_le()?),
    };
    let window = window
        .or(content)
        .ok_or(input.corrupt("it states no window"))?;
    Ok(Frame { window, content })
}

/// The content size of the frame header.
pub(super) fn uncompressed_size(data: &[u8]) -> Result<usize, KernelError> {
    let size = frame(data)?.content;
    size.and_then(|size| usize::try_from(size).ok())
        .ok_or(KernelError::CompressionOption(
            Compression::Zstd,
            "a stream of unknown size",
        ))
}

/// The window (never more than the content), which doubles by copying while it fills.
pub(super) fn heap_needed(data: &[u8], content: usize) -> Result<usize, KernelError> {
    let window = usize::try_from(frame(data)?.window).unwrap_or(usize::MAX);
    let held = window
        .saturating_add(STEP + 2 * BLOCK)
        .min(content.saturating_add(2 * BLOCK));
    let ring = held.checked_next_power_of_two().unwrap_or(usize::MAX);
    Ok(ring.saturating_add(ring / 2).saturating_add(TABLES))
}

pub(super) fn decompress(data: &[u8], out: &mut [u8]) -> Result<usize, KernelError> {
    let error = |why| KernelError::Corrupt(Compression::Zstd, why);
    let malformed = |cause| match cause {
        FrameDecoderError::WindowSizeTooBig { .. } => {
            KernelError::CompressionOption(Compression::Zstd, "a window of more than 128 MiB")
        }
        FrameDecoderError::DictNotProvided { .. } => {
            KernelError::CompressionOption(Compression::Zstd, "a dictionary")
        }
        FrameDecoderError::FailedToReadBlockHeader(_)
        | FrameDecoderError::FailedToReadChecksum(_) => error("it ends early"),
        _ => error("a block is malformed"),
    };
    let mut input = data;
    let mut decoder = FrameDecoder::new();
    decoder.reset(&mut input).map_err(malformed)?;
    let mut written = 0;
    loop {
        decoder
            .decode_blocks(&mut input, BlockDecodingStrategy::UptoBytes(STEP))
            .map_err(malformed)?;
        let room = out.get_mut(written..).unwrap_or_default();
        written += decoder
            .read(room)
            .map_err(|_| error("its window cannot be read"))?;
        if decoder.can_collect() != 0 {
            return Err(KernelError::OutputTooLarge(Compression::Zstd));
        }
        if decoder.is_finished() {
            break;
        }
    }
    if let Some(sum) = decoder.get_checksum_from_data()
        && decoder.get_calculated_checksum() != Some(sum)
    {
        return Err(error("its checksum does not match"));
    }
    Ok(written)
}
