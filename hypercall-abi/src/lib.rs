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
pub mod domctl;
pub mod elfnote;
pub mod errno;
pub mod event_channel;
pub mod features;
pub mod grant_table;
pub mod hvm;
pub mod hypfs;
pub mod io;
pub mod kexec;
pub mod memory;
pub mod nmi;
pub mod physdev;
pub mod platform;
pub mod pmu;
pub mod sched;
pub mod sysctl;
pub mod trace;
pub mod vcpu;
pub mod version;
pub mod xen;
pub mod xen_compat;

pub use errno::Errno;
pub use guest_handle::GuestHandle;
pub use xen::DomId;

/// What every module registers for the layout test.
#[doc(hidden)]
pub const LAYOUT: &[layout::Entries] = &[
    arch_x86::LAYOUT,
    arch_x86::cpufeatureset::LAYOUT,
    arch_x86::cpuid::LAYOUT,
    arch_x86::guest_acpi::LAYOUT,
    arch_x86::hvm::save::LAYOUT,
    arch_x86::hvm::save::device::LAYOUT,
    arch_x86::hvm::save::vcpu::LAYOUT,
    arch_x86::hvm::start_info::LAYOUT,
    arch_x86::pmu::LAYOUT,
    arch_x86::xen_mca::LAYOUT,
    arch_x86::xen_x86_64::LAYOUT,
    callback::LAYOUT,
    domctl::LAYOUT,
    domctl::device::LAYOUT,
    domctl::domain::LAYOUT,
    domctl::memory::LAYOUT,
    domctl::vcpu::LAYOUT,
    elfnote::LAYOUT,
    errno::LAYOUT,
    event_channel::LAYOUT,
    features::LAYOUT,
    grant_table::LAYOUT,
    hvm::dm_op::LAYOUT,
    hvm::e820::LAYOUT,
    hvm::hvm_info_table::LAYOUT,
    hvm::hvm_op::LAYOUT,
    hvm::hvm_vcpu::LAYOUT,
    hvm::ioreq::LAYOUT,
    hvm::params::LAYOUT,
    hvm::save::LAYOUT,
    hypfs::LAYOUT,
    io::blkif::LAYOUT,
    io::console::LAYOUT,
    io::netif::LAYOUT,
    io::ring::LAYOUT,
    io::xenbus::LAYOUT,
    io::xs_wire::LAYOUT,
    kexec::LAYOUT,
    memory::LAYOUT,
    nmi::LAYOUT,
    physdev::LAYOUT,
    platform::LAYOUT,
    platform::firmware::LAYOUT,
    platform::power::LAYOUT,
    pmu::LAYOUT,
    sched::LAYOUT,
    sysctl::LAYOUT,
    sysctl::livepatch::LAYOUT,
    sysctl::machine::LAYOUT,
    sysctl::power::LAYOUT,
    sysctl::scheduling::LAYOUT,
    trace::LAYOUT,
    vcpu::LAYOUT,
    version::LAYOUT,
    xen::LAYOUT,
    xen::shared_info::LAYOUT,
    xen::start_info::LAYOUT,
    xen_compat::LAYOUT,
];
