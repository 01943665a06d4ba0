//! `ioctl` with an argument of a type without pointers of Rust's.
#![expect(
    unsafe_code,
    reason = "ioctl is variadic and trusts its request number and argument"
)]

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

/// `_IOC(_IOC_NONE, group, number, size)` of `asm-generic/ioctl.h`: the form of every request of Xen's devices.
#[must_use]
pub const fn request(group: u8, number: u8, size: usize) -> u64 {
    ((size as u64 & 0x3fff) << 16) | ((group as u64) << 8) | number as u64
}

/// Carries out `request` on `file` with `argument`; the result when it is not negative.
///
/// # Errors
/// The error number that the request fails with.
///
/// # Safety
/// `request` must take a pointer to a `T`, and every address inside `argument` must be valid for what the request does there.
pub unsafe fn ioctl<T>(file: BorrowedFd<'_>, request: u64, argument: &mut T) -> io::Result<u64> {
    // SAFETY: the descriptor is open for the length of the call; the argument is the caller's promise.
    let result = unsafe {
        libc::ioctl(
            file.as_raw_fd(),
            request as _,
            std::ptr::from_mut(argument).cast::<libc::c_void>(),
        )
    };
    u64::try_from(result).map_err(|_| io::Error::last_os_error())
}

/// Carries out a `request` whose argument is a number.
///
/// # Errors
/// The error number that the request fails with.
///
/// # Safety
/// `request` must take a number, not an address.
pub unsafe fn ioctl_number(file: BorrowedFd<'_>, request: u64, number: u64) -> io::Result<u64> {
    // SAFETY: the descriptor is open for the length of the call, and the number is no address.
    let result = unsafe { libc::ioctl(file.as_raw_fd(), request as _, number) };
    u64::try_from(result).map_err(|_| io::Error::last_os_error())
}
