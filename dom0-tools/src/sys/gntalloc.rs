//! `/dev/xen/gntalloc`: grants pages of this process to other domains.
#![expect(unsafe_code, reason = "ioctls")]

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::AsFd;

use super::ioctl::{ioctl, request};
use super::mapping::{Mapping, PAGE};

/// `struct ioctl_gntalloc_alloc_gref` with one reference.
#[repr(C)]
struct AllocGref {
    domain: u16,
    flags: u16,
    count: u32,
    index: u64,
    reference: u32,
}

const ALLOC_GREF: u64 = request(b'G', 5, size_of::<AllocGref>());
/// `GNTALLOC_FLAG_WRITABLE`.
const WRITABLE: u16 = 1;

/// The opened device. What it granted is revoked when it is closed and unmapped.
#[derive(Debug)]
pub struct GrantPages(File);

/// A page granted to another domain.
#[derive(Debug)]
pub struct GrantedPage {
    /// The reference to tell the other domain.
    pub reference: u32,
    /// The page.
    pub page: Mapping,
}

impl GrantPages {
    /// Opens the device.
    ///
    /// # Errors
    /// The device is missing or may not be opened.
    pub fn open() -> io::Result<Self> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .open("/dev/xen/gntalloc")?;
        Ok(Self(file))
    }

    /// Grants a new page of zeros to `domain`.
    ///
    /// # Errors
    /// No references are left, or memory.
    pub fn grant(&self, domain: u16) -> io::Result<GrantedPage> {
        let mut alloc = AllocGref {
            domain,
            flags: WRITABLE,
            count: 1,
            index: 0,
            reference: 0,
        };
        // SAFETY: the request takes this struct, in which nothing is an address.
        unsafe { ioctl(self.0.as_fd(), ALLOC_GREF, &mut alloc) }?;
        let page = Mapping::new(self.0.as_fd(), alloc.index, PAGE, true)?;
        Ok(GrantedPage {
            reference: alloc.reference,
            page,
        })
    }
}
