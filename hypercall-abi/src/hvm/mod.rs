//! `hvm/*.h`: hardware-assisted guests.

pub mod dm_op;
pub mod e820;
pub mod hvm_info_table;
pub mod hvm_op;
pub mod hvm_vcpu;
pub mod ioreq;
pub mod params;
pub mod save;
