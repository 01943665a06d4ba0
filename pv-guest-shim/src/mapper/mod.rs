//! The paging traits of the `x86_64` crate for a PV kernel.
//!
//! [`PvPageTable`] stands where a native kernel has `OffsetPageTable`: it implements [`Mapper<Size4KiB>`], [`Translate`] and
//! [`CleanUp`], and asks the hypervisor for every change instead of writing to tables. What is different from a native kernel:
//!
//! * A [`PhysFrame`] is a **machine** frame: what the allocator hands out and what translations give. Frames that follow each
//!   other are not neighbours in the domain's own numbering, and none may be made up: the hypervisor refuses what the domain
//!   does not own.
//! * Pages have **4 KiB**. `Mapper<Size2MiB>` and `Mapper<Size1GiB>` are not implemented, so such code does not compile.
//! * A PV kernel runs in ring 3. The hypervisor sets the U/S bit of every entry; a page mapped without `USER_ACCESSIBLE` is
//!   marked by bit 52 (`_PAGE_GUEST_KERNEL`), and reads back without. What keeps user mode out of kernel pages is that it has
//!   a table of its own.
//! * A frame that becomes a page table loses its writable mapping while it is one.
//! * `MapperFlush::flush` executes INVLPG, which the hypervisor does not let a PV kernel do: call `privileged::answer_faults`
//!   once, and the shim answers the fault.
//!
//! The traits have no error for a refusal of the hypervisor: it is reported as `FrameAllocationFailed`, `InvalidFrameAddress`
//! or `PageNotMapped`, and [`PvPageTable::refusal`] has the errno.
//!
//! Contract: public/xen.h, `mmu_update`.
//!
//! [`Mapper<Size4KiB>`]: x86_64::structures::paging::Mapper
//! [`Translate`]: x86_64::structures::paging::Translate
//! [`CleanUp`]: x86_64::structures::paging::mapper::CleanUp
//! [`PhysFrame`]: x86_64::structures::paging::PhysFrame

mod clean_up;
#[cfg(target_os = "none")]
mod frames;
#[cfg(target_os = "none")]
mod machine;
#[cfg(test)]
mod model;
mod table;
mod walk;

#[cfg(target_os = "none")]
pub use frames::Frames;
#[cfg(target_os = "none")]
pub use machine::Machine;
pub use table::{PvPageTable, Tables};
