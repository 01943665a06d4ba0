//! `arch-x86/hvm/*.h`: the x86 part of hardware-assisted guests.

pub mod save;
pub mod start_info;
