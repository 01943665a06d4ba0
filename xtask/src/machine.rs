//! Options that `run`, `gdb` and `iso` share: which machine, which hypervisor, which dom0.

use crate::build;
use anyhow::{Context, Result, bail};
use std::path::PathBuf;
use xenolith_tests::artifacts::{self, Linux, target_dir};
use xenolith_tests::devices::{Chipset, Devices, Disk, Nic, ROOT};
use xenolith_tests::initramfs::{self, DOM0_MODULES, Initramfs, toolstack};
use xenolith_tests::iso::{self, Firmware};
use xenolith_tests::qemu::{Boot, Machine, Module};
use xenolith_tests::runner::XEN_CPU;

/// The hypervisor to start.
#[derive(clap::ValueEnum, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Hypervisor {
    /// The one built here
    #[default]
    Xenolith,
    /// Debian's Xen 4.17, for comparison
    DebianXen,
    /// No hypervisor: Linux on the bare machine
    None,
}

/// What dom0 lives on.
#[derive(clap::ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum Root {
    /// A whole Debian 12 on a disk
    Debian,
}

/// A board.
#[derive(clap::ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum Board {
    /// i440fx: PCI
    Pc,
    /// q35: PCI Express
    Q35,
}

/// A disk controller.
#[derive(clap::ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum DiskKind {
    /// SATA
    Ahci,
    /// NVM Express
    Nvme,
    /// virtio-blk
    Virtio,
}

/// A network card.
#[derive(clap::ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum Net {
    /// Intel 82540EM, PCI
    E1000,
    /// Intel 82574L, PCI Express
    E1000e,
    /// virtio-net
    Virtio,
}

/// What the first domain is made of.
#[derive(clap::Args, Clone, Debug)]
pub struct Dom0 {
    /// Options for the hypervisor, after the usual ones
    #[arg(long, value_name = "OPTIONS", allow_hyphen_values = true)]
    pub append: Option<String>,
    /// Options for dom0's kernel, after the usual ones
    #[arg(long, value_name = "OPTIONS", allow_hyphen_values = true)]
    pub dom0_append: Option<String>,
    /// A kernel for dom0 instead of Debian's
    #[arg(long, value_name = "FILE")]
    pub linux: Option<PathBuf>,
    /// An initramfs for dom0 instead of ours; "none" for none
    #[arg(long, value_name = "FILE")]
    pub initrd: Option<PathBuf>,
    /// The folder lib/modules/VERSION of the kernel given with --linux
    #[arg(long, value_name = "FOLDER")]
    pub modules: Option<PathBuf>,
    /// What dom0 goes on with after its initramfs, instead of the shell in it
    #[arg(long, value_enum, value_name = "SYSTEM")]
    pub root: Option<Root>,
    /// Build with all optimisations
    #[arg(long)]
    pub release: bool,
    /// Which hypervisor starts
    #[arg(long, value_enum, default_value_t)]
    pub hypervisor: Hypervisor,
}

/// The emulated computer.
#[derive(clap::Args, Clone, Debug)]
pub struct Computer {
    /// Processors
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub smp: u32,
    /// Memory
    #[arg(long, value_name = "SIZE", default_value = "1G")]
    pub mem: String,
    /// CPU model, as QEMU names it
    #[arg(long, value_name = "MODEL")]
    pub cpu: Option<String>,
    /// Use the processor's virtualization instead of emulation
    #[arg(long)]
    pub kvm: bool,
    /// The board
    #[arg(long, value_enum, default_value = "pc")]
    pub machine: Board,
    /// Boot by UEFI and GRUB, from a CD
    #[arg(long)]
    pub uefi: bool,
    /// The controller of the disk of --root
    #[arg(long, value_enum, default_value = "virtio")]
    pub disk: DiskKind,
    /// The network card of --root
    #[arg(long, value_enum, default_value = "virtio")]
    pub net: Net,
}

impl Computer {
    /// As QEMU needs it told for `hypervisor`.
    pub fn machine(&self, hypervisor: Hypervisor) -> Machine {
        let model = self
            .cpu
            .as_deref()
            .unwrap_or(if self.kvm { "host" } else { "max" });
        let cpu = match hypervisor {
            Hypervisor::DebianXen if !self.kvm => format!("{model}{XEN_CPU}"),
            _ => model.to_owned(),
        };
        Machine {
            cpu,
            memory: self.mem.clone(),
            smp: self.smp,
            kvm: self.kvm,
            reboots: false,
            extra: Vec::new(),
        }
    }

    /// Its devices.
    pub fn devices(&self) -> Devices {
        Devices {
            chipset: match self.machine {
                Board::Pc => Chipset::Pc,
                Board::Q35 => Chipset::Q35,
            },
            uefi: self.uefi,
            disk: match self.disk {
                DiskKind::Ahci => Disk::Ahci,
                DiskKind::Nvme => Disk::Nvme,
                DiskKind::Virtio => Disk::Virtio,
            },
            nic: match self.net {
                Net::E1000 => Nic::E1000,
                Net::E1000e => Nic::E1000e,
                Net::Virtio => Nic::Virtio,
            },
        }
    }
}

/// The files and command lines of a boot.
pub struct BootFiles {
    /// None: Linux boots alone.
    pub hypervisor: Option<PathBuf>,
    pub append: String,
    pub modules: Vec<Module>,
}

impl Dom0 {
    /// Build or download everything that is not there yet.
    pub fn prepare(&self) -> Result<BootFiles> {
        let hypervisor = match self.hypervisor {
            Hypervisor::Xenolith => Some(build::build(&build::Options {
                release: self.release,
            })?),
            Hypervisor::DebianXen => Some(artifacts::debian_xen()?),
            Hypervisor::None => None,
        };
        let linux = match &self.linux {
            Some(kernel) => Linux {
                kernel: present(kernel, "--linux")?,
                modules: self.modules.clone(),
            },
            None => Linux::debian()?,
        };
        let console = match self.hypervisor {
            Hypervisor::None => "console=ttyS0",
            _ => "console=hvc0",
        };
        let usual = match self.root {
            Some(Root::Debian) => format!("{console} {ROOT}"),
            None => console.to_owned(),
        };
        let mut modules = vec![Module {
            path: linux.kernel.clone(),
            arguments: with(&usual, self.dom0_append.as_deref()),
        }];
        let initrd = match &self.initrd {
            Some(none) if none.as_os_str() == "none" => None,
            Some(file) => Some(present(file, "--initrd")?),
            None => Some(self.initramfs(&linux)?),
        };
        modules.extend(initrd.map(|path| Module {
            path,
            arguments: String::new(),
        }));
        let append = with(
            "console=com1 com1=115200,8n1 loglvl=all guest_loglvl=all",
            self.append.as_deref(),
        );
        Ok(BootFiles {
            hypervisor,
            append,
            modules,
        })
    }

    fn initramfs(&self, linux: &Linux) -> Result<PathBuf> {
        if self.root.is_some() {
            let modules = linux.modules.as_ref();
            let modules = modules.context("--root with --linux needs --modules")?;
            return initramfs::to_root(modules, &[], &target_dir().join("dom0-root.cpio.gz"))
                .context("write dom0's initramfs");
        }
        let mut initramfs = Initramfs::new()?;
        if let Some(folder) = &linux.modules {
            initramfs.add_modules(folder, "order", &DOM0_MODULES)?;
            toolstack::add(&mut initramfs, linux)?;
        }
        initramfs
            .write(&target_dir().join("dom0.cpio.gz"))
            .context("write dom0's initramfs")
    }
}

impl BootFiles {
    /// For QEMU's own loaders, or for GRUB on a machine with `uefi`.
    pub fn boot(&self, uefi: bool) -> Result<Boot> {
        match (&self.hypervisor, uefi) {
            (Some(_), true) => Ok(Boot::CdRom(self.iso(Firmware::Uefi)?)),
            (Some(hypervisor), false) => Ok(Boot::Multiboot {
                kernel: hypervisor.clone(),
                append: self.append.clone(),
                modules: self.modules.clone(),
            }),
            (None, _) => {
                let [kernel, initrd] = &self.modules[..] else {
                    bail!("Linux alone needs an initramfs");
                };
                Ok(Boot::Linux {
                    kernel: kernel.path.clone(),
                    append: kernel.arguments.clone(),
                    initrd: initrd.path.clone(),
                })
            }
        }
    }

    /// A boot CD with GRUB, `target/xenolith.iso`.
    pub fn iso(&self, firmware: Firmware) -> Result<PathBuf> {
        let hypervisor = self.hypervisor.as_ref();
        let hypervisor = hypervisor.context("a CD needs a hypervisor to start")?;
        let image = target_dir().join("xenolith.iso");
        iso::write(firmware, hypervisor, &self.append, &self.modules, &image)?;
        Ok(image)
    }
}

fn with(usual: &str, more: Option<&str>) -> String {
    more.map_or_else(|| usual.to_owned(), |more| format!("{usual} {more}"))
}

fn present(path: &std::path::Path, option: &str) -> Result<PathBuf> {
    if !path.is_file() {
        bail!("{option}: there is no file {}", path.display());
    }
    Ok(path.to_owned())
}
