//! What the kernel module is: a bzImage, a compressed ELF or an ELF, and where its payload lies.
//!
//! Contract: the Linux/x86 boot protocol, 2.08 and later (setup header at 0x1f1: `payload_offset`
//! and `payload_length`). Every kernel compressor but gzip appends the uncompressed length as
//! four little-endian bytes; gzip's own trailer already ends with it (RFC 1952 ISIZE).

use core::fmt;

use super::KernelError;

/// How a kernel payload is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    /// Plain ELF.
    None,
    /// RFC 1952.
    Gzip,
    /// bzip2.
    Bzip2,
    /// The LZMA-alone format.
    Lzma,
    /// The .xz format.
    Xz,
    /// The lzop format.
    Lzo,
    /// The LZ4 legacy frame.
    Lz4,
    /// RFC 8878.
    Zstd,
}

impl fmt::Display for Compression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "no compression",
            Self::Gzip => "gzip",
            Self::Bzip2 => "bzip2",
            Self::Lzma => "lzma",
            Self::Xz => "xz",
            Self::Lzo => "lzo",
            Self::Lz4 => "lz4",
            Self::Zstd => "zstd",
        })
    }
}

/// The part of the module that holds the kernel's ELF, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Payload<'a> {
    /// How `data` is compressed.
    pub compression: Compression,
    /// The compressed stream alone, without the length that follows it.
    pub data: &'a [u8],
    /// The uncompressed length that follows the stream in a bzImage (None for a bare file, and
    /// for gzip, whose stream contains it).
    pub stated_size: Option<u32>,
}

/// ELF magic.
pub(super) const ELF_MAGIC: [u8; 4] = *b"\x7fELF";
/// First bytes of each compressed format.
const MAGICS: [(&[u8], Compression); 9] = [
    (&ELF_MAGIC, Compression::None),
    (&[0x1f, 0x8b], Compression::Gzip),
    (&[0x1f, 0x9e], Compression::Gzip),
    (b"BZh", Compression::Bzip2),
    (&[0xfd, b'7', b'z', b'X', b'Z', 0], Compression::Xz),
    (&[0x5d, 0, 0], Compression::Lzma),
    (&[0x89, b'L', b'Z', b'O', 0], Compression::Lzo),
    (&[0x02, 0x21, 0x4c, 0x18], Compression::Lz4),
    (&[0x28, 0xb5, 0x2f, 0xfd], Compression::Zstd),
];

// Offsets of the setup header's fields in the file.
const SETUP_SECTS: usize = 0x1f1;
const BOOT_FLAG: usize = 0x1fe;
const HEADER_MAGIC: usize = 0x202;
const VERSION: usize = 0x206;
const LOADFLAGS: usize = 0x211;
const PAYLOAD_OFFSET: usize = 0x248;
const PAYLOAD_LENGTH: usize = 0x24c;

/// First boot protocol with payload fields.
const FIRST_VERSION_WITH_PAYLOAD: u16 = 0x208;
/// `loadflags` bit: the protected-mode part loads at 1 MiB.
const LOADED_HIGH: u8 = 1;
const SECTOR: usize = 512;

/// Finds the kernel's payload in `image`.
///
/// # Errors
/// The module is truncated, not a kernel, or a bzImage that predates payload fields.
pub fn recognise(image: &[u8]) -> Result<Payload<'_>, KernelError> {
    if is_bzimage(image) {
        return bzimage_payload(image);
    }
    match compression_of(image) {
        Some(compression) => Ok(Payload {
            compression,
            data: image,
            stated_size: None,
        }),
        None if image.len() < VERSION && image.starts_with(b"MZ") => {
            Err(KernelError::Truncated("the setup header"))
        }
        None => Err(KernelError::NotAKernel),
    }
}

fn is_bzimage(image: &[u8]) -> bool {
    bytes(image, BOOT_FLAG) == Some([0x55, 0xaa]) && bytes(image, HEADER_MAGIC) == Some(*b"HdrS")
}

fn bzimage_payload(image: &[u8]) -> Result<Payload<'_>, KernelError> {
    let header = KernelError::Truncated("the setup header");
    let version = u16::from_le_bytes(bytes(image, VERSION).ok_or(header)?);
    if version < FIRST_VERSION_WITH_PAYLOAD {
        return Err(KernelError::BzImageTooOld(version));
    }
    let [loadflags] = bytes(image, LOADFLAGS).ok_or(header)?;
    if loadflags & LOADED_HIGH == 0 {
        return Err(KernelError::NotLoadedHigh);
    }
    // The boot protocol: 0 setup sectors means 4, and the boot sector itself comes on top.
    let [sectors] = bytes(image, SETUP_SECTS).ok_or(header)?;
    let sectors = if sectors == 0 {
        4
    } else {
        usize::from(sectors)
    };
    let protected_mode = (sectors + 1) * SECTOR;
    let offset = u32::from_le_bytes(bytes(image, PAYLOAD_OFFSET).ok_or(header)?) as usize;
    let length = u32::from_le_bytes(bytes(image, PAYLOAD_LENGTH).ok_or(header)?) as usize;

    let payload = protected_mode
        .checked_add(offset)
        .and_then(|start| image.get(start..))
        .and_then(|rest| rest.get(..length))
        .ok_or(KernelError::Truncated("the bzImage's payload"))?;
    let compression = compression_of(payload).ok_or_else(|| {
        bytes(payload, 0).map_or(KernelError::Truncated("the bzImage's payload"), |start| {
            KernelError::UnknownPayload(start)
        })
    })?;
    if matches!(compression, Compression::None | Compression::Gzip) {
        return Ok(Payload {
            compression,
            data: payload,
            stated_size: None,
        });
    }
    let (data, size) = payload
        .split_last_chunk()
        .ok_or(KernelError::Truncated("the bzImage's payload"))?;
    Ok(Payload {
        compression,
        data,
        stated_size: Some(u32::from_le_bytes(*size)),
    })
}

/// The format that `data` starts with.
pub(super) fn compression_of(data: &[u8]) -> Option<Compression> {
    MAGICS
        .iter()
        .find(|(magic, _)| data.starts_with(magic))
        .map(|&(_, kind)| kind)
}

/// `N` bytes of `image` at `offset`.
fn bytes<const N: usize>(image: &[u8], offset: usize) -> Option<[u8; N]> {
    image.get(offset..)?.first_chunk().copied()
}

#[cfg(test)]
pub(super) mod tests {
    extern crate std;
    use std::{string::ToString, vec, vec::Vec};

    use super::*;

    /// A bzImage around `payload`, with its length field set and the rest as Debian's.
    pub(in crate::dom0) fn bzimage(payload: &[u8]) -> Vec<u8> {
        let mut image = vec![0; 0x400 + 0x2cc];
        image[SETUP_SECTS] = 1;
        image[BOOT_FLAG..BOOT_FLAG + 2].copy_from_slice(&[0x55, 0xaa]);
        image[HEADER_MAGIC..HEADER_MAGIC + 4].copy_from_slice(b"HdrS");
        image[VERSION..VERSION + 2].copy_from_slice(&0x20fu16.to_le_bytes());
        image[LOADFLAGS] = LOADED_HIGH;
        image[PAYLOAD_OFFSET..PAYLOAD_OFFSET + 4].copy_from_slice(&0x2ccu32.to_le_bytes());
        let length = u32::try_from(payload.len()).unwrap();
        image[PAYLOAD_LENGTH..PAYLOAD_LENGTH + 4].copy_from_slice(&length.to_le_bytes());
        image.extend_from_slice(payload);
        image
    }

    const XZ_PAYLOAD: &[u8] = b"\xfd7zXZ\0stream\x78\x56\x34\x12";

    #[test]
    fn payload_of_a_bzimage_is_split_from_its_size() {
        let image = bzimage(XZ_PAYLOAD);
        assert_eq!(
            recognise(&image),
            Ok(Payload {
                compression: Compression::Xz,
                data: b"\xfd7zXZ\0stream",
                stated_size: Some(0x1234_5678)
            })
        );
    }

    #[test]
    fn gzip_payload_keeps_its_trailer() {
        let image = bzimage(b"\x1f\x8bxxxx");
        let payload = recognise(&image).unwrap();
        assert_eq!((payload.data.len(), payload.stated_size), (6, None));
    }

    #[test]
    fn zero_setup_sectors_mean_four() {
        let mut image = bzimage(&[]);
        image.resize(5 * SECTOR + 0x2cc, 0);
        image.extend_from_slice(XZ_PAYLOAD);
        image[SETUP_SECTS] = 0;
        image[PAYLOAD_LENGTH] = u8::try_from(XZ_PAYLOAD.len()).unwrap();
        assert_eq!(recognise(&image).unwrap().compression, Compression::Xz);
    }

    #[test]
    fn bare_files_are_recognised_by_their_magic() {
        for (magic, kind) in MAGICS {
            assert_eq!(recognise(magic).unwrap().compression, kind);
        }
    }

    #[test]
    fn refusals_name_their_cause() {
        assert_eq!(recognise(b""), Err(KernelError::NotAKernel));
        assert_eq!(recognise(&[0; 4096]), Err(KernelError::NotAKernel));
        assert_eq!(
            recognise(b"MZ"),
            Err(KernelError::Truncated("the setup header"))
        );

        let whole = bzimage(XZ_PAYLOAD);
        for len in VERSION..whole.len() {
            let error = recognise(&whole[..len]).unwrap_err();
            assert!(matches!(error, KernelError::Truncated(_)), "{len}: {error}");
        }

        let mut old = bzimage(XZ_PAYLOAD);
        old[VERSION] = 0x07;
        assert_eq!(
            recognise(&old).unwrap_err().to_string(),
            "dom0 kernel is a bzImage of boot protocol 2.07, but 2.08 or later is needed"
        );

        let mut low = bzimage(XZ_PAYLOAD);
        low[LOADFLAGS] = 0;
        assert_eq!(recognise(&low), Err(KernelError::NotLoadedHigh));

        let mut beyond = bzimage(XZ_PAYLOAD);
        beyond[PAYLOAD_OFFSET..PAYLOAD_OFFSET + 4].fill(0xff);
        assert_eq!(
            recognise(&beyond),
            Err(KernelError::Truncated("the bzImage's payload"))
        );

        let unknown = bzimage(b"\x01\x02\x03\x04rest");
        assert_eq!(
            recognise(&unknown),
            Err(KernelError::UnknownPayload([1, 2, 3, 4]))
        );
    }
}
