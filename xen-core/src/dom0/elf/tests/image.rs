//! A file in aligned memory, as the hypervisor hands it to the parser.

use core::ops::{Deref, DerefMut};
use std::vec;
use std::vec::Vec;

use zerocopy::IntoBytes;

/// Bytes that start at a multiple of 8; a `Vec<u8>` promises no such thing.
#[derive(Clone, Debug)]
pub(in crate::dom0) struct Image {
    words: Vec<u64>,
    length: usize,
}

impl Image {
    pub fn new(bytes: &[u8]) -> Self {
        let mut image = Self {
            words: vec![0; bytes.len().div_ceil(8)],
            length: bytes.len(),
        };
        image.copy_from_slice(bytes);
        image
    }

    /// The same bytes behind `shift` others.
    pub fn shifted(&self, shift: usize) -> Self {
        Self::new(&[&vec![0; shift], &**self].concat())
    }
}

impl Deref for Image {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.words.as_bytes()[..self.length]
    }
}

impl DerefMut for Image {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.words.as_mut_bytes()[..self.length]
    }
}
