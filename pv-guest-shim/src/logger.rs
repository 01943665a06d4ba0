//! Backend of the `log` crate: one line of the hypervisor's console for each record.

use log::{LevelFilter, Log, Metadata, Record};

struct ConsoleLog;

impl Log for ConsoleLog {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &Record<'_>) {
        crate::println!(
            "[{:5}] {}: {}",
            record.level(),
            record.target(),
            record.args()
        );
    }

    fn flush(&self) {}
}

/// Sends records up to a level to the console. False if another backend is there already.
pub fn init(level: LevelFilter) -> bool {
    let first = log::set_logger(&ConsoleLog).is_ok();
    if first {
        log::set_max_level(level);
    }
    first
}
