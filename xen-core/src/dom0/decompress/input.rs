//! A cursor over compressed input: every read is checked, an early end is an error.

use super::KernelError;
use crate::dom0::bzimage::Compression;

/// What remains of the input, and which format's error to report.
#[derive(Clone)]
pub(super) struct Input<'a> {
    rest: &'a [u8],
    kind: Compression,
}

impl<'a> Input<'a> {
    pub(super) fn new(data: &'a [u8], kind: Compression) -> Self {
        Self { rest: data, kind }
    }

    /// The bytes not yet read.
    pub(super) fn rest(&self) -> &'a [u8] {
        self.rest
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// The next `count` bytes.
    pub(super) fn take(&mut self, count: usize) -> Result<&'a [u8], KernelError> {
        let (taken, rest) = self
            .rest
            .split_at_checked(count)
            .ok_or(self.corrupt("it ends early"))?;
        self.rest = rest;
        Ok(taken)
    }

    /// The next `N` bytes.
    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], KernelError> {
        let (taken, rest) = self
            .rest
            .split_first_chunk()
            .ok_or(self.corrupt("it ends early"))?;
        self.rest = rest;
        Ok(*taken)
    }

    pub(super) fn u8(&mut self) -> Result<u8, KernelError> {
        self.array().map(|[byte]| byte)
    }

    pub(super) fn u16_be(&mut self) -> Result<u16, KernelError> {
        self.array().map(u16::from_be_bytes)
    }

    pub(super) fn u32_be(&mut self) -> Result<u32, KernelError> {
        self.array().map(u32::from_be_bytes)
    }

    pub(super) fn u32_le(&mut self) -> Result<u32, KernelError> {
        self.array().map(u32::from_le_bytes)
    }

    pub(super) fn u64_le(&mut self) -> Result<u64, KernelError> {
        self.array().map(u64::from_le_bytes)
    }

    /// The error for malformed data of this format.
    pub(super) fn corrupt(&self, why: &'static str) -> KernelError {
        KernelError::Corrupt(self.kind, why)
    }
}
