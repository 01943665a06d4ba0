//! Memory mapped into this process that others write too: pages of guests, rings, hypercall buffers.
#![expect(
    unsafe_code,
    reason = "maps memory and copies from and to raw addresses"
)]

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU8, AtomicU32, Ordering};

use crate::xen::GuestMemory;

/// Bytes of a page.
pub const PAGE: usize = 4096;

/// A mapping of whole pages. It is only read and written by copies, never borrowed: the memory is not Rust's.
#[derive(Debug)]
pub struct Mapping {
    base: NonNull<u8>,
    len: usize,
}

// SAFETY: the mapping belongs to the process, not to a thread, and is only accessed by copies and atomics.
unsafe impl Send for Mapping {}

impl Mapping {
    /// Maps `len` bytes of `file` from `offset`, shared, readable and (if asked) writable.
    ///
    /// # Errors
    /// `mmap` fails.
    pub fn new(file: BorrowedFd<'_>, offset: u64, len: usize, writable: bool) -> io::Result<Self> {
        Self::with_flags(file, offset, len, writable, libc::MAP_SHARED)
    }

    /// Maps `len` bytes of `file` as they are now, all of it at once, for reading.
    ///
    /// # Errors
    /// `mmap` fails.
    pub fn of_file(file: BorrowedFd<'_>, len: usize) -> io::Result<Self> {
        Self::with_flags(file, 0, len, false, libc::MAP_PRIVATE | libc::MAP_POPULATE)
    }

    fn with_flags(
        file: BorrowedFd<'_>,
        offset: u64,
        len: usize,
        writable: bool,
        flags: libc::c_int,
    ) -> io::Result<Self> {
        let access = libc::PROT_READ | if writable { libc::PROT_WRITE } else { 0 };
        let len = len.max(1).next_multiple_of(PAGE);
        let offset =
            i64::try_from(offset).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
        // SAFETY: a new mapping at an address of the kernel's choice touches no memory of Rust's.
        let base = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                len,
                access,
                flags,
                file.as_raw_fd(),
                offset,
            )
        };
        if base == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let base = NonNull::new(base.cast()).ok_or_else(io::Error::last_os_error)?;
        Ok(Self { base, len })
    }

    /// Address of the first byte.
    #[must_use]
    pub fn addr(&self) -> u64 {
        self.base.as_ptr().addr() as u64
    }

    /// The bytes, for a mapping that nobody else writes while it is borrowed.
    ///
    /// # Safety
    /// For as long as the slice lives, no other process, kernel or hypervisor may write the memory, and the file may not shrink.
    pub(super) unsafe fn bytes(&self) -> &[u8] {
        // SAFETY: the mapping covers `len` bytes for as long as `self` lives; the rest is the caller's promise.
        unsafe { std::slice::from_raw_parts(self.base.as_ptr(), self.len) }
    }

    /// The bytes, writable.
    ///
    /// # Safety
    /// As for [`Self::bytes`]; the mapping must be writable.
    pub(super) unsafe fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: as above, and `self` is borrowed exclusively.
        unsafe { std::slice::from_raw_parts_mut(self.base.as_ptr(), self.len) }
    }

    /// The address `offset` bytes from the start, from which `len` bytes lie in the mapping.
    pub(super) fn at(&self, offset: usize, len: usize) -> NonNull<u8> {
        let end = offset.checked_add(len);
        assert!(
            end.is_some_and(|end| end <= self.len),
            "{len} bytes at {offset} are outside a mapping of {} bytes",
            self.len
        );
        // SAFETY: the offset was checked to lie in the mapping.
        unsafe { self.base.add(offset) }
    }
}

impl GuestMemory for Mapping {
    fn len(&self) -> usize {
        self.len
    }

    fn read(&self, offset: usize, to: &mut [u8]) {
        let from = self.at(offset, to.len());
        // SAFETY: the source lies in the mapping, which never overlaps memory of Rust's. A guest may write it meanwhile; what
        // arrives is then any mixture, which the caller treats as hostile input.
        unsafe { std::ptr::copy_nonoverlapping(from.as_ptr(), to.as_mut_ptr(), to.len()) }
    }

    fn write(&self, offset: usize, from: &[u8]) {
        let to = self.at(offset, from.len());
        // SAFETY: the target lies in the mapping, which never overlaps memory of Rust's.
        unsafe { std::ptr::copy_nonoverlapping(from.as_ptr(), to.as_ptr(), from.len()) }
    }

    fn fill(&self, offset: usize, len: usize, byte: u8) {
        let to = self.at(offset, len);
        // SAFETY: the target lies in the mapping.
        unsafe { std::ptr::write_bytes(to.as_ptr(), byte, len) }
    }

    fn load_u32(&self, offset: usize) -> u32 {
        assert!(offset.is_multiple_of(4), "an index of a ring is aligned");
        let at = self.at(offset, 4);
        // SAFETY: aligned, in the mapping, and only accessed atomically where rings are used.
        unsafe { AtomicU32::from_ptr(at.as_ptr().cast()) }.load(Ordering::SeqCst)
    }

    fn store_u32(&self, offset: usize, value: u32) {
        assert!(offset.is_multiple_of(4), "an index of a ring is aligned");
        let at = self.at(offset, 4);
        // SAFETY: as in `load_u32`.
        unsafe { AtomicU32::from_ptr(at.as_ptr().cast()) }.store(value, Ordering::SeqCst);
    }

    fn load_u8(&self, offset: usize) -> u8 {
        let at = self.at(offset, 1);
        // SAFETY: in the mapping; a guest may write it meanwhile, which an atomic access allows.
        unsafe { AtomicU8::from_ptr(at.as_ptr()) }.load(Ordering::Relaxed)
    }

    fn store_u8(&self, offset: usize, value: u8) {
        let at = self.at(offset, 1);
        // SAFETY: as in `load_u8`.
        unsafe { AtomicU8::from_ptr(at.as_ptr()) }.store(value, Ordering::Relaxed);
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: the mapping is this value's own, and no borrow of it outlives the value.
        unsafe { libc::munmap(self.base.as_ptr().cast(), self.len) };
    }
}
