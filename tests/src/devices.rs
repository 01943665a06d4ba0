//! The devices of a machine that a whole Debian runs on: chipset, firmware, disk controller and network card, as QEMU
//! is told of them.

use crate::artifacts::{deb, debian_root};
use anyhow::{Context, Result};
use std::net::TcpListener;
use std::path::{Path, PathBuf};

/// The machine's board.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Chipset {
    /// i440fx: PCI, PIIX.
    #[default]
    Pc,
    /// q35: PCI Express, ICH9.
    Q35,
}

/// How the disk is attached.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Disk {
    /// SATA behind an AHCI controller.
    Ahci,
    /// An NVMe controller.
    Nvme,
    /// virtio-blk on PCI.
    #[default]
    Virtio,
}

/// The network card.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Nic {
    /// Intel 82540EM, PCI.
    E1000,
    /// Intel 82574L, PCI Express with MSI-X.
    E1000e,
    /// virtio-net on PCI.
    #[default]
    Virtio,
}

/// All devices of a machine that boots from a disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Devices {
    /// The board.
    pub chipset: Chipset,
    /// Whether the firmware is UEFI instead of a BIOS.
    pub uefi: bool,
    /// The disk's controller.
    pub disk: Disk,
    /// The network card.
    pub nic: Nic,
}

/// The file under which a machine with `uefi` keeps its firmware.
pub fn firmware() -> Result<PathBuf> {
    Ok(deb::package("ovmf")?.join("usr/share/ovmf/OVMF.fd"))
}

/// A TCP port of this host that is free now.
pub fn free_port() -> Result<u16> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).context("find a free port")?;
    Ok(listener.local_addr()?.port())
}

impl Devices {
    /// QEMU's arguments for board and firmware.
    pub fn board(&self) -> Result<Vec<String>> {
        let chipset = match self.chipset {
            Chipset::Pc => "pc",
            Chipset::Q35 => "q35",
        };
        let mut list = vec!["-machine".to_owned(), chipset.to_owned()];
        if self.uefi {
            list.extend(["-bios".to_owned(), firmware()?.display().to_string()]);
        }
        Ok(list)
    }

    /// QEMU's arguments for everything. What the machine writes to `disk` is thrown away when QEMU ends, unless `keep`; `ssh` of this
    /// host leads to port 22 of the machine.
    pub fn arguments(&self, disk: &Path, keep: bool, ssh: u16) -> Result<Vec<String>> {
        let mut list = self.board()?;
        let mut add = |words: &[&str]| list.extend(words.iter().map(|word| (*word).to_owned()));
        let snapshot = if keep { "off" } else { "on" };
        // A comma within a value is doubled.
        let file = disk.display().to_string().replace(',', ",,");
        add(&[
            "-drive",
            &format!("if=none,id=root,format=raw,file={file},snapshot={snapshot}"),
        ]);
        match (self.disk, self.chipset) {
            (Disk::Ahci, Chipset::Q35) => add(&["-device", "ide-hd,drive=root,bus=ide.0"]),
            (Disk::Ahci, Chipset::Pc) => add(&[
                "-device",
                "ich9-ahci,id=sata",
                "-device",
                "ide-hd,drive=root,bus=sata.0",
            ]),
            (Disk::Nvme, _) => add(&["-device", "nvme,drive=root,serial=root"]),
            (Disk::Virtio, _) => add(&["-device", "virtio-blk-pci,drive=root"]),
        }
        let card = match self.nic {
            Nic::E1000 => "e1000",
            Nic::E1000e => "e1000e",
            Nic::Virtio => "virtio-net-pci",
        };
        add(&[
            "-netdev",
            &format!("user,id=net,hostfwd=tcp:127.0.0.1:{ssh}-:22"),
            "-device",
            &format!("{card},netdev=net"),
        ]);
        // Programs that want entropy would wait for it on a processor without RDRAND.
        add(&["-device", "virtio-rng-pci"]);
        Ok(list)
    }
}

/// The disk with Debian's root file system. It is shared: do not write to it.
pub fn debian_disk() -> Result<PathBuf> {
    debian_root::image()
}

/// Options of a kernel whose root is Debian's disk.
pub const ROOT: &str = "root=LABEL=root";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_choice_is_a_device() {
        let devices = Devices {
            chipset: Chipset::Q35,
            uefi: false,
            disk: Disk::Nvme,
            nic: Nic::E1000e,
        };
        let list = devices.arguments(Path::new("a,b"), false, 4022).unwrap();
        let line = list.join(" ");
        assert!(line.contains("-machine q35 "), "{line}");
        assert!(line.contains("file=a,,b,snapshot=on "), "{line}");
        assert!(line.contains("nvme,drive=root"), "{line}");
        assert!(line.contains("tcp:127.0.0.1:4022-:22"), "{line}");
        assert!(line.contains("e1000e,netdev=net"), "{line}");
        let kept = Devices::default()
            .arguments(Path::new("a"), true, 1)
            .unwrap();
        assert!(kept.join(" ").contains("snapshot=off"));
    }
}
