//! `xeno console`: connects this terminal to a guest's, until the escape key.
//!
//! The terminal is put back on every way out: the escape key, the guest's end, an error, a signal.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::fd::AsFd as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::time::{Duration, Instant};

use hypercall_abi::xen::DomId;

use crate::domain::{Code, ToolError, Toolstack};
use crate::sys::poll::{Interest, poll};
use crate::sys::terminal::{RawMode, Signals, is_terminal};

/// Ctrl-].
pub const ESCAPE: u8 = 0x1d;
/// How long the daemon may take to serve a new guest.
const PATIENCE: Duration = Duration::from_secs(10);
/// How often a silent guest is looked at.
const INTERVAL: Duration = Duration::from_millis(500);

/// Reads an escape key: `^X` for Ctrl-X, or one character.
///
/// # Errors
/// It is neither.
pub fn parse_escape(text: &str) -> Result<u8, String> {
    match text.as_bytes() {
        [b'^', letter @ (b'@'..=b'_' | b'a'..=b'z')] => Ok(letter.to_ascii_uppercase() & 0x1f),
        [byte] => Ok(*byte),
        _ => Err(format!(
            "\"{text}\" is no escape key: expected ^ and a letter, such as ^A, or one character"
        )),
    }
}

/// The guest's pseudo-terminal, opened once the daemon has made it.
///
/// # Errors
/// The daemon does not serve the guest.
pub fn open(tools: &Toolstack, domain: u16) -> Result<File, ToolError> {
    if domain == 0 {
        return Err(ToolError::new(
            Code::Usage,
            "domain 0 has no console of its own: it is the one you are using (or hvc0)",
        ));
    }
    let node = format!("/local/domain/{domain}/console/tty");
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(path) = tools.store.text(&node)?
            && !path.is_empty()
            && let Ok(file) = OpenOptions::new()
                .read(true)
                .write(true)
                // It shall not become this process's own terminal.
                .custom_flags(libc::O_NOCTTY)
                .open(&path)
        {
            return Ok(file);
        }
        if tools.xen.domain_info(DomId(domain))?.is_none() {
            return Err(ToolError::new(
                Code::NotFound,
                format!("domain {domain} has gone"),
            ));
        }
        if Instant::now() > deadline {
            return Err(ToolError::new(
                Code::Timeout,
                format!(
                    "domain {domain} has no console yet ({node} is empty): start the console daemon (xeno-xenconsoled)"
                ),
            ));
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Connects standard input and output to the guest's `console` until the escape key, the guest's end, or the end of input.
///
/// # Errors
/// The terminal or the console breaks.
pub fn attach(
    tools: &Toolstack,
    domain: u16,
    mut console: File,
    escape: u8,
) -> Result<(), ToolError> {
    let signals = Signals::of_ending()?;
    let stdin = io::stdin();
    let terminal = is_terminal(stdin.as_fd());
    if terminal {
        eprintln!("Connected to domain {domain}. Escape: {}", describe(escape));
    }
    // Dropped last, on every way out of this function.
    let _raw = if terminal {
        Some(RawMode::set(stdin.as_fd())?)
    } else {
        None
    };
    let mut output = io::stdout();
    let mut buffer = [0; 4096];
    loop {
        let interests = [console.as_fd(), signals.as_fd(), stdin.as_fd()];
        let interests = interests.map(|file| Interest { file, write: false });
        let ready = poll(&interests, Some(INTERVAL))?;
        let is = |index: usize| ready.get(index).is_some_and(|ready| ready.readable);
        if is(1) && signals.next().is_some() {
            return Ok(());
        }
        if is(0) {
            match console.read(&mut buffer) {
                // The daemon closed it: the guest is gone.
                Ok(0) => return Ok(()),
                Ok(len) => {
                    let written = output
                        .write_all(buffer.get(..len).unwrap_or_default())
                        .and_then(|()| output.flush());
                    match written {
                        // Whoever read the output has seen enough.
                        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(()),
                        written => written?,
                    }
                }
                Err(error) if error.raw_os_error() == Some(libc::EIO) => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
        if is(2) {
            // Not through std's buffer, which would hide input from poll.
            let len = read_input(&mut buffer)?;
            let typed = buffer.get(..len).unwrap_or_default();
            let escaped = terminal.then(|| typed.iter().position(|byte| *byte == escape));
            let until = escaped.flatten();
            console.write_all(typed.get(..until.unwrap_or(len)).unwrap_or_default())?;
            if until.is_some() {
                return Ok(());
            }
            // The end of a script's input ends the connection, as it does with xl.
            if len == 0 {
                return Ok(());
            }
        }
        if ready.iter().all(|ready| !ready.readable) && ended(tools, domain)? {
            return Ok(());
        }
    }
}

/// Whether nothing will come any more: the guest has gone, or ended.
fn ended(tools: &Toolstack, domain: u16) -> Result<bool, ToolError> {
    let info = tools.xen.domain_info(DomId(domain))?;
    Ok(info.is_none_or(|info| {
        let state = crate::domain::State::of(&info);
        state.dying || state.shutdown.is_some()
    }))
}

fn read_input(buffer: &mut [u8]) -> io::Result<usize> {
    let stdin = io::stdin();
    let mut file = File::from(stdin.as_fd().try_clone_to_owned()?);
    match file.read(buffer) {
        Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(0),
        result => result,
    }
}

fn describe(escape: u8) -> String {
    match escape {
        0..=0x1f => format!("Ctrl-{}", char::from(escape | 0x40)),
        byte => format!("{}", char::from(byte)),
    }
}
