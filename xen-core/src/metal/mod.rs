//! The machine: the only room with unsafe code.
//!
//! Boot order: `boot/head.S` (32-bit entry, first page tables) → [`boot::metal_start`] → the numbered steps there →
//! the library's entry. All that a guest does afterwards comes in through `entry/`.

#![expect(unsafe_code, reason = "this module tree talks to the processor")]

mod boot;
mod cpu;
mod mem;
mod panic;
mod serial;
