//! What the toolstack remembers of a guest outside xenstore: its configuration, and how far its creation got.
//!
//! One JSON file per domain, named after its UUID and written before the domain exists, so that whoever finds it after a crash
//! knows what to undo. The creator holds a lock on it; a record of an unfinished guest whose lock is free belongs to a creator
//! that died.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

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
        let path = path(&record.uuid);
        loop {
            let file = OpenOptions::new()
                .create(true)
                .truncate(false)
                .write(true)
                .open(&path)?;
            // A stale record of an earlier domain with this UUID may be held by a supervisor that is about to remove it: then
            // what is locked is no record any more.
            file_lock::lock(&file, true)?;
            if is_at(&file, &path) {
                let held = Self { file, record };
                held.write()?;
                return Ok(held);
            }
        }
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
        overwrite(&self.file, serde_json::to_vec_pretty(&self.record)?)
    }
}

/// Replaces the contents of `file` in one step: whoever writes may be killed between two, and must not leave half a record.
/// Blanks, which JSON ignores, take the place of what a longer text had at its end.
fn overwrite(file: &File, mut text: Vec<u8>) -> io::Result<()> {
    let before = usize::try_from(file.metadata()?.len()).unwrap_or(usize::MAX);
    if text.len() < before {
        text.resize(before, b' ');
    }
    file.write_all_at(&text, 0)
}

/// Whether `path` names the open `file`, which somebody else may have removed.
fn is_at(file: &File, path: &Path) -> bool {
    let Ok(open) = file.metadata() else {
        return false;
    };
    fs::metadata(path).is_ok_and(|named| (named.dev(), named.ino()) == (open.dev(), open.ino()))
}

/// Removes files that are no record: of creators that were killed before they wrote theirs, and so before they made a domain.
pub fn remove_unwritten() {
    remove_unwritten_in(Path::new(FOLDER));
}

fn remove_unwritten_in(folder: &Path) {
    let entries = fs::read_dir(folder).into_iter().flatten();
    for path in entries.filter_map(|entry| Some(entry.ok()?.path())) {
        let is_empty = || fs::metadata(&path).is_ok_and(|named| named.len() == 0);
        if !is_empty() {
            continue;
        }
        let Ok(file) = File::open(&path) else {
            continue;
        };
        // Locked: its creator is about to write it, and may have done so meanwhile.
        let free = file_lock::lock(&file, false).unwrap_or(false);
        if free && is_at(&file, &path) && is_empty() {
            let _ = fs::remove_file(&path);
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(name: &str) -> PathBuf {
        let folder = std::env::temp_dir().join(format!("xeno-{name}-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        folder
    }

    #[test]
    fn a_shorter_text_leaves_nothing_of_a_longer_one() {
        let folder = folder("overwrite");
        let path = folder.join("record.json");
        let file = File::create(&path).unwrap();
        overwrite(&file, b"{\"phase\": \"building\"}".to_vec()).unwrap();
        overwrite(&file, b"{\"phase\": \"ready\"}".to_vec()).unwrap();
        let value: serde_json::Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        assert_eq!(value, serde_json::json!({"phase": "ready"}));
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn empty_files_go_unless_their_creator_is_at_work() {
        let folder = folder("unwritten");
        let [left, held, written] =
            ["left", "held", "written"].map(|name| folder.join(format!("{name}.json")));
        File::create(&left).unwrap();
        let creator = File::create(&held).unwrap();
        assert!(file_lock::lock(&creator, false).unwrap());
        fs::write(&written, "{}").unwrap();
        remove_unwritten_in(&folder);
        assert!(!left.exists());
        assert!(held.exists());
        assert!(written.exists());
        drop(creator);
        remove_unwritten_in(&folder);
        assert!(!held.exists());
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn a_removed_file_is_not_at_its_path() {
        let folder = folder("removed");
        let path = folder.join("record.json");
        let file = File::create(&path).unwrap();
        assert!(is_at(&file, &path));
        fs::remove_file(&path).unwrap();
        assert!(!is_at(&file, &path));
        let _other = File::create(&path).unwrap();
        assert!(!is_at(&file, &path));
        fs::remove_dir_all(folder).unwrap();
    }
}
