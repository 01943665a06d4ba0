//! Bootable CDs: GRUB from Debian's packages, unpacked but not installed, reads the modules by multiboot 2.

use crate::artifacts::{deb, target_dir};
use crate::qemu::Module;
use anyhow::{Context, Result, bail};
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What `grub-mkrescue` calls and a small system lacks, `xorriso` and `mtools`, with their libraries.
const PACKAGES: [&str; 10] = [
    "xorriso",
    "mtools",
    "libisoburn1",
    "libisofs6",
    "libburn4",
    "libjte2",
    "libdevmapper1.02.1",
    "libefiboot1",
    "libefivar1",
    "libfuse2",
];

/// What reads the CD.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Firmware {
    /// A BIOS (El Torito).
    Bios,
    /// UEFI: a FAT image with a program for it.
    Uefi,
}

/// The folders of the packages in use, fetched when they are not there yet: GRUB's programs, its modules for
/// `firmware`, xorriso, then libraries and programs that these call.
pub fn packages(firmware: Firmware) -> Result<Vec<PathBuf>> {
    let modules = match firmware {
        Firmware::Bios => "grub-pc-bin",
        Firmware::Uefi => "grub-efi-amd64-bin",
    };
    ["grub-common", modules]
        .iter()
        .chain(&PACKAGES)
        .map(|name| deb::package(name))
        .collect()
}

/// Write a CD image to `image` for `firmware` that boots `hypervisor` with `append` and `modules`, without a menu.
pub fn write(
    firmware: Firmware,
    hypervisor: &Path,
    append: &str,
    modules: &[Module],
    image: &Path,
) -> Result<()> {
    let folders = packages(firmware)?;
    let platform = match firmware {
        Firmware::Bios => "i386-pc",
        Firmware::Uefi => "x86_64-efi",
    };
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
    let [grub, modules, xorriso, mtools] = &folders[..4] else {
        bail!("the list of packages is too short");
    };
    let path = std::env::var_os("PATH").unwrap_or_default();
    let path = std::env::join_paths(
        std::iter::once(mtools.join("usr/bin")).chain(std::env::split_paths(&path)),
    )?;
    let mut command = Command::new(grub.join("usr/bin/grub-mkrescue"));
    command
        .arg("-d")
        .arg(modules.join("usr/lib/grub").join(platform))
        .arg(format!(
            "--xorriso={}",
            xorriso.join("usr/bin/xorriso").display()
        ))
        .args(["--locales=", "--fonts=", "--themes=", "-o"])
        .arg(image)
        .arg(tree.path())
        .env("PATH", path)
        .env("pkgdatadir", grub.join("usr/share/grub"))
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
