//! TRUSTED: the page tables of paravirtual guests.
//!
//! A PV guest's page tables are the processor's. What keeps the guest inside its memory is that every table has been
//! read through before it is used (`promote`), that no table in use can be written by the guest, and that every
//! change goes through `update`. Contract: Xen's PV MMU (mmu_update, mmuext_op, update_va_mapping).

mod demote;
pub mod entry;
mod flush;
pub mod grant_map;
mod ldt;
mod pin;
mod promote;
mod relinquish;
mod root;
mod segdesc;
mod target;
#[cfg(test)]
mod tests;
mod update;
mod walk;

pub use demote::drain;
pub use flush::{flush_domain, processors_of};
pub use ldt::{drop_ldt_shadow, fill_ldt_for, fill_ldt_slot};
pub use pin::{pin_table, unpin_table};
pub use promote::{get_table, put_table};
pub use relinquish::relinquish_memory;
pub use root::{drop_roots, new_kernel_root, new_user_root};
pub use segdesc::{load_gdt, set_gdt_frames, update_descriptor};
pub use update::{After, L1Operation, L1Written, Update, emulated_write, write_entry, write_l1};
pub use walk::{Translation, find_l1, walk, write_walk};

use crate::hypervisor::Hypervisor;
use crate::machine::Machine;
use crate::outcome::{Budget, Stop};

/// Entries that may be looked at before the processor looks up: S8 of the security goals, about 15 k instructions.
pub const STRETCH: u32 = 512;

/// Runs a preemptible step again and again until it is done, or something more urgent waits. The step keeps its state
/// in the pages' records, so that the caller can simply call again later. No lock may be held.
///
/// # Errors
/// The step's own; `Preempted` if something more urgent waits.
pub fn in_stretches<M: Machine, T>(
    hv: &Hypervisor<M>,
    mut step: impl FnMut(&mut Budget) -> Result<T, Stop>,
) -> Result<T, Stop> {
    loop {
        match step(&mut Budget::new(STRETCH)) {
            Err(Stop::Preempted) if !hv.machine.must_yield() => {}
            result => return result,
        }
    }
}
