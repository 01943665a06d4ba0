//! Memory that the hypervisor may read and write during a hypercall: never paged out, never moved.
#![expect(unsafe_code, reason = "borrows mapped memory")]

use std::fs::File;
use std::io;
use std::os::fd::AsFd;

use super::mapping::Mapping;

/// Pages of `/dev/xen/hypercall`. The driver keeps them in place; ordinary memory could be paged out or made copy-on-write by
/// a fork while the hypervisor uses it, which fails the call with EFAULT.
#[derive(Debug)]
pub struct Buffer(Mapping);

impl Buffer {
    /// `len` bytes of zeros, rounded up to pages, from the opened device.
    ///
    /// # Errors
    /// `mmap` fails.
    pub fn new(device: &File, len: usize) -> io::Result<Self> {
        Mapping::new(device.as_fd(), 0, len, true).map(Self)
    }

    /// Its address, which a hypercall is told.
    #[must_use]
    pub fn addr(&self) -> u64 {
        self.0.addr()
    }

    /// The bytes.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        // SAFETY: the hypervisor writes only during a hypercall, and no hypercall of this thread runs while the slice lives;
        // buffers are not shared between threads.
        unsafe { self.0.bytes() }
    }

    /// The bytes, writable.
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: as in `bytes`.
        unsafe { self.0.bytes_mut() }
    }
}
