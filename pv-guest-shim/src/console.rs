//! Text to the hypervisor's console (`console_io`): works from the first instruction, for the first domain only.

use core::fmt;

/// The console as a [`fmt::Write`].
#[derive(Debug, Default, Clone, Copy)]
pub struct Console;

impl fmt::Write for Console {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        crate::hypercall::console_write(text.as_bytes());
        Ok(())
    }
}

/// Prints a line to the hypervisor's console.
#[macro_export]
macro_rules! println {
    () => { $crate::println!("") };
    ($($arg:tt)*) => {{
        use ::core::fmt::Write as _;
        let _ = ::core::writeln!($crate::console::Console, $($arg)*);
    }};
}

/// Prints to the hypervisor's console.
#[macro_export]
macro_rules! print {
    ($($arg:tt)*) => {{
        use ::core::fmt::Write as _;
        let _ = ::core::write!($crate::console::Console, $($arg)*);
    }};
}
