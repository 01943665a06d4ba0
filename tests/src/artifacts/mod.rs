//! What the boots need from outside: Debian packages, QEMU, the file system places they live in.
//!
//! Everything is cached under `target/` of the workspace; a second run needs no network.

pub mod deb;
pub mod debian_root;
pub mod host;
pub mod rust;
pub mod toolstack;

use anyhow::{Context, Result, bail};
use std::path::{Path, PathBuf};

/// The workspace's root folder.
pub fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("tests/ lies in the workspace")
        .to_owned()
}

/// The folder for everything generated: `CARGO_TARGET_DIR`, or `target/` of the workspace.
pub fn target_dir() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| workspace().join("target"), PathBuf::from)
}

/// A Linux kernel with its modules folder, when there is one.
#[derive(Clone, Debug)]
pub struct Linux {
    /// The bzImage or ELF file.
    pub kernel: PathBuf,
    /// `lib/modules/VERSION`.
    pub modules: Option<PathBuf>,
}

impl Linux {
    /// Debian 12's own kernel, downloaded when it is not there yet.
    pub fn debian() -> Result<Self> {
        let root = deb::package("linux-image-amd64")?;
        let kernel = only_entry(&root.join("boot"), "vmlinuz-")?;
        let modules = only_entry(&root.join("lib/modules"), "").ok();
        Ok(Self { kernel, modules })
    }
}

/// The static busybox of Debian, downloaded when it is not there yet.
pub fn busybox() -> Result<PathBuf> {
    existing(deb::package("busybox-static")?.join("bin/busybox"))
}

/// Debian's Xen 4.17, unpacked so that QEMU's multiboot loader takes it.
pub fn debian_xen() -> Result<PathBuf> {
    let unpacked = target_dir().join("xen-4.17-amd64");
    if unpacked.exists() {
        return Ok(unpacked);
    }
    let packed =
        existing(deb::package("xen-hypervisor-4.17-amd64")?.join("boot/xen-4.17-amd64.gz"))?;
    let file =
        std::fs::File::open(&packed).with_context(|| format!("open {}", packed.display()))?;
    let mut image = Vec::new();
    std::io::Read::read_to_end(&mut flate2::read::GzDecoder::new(file), &mut image)
        .with_context(|| format!("unpack {}", packed.display()))?;
    let partial = unpacked.with_extension("partial");
    std::fs::write(&partial, image)?;
    std::fs::rename(&partial, &unpacked)?;
    Ok(unpacked)
}

/// Xen's public headers: those of the system, or the package's, downloaded when it is not there yet.
pub fn xen_headers() -> Result<PathBuf> {
    let installed = Path::new("/usr/include/xen");
    if installed.join("xen.h").exists() {
        return Ok(installed.to_owned());
    }
    existing(deb::package("libxen-dev")?.join("usr/include/xen"))
}

/// `path`, if there is such a file.
fn existing(path: PathBuf) -> Result<PathBuf> {
    if !path.exists() {
        bail!(
            "{} is missing; delete {} and try again",
            path.display(),
            deb::cache_dir().display()
        );
    }
    Ok(path)
}

/// The entry of `folder` whose name starts with `prefix`; the last in name order if there are several.
fn only_entry(folder: &Path, prefix: &str) -> Result<PathBuf> {
    let mut found: Vec<PathBuf> = std::fs::read_dir(folder)
        .with_context(|| format!("read {}", folder.display()))?
        .filter_map(|entry| entry.ok().map(|e| e.path()))
        .filter(|p| {
            p.file_name()
                .is_some_and(|n| n.to_string_lossy().starts_with(prefix))
        })
        .collect();
    found.sort();
    found
        .pop()
        .with_context(|| format!("no {prefix}* in {}", folder.display()))
}
