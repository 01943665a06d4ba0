//! Kernels unpacked once and kept.
//!
//! An unpacked kernel is found again by the device, inode, size and modification time of its file. On first sight it is named
//! after the hash of the packed file, so that copies of one kernel share what was unpacked. The cache is a convenience: whatever
//! goes wrong with it, the kernel is unpacked again.

use std::fs::{self, File, Metadata};
use std::io::Write as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

use crate::sys::file_map::FileMap;

/// Unpacked kernels that are kept at most.
const KEPT: usize = 4;

/// The folder of kept kernels.
#[derive(Clone, Debug)]
pub struct Cache {
    folder: PathBuf,
}

impl Default for Cache {
    fn default() -> Self {
        Self::new("/var/cache/xeno/kernels")
    }
}

impl Cache {
    /// A cache in `folder`, which is made when something is kept.
    #[must_use]
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self {
            folder: folder.into(),
        }
    }

    fn index(&self, metadata: &Metadata) -> PathBuf {
        self.folder.join(format!(
            "{:x}-{:x}-{:x}-{:x}.{:09}",
            metadata.dev(),
            metadata.ino(),
            metadata.size(),
            metadata.mtime(),
            metadata.mtime_nsec()
        ))
    }

    /// The unpacked kernel of the file with `metadata`.
    #[must_use]
    pub fn find(&self, metadata: &Metadata) -> Option<FileMap> {
        FileMap::new(&File::open(self.index(metadata)).ok()?).ok()
    }

    /// Keeps `unpacked`, which is the kernel in the file with `metadata` and the contents `packed`.
    pub fn keep(&self, metadata: &Metadata, packed: &[u8], unpacked: &[u8]) {
        // A full or read-only file system costs time, not the guest.
        let _ = self.try_keep(metadata, packed, unpacked);
    }

    fn try_keep(&self, metadata: &Metadata, packed: &[u8], unpacked: &[u8]) -> std::io::Result<()> {
        fs::create_dir_all(&self.folder)?;
        let hash = Sha256::digest(packed);
        let name: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
        let kernel = self.folder.join(format!("{name}.elf"));
        if !kernel.exists() {
            self.make_room()?;
            let partial = self
                .folder
                .join(format!("{name}.{}.partial", std::process::id()));
            let written = File::create(&partial).and_then(|mut file| file.write_all(unpacked));
            // A file appears under its name only when it is whole.
            let renamed = written.and_then(|()| fs::rename(&partial, &kernel));
            if renamed.is_err() {
                let _ = fs::remove_file(&partial);
            }
            renamed?;
        }
        let link = self.index(metadata);
        let _ = fs::remove_file(&link);
        // A hard link, so that an index never leads nowhere.
        fs::hard_link(&kernel, &link)
    }

    /// Removes the oldest kernels so that one more can be kept, and everything that leads to them.
    fn make_room(&self) -> std::io::Result<()> {
        let mut kernels: Vec<(std::time::SystemTime, PathBuf)> = Vec::new();
        for entry in fs::read_dir(&self.folder)? {
            let path = entry?.path();
            match extension(&path) {
                "elf" => kernels.push((fs::metadata(&path)?.modified()?, path)),
                "partial" if is_stale(&path) => fs::remove_file(&path)?,
                _ => {}
            }
        }
        kernels.sort();
        let surplus = (kernels.len() + 1).saturating_sub(KEPT);
        for (_, kernel) in kernels.iter().take(surplus) {
            let inode = fs::metadata(kernel)?.ino();
            for entry in fs::read_dir(&self.folder)? {
                let path = entry?.path();
                if fs::metadata(&path).is_ok_and(|metadata| metadata.ino() == inode) {
                    fs::remove_file(&path)?;
                }
            }
        }
        Ok(())
    }
}

fn extension(path: &Path) -> &str {
    path.extension()
        .and_then(|extension| extension.to_str())
        .unwrap_or_default()
}

/// Whether the process that writes the partial file is gone.
fn is_stale(path: &Path) -> bool {
    let id = path
        .file_stem()
        .and_then(|stem| Path::new(stem).extension())
        .and_then(|id| id.to_str()?.parse().ok());
    id.is_none_or(|id| !crate::sys::process::exists(id))
}
