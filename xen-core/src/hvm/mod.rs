//! Guests that run in hardware (Xen: HVM containers, that is PVH and HVM).
//!
//! Contract: abi-hvm; public headers `hvm/*.h`. The processor translates a guest's frames through the tables of
//! [`P2m`] and leaves the guest when something needs an answer; `exits` gives it, in terms of a neutral
//! [`HvmExit`](crate::machine::HvmExit), so that VT-x and AMD-V share everything but the code that enters and leaves.
//!
//! As elsewhere a vCPU has two halves: [`HvmVcpu`] is its own processor's alone and moves with the context, and
//! [`HvmMailbox`] is what others may put into it.

pub mod control;
mod cpuid;
pub mod domain;
mod emulate;
mod exits;
pub mod hpet;
mod inject;
pub mod ioapic;
pub mod lapic;
pub mod lines;
pub mod mailbox;
mod msr;
pub mod mtrr;
pub mod nested;
pub mod p2m;
pub mod params;
pub mod pic;
pub mod pit;
pub mod platform;
pub mod pmtimer;
mod ports;
pub mod record;
pub mod rtc;
mod switch;
mod system;
#[cfg(test)]
mod tests;
pub mod vcpu;
pub mod walk;

pub use domain::HvmDomain;
pub use exits::Fatal;
pub use mailbox::HvmMailbox;
pub use p2m::{Mapped, P2m, P2mKind};
pub use vcpu::HvmVcpu;
pub use walk::GuestView;
