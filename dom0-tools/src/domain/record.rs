//! What the toolstack remembers of a guest outside xenstore: its configuration, and how far its creation got.
//!
//! One JSON file per domain, named after its UUID and written before the domain exists, so that whoever finds it after a crash
//! knows what to undo. The creator holds a lock on it; a record of an unfinished guest whose lock is free belongs to a creator
//! that died.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::config::GuestConfig;
use crate::sys::file_lock;

/// Where records are kept: they do not outlive the machine's uptime.
const FOLDER: &str = "/run/xeno/domains";

/// How far a guest is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// Its creator is at work.
    Building,
    /// It runs, or may.
    Ready,
    /// It has ended and stays for inspection.
    Preserved,
    /// Its creator watches it itself (`create -F`).
    Foreground,
}

/// A guest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Its id, once the hypervisor has given it one.
    pub domain: Option<u16>,
    /// Its UUID, which tells it from a later domain of the same id.
    pub uuid: String,
    /// How far it is.
    pub phase: Phase,
    /// What it was made of.
    pub config: GuestConfig,
}

fn path(uuid: &str) -> PathBuf {
    PathBuf::from(FOLDER).join(format!("{uuid}.json"))
}

/// A record that this process is writing, locked until it is dropped.
#[derive(Debug)]
pub struct Held {
    file: File,
    /// What it says.
    pub record: Record,
}

impl Held {
    /// Begins a record.
    ///
    /// # Errors
    /// The folder cannot be written.
    pub fn begin(record: Record) -> io::Result<Self> {
        fs::create_dir_all(FOLDER)?;
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(path(&record.uuid))?;
        // A stale record of an earlier domain with this UUID may be held by a supervisor that is about to remove it.
        file_lock::lock(&file, true)?;
        let held = Self { file, record };
        held.write()?;
        Ok(held)
    }

    /// Notes the domain's id.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn set_domain(&mut self, domain: u16) -> io::Result<()> {
        self.record.domain = Some(domain);
        self.write()
    }

    /// Changes the phase.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn set_phase(&mut self, phase: Phase) -> io::Result<()> {
        self.record.phase = phase;
        self.write()
    }

    fn write(&self) -> io::Result<()> {
        let text = serde_json::to_vec_pretty(&self.record)?;
        self.file.set_len(0)?;
        use std::io::Seek as _;
        (&self.file).rewind()?;
        (&self.file).write_all(&text)
    }
}

/// The records of all domains.
#[must_use]
pub fn all() -> Vec<Record> {
    let Ok(folder) = fs::read_dir(FOLDER) else {
        return Vec::new();
    };
    folder
        .filter_map(|entry| {
            let text = fs::read(entry.ok()?.path()).ok()?;
            serde_json::from_slice(&text).ok()
        })
        .collect()
}

/// The record of one domain.
#[must_use]
pub fn of(domain: u16) -> Option<Record> {
    all()
        .into_iter()
        .find(|record| record.domain == Some(domain))
}

/// Locks the record of the domain `uuid` if nobody holds it.
#[must_use]
pub fn try_hold(uuid: &str) -> Option<Held> {
    let file = OpenOptions::new().write(true).open(path(uuid)).ok()?;
    if !file_lock::lock(&file, false).ok()? {
        return None;
    }
    // Read under the lock: what was read before may be old.
    let record = serde_json::from_slice(&fs::read(path(uuid)).ok()?).ok()?;
    Some(Held { file, record })
}

/// Forgets a domain.
pub fn remove(uuid: &str) {
    let _ = fs::remove_file(path(uuid));
}

/// Notes a domain's new name.
pub(super) fn rename(domain: u16, name: &str) {
    let held = of(domain).and_then(|record| try_hold(&record.uuid));
    if let Some(mut held) = held {
        held.record.config.name = name.to_owned();
        // The record is for restarts only: the store's name is what counts now.
        let _ = held.write();
    }
}
