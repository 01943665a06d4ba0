//! Hardware-virtualized guests (PVH and HVM): what does not depend on the processor's vendor.
//!
//! Contract: public headers arch-x86/hvm/save.h, hvm/hvm_op.h, hvm/params.h; Intel SDM volume 3, AMD APM volume 2.

pub mod control;
pub mod hpet;
pub mod ioapic;
pub mod lapic;
pub mod lines;
pub mod mtrr;
pub mod params;
pub mod pic;
pub mod pit;
pub mod platform;
pub mod pmtimer;
pub mod rtc;
