//! The file that `xl save` writes: a header, the guest's configuration as libxl's JSON, the stream.
//!
//! Contract: `struct save_file_header` of Xen 4.17's xl.

use std::io::{Read, Write};

use super::{MigrationError, format_error};

/// What a file begins with.
const MAGIC: &[u8; 32] = b"Xen saved domain, xl format\n \0 \r";
const BYTE_ORDER: u32 = 0x0102_0304;
/// The configuration is JSON.
const FLAG_JSON: u32 = 1;
/// The stream is libxl's version 2.
const FLAG_STREAM_V2: u32 = 2;
/// More than any configuration has.
const LONGEST: u32 = 1 << 20;

/// Writes everything in front of the stream; `config` is libxl's JSON.
///
/// # Errors
/// `out` cannot be written.
pub fn write_header(out: &mut dyn Write, config: &[u8]) -> Result<(), MigrationError> {
    let len = config.len() as u32;
    out.write_all(MAGIC)?;
    for number in [BYTE_ORDER, FLAG_JSON | FLAG_STREAM_V2, 0, len + 4, len] {
        out.write_all(&number.to_le_bytes())?;
    }
    out.write_all(config)?;
    Ok(())
}

/// Reads it: the configuration. `input` stands at the stream afterwards.
///
/// # Errors
/// It is no such file, or one that only an older or newer `xl` reads.
pub fn read_header(input: &mut dyn Read) -> Result<Vec<u8>, MigrationError> {
    let mut magic = [0; 32];
    input.read_exact(&mut magic)?;
    if magic != *MAGIC {
        return format_error("it does not begin as a file of xeno save or xl save does");
    }
    let mut numbers = [0_u32; 4];
    for number in &mut numbers {
        let mut bytes = [0; 4];
        input.read_exact(&mut bytes)?;
        *number = u32::from_le_bytes(bytes);
    }
    let [order, mandatory, _, len] = numbers;
    if order != BYTE_ORDER {
        return format_error("it was saved on a machine of another byte order");
    }
    if mandatory != FLAG_JSON | FLAG_STREAM_V2 {
        return format_error(format!(
            "it has flags {mandatory:#x}; expected 3, as xl writes since Xen 4.6"
        ));
    }
    if !(4..=LONGEST).contains(&len) {
        return format_error(format!("its header has {len} bytes"));
    }
    let mut data = vec![0; len as usize];
    input.read_exact(&mut data)?;
    let Some((head, rest)) = data.split_first_chunk::<4>() else {
        return format_error("its header is too short");
    };
    match rest.get(..u32::from_le_bytes(*head) as usize) {
        Some(config) => Ok(config.to_vec()),
        None => format_error("its configuration is cut off"),
    }
}
