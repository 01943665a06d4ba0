//! Headers and records of the two streams: libxl's, and libxenguest's within it.

use std::io::{Read, Write};

use super::{MigrationError, format_error};

/// `LibxlFmt`.
const LIBXL_IDENT: u64 = 0x4c69_6278_6c46_6d74;
const LIBXL_VERSION: u32 = 2;
const XENF: u32 = 0x5845_4e46;
const VERSION: u32 = 3;
/// The version before, which lacks the end of the static data.
const VERSION_BEFORE: u32 = 2;
const DOMAIN_PV: u32 = 1;
const PAGE_SHIFT: u16 = 12;
/// Types from here on may be ignored.
const OPTIONAL: u32 = 1 << 31;
/// libxenguest refuses longer ones, too.
const LONGEST: u32 = 8 << 20;

/// Types of libxl's records.
pub mod libxl {
    pub const END: u32 = 0;
    pub const LIBXC_CONTEXT: u32 = 1;
}

/// Types of libxenguest's records.
pub mod kind {
    pub const END: u32 = 0;
    pub const PAGE_DATA: u32 = 1;
    pub const PV_INFO: u32 = 2;
    pub const PV_P2M_FRAMES: u32 = 3;
    pub const VCPU_BASIC: u32 = 4;
    pub const VCPU_EXTENDED: u32 = 5;
    pub const VCPU_XSAVE: u32 = 6;
    pub const SHARED_INFO: u32 = 7;
    pub const TSC_INFO: u32 = 8;
    pub const VCPU_MSRS: u32 = 0xc;
    pub const VERIFY: u32 = 0xd;
    pub const STATIC_DATA_END: u32 = 0x10;
    pub const CPUID_POLICY: u32 = 0x11;
    pub const MSR_POLICY: u32 = 0x12;
}

/// A record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Its type.
    pub kind: u32,
    /// Its body, without padding.
    pub body: Vec<u8>,
}

impl Record {
    /// Whether a reader that does not know the type may go on.
    pub fn is_optional(&self) -> bool {
        self.kind & OPTIONAL != 0
    }

    /// The number at `offset`.
    pub fn u32(&self, offset: usize) -> Result<u32, MigrationError> {
        match self.body.get(offset..).and_then(|rest| rest.first_chunk()) {
            Some(bytes) => Ok(u32::from_le_bytes(*bytes)),
            None => format_error(format!("a record of type {:#x} is too short", self.kind)),
        }
    }

    /// The numbers from `offset` to the end.
    pub fn words(&self, offset: usize) -> Result<Vec<u64>, MigrationError> {
        let (words, rest) = self.body.get(offset..).unwrap_or_default().as_chunks();
        if !rest.is_empty() {
            return format_error(format!("a record of type {:#x} is ragged", self.kind));
        }
        Ok(words.iter().map(|word| u64::from_le_bytes(*word)).collect())
    }
}

/// Writes a record of `kind` whose body is `parts`.
pub fn write(out: &mut dyn Write, kind: u32, parts: &[&[u8]]) -> Result<(), MigrationError> {
    let len: usize = parts.iter().map(|part| part.len()).sum();
    out.write_all(&kind.to_le_bytes())?;
    out.write_all(&(len as u32).to_le_bytes())?;
    for part in parts {
        out.write_all(part)?;
    }
    out.write_all(&[0; 8][..len.next_multiple_of(8) - len])?;
    Ok(())
}

/// Reads a record.
pub fn read(input: &mut dyn Read) -> Result<Record, MigrationError> {
    let kind = read_u32(input)?;
    let len = read_u32(input)?;
    if len > LONGEST {
        return format_error(format!("a record of {len} bytes is too long"));
    }
    let padded = len.next_multiple_of(8);
    let mut body = Vec::new();
    // Grows with what is there, not with what is announced.
    let got = input.take(padded.into()).read_to_end(&mut body)?;
    if got < padded as usize {
        return Err(std::io::Error::from(std::io::ErrorKind::UnexpectedEof).into());
    }
    body.truncate(len as usize);
    Ok(Record { kind, body })
}

fn read_u32(input: &mut dyn Read) -> Result<u32, MigrationError> {
    let mut bytes = [0; 4];
    input.read_exact(&mut bytes)?;
    Ok(u32::from_le_bytes(bytes))
}

/// Writes libxl's header and the record that libxenguest's stream follows.
pub fn begin_libxl(out: &mut dyn Write) -> Result<(), MigrationError> {
    out.write_all(&LIBXL_IDENT.to_be_bytes())?;
    out.write_all(&LIBXL_VERSION.to_be_bytes())?;
    out.write_all(&0_u32.to_be_bytes())?;
    write(out, libxl::LIBXC_CONTEXT, &[])
}

/// Reads what [`begin_libxl`] writes.
pub fn enter_libxl(input: &mut dyn Read) -> Result<(), MigrationError> {
    let mut header = [0; 16];
    input.read_exact(&mut header)?;
    let expected = [
        LIBXL_IDENT.to_be_bytes(),
        (u64::from(LIBXL_VERSION) << 32).to_be_bytes(),
    ]
    .concat();
    if header[..] != expected[..] {
        return format_error("it has no libxl stream of version 2 in little-endian order");
    }
    let record = read(input)?;
    if record.kind != libxl::LIBXC_CONTEXT {
        return format_error(format!(
            "a record of type {:#x} stands where the guest's memory should",
            record.kind
        ));
    }
    Ok(())
}

/// Writes the headers of libxenguest's stream for a PV guest saved by `version` (major, minor) of Xen.
pub fn begin(out: &mut dyn Write, version: (u32, u32)) -> Result<(), MigrationError> {
    out.write_all(&u64::MAX.to_be_bytes())?;
    out.write_all(&XENF.to_be_bytes())?;
    out.write_all(&VERSION.to_be_bytes())?;
    out.write_all(&[0; 8])?;
    out.write_all(&DOMAIN_PV.to_le_bytes())?;
    out.write_all(&PAGE_SHIFT.to_le_bytes())?;
    out.write_all(&[0; 2])?;
    out.write_all(&version.0.to_le_bytes())?;
    out.write_all(&version.1.to_le_bytes())?;
    Ok(())
}

/// Reads what [`begin`] writes.
pub fn enter(input: &mut dyn Read) -> Result<(), MigrationError> {
    let mut image = [0; 24];
    input.read_exact(&mut image)?;
    let [marker, id, options] = [0, 8, 16].map(|at| {
        let mut word = [0; 8];
        word.copy_from_slice(&image[at..at + 8]);
        u64::from_be_bytes(word)
    });
    let version = id as u32;
    if marker != u64::MAX || id >> 32 != u64::from(XENF) {
        return format_error("it has no image of a domain");
    }
    if !matches!(version, VERSION | VERSION_BEFORE) || options >> 48 != 0 {
        return format_error(format!(
            "its image has version {version} and options {:#x}; expected version 3 or 2 in little-endian order",
            options >> 48
        ));
    }
    let (kind, shift) = (read_u32(input)?, read_u32(input)? & 0xffff);
    let _version_of_xen = (read_u32(input)?, read_u32(input)?);
    if kind != DOMAIN_PV || shift != u32::from(PAGE_SHIFT) {
        return format_error(format!(
            "the guest is of type {kind} with pages of 2^{shift} bytes; only PV guests (type 1, 2^12) can be restored"
        ));
    }
    Ok(())
}
