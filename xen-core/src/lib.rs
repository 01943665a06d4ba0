//! Xenolith's logic: everything that would run on a laptop.
//!
//! The hypervisor is two rooms. This library holds the bookkeeping (who owns a frame, what type it has, which port is
//! bound to whom, what a guest may map) and is safe Rust without a privileged instruction; the binary's `metal`
//! module touches the computer and implements [`machine::Machine`]. Modules are listed in layer order: each may use
//! those above it.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
#[cfg(not(target_os = "none"))]
extern crate std;

// L0: vocabulary.
pub mod machine;
pub mod num;
pub mod outcome;
pub mod sync;

// L1: mechanisms. They know ids, never a whole domain.
pub mod acpi;
pub mod boot;
pub mod console;
pub mod cpu_policy;
pub mod emulate;
pub mod evtchn;
pub mod grant;
pub mod irq;
pub mod mm;
pub mod pm;
pub mod sched;
pub mod time;

// L2: where the system is one thing.
pub mod domain;
pub mod guest;
pub mod hypervisor;
pub mod mce;

// L3: kinds of guest.
pub mod dom0;
pub mod hvm;
pub mod pv;

// L4: doors, and what the machine calls.
pub mod entry;
pub mod hypercall;

#[cfg(not(target_os = "none"))]
pub mod sim;
