//! A kernel's file as an ELF image in memory, unpacked if it is a bzImage or compressed.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

use bzip2::read::BzDecoder;
use xen_core::dom0::bzimage::{self, Compression, Payload};
use xen_core::dom0::elf::{self, Kernel};
use xen_core::dom0::{KernelError, decompress};
use zerocopy::IntoBytes as _;

use super::BuildError;
use super::cache::Cache;
use crate::sys::file_map::FileMap;

/// More than any kernel has, so that a file that claims to be larger does not take all memory.
const LARGEST: usize = 1 << 30;

/// An uncompressed kernel.
#[derive(Debug)]
pub struct KernelFile {
    path: String,
    image: Image,
}

#[derive(Debug)]
enum Image {
    /// The file itself, or an unpacked one kept from earlier.
    Mapped(FileMap),
    /// Unpacked now, in words so that it is aligned.
    Unpacked { words: Vec<u64>, len: usize },
}

impl KernelFile {
    /// Opens the kernel `path`, and unpacks it if it is compressed. `cache` keeps what was unpacked.
    ///
    /// # Errors
    /// The file cannot be read or is no kernel.
    pub fn open(path: &str, cache: Option<&Cache>) -> Result<Self, BuildError> {
        let in_file = |error| BuildError::File {
            what: "kernel",
            path: path.to_owned(),
            error,
        };
        let in_kernel = |error| BuildError::Kernel {
            path: path.to_owned(),
            error,
        };
        let file = File::open(path).map_err(in_file)?;
        let metadata = file.metadata().map_err(in_file)?;
        if !metadata.is_file() {
            return Err(in_file(io::Error::other("it is not a regular file")));
        }
        let owned = |image| Self {
            path: path.to_owned(),
            image,
        };
        let found = cache.and_then(|cache| cache.find(&metadata));
        if let Some(kept) = found {
            return Ok(owned(Image::Mapped(kept)));
        }
        let map = FileMap::new(&file).map_err(in_file)?;
        let payload = bzimage::recognise(map.bytes()).map_err(in_kernel)?;
        if payload.compression == Compression::None && elf::is_aligned(payload.data) {
            // An ELF file, or one in a bzImage whose place in it is not aligned, which is copied below.
            if payload.data.len() == map.bytes().len() {
                return Ok(owned(Image::Mapped(map)));
            }
        }
        let (words, len) = unpack(&payload).map_err(in_kernel)?;
        if let Some(cache) = cache {
            cache.keep(&metadata, map.bytes(), bytes(&words, len));
        }
        Ok(owned(Image::Unpacked { words, len }))
    }

    /// The file's path.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The kernel, parsed and checked.
    ///
    /// # Errors
    /// It is no kernel for a PV guest.
    pub fn parse(&self) -> Result<Kernel<'_>, BuildError> {
        let image = match &self.image {
            Image::Mapped(map) => map.bytes(),
            Image::Unpacked { words, len } => bytes(words, *len),
        };
        Kernel::parse_guest(image).map_err(|error| BuildError::Kernel {
            path: self.path.clone(),
            error,
        })
    }
}

fn bytes(words: &[u64], len: usize) -> &[u8] {
    words.as_bytes().get(..len).unwrap_or_default()
}

/// Unpacks `payload`: words, and the bytes of them that count.
fn unpack(payload: &Payload<'_>) -> Result<(Vec<u64>, usize), KernelError> {
    let kind = payload.compression;
    if kind == Compression::Bzip2 {
        return bunzip2(payload);
    }
    let size = decompress::uncompressed_size(payload)?;
    if size > LARGEST {
        return Err(KernelError::OutputTooLarge(kind));
    }
    let mut words = vec![0_u64; size.div_ceil(8)];
    let out = words.as_mut_bytes().get_mut(..size).unwrap_or_default();
    let len = decompress::decompress(payload, out)?;
    Ok((words, len))
}

fn bunzip2(payload: &Payload<'_>) -> Result<(Vec<u64>, usize), KernelError> {
    let kind = Compression::Bzip2;
    let mut out = Vec::new();
    // One byte more than allowed tells a stream that is too long from one that ends there.
    BzDecoder::new(payload.data)
        .take(LARGEST as u64 + 1)
        .read_to_end(&mut out)
        .map_err(|_| KernelError::Corrupt(kind, "the stream is broken"))?;
    if out.len() > LARGEST {
        return Err(KernelError::OutputTooLarge(kind));
    }
    match payload.stated_size {
        Some(expected) if expected as usize != out.len() => {
            return Err(KernelError::WrongLength {
                expected: expected as usize,
                found: out.len(),
            });
        }
        _ => {}
    }
    let mut words = vec![0_u64; out.len().div_ceil(8)];
    for (to, from) in words.as_mut_bytes().iter_mut().zip(&out) {
        *to = *from;
    }
    Ok((words, out.len()))
}

/// Opens a ramdisk.
///
/// # Errors
/// It cannot be read.
pub(super) fn open_ramdisk(path: &str) -> Result<FileMap, BuildError> {
    File::open(Path::new(path))
        .and_then(|file| {
            if !file.metadata()?.is_file() {
                return Err(io::Error::other("it is not a regular file"));
            }
            FileMap::new(&file)
        })
        .map_err(|error| BuildError::File {
            what: "ramdisk",
            path: path.to_owned(),
            error,
        })
}
