//! Bootable CDs: GRUB from Debian's packages, unpacked but not installed, reads the modules by multiboot 2.

use crate::artifacts::{deb, target_dir};
use crate::qemu::Module;
use anyhow::{Context, Result, bail};
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

/// `grub-mkrescue`, its modules for BIOS machines, and `xorriso` with the libraries that a small system lacks.
const PACKAGES: [&str; 7] = [
    "grub-common",
    "grub-pc-bin",
    "xorriso",
    "libisoburn1",
    "libisofs6",
    "libburn4",
    "libjte2",
];

/// The folders of the packages in use, fetched when they are not there yet.
pub fn packages() -> Result<Vec<PathBuf>> {
    let more = [
        "libdevmapper1.02.1",
        "libefiboot1",
        "libefivar1",
        "libfuse2",
    ];
    PACKAGES
        .iter()
        .chain(&more)
        .map(|name| deb::package(name))
        .collect()
}

/// Write a CD image to `image` that boots `hypervisor` with `append` and `modules`, without a menu.
pub fn write(hypervisor: &Path, append: &str, modules: &[Module], image: &Path) -> Result<()> {
    let folders = packages()?;
    let tree = tempfile::tempdir_in(target_dir()).context("make a folder for the CD's files")?;
    let boot = tree.path().join("boot");
    std::fs::create_dir_all(boot.join("grub"))?;
    copy(hypervisor, &boot.join("hypervisor"))?;
    let mut menu = format!("multiboot2 /boot/hypervisor {append}\n");
    for (index, module) in modules.iter().enumerate() {
        copy(&module.path, &boot.join(format!("module{index}")))?;
        // An initramfs must arrive as it is.
        let raw = if index == 0 { "" } else { "--nounzip " };
        writeln!(
            menu,
            "module2 {raw}/boot/module{index} {}",
            module.arguments
        )?;
    }
    menu.push_str("boot\n");
    std::fs::write(boot.join("grub/grub.cfg"), menu)?;

    let libraries: Vec<PathBuf> = folders
        .iter()
        .flat_map(|f| {
            [
                f.join("usr/lib/x86_64-linux-gnu"),
                f.join("lib/x86_64-linux-gnu"),
            ]
        })
        .collect();
    let [grub, grub_modules, xorriso] = [&folders[0], &folders[1], &folders[2]];
    let mut command = Command::new(grub.join("usr/bin/grub-mkrescue"));
    command
        .arg("-d")
        .arg(grub_modules.join("usr/lib/grub/i386-pc"))
        .arg(format!(
            "--xorriso={}",
            xorriso.join("usr/bin/xorriso").display()
        ))
        .args(["--locales=", "--fonts=", "--themes=", "-o"])
        .arg(image)
        .arg(tree.path())
        .env("LD_LIBRARY_PATH", std::env::join_paths(libraries)?);
    let output = command.output().context("start grub-mkrescue")?;
    if !output.status.success() {
        let complaint = String::from_utf8_lossy(&output.stderr);
        bail!(
            "grub-mkrescue: {}",
            complaint
                .trim()
                .lines()
                .last()
                .unwrap_or("failed without a word")
        );
    }
    Ok(())
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    std::fs::copy(from, to).with_context(|| format!("copy {}", from.display()))?;
    Ok(())
}
