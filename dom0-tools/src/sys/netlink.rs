//! rtnetlink: network interfaces and bridges.
//!
//! Contract: linux/rtnetlink.h, linux/if_link.h. Only what the toolstack needs: find, make a bridge, and change a link.
#![expect(unsafe_code, reason = "sockets without a wrapper in std")]

use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::os::fd::FromRawFd as _;
use std::sync::atomic::{AtomicU32, Ordering};

const NLM_F_REQUEST: u16 = 1;
const NLM_F_ACK: u16 = 4;
const NLM_F_EXCL: u16 = 0x200;
const NLM_F_CREATE: u16 = 0x400;
const NLMSG_ERROR: u16 = 2;
const RTM_NEWLINK: u16 = 16;
const RTM_GETLINK: u16 = 18;
const IFLA_ADDRESS: u16 = 1;
const IFLA_IFNAME: u16 = 3;
const IFLA_MTU: u16 = 4;
const IFLA_MASTER: u16 = 10;
const IFLA_LINKINFO: u16 = 18;
const IFLA_INFO_KIND: u16 = 1;
const IFF_UP: u32 = 1;

/// A socket to the kernel's network configuration.
#[derive(Debug)]
pub struct Netlink {
    socket: File,
    sequence: AtomicU32,
}

impl Netlink {
    /// Opens a socket.
    ///
    /// # Errors
    /// The kernel has no netlink.
    pub fn open() -> io::Result<Self> {
        // SAFETY: takes numbers.
        let socket = unsafe {
            libc::socket(
                libc::AF_NETLINK,
                libc::SOCK_RAW | libc::SOCK_CLOEXEC,
                libc::NETLINK_ROUTE,
            )
        };
        if socket < 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(Self {
            // SAFETY: the socket is open and nobody else's.
            socket: unsafe { File::from_raw_fd(socket) },
            sequence: AtomicU32::new(1),
        })
    }

    /// The index of interface `name`; None if there is none.
    ///
    /// # Errors
    /// The kernel refuses for another reason.
    pub fn index(&self, name: &str) -> io::Result<Option<u32>> {
        let message = Message::new(0, 0, 0).attribute(IFLA_IFNAME, &with_nul(name));
        match self.request(RTM_GETLINK, 0, message) {
            // struct ifinfomsg: the index is its fourth to seventh byte.
            Ok(answer) => Ok(word(&answer, 4)),
            Err(error) if error.raw_os_error() == Some(libc::ENODEV) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Makes a bridge.
    ///
    /// # Errors
    /// The name is taken, or the kernel has no bridges.
    pub fn add_bridge(&self, name: &str) -> io::Result<()> {
        let kind = Message::attributes().attribute(IFLA_INFO_KIND, b"bridge");
        let message = Message::new(0, 0, 0)
            .attribute(IFLA_IFNAME, &with_nul(name))
            .attribute(IFLA_LINKINFO, &kind.bytes);
        self.change(NLM_F_CREATE | NLM_F_EXCL, message)
    }

    /// Switches an interface on.
    ///
    /// # Errors
    /// The driver refuses.
    pub fn set_up(&self, index: u32) -> io::Result<()> {
        self.change(0, Message::new(index, IFF_UP, IFF_UP))
    }

    /// Switches an interface off.
    ///
    /// # Errors
    /// The driver refuses.
    pub fn set_down(&self, index: u32) -> io::Result<()> {
        self.change(0, Message::new(index, 0, IFF_UP))
    }

    /// Joins an interface to a bridge; 0 for none.
    ///
    /// # Errors
    /// The bridge refuses.
    pub fn set_master(&self, index: u32, master: u32) -> io::Result<()> {
        let message = Message::new(index, 0, 0).attribute(IFLA_MASTER, &master.to_ne_bytes());
        self.change(0, message)
    }

    /// Sets an interface's address.
    ///
    /// # Errors
    /// The driver refuses.
    pub fn set_address(&self, index: u32, address: [u8; 6]) -> io::Result<()> {
        let message = Message::new(index, 0, 0).attribute(IFLA_ADDRESS, &address);
        self.change(0, message)
    }

    /// Sets an interface's largest packet.
    ///
    /// # Errors
    /// The driver refuses.
    pub fn set_mtu(&self, index: u32, mtu: u32) -> io::Result<()> {
        let message = Message::new(index, 0, 0).attribute(IFLA_MTU, &mtu.to_ne_bytes());
        self.change(0, message)
    }

    /// Gives an interface, which must be off, another name.
    ///
    /// # Errors
    /// The name is taken.
    pub fn rename(&self, index: u32, name: &str) -> io::Result<()> {
        let message = Message::new(index, 0, 0).attribute(IFLA_IFNAME, &with_nul(name));
        self.change(0, message)
    }

    fn change(&self, flags: u16, message: Message) -> io::Result<()> {
        self.request(RTM_NEWLINK, flags | NLM_F_ACK, message)
            .map(|_| ())
    }

    /// Sends a request; the payload of the answer.
    fn request(&self, kind: u16, flags: u16, message: Message) -> io::Result<Vec<u8>> {
        let sequence = self.sequence.fetch_add(1, Ordering::Relaxed);
        let len = u32::try_from(16 + message.bytes.len()).map_err(io::Error::other)?;
        let mut bytes = Vec::new();
        bytes.extend(len.to_ne_bytes());
        bytes.extend(kind.to_ne_bytes());
        bytes.extend((flags | NLM_F_REQUEST).to_ne_bytes());
        bytes.extend(sequence.to_ne_bytes());
        bytes.extend(0_u32.to_ne_bytes());
        bytes.extend(&message.bytes);
        (&self.socket).write_all(&bytes)?;
        loop {
            let mut answer = vec![0; 32 << 10];
            let len = (&self.socket).read(&mut answer)?;
            answer.truncate(len);
            if word(&answer, 8) != Some(sequence) {
                continue;
            }
            let kind = answer.get(4..6).and_then(|kind| kind.try_into().ok());
            if kind.map(u16::from_ne_bytes) == Some(NLMSG_ERROR) {
                let error = word(&answer, 16).unwrap_or(0).cast_signed();
                if error != 0 {
                    return Err(io::Error::from_raw_os_error(-error));
                }
                return Ok(Vec::new());
            }
            return Ok(answer.get(16..).unwrap_or_default().to_vec());
        }
    }
}

/// A message's payload under construction.
#[derive(Debug, Default)]
struct Message {
    bytes: Vec<u8>,
}

impl Message {
    /// `struct ifinfomsg`.
    fn new(index: u32, flags: u32, change: u32) -> Self {
        let mut bytes = vec![0; 4];
        bytes.extend(index.to_ne_bytes());
        bytes.extend(flags.to_ne_bytes());
        bytes.extend(change.to_ne_bytes());
        Self { bytes }
    }

    /// Attributes alone, for one within another.
    fn attributes() -> Self {
        Self::default()
    }

    /// Adds an attribute.
    fn attribute(mut self, kind: u16, value: &[u8]) -> Self {
        let len = u16::try_from(4 + value.len()).unwrap_or(u16::MAX);
        self.bytes.extend(len.to_ne_bytes());
        self.bytes.extend(kind.to_ne_bytes());
        self.bytes.extend(value);
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
        self
    }
}

fn with_nul(name: &str) -> Vec<u8> {
    let mut bytes = name.as_bytes().to_vec();
    bytes.push(0);
    bytes
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    let word = bytes.get(at..at.checked_add(4)?)?;
    word.try_into().ok().map(u32::from_ne_bytes)
}
