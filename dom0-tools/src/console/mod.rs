//! Consoles of guests: attaching one to this terminal, and the daemon that serves them.

pub mod attach;
pub mod daemon;
mod guest;
mod rate;
mod ring;
mod scrollback;

#[cfg(test)]
mod tests;
