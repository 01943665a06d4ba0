//! The state as an append-only file, so that a daemon that is killed loses nothing that it has acknowledged.
//!
//! The file is a sequence of frames: length and checksum (CRC-32C) of what follows, then a batch of records. A batch is what one turn
//! of the daemon changed, all of it or nothing; it is written before anybody is told. The first frame names the format and the boot
//! of the machine: the state of an earlier boot is worthless, its domains are gone. Reading stops at the first frame that is not
//! whole. When the file has grown to several times what the state needs, the state is written anew and replaces it by a rename.
//!
//! The file outlives the process, not the machine: it is not synchronised to the disk.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use crc::{CRC_32_ISCSI, Crc};
use serde::{Deserialize, Serialize};

use super::node::{Entry, Node};
use crate::xenstore::permission::{Access, Permission};

const CRC: Crc<u32> = Crc::<u32>::new(&CRC_32_ISCSI);

/// First words of the file; the number grows when the meaning of records changes.
const FORMAT: &str = "xeno-xenstored 1";

/// A journal smaller than this is not written anew.
const SMALL: u64 = 1 << 20;

/// How many times the size of the state a journal may have.
const GROWTH: u64 = 4;

/// Frames longer than this are not believed.
const FRAME_MAX: usize = 1 << 28;

/// One fact. Domains are told by number.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub enum Record {
    /// What every generation is greater than.
    Counter(u64),
    /// A node is like this now.
    Node {
        path: String,
        born: u64,
        permissions: Vec<(u16, u8, bool)>,
        value: Vec<u8>,
    },
    /// A node is gone.
    Gone { path: String },
    /// Who may know of a special event.
    Special {
        release: bool,
        permissions: Vec<(u16, u8, bool)>,
    },
    /// A domain is connected, or anew, with the ring at these indices.
    Introduced {
        domain: u16,
        port: u32,
        consumed: u32,
        produced: u32,
    },
    /// A domain is not connected any more.
    Ended { domain: u16 },
    /// Whether its shutdown has been told.
    ShutdownTold { domain: u16, told: bool },
    /// It acts for another.
    Target { domain: u16, target: u16 },
    /// Its connection is not served any more.
    Bad { domain: u16, why: u32 },
    /// It watches something.
    Watch {
        domain: u16,
        path: String,
        token: Vec<u8>,
        base: usize,
    },
    /// And does not any more.
    Unwatch {
        domain: u16,
        path: String,
        token: Vec<u8>,
    },
    /// It watches nothing and has no transaction.
    ResetWatches { domain: u16 },
    /// It has a transaction with this number.
    TransactionStart { domain: u16, number: u32 },
    /// And has not any more.
    TransactionEnd { domain: u16, number: u32 },
    /// Requests up to `consumed` are done, or are the beginning of one in `partial`; the page said `published` then.
    Taken {
        domain: u16,
        published: u32,
        consumed: u32,
        partial: Vec<u8>,
    },
    /// These bytes are to be sent behind all earlier ones; those before index `produced` are sent.
    Queued {
        domain: u16,
        produced: u32,
        bytes: Vec<u8>,
    },
}

/// Permissions as a record keeps them.
#[must_use]
pub fn packed(permissions: &[Entry]) -> Vec<(u16, u8, bool)> {
    permissions
        .iter()
        .map(|entry| {
            let Permission { domain, access } = entry.permission;
            (domain.0, access.bits(), entry.stale)
        })
        .collect()
}

/// Permissions from a record; `None` if it has none.
#[must_use]
pub fn unpacked(permissions: &[(u16, u8, bool)]) -> Option<super::node::Permissions> {
    let entries = permissions.iter().map(|(domain, access, stale)| Entry {
        permission: Permission::new(
            hypercall_abi::DomId(*domain),
            Access::from_bits_truncate(*access),
        ),
        stale: *stale,
    });
    let entries: super::node::Permissions = entries.collect();
    (!entries.is_empty()).then_some(entries)
}

impl Record {
    /// A watch of a domain.
    #[must_use]
    pub fn watch(domain: hypercall_abi::DomId, watch: &super::watch::Watch) -> Self {
        Self::Watch {
            domain: domain.0,
            path: watch.path.to_string(),
            token: watch.token.to_vec(),
            base: watch.base,
        }
    }

    /// What a node is now.
    #[must_use]
    pub fn node(path: &str, node: &Node) -> Self {
        Self::Node {
            path: path.to_owned(),
            born: node.born,
            permissions: packed(&node.permissions),
            value: node.value.to_vec(),
        }
    }
}

#[derive(Serialize, Deserialize)]
struct Header {
    format: String,
    boot: String,
}

/// The journal being written.
#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
    boot: String,
    file: File,
    size: u64,
    needed: u64,
}

impl Journal {
    /// Starts a journal at `path` that tells the state as these records do, in place of what is there. `boot` names the boot.
    ///
    /// # Errors
    /// The file system's.
    pub fn create(path: &Path, boot: &str, state: &[Record]) -> io::Result<Self> {
        let fresh = path.with_extension("new");
        let mut file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&fresh)?;
        let header = Header {
            format: FORMAT.to_owned(),
            boot: boot.to_owned(),
        };
        let mut bytes = frame(&header)?;
        bytes.extend(frame(&state)?);
        file.write_all(&bytes)?;
        fs::rename(&fresh, path)?;
        let size = bytes.len() as u64;
        Ok(Self {
            path: path.to_owned(),
            boot: boot.to_owned(),
            file,
            size,
            needed: size,
        })
    }

    /// Appends a batch.
    ///
    /// # Errors
    /// The file system's; the file ends with the last whole batch then.
    pub fn append(&mut self, batch: &[Record]) -> io::Result<()> {
        let bytes = frame(&batch)?;
        if let Err(error) = self.file.write_all(&bytes) {
            self.file.set_len(self.size)?;
            io::Seek::seek(&mut self.file, io::SeekFrom::End(0))?;
            return Err(error);
        }
        self.size += bytes.len() as u64;
        Ok(())
    }

    /// Whether the file has grown so much that it should be written anew.
    #[must_use]
    pub const fn is_large(&self) -> bool {
        self.size > SMALL && self.size / GROWTH > self.needed
    }

    /// Writes the file anew, telling the state as these records do.
    ///
    /// # Errors
    /// The file system's; the old file is as it was then.
    pub fn rewrite(&mut self, state: &[Record]) -> io::Result<()> {
        *self = Self::create(&self.path, &self.boot, state)?;
        Ok(())
    }
}

fn frame<T: Serialize>(content: &T) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; 8];
    bytes = postcard::to_extend(content, bytes).map_err(io::Error::other)?;
    let length = u32::try_from(bytes.len() - 8).map_err(io::Error::other)?;
    let checksum = CRC.checksum(&bytes[8..]);
    bytes[..4].copy_from_slice(&length.to_le_bytes());
    bytes[4..8].copy_from_slice(&checksum.to_le_bytes());
    Ok(bytes)
}

/// The records of a journal that was written in this boot, as far as it is whole; none if it is of another boot or format.
#[must_use]
pub fn read(bytes: &[u8], boot: &str) -> Vec<Record> {
    let mut rest = bytes;
    let header = next_frame(&mut rest).and_then(|frame| postcard::from_bytes::<Header>(frame).ok());
    if header.is_none_or(|header| header.format != FORMAT || header.boot != boot) {
        return Vec::new();
    }
    let mut records = Vec::new();
    while let Some(batch) = next_frame(&mut rest) {
        match postcard::from_bytes::<Vec<Record>>(batch) {
            Ok(batch) => records.extend(batch),
            Err(_) => break,
        }
    }
    records
}

fn next_frame<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let (length, tail) = rest.split_first_chunk::<4>()?;
    let (checksum, tail) = tail.split_first_chunk::<4>()?;
    let length = usize::try_from(u32::from_le_bytes(*length)).ok()?;
    if length > FRAME_MAX {
        return None;
    }
    let (content, tail) = tail.split_at_checked(length)?;
    if CRC.checksum(content) != u32::from_le_bytes(*checksum) {
        return None;
    }
    *rest = tail;
    Some(content)
}
