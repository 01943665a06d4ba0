//! The running hypervisor, through `/dev/xen/privcmd`.
#![expect(unsafe_code, reason = "hands addresses to the hypervisor")]

use std::cell::RefCell;
use std::fs::{File, OpenOptions};
use std::io;

use hypercall_abi::memory::MemResource;
use hypercall_abi::xen::{DomId, HypercallNr};

use super::{Arg, GuestMemory, Xen, XenError};
use crate::sys::buffer::Buffer;
use crate::sys::privcmd::Privcmd;

/// Alignment of what is lent within a buffer.
const ALIGN: usize = 64;
/// The buffer that is kept between calls.
const SMALL: usize = 64 << 10;

/// Makes hypercalls of this domain.
#[derive(Debug)]
pub struct LiveXen {
    privcmd: Privcmd,
    buffers: File,
    small: RefCell<Option<Buffer>>,
}

impl LiveXen {
    /// Opens the devices.
    ///
    /// # Errors
    /// This is not a control domain under Xen, or the caller is not root; the message says which and what to do.
    pub fn open() -> Result<Self, OpenError> {
        let privcmd = Privcmd::open().map_err(|error| OpenError::new("/dev/xen/privcmd", error))?;
        let buffers = OpenOptions::new()
            .read(true)
            .write(true)
            .open("/dev/xen/hypercall")
            .map_err(|error| OpenError::new("/dev/xen/hypercall", error))?;
        Ok(Self {
            privcmd,
            buffers,
            small: RefCell::new(None),
        })
    }

    fn with_buffer<R>(
        &self,
        len: usize,
        use_it: impl FnOnce(&mut Buffer) -> Result<R, i32>,
    ) -> Result<R, i32> {
        let errno = |error: io::Error| error.raw_os_error().unwrap_or(libc::ENOMEM);
        let mut kept = self.small.borrow_mut();
        if len > SMALL {
            return use_it(&mut Buffer::new(&self.buffers, len).map_err(errno)?);
        }
        if kept.is_none() {
            *kept = Some(Buffer::new(&self.buffers, SMALL).map_err(errno)?);
        }
        match kept.as_mut() {
            Some(buffer) => use_it(buffer),
            None => Err(libc::ENOMEM),
        }
    }
}

/// Bytes of the buffer that `args` need.
fn needed(args: &[Arg<'_>]) -> usize {
    args.iter()
        .map(|arg| match arg {
            Arg::Number(_) => 0,
            Arg::Memory(bytes, lent) => {
                bytes.len().next_multiple_of(ALIGN)
                    + lent
                        .iter()
                        .map(|lent| lent.bytes.len().next_multiple_of(ALIGN))
                        .sum::<usize>()
            }
        })
        .sum()
}

/// Hands out parts of a buffer one after the other.
struct Place {
    next: usize,
}

impl Place {
    fn take(&mut self, len: usize) -> std::ops::Range<usize> {
        let start = self.next;
        self.next += len.next_multiple_of(ALIGN);
        start..start + len
    }
}

impl Xen for LiveXen {
    fn call(&self, number: HypercallNr, args: &mut [Arg<'_>]) -> Result<u64, i32> {
        self.with_buffer(needed(args), |buffer| {
            let base = buffer.addr();
            let mut raw = [0; 5];
            let mut place = Place { next: 0 };
            for (raw, arg) in raw.iter_mut().zip(args.iter_mut()) {
                *raw = match arg {
                    Arg::Number(number) => *number,
                    Arg::Memory(bytes, lent) => {
                        for lent in lent.iter_mut() {
                            let range = place.take(lent.bytes.len());
                            let address = base + range.start as u64;
                            buffer.bytes_mut()[range].copy_from_slice(lent.bytes);
                            bytes[lent.address_at..lent.address_at + 8]
                                .copy_from_slice(&address.to_ne_bytes());
                        }
                        let range = place.take(bytes.len());
                        let address = base + range.start as u64;
                        buffer.bytes_mut()[range].copy_from_slice(bytes);
                        address
                    }
                };
            }
            // SAFETY: numbers are numbers, and every address is that of a part of the buffer as long as what it stands for.
            let result = unsafe { self.privcmd.hypercall(number.0, raw) };
            let mut place = Place { next: 0 };
            for arg in args.iter_mut() {
                if let Arg::Memory(bytes, lent) = arg {
                    for lent in lent.iter_mut() {
                        let range = place.take(lent.bytes.len());
                        lent.bytes.copy_from_slice(&buffer.bytes()[range]);
                    }
                    let range = place.take(bytes.len());
                    bytes.copy_from_slice(&buffer.bytes()[range]);
                }
            }
            result.map_err(|error| error.raw_os_error().unwrap_or(libc::EIO))
        })
    }

    fn map_frames(
        &self,
        domain: DomId,
        mfns: &[u64],
        writable: bool,
    ) -> Result<Box<dyn GuestMemory>, XenError> {
        let mapping = self.privcmd.map_frames(domain.0, mfns, writable);
        let mapping = mapping.map_err(|error| failed("mapping of frames", domain, &error))?;
        Ok(Box::new(mapping))
    }

    fn map_resource(
        &self,
        domain: DomId,
        kind: MemResource,
        id: u32,
        count: usize,
    ) -> Result<Box<dyn GuestMemory>, XenError> {
        let mapping = self
            .privcmd
            .map_resource(domain.0, kind.0.into(), id, 0, count);
        let mapping = mapping.map_err(|error| failed("mapping of a resource", domain, &error))?;
        Ok(Box::new(mapping))
    }
}

fn failed(call: &str, domain: DomId, error: &io::Error) -> XenError {
    XenError::new(
        call,
        Some(domain),
        error.raw_os_error().unwrap_or(libc::EIO),
    )
}

/// The hypervisor cannot be reached.
#[derive(Debug)]
pub struct OpenError {
    device: &'static str,
    error: io::Error,
}

impl OpenError {
    fn new(device: &'static str, error: io::Error) -> Self {
        Self { device, error }
    }
}

impl std::fmt::Display for OpenError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { device, error } = self;
        match error.kind() {
            io::ErrorKind::NotFound => write!(
                f,
                "{device} is missing: this system does not run as a domain of Xen, or the kernel module xen-privcmd is not \
                 loaded (modprobe xen-privcmd)"
            ),
            io::ErrorKind::PermissionDenied => {
                write!(f, "{device} may not be opened: xeno needs to be root")
            }
            _ => write!(f, "{device} cannot be opened: {error}"),
        }
    }
}

impl std::error::Error for OpenError {}
