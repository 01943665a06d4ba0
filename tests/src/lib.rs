//! The harness that boots Xenolith, or Debian's Xen as the reference, in QEMU and judges what it prints.
//!
//! It links nothing of `xen-core`: it runs finished files and reads a serial line. Bottom to top:
//! [`artifacts`] fetches and unpacks Debian packages, [`cpio`] and [`initramfs`] make root file systems,
//! [`elf`], [`programs32`] and [`pv_kernel`] make small programs and kernels without any tool,
//! [`qemu`] or [`bochs`], [`qmp`] and [`serial`] are one running [`machine`], [`scenario`] describes a test as data,
//! [`runner`] runs many of them, [`scenarios`] is the list. `cargo xtask` is the front end.

pub mod artifacts;
pub mod bochs;
pub mod compare;
pub mod cpio;
pub mod devices;
pub mod elf;
pub mod initramfs;
pub mod iso;
pub mod machine;
pub mod peer;
pub mod programs32;
pub mod pv_kernel;
pub mod qemu;
pub mod qmp;
pub mod runner;
pub mod scenario;
pub mod scenarios;
pub mod serial;
pub mod verdict;
