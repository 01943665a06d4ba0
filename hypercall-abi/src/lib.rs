//! The Xen 4.17 public interface for x86_64 as Rust types: numbers and layouts, nothing that behaves.
//!
//! There is one module per public header, with the header's name. A type is named as in C without `xen_` and `_t`, in camel case; its
//! fields are named as in C; searching the documentation for the C name finds it. Everything a guest can write is an integer or an open
//! newtype, so any bytes are a valid value (zerocopy's `FromBytes`), and every byte has a name (`IntoBytes`), so nothing of the
//! hypervisor's stack leaks through padding.
//!
//! `tests/layout.rs` compares sizes, offsets and numbers with Xen's own headers.
#![no_std]
#![forbid(unsafe_code)]

#[macro_use]
mod macros;
#[doc(hidden)]
pub mod layout;

pub mod guest_handle;

pub mod arch_x86;
pub mod callback;
pub mod elfnote;
pub mod errno;
pub mod event_channel;
pub mod features;
pub mod grant_table;
pub mod hvm;
pub mod memory;
pub mod nmi;
pub mod physdev;
pub mod platform;
pub mod sched;
pub mod vcpu;
pub mod version;
pub mod xen;

pub use errno::Errno;
pub use guest_handle::GuestHandle;
pub use xen::DomId;

/// What every module registers for the layout test.
#[doc(hidden)]
pub const LAYOUT: &[layout::Entries] = &[
    arch_x86::LAYOUT,
    arch_x86::xen_x86_64::LAYOUT,
    callback::LAYOUT,
    elfnote::LAYOUT,
    errno::LAYOUT,
    event_channel::LAYOUT,
    features::LAYOUT,
    grant_table::LAYOUT,
    hvm::e820::LAYOUT,
    memory::LAYOUT,
    nmi::LAYOUT,
    physdev::LAYOUT,
    platform::LAYOUT,
    sched::LAYOUT,
    vcpu::LAYOUT,
    version::LAYOUT,
    xen::LAYOUT,
];
