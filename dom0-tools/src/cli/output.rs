//! Printing: tables as `xl` prints them, or JSON.

use serde::Serialize;

use crate::domain::ToolError;

/// Prints `value` as JSON.
pub fn json(value: &impl Serialize) -> Result<(), ToolError> {
    let text = serde_json::to_string_pretty(value).map_err(std::io::Error::from)?;
    line(&text)
}

/// Prints a line; a closed pipe ends the program quietly.
pub fn line(text: &str) -> Result<(), ToolError> {
    raw(format!("{text}\n").as_bytes())
}

/// Prints bytes.
pub fn raw(bytes: &[u8]) -> Result<(), ToolError> {
    use std::io::Write as _;
    let mut out = std::io::stdout().lock();
    match out.write_all(bytes).and_then(|()| out.flush()) {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => {
            std::process::exit(0);
        }
        result => Ok(result?),
    }
}
