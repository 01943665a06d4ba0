//! Paravirtual guests: both guest kernel and guest user mode run in ring 3, and what the processor would do for a
//! kernel, the hypervisor does by hand.

pub mod bounce;
pub mod context;
pub mod failsafe;
pub mod iret;
pub mod mode;
pub mod selectors;
pub mod switch;
