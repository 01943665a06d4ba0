//! `hvm/*.h`: hardware-assisted guests.

pub mod e820;
