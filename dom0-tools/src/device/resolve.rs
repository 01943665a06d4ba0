//! From a disk's target to a block device: files become loop devices.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::config::{Disk, DiskMode};
use crate::domain::{Code, ToolError, Toolstack};
use crate::sys::loop_device::LoopDevice;
use crate::sys::process::device_numbers;

/// How long a back end may take to open a device.
const PATIENCE: Duration = Duration::from_secs(40);

/// A disk whose block device is there.
#[derive(Debug)]
pub struct OpenDisk {
    /// Its configuration, the target made absolute.
    pub disk: Disk,
    /// The virtual device's number.
    pub device: u32,
    /// The block device.
    pub path: PathBuf,
    /// Its major and minor number.
    pub numbers: (u32, u32),
    /// Keeps the device open until the back end has it: a loop device goes away by itself when nobody has it open.
    held: Held,
}

#[derive(Debug)]
enum Held {
    Loop(#[expect(dead_code, reason = "held open")] LoopDevice),
    Device(#[expect(dead_code, reason = "held open")] File),
}

impl OpenDisk {
    /// Finds or makes the block device of `disk`.
    ///
    /// # Errors
    /// The target is missing, is neither a file nor a block device, or is in use.
    pub fn open(tools: &Toolstack, disk: &Disk) -> Result<Self, ToolError> {
        let missing = |error: &std::io::Error| match error.kind() {
            std::io::ErrorKind::NotFound => ToolError::new(
                Code::NotFound,
                format!(
                    "disk {} ({}) does not exist: make it (truncate -s 1G {}) or correct the path",
                    disk.target, disk.vdev, disk.target
                ),
            ),
            _ => ToolError::new(
                Code::Other,
                format!("disk {} ({}): {error}", disk.target, disk.vdev),
            ),
        };
        let target = fs::canonicalize(&disk.target).map_err(|error| missing(&error))?;
        let metadata = fs::metadata(&target).map_err(|error| missing(&error))?;
        let kind = metadata.file_type();
        if !kind.is_block_device() && !kind.is_file() {
            return Err(ToolError::new(
                Code::Usage,
                format!(
                    "disk {} ({}) is neither a file nor a block device",
                    disk.target, disk.vdev
                ),
            ));
        }
        let device = disk.device().ok_or_else(|| {
            ToolError::new(Code::Usage, format!("{} is no virtual device", disk.vdev))
        })?;
        if !disk.shared {
            check_free(tools, disk, &target, &metadata)?;
        }
        let writable = disk.mode == DiskMode::Rw;
        let mut disk = disk.clone();
        disk.target = target.display().to_string();
        if kind.is_block_device() {
            let file = OpenOptions::new()
                .read(true)
                .write(writable)
                .open(&target)
                .map_err(|error| missing(&error))?;
            return Ok(Self {
                disk,
                device,
                path: target,
                numbers: device_numbers(metadata.rdev()),
                held: Held::Device(file),
            });
        }
        let loop_device = LoopDevice::attach(&target, writable).map_err(|error| {
            ToolError::from(error).context(format!(
                "no loop device for {} (is the kernel module loop loaded?)",
                disk.target
            ))
        })?;
        Ok(Self {
            disk,
            device,
            path: loop_device.path().to_owned(),
            numbers: loop_device.numbers(),
            held: Held::Loop(loop_device),
        })
    }

    /// Whether the target is a file.
    #[must_use]
    pub fn is_loop(&self) -> bool {
        matches!(self.held, Held::Loop(_))
    }

    /// Waits until xen-blkback has opened the device of `domain`.
    ///
    /// # Errors
    /// It does not, or says why.
    pub fn wait_until_open(&self, tools: &Toolstack, domain: u16) -> Result<(), ToolError> {
        let device = self.device;
        let sysfs = format!("/sys/bus/xen-backend/devices/vbd-{domain}-{device}/physical_device");
        let deadline = Instant::now() + PATIENCE;
        while !Path::new(&sysfs).exists() {
            let error = format!("/local/domain/0/error/backend/vbd/{domain}/{device}/error");
            if let Some(reason) = tools.store.text(&error)? {
                return Err(ToolError::new(
                    Code::Other,
                    format!(
                        "xen-blkback refused {} ({}): {reason}",
                        self.disk.target, self.disk.vdev
                    ),
                ));
            }
            if Instant::now() > deadline {
                return Err(ToolError::new(
                    Code::Timeout,
                    format!(
                        "the back end of {} ({}) does not come up: load the kernel module xen-blkback (modprobe xen-blkback)",
                        self.disk.target, self.disk.vdev
                    ),
                ));
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        Ok(())
    }
}

/// Refuses a target that another guest writes or that dom0 has mounted.
fn check_free(
    tools: &Toolstack,
    disk: &Disk,
    target: &Path,
    metadata: &fs::Metadata,
) -> Result<(), ToolError> {
    let writable = disk.mode == DiskMode::Rw;
    let busy = |who: &str| {
        ToolError::new(
            Code::Exists,
            format!(
                "disk {} ({}) is in use: {who}; end that use first, or say access r (both only read) or w! (both know how to \
                 share it)",
                disk.target, disk.vdev
            ),
        )
    };
    let numbers = device_numbers(metadata.rdev());
    let device = format!("{:x}:{:x}", numbers.0, numbers.1);
    let root = "/local/domain/0/backend/vbd";
    for domain in tools.store.children(root)? {
        for other in tools.store.children(&format!("{root}/{domain}"))? {
            let folder = format!("{root}/{domain}/{other}");
            let text = |node: &str| tools.store.text(&format!("{folder}/{node}"));
            let same = if metadata.file_type().is_block_device() {
                text("physical-device")?.is_some_and(|other| other == device)
            } else {
                text("params")?.is_some_and(|params| Path::new(&params) == target)
            };
            let theirs = text("mode")?.unwrap_or_default();
            let both_share = theirs == "w!";
            if same && !both_share && (writable || theirs.starts_with('w')) {
                let name = tools
                    .store
                    .text(&format!("/local/domain/{domain}/name"))?
                    .unwrap_or_default();
                return Err(busy(&format!("domain {name} ({domain}) has it")));
            }
        }
    }
    if writable && metadata.file_type().is_block_device() {
        let mounts = fs::read_to_string("/proc/mounts").unwrap_or_default();
        for line in mounts.lines() {
            let mut words = line.split(' ');
            let (Some(source), Some(place)) = (words.next(), words.next()) else {
                continue;
            };
            let same = source.starts_with('/')
                && fs::metadata(source).is_ok_and(|source| {
                    source.file_type().is_block_device() && source.rdev() == metadata.rdev()
                });
            if same {
                return Err(busy(&format!("dom0 has it mounted at {place}")));
            }
        }
    }
    Ok(())
}
