//! The two L4 tables of a vCPU.
//!
//! Contract: MMUEXT_NEW_BASEPTR and MMUEXT_NEW_USER_BASEPTR. Each root in a context holds a type reference; a root is
//! given up only after the processor has loaded another one (XSA-438, XSA-494).

use super::{drop_ldt_shadow, get_table};
use crate::domain::{Domain, VcpuCtx};
use crate::hypervisor::Hypervisor;
use crate::machine::{CpuMask, Flush, Machine};
use crate::mm::PageType;
use crate::num::Mfn;
use crate::outcome::{Budget, Stop};

/// Makes `mfn` the kernel's table of the vCPU that runs here, and loads it.
///
/// # Errors
/// As [`get_table`]; nothing is changed then.
pub fn new_kernel_root<M: Machine>(
    hv: &Hypervisor<M>,
    domain: &Domain,
    ctx: &mut VcpuCtx,
    mfn: Mfn,
    budget: &mut Budget,
) -> Result<(), Stop> {
    if ctx.kernel_root != Some(mfn) {
        get_table(hv, domain, mfn, PageType::L4, budget)?;
    }
    drop_ldt_shadow(hv, ctx);
    let old = ctx.kernel_root.replace(mfn);
    if ctx.kernel_mode {
        hv.machine.load_root(mfn);
        // Loading spares global translations, and those of the old table must not outlive it.
        hv.mem.flush_tlb(
            &hv.machine,
            &CpuMask::single(hv.machine.this_cpu()),
            Flush::All,
        );
    }
    if let Some(old) = old.filter(|&old| old != mfn) {
        hv.mem.put_page_and_type(old);
    }
    Ok(())
}

/// Makes `mfn` the user mode's table of the vCPU that runs here; `None` for no table.
///
/// # Errors
/// As [`get_table`]; nothing is changed then.
pub fn new_user_root<M: Machine>(
    hv: &Hypervisor<M>,
    domain: &Domain,
    ctx: &mut VcpuCtx,
    mfn: Option<Mfn>,
    budget: &mut Budget,
) -> Result<(), Stop> {
    if ctx.user_root == mfn {
        return Ok(());
    }
    if let Some(mfn) = mfn {
        get_table(hv, domain, mfn, PageType::L4, budget)?;
    }
    let old = core::mem::replace(&mut ctx.user_root, mfn);
    if !ctx.kernel_mode {
        match mfn {
            Some(mfn) => hv.machine.load_root(mfn),
            None => hv.machine.load_idle_root(),
        }
    }
    if let Some(old) = old {
        hv.mem.put_page_and_type(old);
    }
    Ok(())
}

/// Gives up what the context of a vCPU that runs nowhere holds: both roots, the GDT and the LDT's pages. The demotions
/// are left to [`drain`](super::drain).
pub fn drop_roots<M: Machine>(hv: &Hypervisor<M>, ctx: &mut VcpuCtx) {
    for root in [ctx.kernel_root.take(), ctx.user_root.take()]
        .into_iter()
        .flatten()
    {
        hv.mem.put_page_and_type(root);
    }
    let gdt = core::mem::take(&mut ctx.gdt);
    let frames = gdt.frames.iter().chain(&ctx.ldt.shadow);
    for &frame in frames.flatten() {
        hv.mem.put_page_and_type(frame);
    }
    ctx.ldt.shadow = [None; 16];
}
