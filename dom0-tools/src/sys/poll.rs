//! `poll`: wait for any of several files.
#![expect(unsafe_code, reason = "calls libc")]

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::time::Duration;

/// What to wait for on a file, and what happened.
#[derive(Clone, Copy, Debug)]
pub struct Interest<'a> {
    /// The file.
    pub file: BorrowedFd<'a>,
    /// Wait until it can be written, too.
    pub write: bool,
}

/// What happened on a file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Readiness {
    /// It can be read, or reading tells that its end is reached.
    pub readable: bool,
    /// It can be written.
    pub writable: bool,
    /// The other end is gone or it failed.
    pub hung_up: bool,
}

/// Waits until something happens on one of `files`, or `timeout` (None: for ever); one answer per file, all false after a
/// timeout or a signal.
///
/// # Errors
/// `poll` fails.
pub fn poll(files: &[Interest<'_>], timeout: Option<Duration>) -> io::Result<Vec<Readiness>> {
    let mut polled: Vec<libc::pollfd> = files
        .iter()
        .map(|interest| libc::pollfd {
            fd: interest.file.as_raw_fd(),
            events: libc::POLLIN | if interest.write { libc::POLLOUT } else { 0 },
            revents: 0,
        })
        .collect();
    let timeout = timeout.map_or(-1, |timeout| {
        // Rounded up, so that a wait that is not over does not become a busy loop.
        libc::c_int::try_from(timeout.as_micros().div_ceil(1000)).unwrap_or(libc::c_int::MAX)
    });
    // SAFETY: the array has as many elements as it is said to have.
    let result = unsafe { libc::poll(polled.as_mut_ptr(), polled.len() as libc::nfds_t, timeout) };
    if result < 0 {
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
        for file in &mut polled {
            file.revents = 0;
        }
    }
    Ok(polled
        .iter()
        .map(|file| Readiness {
            readable: file.revents & (libc::POLLIN | libc::POLLHUP | libc::POLLERR) != 0,
            writable: file.revents & libc::POLLOUT != 0,
            hung_up: file.revents & (libc::POLLHUP | libc::POLLERR | libc::POLLNVAL) != 0,
        })
        .collect())
}
