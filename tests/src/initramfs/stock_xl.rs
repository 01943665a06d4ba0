//! Dom0 with Debian's toolstack and guests for it: the same image on our hypervisor and on Debian's Xen.
//!
//! The programs are Debian's, unmodified. The guests are Debian's kernel with a small root file system (`linux`), and a
//! kernel of our own that ends at once (`small`).

use super::{Initramfs, applets, read};
use crate::artifacts::{busybox, toolstack};
use crate::cpio::Archive;
use crate::pv_kernel::PvKernel;
use anyhow::Result;
use flate2::{Compression, write::GzEncoder};
use std::io::Write;
use std::path::Path;

/// What the checks read, by path.
const SETTINGS: [(&str, &[u8]); 4] = [
    ("xl/env", include_bytes!("../../dom0/xl/env")),
    ("xl/linux.cfg", include_bytes!("../../dom0/xl/linux.cfg")),
    ("xl/pvh.cfg", include_bytes!("../../dom0/xl/pvh.cfg")),
    ("xl/small.cfg", include_bytes!("../../dom0/xl/small.cfg")),
];

/// The checks, by name.
const CHECKS: [(&str, &[u8]); 7] = [
    ("xl-start", include_bytes!("../../dom0/checks/xl-start")),
    ("xl-small", include_bytes!("../../dom0/checks/xl-small")),
    ("xl-linux", include_bytes!("../../dom0/checks/xl-linux")),
    ("xl-save", include_bytes!("../../dom0/checks/xl-save")),
    ("xl-crash", include_bytes!("../../dom0/checks/xl-crash")),
    ("xl-pvh", include_bytes!("../../dom0/checks/xl-pvh")),
    ("xl-rounds", include_bytes!("../../dom0/checks/xl-rounds")),
];

/// Process 1 of the Linux guest.
const GUEST_INIT: &[u8] = include_bytes!("../../dom0/xl/guest-init");
/// What Linux calls when the toolstack wants it to shut down.
const GUEST_POWEROFF: &[u8] = b"#!/bin/sh\nexec /bin/busybox poweroff -f\n";

/// Adds toolstack, checks and guests; `kernel` is what the Linux guest runs.
pub fn add(initramfs: &mut Initramfs, kernel: &Path) -> Result<()> {
    for file in toolstack::files()? {
        initramfs.add(&file.path, 0o755, &read(&file.from)?);
    }
    for (path, contents) in SETTINGS {
        initramfs.add(path, 0o644, contents);
    }
    for (name, script) in CHECKS {
        initramfs.add(&format!("checks/{name}"), 0o755, script);
    }
    initramfs.archive.link("var/run", "../run");
    initramfs.archive.folder("var/lib");
    initramfs.archive.link("var/lock", "../run/lock");
    initramfs.add("guests/vmlinuz", 0o644, &read(kernel)?);
    initramfs.add("guests/initrd", 0o644, &guest_root()?);
    initramfs.add("guests/small", 0o644, &PvKernel::default().file());
    Ok(())
}

/// The root file system of the Linux guest.
fn guest_root() -> Result<Vec<u8>> {
    let busybox = busybox()?;
    let mut archive = Archive::new();
    for folder in ["dev", "proc", "sys"] {
        archive.folder(folder);
    }
    archive.character_device("dev/console", 0o600, 5, 1);
    archive.file("bin/busybox", 0o755, &read(&busybox)?);
    for applet in applets(&busybox)? {
        archive.link(&format!("bin/{applet}"), "busybox");
    }
    archive.file("sbin/poweroff", 0o755, GUEST_POWEROFF);
    archive.file("init", 0o755, GUEST_INIT);
    let mut packer = GzEncoder::new(Vec::new(), Compression::fast());
    packer.write_all(&archive.finish())?;
    Ok(packer.finish()?)
}
