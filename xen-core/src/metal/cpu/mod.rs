//! The processor: control registers, model-specific registers, descriptors, state.

pub mod control;
pub mod cpuid;
pub mod debug;
pub mod features;
pub mod fpu;
pub mod gdt;
pub mod idt;
pub mod msr;
pub mod percpu;
pub mod segment;
pub mod shootdown;
pub mod syscall_msr;
