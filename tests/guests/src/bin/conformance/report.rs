//! Lines of the report: `ok NAME`, or `FAIL NAME: got X expected Y`.

use core::fmt::{self, Debug, Display, LowerHex, Write};
use core::sync::atomic::{AtomicU32, Ordering};

use pv_guest_shim::hypercall;
use pv_guest_shim::hypercall_abi::errno::Errno;

static PASSED: AtomicU32 = AtomicU32::new(0);
static FAILED: AtomicU32 = AtomicU32::new(0);

/// A line, written with one hypercall.
struct Line {
    bytes: [u8; 400],
    used: usize,
}

impl Write for Line {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for (to, from) in self.bytes.iter_mut().skip(self.used).zip(text.bytes()) {
            *to = from;
            self.used += 1;
        }
        Ok(())
    }
}

/// Prints a line.
pub fn line(text: fmt::Arguments<'_>) {
    let mut line = Line {
        bytes: [b' '; 400],
        used: 0,
    };
    let _ = line.write_fmt(text);
    let used = line.used.min(line.bytes.len() - 1);
    line.bytes[used] = b'\n';
    hypercall::console_write(&line.bytes[..=used]);
}

/// Counts and prints a result.
fn report(name: impl Display, passed: bool, detail: fmt::Arguments<'_>) {
    if passed {
        PASSED.fetch_add(1, Ordering::Relaxed);
        line(format_args!("ok {name}"));
    } else {
        FAILED.fetch_add(1, Ordering::Relaxed);
        line(format_args!("FAIL {name}: {detail}"));
    }
}

/// Passed and failed so far.
pub fn totals() -> (u32, u32) {
    (
        PASSED.load(Ordering::Relaxed),
        FAILED.load(Ordering::Relaxed),
    )
}

/// Two values are the same.
pub fn same<T: PartialEq + Debug>(name: impl Display, got: T, expected: T) {
    let passed = got == expected;
    report(
        name,
        passed,
        format_args!("got {got:x?} expected {expected:x?}"),
    );
}

/// Two bit patterns are the same.
pub fn bits<T: PartialEq + LowerHex>(name: impl Display, got: T, expected: T) {
    let passed = got == expected;
    report(
        name,
        passed,
        format_args!("got {got:#x} expected {expected:#x}"),
    );
}

/// A hypercall's result is this number.
pub fn number(name: impl Display, got: i64, expected: i64) {
    report(
        name,
        got == expected,
        format_args!("got {} expected {}", Outcome(got), Outcome(expected)),
    );
}

/// A hypercall's result is this error.
pub fn error(name: impl Display, got: i64, expected: Errno) {
    number(name, got, -(expected as i64));
}

/// A condition holds.
pub fn holds(name: impl Display, got: impl Debug, condition: bool) {
    report(
        name,
        condition,
        format_args!("got {got:x?} expected otherwise"),
    );
}

/// What a hypercall returned.
struct Outcome(i64);

impl Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match i32::try_from(-self.0).ok().and_then(Errno::from_raw) {
            Some(errno) => write!(f, "-{errno:?}"),
            None => write!(f, "{}", self.0),
        }
    }
}
