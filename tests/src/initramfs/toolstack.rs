//! The toolstack in dom0's root file system: our programs, the back ends' kernel modules, and an example guest.
//!
//! `/sbin/toolstack` (see `tests/dom0/toolstack`), which `/init` runs where it exists, starts the daemons.

use super::{Initramfs, read};
use crate::artifacts::{Linux, deb, rust, target_dir};
use crate::pv_kernel::PvKernel;
use anyhow::{Context, Result};

const START: &[u8] = include_bytes!("../../dom0/toolstack");
const GUEST_INIT: &[u8] = include_bytes!("../../dom0/guests/init");

/// Files under `/guests`.
const GUESTS: [(&str, &[u8]); 5] = [
    ("pvgrub.cfg", include_bytes!("../../dom0/guests/pvgrub.cfg")),
    (
        "hostile.cfg",
        include_bytes!("../../dom0/guests/hostile.cfg"),
    ),
    ("linux.cfg", include_bytes!("../../dom0/guests/linux.cfg")),
    ("net.cfg", include_bytes!("../../dom0/guests/net.cfg")),
    ("functions", include_bytes!("../../dom0/guests/functions")),
];

/// Checks of guests, under `/checks`.
const CHECKS: [(&str, &[u8]); 10] = [
    ("guestmany", include_bytes!("../../dom0/checks/guestmany")),
    (
        "guestrounds",
        include_bytes!("../../dom0/checks/guestrounds"),
    ),
    (
        "guestpvgrub",
        include_bytes!("../../dom0/checks/guestpvgrub"),
    ),
    (
        "guesthostile",
        include_bytes!("../../dom0/checks/guesthostile"),
    ),
    ("memory", include_bytes!("../../dom0/checks/memory")),
    ("guestlife", include_bytes!("../../dom0/checks/guestlife")),
    (
        "guestdevices",
        include_bytes!("../../dom0/checks/guestdevices"),
    ),
    (
        "guesterrors",
        include_bytes!("../../dom0/checks/guesterrors"),
    ),
    ("guestsave", include_bytes!("../../dom0/checks/guestsave")),
    ("guestkill", include_bytes!("../../dom0/checks/guestkill")),
];

/// Kernel modules of the back ends.
pub const BACK_ENDS: [&str; 4] = ["loop", "bridge", "xen-blkback", "xen-netback"];
/// Kernel modules of the guest.
pub const FRONT_ENDS: [&str; 2] = ["xen-blkfront", "xen-netfront"];

/// Adds the toolstack to `initramfs`. The guest has the kernel of dom0.
pub fn add(initramfs: &mut Initramfs, linux: &Linux) -> Result<()> {
    let programs = rust::toolstack()?;
    for program in ["xeno", "xeno-xenconsoled", "xeno-xenstored"] {
        let contents = read(&programs.join(program))?;
        initramfs.add(&format!("sbin/{program}"), 0o755, &contents);
    }
    initramfs.add("sbin/toolstack", 0o755, START);
    let modules = linux
        .modules
        .as_ref()
        .context("the toolstack needs the kernel's modules")?;
    initramfs.add_modules(modules, "toolstack", &BACK_ENDS)?;
    for (name, script) in CHECKS {
        initramfs.add(&format!("checks/{name}"), 0o755, script);
    }
    for (name, contents) in GUESTS {
        initramfs.add(&format!("guests/{name}"), 0o644, contents);
    }
    initramfs.add("guests/vmlinuz", 0o644, &read(&linux.kernel)?);
    let grub = deb::package("grub-xen-host")?.join("usr/lib/grub-xen/grub-x86_64-xen.bin");
    initramfs.add("guests/grub", 0o644, &read(&grub)?);
    initramfs.add("guests/idle", 0o644, &PvKernel::idle().file());
    let hostile = rust::guests()?.join("hostile");
    initramfs.add("guests/hostile", 0o644, &read(&hostile)?);

    let mut guest = Initramfs::bare(GUEST_INIT)?;
    guest.add_modules(modules, "order", &FRONT_ENDS)?;
    let image = guest.write(&target_dir().join("guest.cpio.gz"))?;
    initramfs.add("guests/initrd.gz", 0o644, &read(&image)?);
    Ok(())
}
