//! `flock`: a lock on an open file that the kernel gives back when its holder dies.
#![expect(unsafe_code, reason = "calls libc")]

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;

/// Locks `file` exclusively; waits for it if `wait`. Whether it is locked now.
///
/// # Errors
/// `flock` fails for another reason than that someone else holds the lock.
pub fn lock(file: &File, wait: bool) -> io::Result<bool> {
    let operation = libc::LOCK_EX | if wait { 0 } else { libc::LOCK_NB };
    loop {
        // SAFETY: the descriptor is open for the length of the call.
        if unsafe { libc::flock(file.as_raw_fd(), operation) } == 0 {
            return Ok(true);
        }
        let error = io::Error::last_os_error();
        match error.kind() {
            io::ErrorKind::Interrupted => {}
            io::ErrorKind::WouldBlock => return Ok(false),
            _ => return Err(error),
        }
    }
}
