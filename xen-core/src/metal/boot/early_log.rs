//! The first logger: straight to the serial port, until the library's console takes over.

use core::fmt::Write;

use log::{Log, Metadata, Record};
use xen_core::boot::options::{LogLevels, Threshold};

use crate::metal::serial;

/// Prints every record that passes the maximum level, with Xen's prefix.
struct EarlyLog;

static EARLY_LOG: EarlyLog = EarlyLog;

impl Log for EarlyLog {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &Record<'_>) {
        // Output to the serial port cannot fail in a way that anyone could be told of.
        let _ = writeln!(serial::Writer, "(XEN) {}", record.args());
    }

    fn flush(&self) {}
}

/// Makes this the logger of the `log` facade, with the level of option `loglvl=`.
pub fn init(levels: LogLevels) {
    log::set_max_level(match levels.rate_limited {
        Threshold::None => log::LevelFilter::Off,
        Threshold::Error => log::LevelFilter::Error,
        Threshold::Warning => log::LevelFilter::Warn,
        Threshold::Info => log::LevelFilter::Info,
        Threshold::Debug => log::LevelFilter::Debug,
    });
    // A second logger cannot be there: this is the only call.
    let _ = log::set_logger(&EARLY_LOG);
}
