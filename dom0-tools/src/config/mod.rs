//! Guest configurations: the syntax of xl.cfg, the keys that exist, and what a PV guest is made of.
//!
//! Contract: xl.cfg(5), xl-disk-configuration(5) and xl-network-configuration(5) of Xen 4.17. A file that works with `xl` works
//! here; unlike `xl`, an unknown key is an error, and every error names file, line and what was expected.

mod cpu_list;
mod disk;
mod guest;
mod keys;
mod lexer;
mod mac;
mod parser;
mod uuid;
mod vif;

#[cfg(test)]
mod tests;

pub use cpu_list::{CpuListError, parse as parse_cpu_list};
pub use disk::{Disk, DiskMode, device_number, device_of_name};
pub(crate) use guest::name_problem;
pub use guest::{Action, Actions, GuestConfig, TscMode, Vcpus};
pub use mac::Mac;
pub use parser::{Assignment, Value, parse};
pub use uuid::Uuid;
pub use vif::{Rate, Vif};

use std::fmt;

/// What is wrong with a configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    /// The file, or "command line".
    pub file: String,
    /// The line, from 1; 0 for the file as a whole.
    pub line: u32,
    /// What is wrong and what was expected.
    pub message: String,
}

impl ConfigError {
    /// An error at a place.
    #[must_use]
    pub fn new(file: &str, line: u32, message: impl Into<String>) -> Self {
        Self {
            file: file.to_owned(),
            line,
            message: message.into(),
        }
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => write!(f, "{}: {}", self.file, self.message),
            line => write!(f, "{}:{line}: {}", self.file, self.message),
        }
    }
}

impl std::error::Error for ConfigError {}
