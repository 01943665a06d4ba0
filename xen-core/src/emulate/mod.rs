//! Decoding of x86 instructions and the arithmetic of those that are emulated.
//!
//! Nothing here knows a domain: an instruction is decoded from one snapshot of its bytes, never fetched twice
//! (XSA-195 and XSA-110 class), and operates on registers and plain values.

pub mod alu;
pub mod decode;
pub mod legacy_ports;
pub mod registers;
pub mod store;
