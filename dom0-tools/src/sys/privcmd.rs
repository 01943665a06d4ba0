//! `/dev/xen/privcmd`: raw hypercalls, and mappings of other domains' frames and of the hypervisor's resources.
#![expect(unsafe_code, reason = "ioctls with addresses in them")]

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::AsFd;

use super::ioctl::{ioctl, request};
use super::mapping::{Mapping, PAGE};

/// `struct privcmd_hypercall`.
#[repr(C)]
struct Hypercall {
    op: u64,
    arg: [u64; 5],
}

/// `struct privcmd_mmapbatch_v2`.
#[repr(C)]
struct MmapBatch {
    num: u32,
    dom: u16,
    addr: u64,
    arr: *const u64,
    err: *mut i32,
}

/// `struct privcmd_mmap_resource`.
#[repr(C)]
struct MmapResource {
    dom: u16,
    kind: u32,
    id: u32,
    idx: u32,
    num: u64,
    addr: u64,
}

const HYPERCALL: u64 = request(b'P', 0, size_of::<Hypercall>());
const MMAPBATCH_V2: u64 = request(b'P', 4, size_of::<MmapBatch>());
const MMAP_RESOURCE: u64 = request(b'P', 7, size_of::<MmapResource>());

/// The opened device.
#[derive(Debug)]
pub struct Privcmd(File);

impl Privcmd {
    /// Opens the device.
    ///
    /// # Errors
    /// The system does not run under Xen, is not a control domain, or the caller is not root.
    pub fn open() -> io::Result<Self> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .open("/dev/xen/privcmd")?;
        Ok(Self(file))
    }

    /// Makes hypercall `op`; its result when it is not negative.
    ///
    /// # Errors
    /// The hypervisor's error number.
    ///
    /// # Safety
    /// Every argument that `op` takes as an address must be that of a [`Buffer`](super::buffer::Buffer) large enough for what
    /// the call reads and writes.
    pub unsafe fn hypercall(&self, op: u64, arg: [u64; 5]) -> io::Result<u64> {
        let mut call = Hypercall { op, arg };
        // SAFETY: the request takes this struct; the addresses are the caller's promise.
        unsafe { ioctl(self.0.as_fd(), HYPERCALL, &mut call) }
    }

    /// Maps the frames `mfns` of domain `domain`.
    ///
    /// # Errors
    /// The first error of a frame.
    pub fn map_frames(&self, domain: u16, mfns: &[u64], writable: bool) -> io::Result<Mapping> {
        let mapping = Mapping::new(self.0.as_fd(), 0, mfns.len() * PAGE, writable)?;
        let mut errors = vec![0_i32; mfns.len()];
        let mut batch = MmapBatch {
            num: u32::try_from(mfns.len()).map_err(io::Error::other)?,
            dom: domain,
            addr: mapping.addr(),
            arr: mfns.as_ptr(),
            err: errors.as_mut_ptr(),
        };
        // SAFETY: the request takes this struct; both arrays have `num` elements, and the address is that of a mapping of as
        // many pages made from this device, in which nothing is mapped yet.
        unsafe { ioctl(self.0.as_fd(), MMAPBATCH_V2, &mut batch) }?;
        match errors.iter().find(|error| **error != 0) {
            Some(error) => Err(io::Error::from_raw_os_error(error.abs())),
            None => Ok(mapping),
        }
    }

    /// Maps `count` frames of the hypervisor's resource `kind`, `id` of domain `domain`, from the frame `first`.
    ///
    /// # Errors
    /// The hypervisor's error number.
    pub fn map_resource(
        &self,
        domain: u16,
        kind: u32,
        id: u32,
        first: u32,
        count: usize,
    ) -> io::Result<Mapping> {
        let mapping = Mapping::new(self.0.as_fd(), 0, count * PAGE, true)?;
        let mut resource = MmapResource {
            dom: domain,
            kind,
            id,
            idx: first,
            num: count as u64,
            addr: mapping.addr(),
        };
        // SAFETY: the request takes this struct, and the address is that of a mapping of `count` pages made from this device.
        unsafe { ioctl(self.0.as_fd(), MMAP_RESOURCE, &mut resource) }?;
        Ok(mapping)
    }
}
