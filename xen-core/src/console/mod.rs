//! Log ring, console line, debug keys.
/// The console.
#[derive(Debug)]
pub struct Console;
