//! What went wrong, in words for people and as an exit code for programs.

use std::fmt;

use hypercall_abi::Errno;

use crate::builder::BuildError;
use crate::config::ConfigError;
use crate::store::StoreError;
use crate::xen::XenError;
use crate::xen::live::OpenError;

/// Kinds of failures: the exit codes of `xeno`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Code {
    /// Anything else.
    Other = 1,
    /// The command line or a configuration is wrong.
    Usage = 2,
    /// There is no such domain, device or file.
    NotFound = 3,
    /// There is one already, or it is in use.
    Exists = 4,
    /// Not enough memory.
    NoMemory = 5,
    /// The guest did not do what it was asked for.
    GuestRefused = 6,
    /// It took too long.
    Timeout = 7,
    /// The hypervisor refused.
    HypervisorRefused = 8,
}

/// A failure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ToolError {
    /// Its kind.
    pub code: Code,
    /// The cause and the way out.
    pub message: String,
}

impl ToolError {
    /// A failure of kind `code`.
    #[must_use]
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
        }
    }

    /// The same with what was being done in front.
    #[must_use]
    pub fn context(self, doing: impl fmt::Display) -> Self {
        Self {
            code: self.code,
            message: format!("{doing}: {}", self.message),
        }
    }
}

impl fmt::Display for ToolError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for ToolError {}

impl From<XenError> for ToolError {
    fn from(error: XenError) -> Self {
        let code = match error.kind() {
            Some(Errno::ENOMEM) => Code::NoMemory,
            Some(Errno::ESRCH) => Code::NotFound,
            _ => Code::HypervisorRefused,
        };
        Self::new(code, error.to_string())
    }
}

impl From<StoreError> for ToolError {
    fn from(error: StoreError) -> Self {
        Self::new(Code::Other, error.to_string())
    }
}

impl From<ConfigError> for ToolError {
    fn from(error: ConfigError) -> Self {
        Self::new(Code::Usage, error.to_string())
    }
}

impl From<OpenError> for ToolError {
    fn from(error: OpenError) -> Self {
        Self::new(Code::Other, error.to_string())
    }
}

impl From<BuildError> for ToolError {
    fn from(error: BuildError) -> Self {
        let code = match &error {
            BuildError::OutOfMemory { .. } => Code::NoMemory,
            BuildError::File { .. } => Code::NotFound,
            BuildError::Xen(error) => return error.clone().into(),
            _ => Code::Usage,
        };
        Self::new(code, error.to_string())
    }
}

impl From<std::io::Error> for ToolError {
    fn from(error: std::io::Error) -> Self {
        Self::new(Code::Other, error.to_string())
    }
}
