//! Linux's interfaces that have no safe wrapper elsewhere: the Xen devices, loop devices, netlink, terminals, processes.
//!
//! Contract: Linux's uapi headers `xen/privcmd.h`, `xen/evtchn.h`, `xen/gntdev.h`, `xen/gntalloc.h`, `linux/loop.h`,
//! `linux/rtnetlink.h`. Every module here says why it needs `unsafe`; outside this folder the crate denies it.

pub mod buffer;
pub mod event_channel;
pub mod file_lock;
pub mod file_map;
pub mod gntalloc;
pub mod gntdev;
pub mod ioctl;
pub mod loop_device;
pub mod mapping;
pub mod netlink;
pub mod poll;
pub mod privcmd;
pub mod process;
pub mod store_page;
pub mod terminal;
pub mod xenbus_backend;
