//! The state of a PV guest as a stream of records, written and read as libxenguest of Xen 4.17 does, so that either toolstack
//! restores what the other saved.
//!
//! [`file`](mod@file) is what `xl save` puts around it; [`save`] writes a suspended domain, [`restore`] fills a new one. Frames of
//! the machine mean nothing elsewhere: whatever names one (page tables, registers, the P2M) goes through the stream as a guest
//! frame.
//!
//! Contract: docs/specs/libxc-migration-stream and libxl-migration-stream of Xen 4.17. The stream is not trusted: a bad one ends
//! in an error, and what it can make the toolstack allocate is bounded by the domain's memory.

use std::fmt;
use std::io;

use crate::xen::XenError;

pub mod file;
mod p2m;
mod page_table;
mod record;
pub mod restore;
pub mod save;

#[cfg(test)]
mod tests;

/// Frames that one record describes and one call asks about.
const BATCH: usize = 1024;
/// Bits of a page-table entry that hold a frame.
const FRAME_BITS: u64 = 0x000f_ffff_ffff_f000;
/// "No frame" in a P2M.
const INVALID: u64 = u64::MAX;

/// Why a domain could not be saved or restored.
#[derive(Debug)]
pub enum MigrationError {
    /// The file cannot be read or written, or ends too early.
    Io(io::Error),
    /// The hypervisor refuses.
    Xen(XenError),
    /// What is in the file is not what belongs there.
    Format(String),
    /// The guest's own tables do not hold together.
    Guest(String),
}

impl fmt::Display for MigrationError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                f.write_str("the file ends too early: it was not saved completely, or was cut off")
            }
            Self::Io(error) => error.fmt(f),
            Self::Xen(error) => error.fmt(f),
            Self::Format(text) => write!(f, "the file is damaged or no saved guest: {text}"),
            Self::Guest(text) => write!(f, "the guest's tables are inconsistent: {text}"),
        }
    }
}

impl std::error::Error for MigrationError {}

impl From<io::Error> for MigrationError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl From<XenError> for MigrationError {
    fn from(error: XenError) -> Self {
        Self::Xen(error)
    }
}

/// A complaint about the stream.
fn format_error<T>(text: impl Into<String>) -> Result<T, MigrationError> {
    Err(MigrationError::Format(text.into()))
}

/// A complaint about the guest.
fn guest_error<T>(text: impl Into<String>) -> Result<T, MigrationError> {
    Err(MigrationError::Guest(text.into()))
}

/// The most guest frames that a domain of `pages` pages may number: twice as many, and the 4 GiB in which holes are.
fn frame_limit(pages: u64) -> u64 {
    pages.saturating_mul(2).saturating_add(1 << 20)
}
