//! What the store's daemon needs of Xen, through the devices of dom0's kernel.
//!
//! Contract: Linux's `xen/evtchn.h`, `xen/gntdev.h`, `xen/privcmd.h`, and xenfs (`/proc/xen/xsd_kva`, `/proc/xen/xsd_port`).

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::fs::OpenOptionsExt;

use hypercall_abi::DomId;
use hypercall_abi::domctl::{DOMCTL_INTERFACE_VERSION, Domctl, DomctlCmd, Dominf};
use hypercall_abi::grant_table::GNTTAB_RESERVED_XENSTORE;
use hypercall_abi::xen::{HypercallNr, Virq};
use rustix::fs::OFlags;
use rustix::mm::{MapFlags, ProtFlags, mlock, mmap_anonymous, munmap};
use zerocopy::{FromBytes, FromZeros, IntoBytes};

use super::store_page::RingPage;
use crate::xenstored::platform::{DomainState, LocalPort, Page, Platform};

const PAGE: usize = 4096;

/// `_IOC(_IOC_NONE, group, number, size)`: the form of every request of Xen's devices.
const fn request(group: u8, number: u8, size: usize) -> u32 {
    ((size as u32) << 16) | ((group as u32) << 8) | number as u32
}

#[repr(C)]
struct BindInterdomain {
    domain: u32,
    port: u32,
}

#[repr(C)]
struct MapGrant {
    count: u32,
    pad: u32,
    index: u64,
    domain: u32,
    reference: u32,
}

#[repr(C)]
struct UnmapGrant {
    index: u64,
    count: u32,
    pad: u32,
}

#[repr(C)]
struct Hypercall {
    number: u64,
    arguments: [u64; 5],
}

const BIND_VIRQ: u32 = request(b'E', 0, 4);
const BIND_INTERDOMAIN: u32 = request(b'E', 1, size_of::<BindInterdomain>());
const UNBIND: u32 = request(b'E', 3, 4);
const NOTIFY: u32 = request(b'E', 4, 4);
const MAP_GRANT: u32 = request(b'G', 0, size_of::<MapGrant>());
const UNMAP_GRANT: u32 = request(b'G', 1, size_of::<UnmapGrant>());
const HYPERCALL: u32 = request(b'P', 0, size_of::<Hypercall>());
const BACKEND_EVENT_CHANNEL: u32 = request(b'B', 0, 0);

/// Carries out a request of a device.
///
/// # Safety
/// The request must take a pointer to a `T`, and every address in it must be one that the kernel may use.
unsafe fn ioctl<T>(device: &File, request: u32, argument: &mut T) -> io::Result<u32> {
    // SAFETY: the descriptor is open; the rest is the caller's promise.
    let result = unsafe {
        libc::ioctl(
            device.as_raw_fd(),
            request as _,
            std::ptr::from_mut(argument),
        )
    };
    u32::try_from(result).map_err(|_| io::Error::last_os_error())
}

/// A page that stays where it is: for the arguments of hypercalls.
struct Locked(*mut libc::c_void);

impl Locked {
    fn new() -> io::Result<Self> {
        // SAFETY: a new mapping, at an address that the kernel chooses, touches no memory of ours.
        let page = unsafe {
            mmap_anonymous(
                std::ptr::null_mut(),
                PAGE,
                ProtFlags::READ | ProtFlags::WRITE,
                MapFlags::PRIVATE,
            )
        }?;
        let page = Self(page);
        // SAFETY: the page is the one just mapped.
        unsafe { mlock(page.0, PAGE) }?;
        Ok(page)
    }
}

impl Drop for Locked {
    fn drop(&mut self) {
        // SAFETY: the mapping is our own and nothing refers to it any more.
        let _ = unsafe { munmap(self.0, PAGE) };
    }
}

/// The devices.
pub struct Host {
    events: File,
    grants: File,
    hypercalls: File,
    argument: Locked,
    news: u32,
}

impl Host {
    /// Opens the devices and asks for news of domains (`VIRQ_DOM_EXC`).
    ///
    /// # Errors
    /// A device is missing, or another daemon has the news; the text says which.
    pub fn open() -> Result<Self, String> {
        let device = |name: &str| {
            let path = format!("/dev/xen/{name}");
            OpenOptions::new()
                .read(true)
                .write(true)
                .custom_flags(OFlags::NONBLOCK.bits() as i32)
                .open(&path)
                .map_err(|error| format!("cannot open {path}: {error}"))
        };
        let events = device("evtchn")?;
        let mut argument = u32::from(Virq::DOM_EXC.0 as u8);
        // SAFETY: the request takes a number.
        let news = unsafe { ioctl(&events, BIND_VIRQ, &mut argument) }
            .map_err(|error| format!("cannot get news of domains: {error}"))?;
        Ok(Self {
            events,
            grants: device("gntdev")?,
            hypercalls: device("privcmd")?,
            argument: Locked::new().map_err(|error| format!("cannot lock memory: {error}"))?,
            news,
        })
    }

    fn map_kernel(&mut self) -> io::Result<RingPage> {
        let open = |path: &str| OpenOptions::new().read(true).write(true).open(path);
        let device = open("/proc/xen/xsd_kva").or_else(|_| open("/dev/xen/xenbus_backend"))?;
        RingPage::map(device, 0)
    }

    fn map_grant(&mut self, domain: DomId) -> io::Result<RingPage> {
        let mut map = MapGrant {
            count: 1,
            pad: 0,
            index: 0,
            domain: domain.0.into(),
            reference: GNTTAB_RESERVED_XENSTORE,
        };
        // SAFETY: the request takes this structure, which has no address in it.
        unsafe { ioctl(&self.grants, MAP_GRANT, &mut map) }?;
        let page = RingPage::map(&self.grants, map.index);
        // From now on the mapping alone keeps the grant; without one it is given back here.
        let mut unmap = UnmapGrant {
            index: map.index,
            count: 1,
            pad: 0,
        };
        // SAFETY: as above.
        unsafe { ioctl(&self.grants, UNMAP_GRANT, &mut unmap) }?;
        page
    }
}

impl Platform for Host {
    fn domain(&mut self, domain: DomId) -> Option<DomainState> {
        let mut ask = Domctl::new_zeroed();
        ask.cmd = DomctlCmd::GETDOMAININFO;
        ask.interface_version = DOMCTL_INTERFACE_VERSION;
        ask.domain = domain;
        // SAFETY: the page is ours alone and large enough for what is asked.
        let bytes = unsafe {
            std::slice::from_raw_parts_mut(self.argument.0.cast::<u8>(), size_of::<Domctl>())
        };
        bytes.copy_from_slice(ask.as_bytes());
        let mut call = Hypercall {
            number: HypercallNr::DOMCTL.0,
            arguments: [self.argument.0 as u64, 0, 0, 0, 0],
        };
        // SAFETY: the request takes this structure; the address in it is that of a structure which the hypercall reads and writes,
        // and which nobody uses meanwhile.
        unsafe { ioctl(&self.hypercalls, HYPERCALL, &mut call) }.ok()?;
        // SAFETY: as above; the call is over.
        let bytes = unsafe {
            std::slice::from_raw_parts(self.argument.0.cast::<u8>(), size_of::<Domctl>())
        };
        let answer = Domctl::read_from_bytes(bytes).ok()?;
        let info = answer.u.as_getdomaininfo();
        (info.domain == domain).then_some(DomainState {
            shutdown: info.flags & Dominf::SHUTDOWN.bits() != 0,
            dying: info.flags & Dominf::DYING.bits() != 0,
        })
    }

    fn map(&mut self, domain: DomId) -> io::Result<Box<dyn Page>> {
        let page = if domain == DomId(0) {
            self.map_kernel()?
        } else {
            self.map_grant(domain)?
        };
        Ok(Box::new(page))
    }

    fn bind(&mut self, domain: DomId, remote: u32) -> io::Result<LocalPort> {
        let mut bind = BindInterdomain {
            domain: domain.0.into(),
            port: remote,
        };
        // SAFETY: the request takes this structure, which has no address in it.
        unsafe { ioctl(&self.events, BIND_INTERDOMAIN, &mut bind) }.map(LocalPort)
    }

    fn unbind(&mut self, port: LocalPort) {
        let mut port = port.0;
        // SAFETY: the request takes a number. A port that is gone needs no unbinding.
        let _ = unsafe { ioctl(&self.events, UNBIND, &mut port) };
    }

    fn notify(&mut self, port: LocalPort) {
        let mut port = port.0;
        // SAFETY: the request takes a number. A domain that is gone needs no event.
        let _ = unsafe { ioctl(&self.events, NOTIFY, &mut port) };
    }

    fn event_fd(&self) -> Option<BorrowedFd<'_>> {
        Some(self.events.as_fd())
    }

    fn take_events(&mut self) -> bool {
        let mut bytes = [0; 1024];
        // Nothing to read is not an error worth telling, and after any other the next poll tries again.
        let count = (&self.events).read(&mut bytes).unwrap_or(0);
        let ports = &bytes[..count - count % 4];
        let _ = (&self.events).write_all(ports);
        ports
            .chunks_exact(4)
            .any(|port| port == self.news.to_ne_bytes())
    }

    fn kernel_port(&mut self) -> Option<u32> {
        if let Ok(text) = fs::read_to_string("/proc/xen/xsd_port") {
            return text.trim().parse().ok();
        }
        let device = File::open("/dev/xen/xenbus_backend").ok()?;
        // SAFETY: the request takes nothing.
        unsafe { ioctl(&device, BACKEND_EVENT_CHANNEL, &mut 0u32) }.ok()
    }
}
