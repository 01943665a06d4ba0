//! Typed hypercalls of a control domain, over anything that can make them: the running hypervisor, or a fake in tests.
//!
//! Contract: Xen 4.17's public headers, as `hypercall_abi` has them. The subjects are one file each, as functions on
//! [`dyn Xen`](Xen); [`live`] makes the calls for real.

use std::fmt;

use hypercall_abi::Errno;
use hypercall_abi::xen::{DomId, HypercallNr};

pub mod domctl;
pub mod events;
pub mod live;
pub mod memory;
pub mod policy;
pub mod sysctl;
pub mod vcpu_state;
pub mod version;

#[cfg(test)]
pub mod fake;

/// Bytes of a frame.
pub const PAGE: u64 = 4096;

/// Memory lent to the hypervisor for one call, whose address goes into the call's structure.
#[derive(Debug)]
pub struct Lent<'a> {
    /// What the hypervisor reads or writes.
    pub bytes: &'a mut [u8],
    /// Where in the structure its address belongs.
    pub address_at: usize,
}

/// One argument of a hypercall.
#[derive(Debug)]
pub enum Arg<'a> {
    /// A number.
    Number(u64),
    /// The address of a structure, which is copied back after the call.
    Memory(&'a mut [u8], Vec<Lent<'a>>),
}

/// Who makes hypercalls.
pub trait Xen {
    /// Makes a hypercall; its result when it is not negative.
    ///
    /// # Errors
    /// The hypervisor's error number, or Linux's for the call itself.
    fn call(&self, number: HypercallNr, args: &mut [Arg<'_>]) -> Result<u64, i32>;

    /// Maps frames of a domain into this process.
    ///
    /// # Errors
    /// A frame is not the domain's or may not be mapped.
    fn map_frames(
        &self,
        domain: DomId,
        mfns: &[u64],
        writable: bool,
    ) -> Result<Box<dyn GuestMemory>, XenError>;

    /// Maps frames of a resource that the hypervisor keeps for a domain.
    ///
    /// # Errors
    /// There is no such resource.
    fn map_resource(
        &self,
        domain: DomId,
        kind: hypercall_abi::memory::MemResource,
        id: u32,
        count: usize,
    ) -> Result<Box<dyn GuestMemory>, XenError>;
}

/// Mapped memory of a guest. Offsets outside panic: they are mistakes of this program, not of a guest.
#[expect(
    clippy::len_without_is_empty,
    reason = "a mapping has at least one page"
)]
pub trait GuestMemory: Send {
    /// Its bytes.
    fn len(&self) -> usize;
    /// Copies out.
    fn read(&self, offset: usize, to: &mut [u8]);
    /// Copies in.
    fn write(&self, offset: usize, from: &[u8]);
    /// Sets `len` bytes to `byte`.
    fn fill(&self, offset: usize, len: usize, byte: u8);
    /// Reads a number that the guest writes meanwhile; sequentially consistent.
    fn load_u32(&self, offset: usize) -> u32;
    /// Writes a number that the guest reads meanwhile; sequentially consistent.
    fn store_u32(&self, offset: usize, value: u32);
    /// Reads one byte.
    fn load_u8(&self, offset: usize) -> u8;
    /// Writes one byte.
    fn store_u8(&self, offset: usize, value: u8);
}

/// A hypercall that failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct XenError {
    /// What was called, such as "domctl createdomain".
    pub call: String,
    /// For which domain, if for one.
    pub domain: Option<u16>,
    /// The error number, positive.
    pub errno: i32,
}

impl XenError {
    /// The error `errno` of `call`.
    #[must_use]
    pub fn new(call: impl Into<String>, domain: Option<DomId>, errno: i32) -> Self {
        Self {
            call: call.into(),
            domain: domain
                .map(|id| id.0)
                .filter(|id| *id < DomId::FIRST_RESERVED.0),
            errno,
        }
    }

    /// The error's number as the contract knows it.
    #[must_use]
    pub fn kind(&self) -> Option<Errno> {
        Errno::from_raw(self.errno)
    }

    /// Whether it is `errno`.
    #[must_use]
    pub fn is(&self, errno: Errno) -> bool {
        self.kind() == Some(errno)
    }
}

impl fmt::Display for XenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the hypervisor refused {}", self.call)?;
        if let Some(domain) = self.domain {
            write!(f, " for domain {domain}")?;
        }
        let reason = match self.kind() {
            Some(Errno::EPERM) => "not permitted",
            Some(Errno::ENOENT) => "no such object",
            Some(Errno::ESRCH) => "no such domain",
            Some(Errno::E2BIG) => "too much",
            Some(Errno::ENOMEM) => "out of memory",
            Some(Errno::EACCES) => "wrong interface version",
            Some(Errno::EFAULT) => "bad address",
            Some(Errno::EBUSY) => "busy",
            Some(Errno::EEXIST) => "exists already",
            Some(Errno::EINVAL) => "invalid argument",
            Some(Errno::ENOSPC) => "no space left",
            Some(Errno::ENOSYS) => "not implemented",
            Some(Errno::EOPNOTSUPP) => "not supported",
            Some(Errno::EAGAIN) => "try again",
            _ => "failed",
        };
        match self.kind() {
            Some(errno) => write!(f, ": {reason} ({errno:?})"),
            None => write!(f, ": {reason} (error {})", self.errno),
        }
    }
}

impl std::error::Error for XenError {}
