//! Pseudo-terminals, raw mode that is always undone, and signals as files.
#![expect(unsafe_code, reason = "calls libc")]

use std::ffi::CStr;
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

/// A pseudo-terminal: the master, the slave kept open so that the master never hangs up, and the slave's path.
#[derive(Debug)]
pub struct Pty {
    /// What the daemon reads and writes; does not block.
    pub master: File,
    /// Kept open.
    _slave: OwnedFd,
    /// `/dev/pts/N`.
    pub path: String,
}

impl Pty {
    /// A new pair in raw mode.
    ///
    /// # Errors
    /// There are no pseudo-terminals.
    pub fn new() -> io::Result<Self> {
        let mut name = [0_u8; 64];
        let (mut master, mut slave) = (-1, -1);
        let mut mode = raw_mode(cooked());
        mode.c_cc[libc::VMIN] = 1;
        // SAFETY: the descriptors and the name are written to variables large enough ("/dev/pts/" and a number).
        let result = unsafe {
            libc::openpty(
                &raw mut master,
                &raw mut slave,
                name.as_mut_ptr().cast(),
                &raw const mode,
                std::ptr::null(),
            )
        };
        if result < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: openpty succeeded, so both descriptors are open and nobody else's.
        let (master, slave) = unsafe { (File::from_raw_fd(master), OwnedFd::from_raw_fd(slave)) };
        set_flags(master.as_raw_fd())?;
        // SAFETY: a number for a descriptor that is open.
        unsafe { libc::fcntl(slave.as_raw_fd(), libc::F_SETFD, libc::FD_CLOEXEC) };
        let path = CStr::from_bytes_until_nul(&name)
            .map_err(io::Error::other)?
            .to_string_lossy()
            .into_owned();
        Ok(Self {
            master,
            _slave: slave,
            path,
        })
    }
}

/// Makes a descriptor non-blocking and closed on exec.
fn set_flags(file: libc::c_int) -> io::Result<()> {
    // SAFETY: numbers for a descriptor that is open.
    let result = unsafe {
        libc::fcntl(file, libc::F_SETFD, libc::FD_CLOEXEC)
            | libc::fcntl(file, libc::F_SETFL, libc::O_NONBLOCK)
    };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

fn cooked() -> libc::termios {
    // SAFETY: termios is integers only, for which zeros are valid.
    unsafe { std::mem::zeroed() }
}

fn raw_mode(mut mode: libc::termios) -> libc::termios {
    // SAFETY: changes the struct that it is given.
    unsafe { libc::cfmakeraw(&raw mut mode) };
    mode
}

/// Whether `file` is a terminal.
#[must_use]
pub fn is_terminal(file: BorrowedFd<'_>) -> bool {
    // SAFETY: the descriptor is open for the length of the call.
    unsafe { libc::isatty(file.as_raw_fd()) == 1 }
}

/// A terminal in raw mode; its old mode comes back when this value is dropped.
#[derive(Debug)]
pub struct RawMode<'a> {
    file: BorrowedFd<'a>,
    before: libc::termios,
}

impl<'a> RawMode<'a> {
    /// Sets `file` to raw mode.
    ///
    /// # Errors
    /// It is no terminal.
    pub fn set(file: BorrowedFd<'a>) -> io::Result<Self> {
        let mut before = cooked();
        // SAFETY: writes the struct that it is given.
        if unsafe { libc::tcgetattr(file.as_raw_fd(), &raw mut before) } < 0 {
            return Err(io::Error::last_os_error());
        }
        let raw = raw_mode(before);
        // SAFETY: reads the struct that it is given.
        if unsafe { libc::tcsetattr(file.as_raw_fd(), libc::TCSANOW, &raw const raw) } < 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(Self { file, before })
    }
}

impl Drop for RawMode<'_> {
    fn drop(&mut self) {
        // SAFETY: reads the struct that it is given.
        unsafe {
            libc::tcsetattr(
                self.file.as_raw_fd(),
                libc::TCSADRAIN,
                &raw const self.before,
            )
        };
    }
}

/// Signals that end or stop a program, readable from a file instead: whoever waits for it can put the terminal back first.
#[derive(Debug)]
pub struct Signals(File);

impl Signals {
    /// Blocks `signals` for this thread and those it starts later, and opens a file that tells when one arrives.
    ///
    /// # Errors
    /// No descriptors are left.
    pub fn catch(signals: &[libc::c_int]) -> io::Result<Self> {
        // SAFETY: a set of signals is integers only, for which zeros are valid; the calls change the set they are given.
        let file = unsafe {
            let mut set: libc::sigset_t = std::mem::zeroed();
            libc::sigemptyset(&raw mut set);
            for signal in signals {
                libc::sigaddset(&raw mut set, *signal);
            }
            libc::pthread_sigmask(libc::SIG_BLOCK, &raw const set, std::ptr::null_mut());
            libc::signalfd(-1, &raw const set, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK)
        };
        if file < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: signalfd succeeded, so the descriptor is open and nobody else's.
        Ok(Self(unsafe { File::from_raw_fd(file) }))
    }

    /// The signals that end a program or hang up its terminal.
    ///
    /// # Errors
    /// No descriptors are left.
    pub fn of_ending() -> io::Result<Self> {
        Self::catch(&[libc::SIGINT, libc::SIGTERM, libc::SIGHUP, libc::SIGQUIT])
    }

    /// The next signal that arrived, if any.
    #[must_use]
    pub fn next(&self) -> Option<i32> {
        use std::io::Read as _;
        let mut info = [0_u8; size_of::<libc::signalfd_siginfo>()];
        let len = (&self.0).read(&mut info).ok()?;
        let number = info.get(..len)?.first_chunk()?;
        Some(i32::from_ne_bytes(*number))
    }
}

impl std::os::fd::AsFd for Signals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
