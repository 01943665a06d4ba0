//! The domain builder: puts a PV kernel into a new domain so that its first vCPU can run.
//!
//! `kernel` finds and unpacks the kernel's ELF; the plan of the guest's first memory is that of dom0's builder
//! (`xen_core::dom0::plan`), with the rings of store and console added; [`build`] carries the plan out by hypercalls and
//! mappings, of which tests fake the other side.
//!
//! Contract: public/xen.h (initial memory layout, `start_info`), public/elfnote.h; the layout is libxenguest's.

mod cache;
mod cpu_policy;
mod error;
mod execute;
mod kernel;
mod special_pages;
mod start_info;
mod vcpu;

#[cfg(test)]
mod tests;

pub use cache::Cache;
pub use cpu_policy::apply as apply_cpu_policy;
pub use error::BuildError;
pub use execute::{Built, Request, build};
pub use kernel::KernelFile;
pub use special_pages::grant_rings;
