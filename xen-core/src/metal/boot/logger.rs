//! The logger of the `log` facade: until the library's console exists, straight to the serial port; then the console.
//!
//! What was printed before goes to the console's ring too, so that it can be read later.

use core::fmt::Write;

use arrayvec::ArrayString;
use log::{Level, LevelFilter, Log, Metadata, Record};
use spin::{Mutex, Once};
use xen_core::boot::options::{LogLevels, Threshold};
use xen_core::console::Console;

use crate::metal::serial;

/// Bytes of early messages that are kept.
const KEPT: usize = 16 << 10;

struct Logger;

static LOGGER: Logger = Logger;
static CONSOLE: Once<Console> = Once::new();
static EARLY: Mutex<ArrayString<KEPT>> = Mutex::new(ArrayString::new_const());
static LEVEL: Mutex<LevelFilter> = Mutex::new(LevelFilter::Warn);

impl Log for Logger {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        CONSOLE.get().map_or_else(
            || metadata.level() <= *LEVEL.lock(),
            |console| console.enabled(metadata),
        )
    }

    fn log(&self, record: &Record<'_>) {
        match CONSOLE.get() {
            Some(console) => console.log(record),
            None if record.level() <= *LEVEL.lock() => print(*record.args()),
            None => {}
        }
    }

    fn flush(&self) {}
}

/// Prints a line whatever the level. Before there is a console only.
pub fn print(text: core::fmt::Arguments<'_>) {
    // Neither the serial port nor a full buffer gives anyone a way to complain.
    let _ = writeln!(serial::Writer, "(XEN) {text}");
    let _ = writeln!(EARLY.lock(), "{text}");
}

/// Makes this the logger, with the level of option `loglvl=`.
pub fn init(levels: LogLevels) {
    *LEVEL.lock() = match levels.always {
        Threshold::None => LevelFilter::Off,
        Threshold::Error => LevelFilter::Error,
        Threshold::Warning => LevelFilter::Warn,
        Threshold::Info => LevelFilter::Info,
        Threshold::Debug => LevelFilter::Debug,
    };
    log::set_max_level(Level::Trace.to_level_filter());
    // Another logger cannot be there: this is the only call.
    let _ = log::set_logger(&LOGGER);
}

/// From now on everything goes to `console`, whose ring gets what was printed so far.
pub fn forward_to(console: Console) {
    for line in EARLY.lock().lines() {
        console.print(&|_| (), 0, format_args!("{line}"));
    }
    CONSOLE.call_once(|| console);
}

/// The console, once it exists.
pub fn console() -> Option<&'static Console> {
    CONSOLE.get()
}
