//! LZ4's legacy frame: the magic, then blocks of at most 8 MiB each behind their packed length.
//!
//! Contract: "LZ4 Frame Format", section "Legacy frame", as `lz4 -l` and Linux use it.

use super::KernelError;
use super::input::Input;
use crate::dom0::bzimage::Compression;

const MAGIC: u32 = 0x184c_2102;
const BLOCK: usize = 8 << 20;

/// The packed blocks of a frame; concatenated frames read as one.
struct Blocks<'a>(Input<'a>);

impl<'a> Blocks<'a> {
    fn new(data: &'a [u8]) -> Result<Self, KernelError> {
        let mut input = Input::new(data, Compression::Lz4);
        if input.u32_le()? != MAGIC {
            return Err(input.corrupt("it does not start with its magic"));
        }
        Ok(Self(input))
    }

    fn next(&mut self) -> Result<Option<&'a [u8]>, KernelError> {
        loop {
            if self.0.is_empty() {
                return Ok(None);
            }
            match self.0.u32_le()? {
                MAGIC => {}
                0 => return Ok(None),
                length => return self.0.take(length as usize).map(Some),
            }
        }
    }
}

/// An upper bound: a legacy frame states no size.
pub(super) fn uncompressed_size(data: &[u8]) -> Result<usize, KernelError> {
    let mut blocks = Blocks::new(data)?;
    let mut size = 0usize;
    while let Some(block) = blocks.next()? {
        // No sequence of LZ4 expands a byte to more than 255.
        size = size.saturating_add(block.len().saturating_mul(255).min(BLOCK));
    }
    Ok(size)
}

pub(super) fn decompress(data: &[u8], out: &mut [u8]) -> Result<usize, KernelError> {
    let mut blocks = Blocks::new(data)?;
    let mut written = 0;
    while let Some(block) = blocks.next()? {
        let room = out.get_mut(written..).unwrap_or_default();
        let length = room.len().min(BLOCK);
        let room = room.get_mut(..length).unwrap_or_default();
        written += lz4_flex::block::decompress_into(block, room).map_err(|error| match error {
            lz4_flex::block::DecompressError::OutputTooSmall { .. } => {
                KernelError::OutputTooLarge(Compression::Lz4)
            }
            _ => blocks.0.corrupt("a block is malformed"),
        })?;
    }
    Ok(written)
}
