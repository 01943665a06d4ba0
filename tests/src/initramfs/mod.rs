//! Root file systems for dom0: Debian's static busybox, our `/init`, checks, programs and kernel modules.
//!
//! `/init` (see `tests/dom0/init`) takes its orders from two words of the kernel's command line:
//! `checks=A,B` names executables under `/checks` whose success it reports, `then=` says what follows
//! (`shell`, which is the default, or `poweroff`, `reboot`, `halt`, `crash`). So one image serves every scenario.
//! `root=` names a file system to go on with, such as Debian's.

mod modules;
pub mod stock_xl;
pub mod toolstack;

use crate::{artifacts::busybox, cpio::Archive, programs32};
use anyhow::{Context, Result};
use std::collections::BTreeSet;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The script that runs as process 1.
const INIT: &[u8] = include_bytes!("../../dom0/init");

/// Scripts under `/checks`, by name.
const CHECKS: [(&str, &[u8]); 8] = [
    ("button", include_bytes!("../../dom0/checks/button")),
    ("disk", include_bytes!("../../dom0/checks/disk")),
    ("dmesg", include_bytes!("../../dom0/checks/dmesg")),
    ("shell", include_bytes!("../../dom0/checks/shell")),
    ("fpu", include_bytes!("../../dom0/checks/fpu")),
    ("hotplug", include_bytes!("../../dom0/checks/hotplug")),
    ("stress", include_bytes!("../../dom0/checks/stress")),
    ("ticks", include_bytes!("../../dom0/checks/ticks")),
];

/// Kernel modules of the interactive image: what a toolstack in dom0 opens.
pub const DOM0_MODULES: [&str; 5] = [
    "xenfs",
    "xen-privcmd",
    "xen-evtchn",
    "xen-gntdev",
    "xen-gntalloc",
];

/// Kernel modules of the power button and of input devices.
pub const BUTTON_MODULES: [&str; 2] = ["button", "evdev"];

/// Kernel modules of SATA and IDE disks, loaded by the `disk` check only.
pub const DISK_MODULES: [&str; 3] = ["sd_mod", "ata_piix", "ahci"];

/// Kernel modules of Debian's root file system behind any controller, loaded where `root=` names one.
pub const ROOT_MODULES: [&str; 8] = [
    "sd_mod",
    "ata_piix",
    "ahci",
    "nvme",
    "virtio_pci",
    "virtio_blk",
    "crc32c_generic",
    "ext4",
];

/// Checks for a whole Debian, under `/run/checks` there.
const DEBIAN_CHECKS: [(&str, &[u8]); 11] = [
    ("toolstack", include_bytes!("../../debian/checks/toolstack")),
    ("check", include_bytes!("../../debian/checks/check")),
    ("balloon", include_bytes!("../../debian/checks/balloon")),
    ("clock", include_bytes!("../../debian/checks/clock")),
    ("disk", include_bytes!("../../debian/checks/disk")),
    (
        "disk-again",
        include_bytes!("../../debian/checks/disk-again"),
    ),
    ("hotplug", include_bytes!("../../debian/checks/hotplug")),
    ("network", include_bytes!("../../debian/checks/network")),
    ("stress", include_bytes!("../../debian/checks/stress")),
    ("swap", include_bytes!("../../debian/checks/swap")),
    ("system", include_bytes!("../../debian/checks/system")),
];

/// An emulated machine on a busy host takes its time; systemd must not give up on it.
const PATIENT: [(&str, &[u8]); 2] = [
    (
        "systemd/system.conf.d/patient.conf",
        b"[Manager]\nDefaultTimeoutStartSec=15min\nDefaultDeviceTimeoutSec=15min\n",
    ),
    (
        "systemd/system/dev-hvc0.device.d/patient.conf",
        b"[Unit]\nJobRunningTimeoutSec=15min\n",
    ),
];

/// Units of our toolstack, which a check starts.
const UNITS: [(&str, &str); 4] = [
    (
        "xeno-xenstored",
        include_str!("../../../dom0-tools/systemd/xeno-xenstored.service"),
    ),
    (
        "xeno-init-dom0",
        include_str!("../../../dom0-tools/systemd/xeno-init-dom0.service"),
    ),
    (
        "xeno-xenconsoled",
        include_str!("../../../dom0-tools/systemd/xeno-xenconsoled.service"),
    ),
    (
        "xeno-supervisor",
        include_str!("../../../dom0-tools/systemd/xeno-supervisor.service"),
    ),
];
const UNIT_MODULES: &[u8] = include_bytes!("../../../dom0-tools/systemd/modules-load.conf");

/// The image that hands over to a root file system, for the kernel that `modules` (`lib/modules/VERSION`) belongs to.
/// Checks and `programs` go with it, to `/run/checks` and `/run/programs`.
pub fn to_root(modules: &Path, programs: &[(&str, PathBuf)], path: &Path) -> Result<PathBuf> {
    let mut initramfs = Initramfs::new()?;
    initramfs.add_modules(modules, "root", &ROOT_MODULES)?;
    for (name, script) in DEBIAN_CHECKS {
        initramfs.add(&format!("root.run/checks/{name}"), 0o755, script);
    }
    for (name, contents) in PATIENT {
        initramfs.add(&format!("root.run/{name}"), 0o644, contents);
    }
    for (name, unit) in UNITS {
        // The programs are not installed here.
        let unit = unit.replace("/usr/sbin/", "/run/programs/");
        let path = format!("root.run/systemd/system/{name}.service");
        initramfs.add(&path, 0o644, unit.as_bytes());
    }
    initramfs.add("root.run/modules-load.d/xeno.conf", 0o644, UNIT_MODULES);
    for (name, program) in programs {
        initramfs.add(&format!("root.run/programs/{name}"), 0o755, &read(program)?);
    }
    initramfs.write(path)
}

/// A root file system under construction.
pub struct Initramfs {
    archive: Archive,
    modules: BTreeSet<String>,
}

impl Initramfs {
    /// Busybox with its links, `/init`, and every check.
    pub fn new() -> Result<Self> {
        let mut initramfs = Self::bare(INIT)?;
        for (name, script) in CHECKS {
            initramfs.add(&format!("checks/{name}"), 0o755, script);
        }
        for (name, program) in programs32::all() {
            initramfs.add(&format!("checks/{name}"), 0o755, &program);
        }
        Ok(initramfs)
    }

    /// Busybox with its links, and `init` as process 1.
    fn bare(init: &[u8]) -> Result<Self> {
        let busybox = busybox()?;
        let mut archive = Archive::new();
        for folder in [
            "dev", "proc", "sys", "run", "tmp", "root", "etc", "sbin", "modules",
        ] {
            archive.folder(folder);
        }
        archive.character_device("dev/console", 0o600, 5, 1);
        archive.character_device("dev/null", 0o666, 1, 3);
        archive.file("init", 0o755, init);
        archive.file("bin/busybox", 0o755, &read(&busybox)?);
        for applet in applets(&busybox)? {
            archive.link(&format!("bin/{applet}"), "busybox");
        }
        // Where Linux looks when it is asked to end.
        for applet in ["poweroff", "reboot"] {
            archive.link(&format!("sbin/{applet}"), "../bin/busybox");
        }
        Ok(Self {
            archive,
            modules: BTreeSet::new(),
        })
    }

    /// Add an executable or any other file.
    pub fn add(&mut self, path: &str, mode: u32, contents: &[u8]) {
        self.archive.file(path, mode, contents);
    }

    /// Add kernel modules of `folder` (`lib/modules/VERSION`) and those they depend on. `/init` loads those of group
    /// `order` in order; the other groups are left to checks.
    pub fn add_modules(&mut self, folder: &Path, group: &str, names: &[&str]) -> Result<()> {
        let mut order = String::new();
        for module in modules::with_dependencies(folder, names)? {
            let name = module
                .file_name()
                .context("a module has a name")?
                .to_string_lossy();
            if self.modules.insert(name.clone().into_owned()) {
                self.archive
                    .file(&format!("modules/{name}"), 0o644, &read(&module)?);
            }
            order.push_str(&name);
            order.push('\n');
        }
        self.archive
            .file(&format!("modules/{group}"), 0o644, order.as_bytes());
        Ok(())
    }

    /// Compress and write to `path`.
    pub fn write(self, path: &Path) -> Result<PathBuf> {
        let partial = path.with_extension("partial");
        let file = std::fs::File::create(&partial)
            .with_context(|| format!("create {}", partial.display()))?;
        let mut packer = flate2::write::GzEncoder::new(file, flate2::Compression::fast());
        packer.write_all(&self.archive.finish())?;
        packer.finish()?.sync_all()?;
        std::fs::rename(&partial, path)?;
        Ok(path.to_owned())
    }
}

/// The names that `busybox` answers to.
fn applets(busybox: &Path) -> Result<Vec<String>> {
    let output = Command::new(busybox)
        .arg("--list")
        .output()
        .with_context(|| format!("run {} (an x86-64 Linux program)", busybox.display()))?;
    let listed = String::from_utf8_lossy(&output.stdout).into_owned();
    Ok(listed
        .lines()
        .filter(|name| *name != "busybox")
        .map(str::to_owned)
        .collect())
}

fn read(path: &Path) -> Result<Vec<u8>> {
    std::fs::read(path).with_context(|| format!("read {}", path.display()))
}
