//! LZMA2: LZMA in chunks that may reset state, properties and dictionary, or hold plain bytes.
//!
//! Contract: "The .xz File Format", 5.3.1, and the chunk layout of the public-domain xz-embedded
//! documentation: control byte, sizes, optional properties, data.

use super::KernelError;
use super::input::Input;
use super::lzma::{Decoder, Ended, LzmaError, Properties};
use super::output::Output;
use super::range_coder::RangeDecoder;
use crate::dom0::bzimage::Compression;

const END: u8 = 0;
const PLAIN_WITH_DICTIONARY_RESET: u8 = 1;
const PLAIN: u8 = 2;
/// First control byte of an LZMA chunk; bits 6:5 say what is reset, bits 4:0 are size bits 20:16.
const LZMA: u8 = 0x80;

/// Decodes chunks from `input` up to and including the end chunk.
///
/// `decoder` is kept between blocks so that its model is allocated once.
pub(super) fn decode(
    input: &mut Input<'_>,
    output: &mut Output<'_>,
    decoder: &mut Option<Decoder>,
) -> Result<(), KernelError> {
    // What the first chunk must reset, and what a chunk after a plain one must.
    let mut needs_dictionary = true;
    let mut needs_properties = true;
    let mut needs_state = true;
    loop {
        let control = input.u8()?;
        if control == END {
            return Ok(());
        }
        if control >= LZMA {
            let high = usize::from(control & 0x1f) << 16;
            let unpacked = high + usize::from(input.u16_be()?) + 1;
            let packed = usize::from(input.u16_be()?) + 1;
            let reset = control >> 5 & 3;
            if reset == 3 {
                output.reset_dictionary();
                needs_dictionary = false;
            }
            let properties = if reset >= 2 {
                needs_properties = false;
                Some(
                    Properties::from_byte(input.u8()?)
                        .ok_or_else(|| input.corrupt("its LZMA properties are out of range"))?,
                )
            } else {
                decoder.as_ref().map(Decoder::properties)
            };
            if reset >= 1 {
                needs_state = false;
            }
            let Some(properties) =
                properties.filter(|_| !needs_dictionary && !needs_properties && !needs_state)
            else {
                return Err(input.corrupt("an LZMA2 chunk uses state that was not set up"));
            };
            let model = decoder.get_or_insert_with(|| Decoder::new(properties));
            if reset >= 1 {
                model.reset(properties);
            }
            let data = input.take(packed)?;
            chunk(model, data, output, unpacked).map_err(|error| report(input, error))?;
        } else if control <= PLAIN {
            if control == PLAIN_WITH_DICTIONARY_RESET {
                output.reset_dictionary();
                needs_dictionary = false;
            } else if needs_dictionary {
                return Err(input.corrupt("an LZMA2 chunk uses state that was not set up"));
            }
            let length = usize::from(input.u16_be()?) + 1;
            let data = input.take(length)?;
            output
                .append(data)
                .map_err(|error| report(input, error.into()))?;
        } else {
            return Err(input.corrupt("an LZMA2 chunk is of an unknown kind"));
        }
    }
}

fn chunk(
    decoder: &mut Decoder,
    data: &[u8],
    output: &mut Output<'_>,
    unpacked: usize,
) -> Result<(), LzmaError> {
    let end = output
        .position()
        .checked_add(unpacked)
        .filter(|&end| end <= output.capacity());
    let end = end.ok_or(LzmaError::OutputFull)?;
    let mut coder = RangeDecoder::new(data)?;
    match decoder.run(&mut coder, output, end) {
        Ok(Ended::Full) if coder.finished() => Ok(()),
        Ok(Ended::Full) => Err(LzmaError::Malformed(
            "an LZMA2 chunk is longer than its data",
        )),
        Ok(Ended::Marker) => Err(LzmaError::Malformed("an LZMA2 chunk ends early")),
        Err(LzmaError::OutputFull) => {
            Err(LzmaError::Malformed("a match reaches past its LZMA2 chunk"))
        }
        Err(error) => Err(error),
    }
}

fn report(input: &Input<'_>, error: LzmaError) -> KernelError {
    match error {
        LzmaError::InputEnds => input.corrupt("it ends early"),
        LzmaError::Malformed(why) => input.corrupt(why),
        LzmaError::OutputFull => KernelError::OutputTooLarge(Compression::Xz),
    }
}
