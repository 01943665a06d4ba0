//! The lzop file format around LZO1X blocks.
//!
//! Contract: lzop's file format (version 1.03 and later) as `lzop -9` writes it for Linux.

use super::KernelError;
use super::crc::{adler32, crc32};
use super::input::Input;
use crate::dom0::bzimage::Compression;

const MAGIC: [u8; 9] = [0x89, b'L', b'Z', b'O', 0, 0x0d, 0x0a, 0x1a, 0x0a];
/// Format version from which the header has a minimum version, a level and a 64-bit time.
const LONG_HEADER: u16 = 0x0940;

// Bits of the header's flags.
const ADLER32_OUT: u32 = 1 << 0;
const ADLER32_IN: u32 = 1 << 1;
const EXTRA_FIELD: u32 = 1 << 6;
const CRC32_OUT: u32 = 1 << 8;
const CRC32_IN: u32 = 1 << 9;
const MULTIPART: u32 = 1 << 10;
const FILTER: u32 = 1 << 11;

/// One block as stored.
struct Block<'a> {
    size: usize,
    adler32: Option<u32>,
    crc32: Option<u32>,
    data: &'a [u8],
}

struct Blocks<'a> {
    input: Input<'a>,
    flags: u32,
}

impl<'a> Blocks<'a> {
    fn new(data: &'a [u8]) -> Result<Self, KernelError> {
        let mut input = Input::new(data, Compression::Lzo);
        if input.array()? != MAGIC {
            return Err(input.corrupt("it does not start with its magic"));
        }
        let long = input.u16_be()? >= LONG_HEADER;
        let _library_version = input.u16_be()?;
        if long {
            let _version_needed = input.u16_be()?;
        }
        let _method = input.u8()?;
        if long {
            let _level = input.u8()?;
        }
        let flags = input.u32_be()?;
        if flags & (FILTER | MULTIPART) != 0 {
            return Err(KernelError::CompressionOption(
                Compression::Lzo,
                "a filter or parts",
            ));
        }
        let _mode = input.u32_be()?;
        input.take(if long { 8 } else { 4 })?; // modification time
        let name = input.u8()?;
        input.take(name.into())?;
        let _header_checksum = input.u32_be()?;
        if flags & EXTRA_FIELD != 0 {
            let length = input.u32_be()?;
            input.take(length as usize)?;
            let _checksum = input.u32_be()?;
        }
        Ok(Self { input, flags })
    }

    fn optional(&mut self, flag: u32) -> Result<Option<u32>, KernelError> {
        if self.flags & flag == 0 {
            Ok(None)
        } else {
            self.input.u32_be().map(Some)
        }
    }

    fn next(&mut self) -> Result<Option<Block<'a>>, KernelError> {
        let size = self.input.u32_be()? as usize;
        if size == 0 {
            return Ok(None);
        }
        let packed = self.input.u32_be()? as usize;
        if packed > size {
            return Err(self.input.corrupt("a block is longer packed than unpacked"));
        }
        let adler32 = self.optional(ADLER32_OUT)?;
        let crc32 = self.optional(CRC32_OUT)?;
        if packed < size {
            self.optional(ADLER32_IN)?;
            self.optional(CRC32_IN)?;
        }
        let data = self.input.take(packed)?;
        Ok(Some(Block {
            size,
            adler32,
            crc32,
            data,
        }))
    }
}

/// The sum of the blocks' sizes.
pub(super) fn uncompressed_size(data: &[u8]) -> Result<usize, KernelError> {
    let mut blocks = Blocks::new(data)?;
    let mut size = 0usize;
    while let Some(block) = blocks.next()? {
        size = size.saturating_add(block.size);
    }
    Ok(size)
}

pub(super) fn decompress(data: &[u8], out: &mut [u8]) -> Result<usize, KernelError> {
    let mut blocks = Blocks::new(data)?;
    let mut written = 0usize;
    while let Some(block) = blocks.next()? {
        let room = out
            .get_mut(written..)
            .and_then(|rest| rest.get_mut(..block.size))
            .ok_or(KernelError::OutputTooLarge(Compression::Lzo))?;
        if block.data.len() == block.size {
            room.copy_from_slice(block.data);
        } else if lzokay::decompress::decompress(block.data, room) != Ok(block.size) {
            return Err(blocks.input.corrupt("a block is malformed"));
        }
        if block.adler32.is_some_and(|sum| sum != adler32(room))
            || block.crc32.is_some_and(|sum| sum != crc32(room))
        {
            return Err(blocks.input.corrupt("a block's checksum does not match"));
        }
        written += block.size;
    }
    Ok(written)
}
