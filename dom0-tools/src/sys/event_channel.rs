//! `/dev/xen/evtchn`: event channels of this domain as a file to wait on.
#![expect(unsafe_code, reason = "ioctls")]

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};

use super::ioctl::{ioctl, request};

#[repr(C)]
struct BindInterdomain {
    remote_domain: u32,
    remote_port: u32,
}

const BIND_VIRQ: u64 = request(b'E', 0, 4);
const BIND_INTERDOMAIN: u64 = request(b'E', 1, size_of::<BindInterdomain>());
const BIND_UNBOUND_PORT: u64 = request(b'E', 2, 4);
const UNBIND: u64 = request(b'E', 3, 4);
const NOTIFY: u64 = request(b'E', 4, 4);

/// The opened device: a set of bound ports, closed with it.
#[derive(Debug)]
pub struct EventChannels(File);

impl EventChannels {
    /// Opens the device.
    ///
    /// # Errors
    /// The device is missing or may not be opened.
    pub fn open() -> io::Result<Self> {
        use std::os::unix::fs::OpenOptionsExt as _;
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .custom_flags(libc::O_NONBLOCK)
            .open("/dev/xen/evtchn")?;
        Ok(Self(file))
    }

    /// Binds virtual interrupt `virq` to a port.
    ///
    /// # Errors
    /// The hypervisor's error number, such as EEXIST when another process has it.
    pub fn bind_virq(&self, virq: u32) -> io::Result<u32> {
        self.port(BIND_VIRQ, virq)
    }

    /// Binds a new port to `remote_port` of domain `remote_domain`.
    ///
    /// # Errors
    /// The hypervisor's error number, such as EINVAL for a port that is not meant for this domain.
    pub fn bind_interdomain(&self, remote_domain: u16, remote_port: u32) -> io::Result<u32> {
        let mut bind = BindInterdomain {
            remote_domain: remote_domain.into(),
            remote_port,
        };
        // SAFETY: the request takes this struct, in which nothing is an address.
        let port = unsafe { ioctl(self.0.as_fd(), BIND_INTERDOMAIN, &mut bind) }?;
        u32::try_from(port).map_err(io::Error::other)
    }

    /// Allocates a port that domain `remote_domain` may bind.
    ///
    /// # Errors
    /// The hypervisor's error number.
    pub fn bind_unbound(&self, remote_domain: u16) -> io::Result<u32> {
        self.port(BIND_UNBOUND_PORT, remote_domain.into())
    }

    /// Closes a port.
    ///
    /// # Errors
    /// The port is not of this set.
    pub fn unbind(&self, port: u32) -> io::Result<()> {
        self.port(UNBIND, port).map(|_| ())
    }

    /// Sends an event through a port.
    ///
    /// # Errors
    /// The port is not of this set.
    pub fn notify(&self, port: u32) -> io::Result<()> {
        self.port(NOTIFY, port).map(|_| ())
    }

    /// The ports that had events since they were last unmasked; empty when there are none. Each stays masked until
    /// [`Self::unmask`].
    ///
    /// # Errors
    /// The queue of events overflowed or the device failed.
    pub fn pending(&self) -> io::Result<Vec<u32>> {
        let mut bytes = [0; 256];
        let len = match (&self.0).read(&mut bytes) {
            Ok(len) => len,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => 0,
            Err(error) => return Err(error),
        };
        let (ports, _) = bytes.get(..len).unwrap_or_default().as_chunks();
        Ok(ports.iter().map(|port| u32::from_ne_bytes(*port)).collect())
    }

    /// Lets a port deliver events again.
    ///
    /// # Errors
    /// The port is not of this set.
    pub fn unmask(&self, port: u32) -> io::Result<()> {
        (&self.0).write_all(&port.to_ne_bytes())
    }

    fn port(&self, request: u64, number: u32) -> io::Result<u32> {
        let mut argument = number;
        // SAFETY: these requests take a number.
        let port = unsafe { ioctl(self.0.as_fd(), request, &mut argument) }?;
        u32::try_from(port).map_err(io::Error::other)
    }
}

impl AsFd for EventChannels {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
