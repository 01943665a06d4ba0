//! What a PV kernel in Rust needs to run on Xen.
#![no_std]
