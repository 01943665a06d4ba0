//! The dom0 builder: from the bytes of a kernel file to a domain that can run.
//!
//! All but [`build`] is pure: from the file to a plan of the domain's first memory, page tables and
//! `start_info`. [`build`] carries the plan out.
//!
//! Nothing here touches a machine: functions read byte slices and return plain values, and the
//! caller carries the plan out. Order of use: [`bzimage::recognise`], [`decompress::decompress`],
//! [`elf::Kernel::parse`], [`plan::Plan::new`], [`page_tables::PageTables::build`],
//! [`start_info::encode`].
//!
//! Contract: public/elfnote.h, public/xen.h (`start_info` and the initial memory layout).

pub mod build;
pub mod bzimage;
pub mod decompress;
pub mod elf;
pub mod error;
pub mod features;
pub mod guest_string;
pub mod hypercall_page;
pub mod notes;
pub mod page_tables;
pub mod plan;
pub mod start_info;

pub use error::KernelError;
