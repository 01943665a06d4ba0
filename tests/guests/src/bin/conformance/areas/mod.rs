//! The areas of the contract.

mod callbacks;
mod calls;
mod control;
mod debug;
mod descriptors;
mod emulation;
mod events;
mod exceptions;
mod foreign;
mod grants;
mod memory;
mod mmu;
mod smp;
mod start_of_day;
mod timers;
mod user;
mod vcpu_info;
mod version;

use pv_guest_shim::hypercall_abi::xen::StartInfo;

/// An area's name and its checks.
pub type Area = (&'static str, fn(&'static StartInfo));

/// Every area, in the order in which they run.
pub const AREAS: &[Area] = &[
    ("start_of_day", start_of_day::run),
    ("version", version::run),
    ("calls", calls::run),
    ("exceptions", exceptions::run),
    ("callbacks", callbacks::run),
    ("emulation", emulation::run),
    ("user", user::run),
    ("descriptors", descriptors::run),
    ("debug", debug::run),
    ("mmu", mmu::run),
    ("memory", memory::run),
    ("grants", grants::run),
    ("control", control::run),
    ("foreign", foreign::run),
    ("running", foreign::running::run),
    ("events", events::run),
    ("timers", timers::run),
    ("smp", smp::run),
    ("vcpu_info", vcpu_info::run),
];
