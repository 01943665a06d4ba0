//! `cargo xtask build`: the hypervisor as one bootable file, `target/xenolith.elf`.
//!
//! QEMU's `-kernel` takes it by its multiboot 1 header, GRUB's `multiboot2` by the other.
//! `target/xenolith.debug` is the same program with symbols, for gdb and addr2line.

use crate::container;
use anyhow::{Context, Result};
use std::path::PathBuf;
use xenolith_tests::artifacts::{rust, target_dir};

/// Options of `cargo xtask build`.
#[derive(clap::Args, Clone, Debug, Default)]
pub struct Options {
    /// Build with all optimisations
    #[arg(long)]
    pub release: bool,
}

/// Build and return the path of the bootable file.
pub fn build(options: &Options) -> Result<PathBuf> {
    rust::ensure_target(rust::BARE_METAL)?;
    let target = target_dir();
    let mut command = rust::cargo(&["build", "--package", "xen-core", "--bin", "xenolith"]);
    command
        .args(["--target", rust::BARE_METAL])
        .arg("--target-dir")
        .arg(&target);
    if options.release {
        command.arg("--release");
    }
    rust::run(&mut command, "cargo build of the hypervisor")?;

    let profile = if options.release { "release" } else { "debug" };
    let linked = target.join(rust::BARE_METAL).join(profile).join("xenolith");
    let image = std::fs::read(&linked).with_context(|| format!("read {}", linked.display()))?;
    let bootable = container::bootable(&image).with_context(|| linked.display().to_string())?;
    let path = target.join("xenolith.elf");
    replace(&path, &bootable)?;
    replace(&target.join("xenolith.debug"), &image)?;
    Ok(path)
}

/// Write `path` whole or not at all; a machine that runs from the old file keeps it.
fn replace(path: &std::path::Path, contents: &[u8]) -> Result<()> {
    let partial = path.with_extension("partial");
    std::fs::write(&partial, contents).with_context(|| format!("write {}", partial.display()))?;
    std::fs::rename(&partial, path).with_context(|| format!("write {}", path.display()))
}
