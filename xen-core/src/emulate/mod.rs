//! Decoding and execution of the few instructions that are emulated.
