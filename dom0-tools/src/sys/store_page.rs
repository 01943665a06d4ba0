//! A xenstore ring page mapped into this process.

use std::io;
use std::os::fd::AsFd;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU8, AtomicU32};

use hypercall_abi::io::xs_wire::{RING_SIZE, XenstoreDomainInterface};
use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};

use crate::xenstored::platform::{Page, WORDS};

/// Bytes of a page.
const PAGE: usize = 4096;

const _: () = assert!(size_of::<XenstoreDomainInterface>() == 2 * RING_SIZE + 4 * WORDS);

/// The mapping; it ends with the value.
#[derive(Debug)]
pub struct RingPage(NonNull<u8>);

impl RingPage {
    /// Maps the page at `offset` of a device.
    ///
    /// # Errors
    /// The device's.
    pub fn map(device: impl AsFd, offset: u64) -> io::Result<Self> {
        // SAFETY: a new mapping, at an address that the kernel chooses, touches no memory of ours.
        let address = unsafe {
            mmap(
                std::ptr::null_mut(),
                PAGE,
                ProtFlags::READ | ProtFlags::WRITE,
                MapFlags::SHARED,
                device,
                offset,
            )
        }?;
        NonNull::new(address.cast())
            .map(Self)
            .ok_or_else(|| io::ErrorKind::AddrNotAvailable.into())
    }

    fn part<T>(&self, offset: usize) -> &T {
        debug_assert!(offset + size_of::<T>() <= PAGE);
        // SAFETY: the page is mapped for as long as `self` lives, the callers ask for parts inside of it at aligned offsets, and T
        // is made of atomics, for which any bytes are valid and which others may change.
        unsafe { self.0.byte_add(offset).cast::<T>().as_ref() }
    }
}

impl Page for RingPage {
    fn requests(&self) -> &[AtomicU8; RING_SIZE] {
        self.part(0)
    }

    fn responses(&self) -> &[AtomicU8; RING_SIZE] {
        self.part(RING_SIZE)
    }

    fn words(&self) -> &[AtomicU32; WORDS] {
        self.part(2 * RING_SIZE)
    }
}

impl Drop for RingPage {
    fn drop(&mut self) {
        // SAFETY: the mapping was made by `map`, and no reference into it outlives `self`.
        let _ = unsafe { munmap(self.0.as_ptr().cast(), PAGE) };
    }
}
