//! What dom0's kernel tells the store's daemon of its own ring and port.
//!
//! Contract: Linux's `/proc/xen/xsd_kva` and `/proc/xen/xsd_port` (xenfs), or `/dev/xen/xenbus_backend` (xen/xenbus_dev.h).
#![expect(unsafe_code, reason = "an ioctl")]

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::fd::AsFd as _;

use super::ioctl::{ioctl, request};
use super::mapping::{Mapping, PAGE};

const DEVICE: &str = "/dev/xen/xenbus_backend";
const BACKEND_EVENT_CHANNEL: u64 = request(b'B', 0, 0);

/// Maps the kernel's ring.
///
/// # Errors
/// This is not dom0, or neither file is there.
pub fn map_ring() -> io::Result<Mapping> {
    let open = |path: &str| OpenOptions::new().read(true).write(true).open(path);
    let file = open("/proc/xen/xsd_kva").or_else(|_| open(DEVICE))?;
    Mapping::new(file.as_fd(), 0, PAGE, true)
}

/// The kernel's port.
#[must_use]
pub fn port() -> Option<u32> {
    if let Ok(text) = fs::read_to_string("/proc/xen/xsd_port") {
        return text.trim().parse().ok();
    }
    let device = File::open(DEVICE).ok()?;
    // SAFETY: the request takes nothing.
    let port = unsafe { ioctl(device.as_fd(), BACKEND_EVENT_CHANNEL, &mut 0_u32) };
    u32::try_from(port.ok()?).ok()
}
