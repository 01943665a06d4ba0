//! Processes that go on after their parent: daemons and supervisors.
#![expect(unsafe_code, reason = "calls libc")]

use std::fs::OpenOptions;
use std::io;
use std::os::fd::AsRawFd;
use std::path::Path;

/// What [`detach`] returns in each of the two processes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Detached {
    /// The process that called; the other one's id.
    Parent(i32),
    /// The new process, in a session of its own.
    Child,
}

/// Forks. The child gets a session of its own, reads nothing, and prints to `log`.
///
/// # Errors
/// There are too many processes, or `log` cannot be written.
pub fn detach(log: &Path) -> io::Result<Detached> {
    let log = OpenOptions::new().create(true).append(true).open(log)?;
    let null = OpenOptions::new().read(true).open("/dev/null")?;
    // SAFETY: this program has one thread when it forks (no command starts threads before it).
    let child = unsafe { libc::fork() };
    if child < 0 {
        return Err(io::Error::last_os_error());
    }
    if child > 0 {
        return Ok(Detached::Parent(child));
    }
    // SAFETY: numbers only, for descriptors that are open.
    unsafe {
        libc::setsid();
        libc::dup2(null.as_raw_fd(), 0);
        libc::dup2(log.as_raw_fd(), 1);
        libc::dup2(log.as_raw_fd(), 2);
    }
    Ok(Detached::Child)
}

/// Whether process `id` exists.
#[must_use]
pub fn exists(id: i32) -> bool {
    // SAFETY: signal 0 only checks.
    unsafe { libc::kill(id, 0) == 0 }
}

/// Whether the caller is root.
#[must_use]
pub fn is_root() -> bool {
    // SAFETY: reads a number.
    unsafe { libc::geteuid() == 0 }
}

/// The device number as major and minor.
#[must_use]
pub fn device_numbers(device: u64) -> (u32, u32) {
    (libc::major(device), libc::minor(device))
}

/// Moves the process to the background of its terminal's session, so that a hang-up does not reach it.
pub fn new_session() {
    // SAFETY: takes nothing; fails harmlessly for a session's leader.
    unsafe { libc::setsid() };
}
