//! The processor: control registers, model-specific registers, descriptors, state.

pub mod control;
pub mod msr;
