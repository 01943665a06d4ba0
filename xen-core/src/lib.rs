//! Xenolith's logic: everything that would run on a laptop.
#![no_std]
#![forbid(unsafe_code)]

pub mod acpi;
pub mod boot;

#[cfg(test)]
extern crate std;
