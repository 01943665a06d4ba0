//! Options that `run`, `gdb` and `iso` share: which machine, which hypervisor, which dom0.

use crate::build;
use anyhow::{Context, Result, bail};
use std::path::PathBuf;
use xenolith_tests::artifacts::{self, Linux, target_dir};
use xenolith_tests::initramfs::{DOM0_MODULES, Initramfs};
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
    /// Build with all optimisations
    #[arg(long)]
    pub release: bool,
    #[arg(long, hide = true, value_enum, default_value_t)]
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
            extra: Vec::new(),
        }
    }
}

/// The files and command lines of a boot.
pub struct BootFiles {
    pub hypervisor: PathBuf,
    pub append: String,
    pub modules: Vec<Module>,
}

impl Dom0 {
    /// Build or download everything that is not there yet.
    pub fn prepare(&self) -> Result<BootFiles> {
        let hypervisor = match self.hypervisor {
            Hypervisor::Xenolith => build::build(&build::Options {
                release: self.release,
            })?,
            Hypervisor::DebianXen => artifacts::debian_xen()?,
        };
        let linux = match &self.linux {
            Some(kernel) => Linux {
                kernel: present(kernel, "--linux")?,
                modules: self.modules.clone(),
            },
            None => Linux::debian()?,
        };
        let mut modules = vec![Module {
            path: linux.kernel.clone(),
            arguments: with("console=hvc0", self.dom0_append.as_deref()),
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
        let mut initramfs = Initramfs::new()?;
        if let Some(folder) = &linux.modules {
            initramfs.add_modules(folder, "order", &DOM0_MODULES)?;
        }
        initramfs
            .write(&target_dir().join("dom0.cpio.gz"))
            .context("write dom0's initramfs")
    }
}

impl BootFiles {
    /// For QEMU's multiboot loader.
    pub fn boot(&self) -> Boot {
        Boot::Multiboot {
            kernel: self.hypervisor.clone(),
            append: self.append.clone(),
            modules: self.modules.clone(),
        }
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
