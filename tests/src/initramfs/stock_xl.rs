//! Dom0 with Debian's toolstack and guests for it: the same image on our hypervisor and on Debian's Xen.
//!
//! The programs are Debian's, unmodified. The guests are Debian's kernel with a small root file system (`linux`), and a
//! kernel of our own that ends at once (`small`).

use super::toolstack::{BACK_ENDS, FRONT_ENDS};
use super::{Initramfs, applets, read};
use crate::artifacts::{Linux, busybox, rust, toolstack};
use crate::cpio::Archive;
use crate::pv_kernel::PvKernel;
use anyhow::{Context, Result};
use flate2::{Compression, write::GzEncoder};
use std::io::Write;
use std::path::Path;

/// What the checks read, by path.
const SETTINGS: [(&str, &[u8]); 5] = [
    ("xl/env", include_bytes!("../../dom0/xl/env")),
    ("xl/linux.cfg", include_bytes!("../../dom0/xl/linux.cfg")),
    ("xl/pvh.cfg", include_bytes!("../../dom0/xl/pvh.cfg")),
    ("xl/small.cfg", include_bytes!("../../dom0/xl/small.cfg")),
    (
        "xl/compare.allow",
        include_bytes!("../../dom0/xl/compare.allow"),
    ),
];

/// What xl calls when a device comes and goes.
const SCRIPTS: [(&str, &[u8]); 2] = [
    ("block", include_bytes!("../../dom0/xl/block")),
    ("vif-bridge", include_bytes!("../../dom0/xl/vif-bridge")),
];

/// The checks, by name.
const CHECKS: [(&str, &[u8]); 8] = [
    ("xl-start", include_bytes!("../../dom0/checks/xl-start")),
    ("xl-small", include_bytes!("../../dom0/checks/xl-small")),
    ("xl-linux", include_bytes!("../../dom0/checks/xl-linux")),
    ("xl-save", include_bytes!("../../dom0/checks/xl-save")),
    ("xl-crash", include_bytes!("../../dom0/checks/xl-crash")),
    ("xl-devices", include_bytes!("../../dom0/checks/xl-devices")),
    ("xl-pvh", include_bytes!("../../dom0/checks/xl-pvh")),
    ("xl-rounds", include_bytes!("../../dom0/checks/xl-rounds")),
];

/// Checks of an image with our toolstack, too.
const BOTH_CHECKS: [(&str, &[u8]); 3] = [
    ("benchlife", include_bytes!("../../dom0/checks/benchlife")),
    ("both-save", include_bytes!("../../dom0/checks/both-save")),
    (
        "both-compare",
        include_bytes!("../../dom0/checks/both-compare"),
    ),
];

/// Process 1 of the Linux guest.
const GUEST_INIT: &[u8] = include_bytes!("../../dom0/xl/guest-init");
/// What Linux calls when the toolstack wants it to shut down.
const GUEST_POWEROFF: &[u8] = b"#!/bin/sh\nexec /bin/busybox poweroff -f\n";

/// Adds toolstack, checks and guests, whose kernel is dom0's; it is in the image already where our toolstack is.
pub fn add(initramfs: &mut Initramfs, linux: &Linux, with_ours: bool) -> Result<()> {
    for file in toolstack::files()? {
        initramfs.add(&file.path, 0o755, &read(&file.from)?);
    }
    for (path, contents) in SETTINGS {
        initramfs.add(path, 0o644, contents);
    }
    for (name, script) in CHECKS {
        initramfs.add(&format!("checks/{name}"), 0o755, script);
    }
    for (name, script) in SCRIPTS {
        initramfs.add(&format!("etc/xen/scripts/{name}"), 0o755, script);
    }
    let modules = linux
        .modules
        .as_ref()
        .context("the toolstack needs the kernel's modules")?;
    if with_ours {
        let ticks = rust::dom0_program("ticks")?;
        initramfs.add("programs/ticks", 0o755, &read(&ticks)?);
        for (name, script) in BOTH_CHECKS {
            initramfs.add(&format!("checks/{name}"), 0o755, script);
        }
    } else {
        initramfs.add("guests/vmlinuz", 0o644, &read(&linux.kernel)?);
        initramfs.add_modules(modules, "toolstack", &BACK_ENDS)?;
    }
    initramfs.archive.link("var/run", "../run");
    initramfs.archive.folder("var/lib");
    initramfs.archive.link("var/lock", "../run/lock");
    initramfs.add("guests/initrd", 0o644, &guest_root(modules)?);
    initramfs.add("guests/small", 0o644, &PvKernel::default().file());
    let modules = linux
        .modules
        .as_ref()
        .context("the toolstack needs the kernel's modules")?;
    if with_ours {
        let ticks = rust::dom0_program("ticks")?;
        initramfs.add("programs/ticks", 0o755, &read(&ticks)?);
        for (name, script) in BOTH_CHECKS {
            initramfs.add(&format!("checks/{name}"), 0o755, script);
        }
    } else {
        initramfs.add("guests/vmlinuz", 0o644, &read(&linux.kernel)?);
        initramfs.add_modules(modules, "toolstack", &BACK_ENDS)?;
    }
    initramfs.archive.link("var/run", "../run");
    initramfs.archive.folder("var/lib");
    initramfs.archive.link("var/lock", "../run/lock");
    initramfs.add("guests/initrd", 0o644, &guest_root(modules)?);
    initramfs.add("guests/small", 0o644, &PvKernel::default().file());
    Ok(())
}

/// The root file system of the Linux guest.
fn guest_root(modules: &Path) -> Result<Vec<u8>> {
    let busybox = busybox()?;
    let mut archive = Archive::new();
    for folder in ["dev", "proc", "sys", "modules"] {
        archive.folder(folder);
    }
    archive.character_device("dev/console", 0o600, 5, 1);
    archive.file("bin/busybox", 0o755, &read(&busybox)?);
    for applet in applets(&busybox)? {
        archive.link(&format!("bin/{applet}"), "busybox");
    }
    let mut order = String::new();
    for module in super::modules::with_dependencies(modules, &FRONT_ENDS)? {
        let name = module.file_name().context("a module has a name")?;
        let name = name.to_string_lossy();
        archive.file(&format!("modules/{name}"), 0o644, &read(&module)?);
        order.push_str(&name);
        order.push('\n');
    }
    archive.file("modules/order", 0o644, order.as_bytes());
    archive.file("sbin/poweroff", 0o755, GUEST_POWEROFF);
    archive.file("init", 0o755, GUEST_INIT);
    let mut packer = GzEncoder::new(Vec::new(), Compression::fast());
    packer.write_all(&archive.finish())?;
    Ok(packer.finish()?)
}
