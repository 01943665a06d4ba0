//! The Xen 4.17 public interface for x86_64 as Rust types: numbers and layouts, nothing that behaves.
#![no_std]
#![forbid(unsafe_code)]
