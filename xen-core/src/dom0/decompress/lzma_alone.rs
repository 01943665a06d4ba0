//! The LZMA-alone format: properties, dictionary size, uncompressed size, one LZMA stream.
//!
//! Contract: "LZMA file format" of the public-domain LZMA specification; Linux's compressor reads
//! from a pipe, so the size is unknown (all ones) and an end marker closes the stream.

use super::KernelError;
use super::input::Input;
use super::lzma::{Decoder, Ended, LzmaError, Properties};
use super::output::Output;
use super::range_coder::RangeDecoder;
use crate::dom0::bzimage::Compression;

const UNKNOWN_SIZE: u64 = u64::MAX;

struct Header {
    properties: Properties,
    size: Option<u64>,
}

fn header(input: &mut Input<'_>) -> Result<Header, KernelError> {
    let properties = Properties::from_byte(input.u8()?)
        .ok_or_else(|| input.corrupt("its LZMA properties are out of range"))?;
    let _dictionary_size = input.u32_le()?;
    let size = Some(input.u64_le()?).filter(|&size| size != UNKNOWN_SIZE);
    Ok(Header { properties, size })
}

/// The size in the header.
pub(super) fn uncompressed_size(data: &[u8]) -> Result<usize, KernelError> {
    let size = header(&mut Input::new(data, Compression::Lzma))?.size;
    size.and_then(|size| usize::try_from(size).ok())
        .ok_or(KernelError::CompressionOption(
            Compression::Lzma,
            "a stream of unknown size",
        ))
}

pub(super) fn decompress(data: &[u8], out: &mut [u8]) -> Result<usize, KernelError> {
    let mut input = Input::new(data, Compression::Lzma);
    let Header { properties, size } = header(&mut input)?;
    let end = match size {
        Some(size) => usize::try_from(size)
            .ok()
            .filter(|&size| size <= out.len())
            .ok_or(KernelError::OutputTooLarge(Compression::Lzma))?,
        None => out.len(),
    };
    let mut output = Output::new(out);
    let mut run = || -> Result<bool, LzmaError> {
        let mut coder = RangeDecoder::new(input.rest())?;
        let mut decoder = Decoder::new(properties);
        let ended = decoder.run(&mut coder, &mut output, end)?;
        // A stream of unknown size ends with the marker, also when it fills the buffer exactly.
        Ok(match (size, ended) {
            (Some(_), Ended::Marker) => false,
            (Some(_), Ended::Full) | (None, Ended::Marker) => true,
            (None, Ended::Full) => decoder.end_marker(&mut coder, &output),
        })
    };
    let outcome = run();
    match outcome {
        Ok(true) => Ok(output.position()),
        Ok(false) if size.is_some() => Err(input.corrupt("it ends before its stated length")),
        Ok(false) | Err(LzmaError::OutputFull) => {
            Err(KernelError::OutputTooLarge(Compression::Lzma))
        }
        Err(LzmaError::InputEnds) => Err(input.corrupt("it ends early")),
        Err(LzmaError::Malformed(why)) => Err(input.corrupt(why)),
    }
}
