//! Why a guest could not be built.

use std::fmt;

use xen_core::dom0::KernelError;

use crate::xen::XenError;

/// Why a guest could not be built.
#[derive(Debug)]
pub enum BuildError {
    /// A file cannot be read; which, and what it is to the guest.
    File {
        /// "kernel" or "ramdisk".
        what: &'static str,
        /// Its path.
        path: String,
        /// The system's error.
        error: std::io::Error,
    },
    /// The kernel is not one that can be started; its path.
    Kernel {
        /// The file's path.
        path: String,
        /// What is wrong with it.
        error: KernelError,
    },
    /// The guest's memory does not hold what it starts with.
    TooLittleMemory {
        /// MiB needed at least.
        needed_mib: u64,
        /// MiB configured.
        given_mib: u64,
    },
    /// The hypervisor has not enough free memory; pages that were still missing.
    OutOfMemory {
        /// Pages missing.
        missing: u64,
    },
    /// The command line is too long: its length.
    CommandLine(usize),
    /// The hypervisor refused something.
    Xen(XenError),
}

impl From<XenError> for BuildError {
    fn from(error: XenError) -> Self {
        Self::Xen(error)
    }
}

impl fmt::Display for BuildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { what, path, error } => match error.kind() {
                std::io::ErrorKind::NotFound => write!(
                    f,
                    "{what} {path} does not exist: correct {what} = in the configuration"
                ),
                _ => write!(f, "{what} {path} cannot be read: {error}"),
            },
            // The decoder is that of dom0's builder, and says so.
            Self::Kernel { path, error } => write!(
                f,
                "kernel {path} cannot be started: {}",
                error.to_string().replace("dom0 kernel", "the kernel")
            ),
            Self::TooLittleMemory {
                needed_mib,
                given_mib,
            } => write!(
                f,
                "memory = {given_mib} is too little for this kernel and ramdisk: at least {needed_mib} MiB are needed"
            ),
            Self::OutOfMemory { missing } => write!(
                f,
                "the hypervisor ran out of free memory, {} MiB were missing",
                missing.div_ceil(256)
            ),
            Self::CommandLine(len) => write!(
                f,
                "the kernel's command line has {len} bytes: at most 1023 are possible, shorten cmdline, root or extra"
            ),
            Self::Xen(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for BuildError {}
