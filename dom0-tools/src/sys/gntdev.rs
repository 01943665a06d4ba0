//! `/dev/xen/gntdev`: maps pages that other domains granted.
#![expect(unsafe_code, reason = "ioctls")]

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::AsFd;

use super::ioctl::{ioctl, request};
use super::mapping::{Mapping, PAGE};

/// `struct ioctl_gntdev_map_grant_ref` with one reference.
#[repr(C)]
struct MapGrantRef {
    count: u32,
    pad: u32,
    index: u64,
    domain: u32,
    reference: u32,
}

/// `struct ioctl_gntdev_unmap_grant_ref`.
#[repr(C)]
struct UnmapGrantRef {
    index: u64,
    count: u32,
    pad: u32,
}

const MAP_GRANT_REF: u64 = request(b'G', 0, size_of::<MapGrantRef>());
const UNMAP_GRANT_REF: u64 = request(b'G', 1, size_of::<UnmapGrantRef>());

/// The opened device.
#[derive(Debug)]
pub struct GrantMaps(File);

impl GrantMaps {
    /// Opens the device.
    ///
    /// # Errors
    /// The device is missing or may not be opened.
    pub fn open() -> io::Result<Self> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .open("/dev/xen/gntdev")?;
        Ok(Self(file))
    }

    /// Maps the page that `domain` granted as `reference`, readable and writable.
    ///
    /// # Errors
    /// There is no such grant to this domain.
    pub fn map(&self, domain: u16, reference: u32) -> io::Result<Mapping> {
        let mut map = MapGrantRef {
            count: 1,
            pad: 0,
            index: 0,
            domain: domain.into(),
            reference,
        };
        // SAFETY: the request takes this struct, in which nothing is an address.
        unsafe { ioctl(self.0.as_fd(), MAP_GRANT_REF, &mut map) }?;
        let mapping = Mapping::new(self.0.as_fd(), map.index, PAGE, true);
        // The mapping keeps the grant alive; the index is only needed to make it.
        let mut unmap = UnmapGrantRef {
            index: map.index,
            count: 1,
            pad: 0,
        };
        // SAFETY: the request takes this struct, in which nothing is an address.
        unsafe { ioctl(self.0.as_fd(), UNMAP_GRANT_REF, &mut unmap) }?;
        mapping
    }
}
