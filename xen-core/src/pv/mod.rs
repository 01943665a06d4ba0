//! Paravirtual guests: both guest kernel and guest user mode run in ring 3, and what the processor would do for a
//! kernel, the hypervisor does by hand.

pub mod areas;
pub mod bounce;
pub mod context;
pub mod failsafe;
pub mod iret;
pub mod mode;
pub mod selectors;
pub mod switch;

// The processor's state and the instructions that are emulated.
pub mod debugreg;
pub mod emulate;
pub mod fpu;

// Memory.
pub mod descriptor;
pub mod mm;
