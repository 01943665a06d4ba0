//! Disks: the nodes of both ends.

use super::{Kind, OpenDisk, Paths};
use crate::config::DiskMode;
use crate::domain::{Code, ToolError, Toolstack};
use crate::store::{Batch, Perms, transact};

/// The nodes of `disk` of `domain`.
///
/// `physical-device` is among them, so that xen-blkback opens the device at once: no script has to write it later.
#[must_use]
pub fn nodes(domain: u16, disk: &OpenDisk) -> Batch {
    let device = disk.device;
    let Paths {
        frontend,
        backend,
        libxl,
    } = Paths::of(domain, Kind::Vbd, device);
    let mut batch = Batch::new();
    let kind = if disk.disk.cdrom { "cdrom" } else { "disk" };

    batch.add_with(&frontend, "", &Perms::owned_by_read_by(domain, 0));
    batch.add_all(
        &frontend,
        [
            ("backend", backend.clone()),
            ("backend-id", "0".into()),
            ("state", "1".into()),
            ("virtual-device", device.to_string()),
            ("device-type", kind.into()),
            ("trusted", "1".into()),
            ("protocol", "x86_64-abi".into()),
        ],
    );

    let mode = match disk.disk.mode {
        DiskMode::Ro => "r",
        DiskMode::Rw if disk.disk.shared => "w!",
        DiskMode::Rw => "w",
    };
    let (major, minor) = disk.numbers;
    let removable = i32::from(disk.disk.cdrom).to_string();
    let discard = i32::from(disk.disk.discard && disk.disk.mode == DiskMode::Rw).to_string();
    let mut ends = vec![
        ("frontend-id", domain.to_string()),
        ("online", "1".into()),
        ("removable", removable),
        ("bootable", "1".into()),
        ("state", "1".into()),
        ("dev", disk.disk.vdev.clone()),
        ("type", "phy".into()),
        ("mode", mode.into()),
        ("device-type", kind.into()),
        ("discard-enable", discard),
        ("specification", "xen".into()),
        ("params", disk.disk.target.clone()),
        ("physical-device-path", disk.path.display().to_string()),
        ("physical-device", format!("{major:x}:{minor:x}")),
        ("hotplug-status", "connected".into()),
    ];
    if disk.disk.direct_io_safe {
        ends.push(("direct-io-safe", "1".into()));
    }
    batch.add_with(&backend, "", &Perms::read_by(domain));
    batch.add(format!("{backend}/frontend"), &frontend);
    batch.add_all(&backend, ends.clone());
    if disk.is_loop() {
        batch.add(format!("{backend}/node"), disk.path.display().to_string());
    }
    batch.add_with(&libxl, "", &Perms::private());
    batch.add(format!("{libxl}/frontend"), &frontend);
    batch.add(format!("{libxl}/backend"), &backend);
    batch.add_all(&libxl, ends);
    batch
}

/// Gives `disk` to a running guest.
///
/// # Errors
/// The guest has a device of that number, or the back end does not take it up.
pub fn attach(tools: &Toolstack, domain: u16, disk: &OpenDisk) -> Result<(), ToolError> {
    let paths = Paths::of(domain, Kind::Vbd, disk.device);
    let batch = nodes(domain, disk);
    transact(&*tools.store, |tx| -> Result<(), ToolError> {
        if tools.store.read(tx, &paths.libxl)?.is_some() {
            return Err(ToolError::new(
                Code::Exists,
                format!(
                    "domain {domain} has a disk {} already: detach it (xeno block-detach {domain} {}) or choose another vdev",
                    disk.disk.vdev, disk.disk.vdev
                ),
            ));
        }
        Ok(batch.write(&*tools.store, tx)?)
    })?;
    disk.wait_until_open(tools, domain)
}
