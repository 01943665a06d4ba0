//! A file's contents as bytes without reading it: kernels are large and mostly copied once.
#![expect(unsafe_code, reason = "borrows mapped memory")]

use std::fs::File;
use std::io;
use std::os::fd::AsFd;

use super::mapping::Mapping;

/// A regular file, mapped read-only and private.
#[derive(Debug)]
pub struct FileMap {
    mapping: Mapping,
    len: usize,
}

impl FileMap {
    /// Maps the whole of `file`.
    ///
    /// # Errors
    /// The file's length cannot be told or `mmap` fails.
    pub fn new(file: &File) -> io::Result<Self> {
        let len = usize::try_from(file.metadata()?.len()).map_err(io::Error::other)?;
        let mapping = Mapping::of_file(file.as_fd(), len)?;
        Ok(Self { mapping, len })
    }

    /// The contents.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        if self.len == 0 {
            return &[];
        }
        // SAFETY: the mapping is private. Who truncates or rewrites a kernel in place while a guest is built from it has been
        // allowed to write root's files; the documented way to replace one is to rename a new file over it.
        let bytes = unsafe { self.mapping.bytes() };
        bytes.get(..self.len).unwrap_or_default()
    }
}
