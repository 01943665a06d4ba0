//! The LDT window: filled when the processor first touches a page of it.
//!
//! Contract: MMUEXT_SET_LDT. The guest names a linear address; each page becomes a descriptor page when it is needed
//! and stays one until the LDT, or the address space, changes.

use super::{STRETCH, get_table, walk};
use crate::domain::{Domain, VcpuCtx};
use crate::hypervisor::Hypervisor;
use crate::machine::Machine;
use crate::mm::PageType;
use crate::outcome::{Budget, Stop};

/// Descriptors in a page.
const PER_PAGE: u64 = 512;
/// Bit of a selector: in the LDT.
const TABLE_LOCAL: u16 = 4;

/// Maps the guest's LDT page number `slot` in the window of this processor. True if the access should be tried again;
/// false if the guest has no such page, and gets its fault.
pub fn fill_ldt_slot<M: Machine>(
    hv: &Hypervisor<M>,
    domain: &Domain,
    ctx: &mut VcpuCtx,
    slot: usize,
) -> bool {
    if slot as u64 * PER_PAGE >= u64::from(ctx.ldt.entries) || slot >= ctx.ldt.shadow.len() {
        return false;
    }
    if ctx.ldt.shadow[slot].is_some() {
        return true;
    }
    let addr = ctx.ldt.base.wrapping_add((slot as u64) << 12);
    let Some(root) = ctx.kernel_root else {
        return false;
    };
    let Some(page) = walk(&hv.machine, root, addr) else {
        return false;
    };
    match get_table(
        hv,
        domain,
        page.mfn,
        PageType::SegDesc,
        &mut Budget::new(STRETCH),
    ) {
        Ok(()) => {
            ctx.ldt.shadow[slot] = Some(page.mfn);
            hv.machine.set_ldt_slot(slot, Some(page.mfn));
            true
        }
        // The fault comes again and goes on from there.
        Err(Stop::Preempted) => true,
        Err(Stop::Fail(_)) => false,
    }
}

/// Maps the page of the descriptor that `selector` names, if it is in the LDT, before the hypervisor itself loads the
/// selector: there the fault of an empty window counts as a bad selector.
pub fn fill_ldt_for<M: Machine>(
    hv: &Hypervisor<M>,
    domain: &Domain,
    ctx: &mut VcpuCtx,
    selector: u16,
) {
    if selector & TABLE_LOCAL != 0 {
        // A page that there is not is the guest's to hear of when the selector is refused.
        let _ = fill_ldt_slot(hv, domain, ctx, usize::from(selector >> 12));
    }
}

/// Empties the window of the vCPU that runs here.
pub fn drop_ldt_shadow<M: Machine>(hv: &Hypervisor<M>, ctx: &mut VcpuCtx) {
    for (slot, shadow) in ctx.ldt.shadow.iter_mut().enumerate() {
        if let Some(frame) = shadow.take() {
            hv.machine.set_ldt_slot(slot, None);
            hv.mem.put_page_and_type(frame);
        }
    }
}
