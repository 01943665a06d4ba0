//! Setting and reading a whole vCPU context (`struct vcpu_guest_context`): VCPUOP_initialise, the dom0 builder and
//! the toolstack's setvcpucontext.

mod describe;
mod vcpu_msrs;

use alloc::sync::Arc;

pub use describe::describe;
pub use vcpu_msrs::{MIGRATED_MSRS, get_msr, set_msr};

use hypercall_abi::arch_x86::xen_x86_64::{cr3_to_pfn, pfn_to_cr3};
use hypercall_abi::arch_x86::{VcpuGuestContext, VgcfFlags};
use hypercall_abi::errno::Errno;

use super::mode::rflags;
use super::selectors::ring3;
use crate::domain::{Callback, Domain, Segments, Vcpu, VcpuCtx, VcpuFlags};
use crate::guest::is_guest_address;
use crate::hypervisor::Hypervisor;
use crate::machine::Machine;
use crate::mm::PageType;
use crate::num::{Mfn, is_canonical};
use crate::outcome::{Budget, Stop};
use crate::pv::debugreg;

/// CR0.TS.
const CR0_TS: u64 = 1 << 3;
/// Descriptors in a frame of the GDT.
const GDT_ENTRIES_PER_FRAME: u64 = 512;

/// Lets a vCPU whose context is set, and back in its place, run if `guest` marks it online, and takes it down if not.
pub fn go_online<M: Machine>(hv: &Hypervisor<M>, vcpu: &Arc<Vcpu>, guest: &VcpuGuestContext) {
    vcpu.set_flags(VcpuFlags::INITIALISED);
    if VgcfFlags::from_bits_retain(guest.flags).contains(VgcfFlags::ONLINE) {
        vcpu.clear_flags(VcpuFlags::DOWN);
        hv.make_runnable(vcpu);
    } else {
        vcpu.set_flags(VcpuFlags::DOWN);
    }
}

/// Takes over `guest` as the context of `vcpu`, which is not running. Call [`go_online`] when the context is back in
/// its place.
///
/// # Errors
/// `EINVAL` for addresses that are not canonical, tables that are not, and so on; `Preempted` while a page-table tree
/// is being validated: call again with the same arguments.
pub fn prepare<M: Machine>(
    hv: &Hypervisor<M>,
    domain: &Arc<Domain>,
    vcpu: &Arc<Vcpu>,
    ctx: &mut VcpuCtx,
    guest: &VcpuGuestContext,
) -> Result<(), Stop> {
    let flags = VgcfFlags::from_bits_retain(guest.flags);
    check(vcpu, guest)?;
    let mut budget = Budget::new(4096);
    let root = Mfn(cr3_to_pfn(guest.ctrlreg[3]));
    set_root(hv, domain, &mut ctx.kernel_root, Some(root), &mut budget)?;
    let user_root = Some(Mfn(cr3_to_pfn(guest.ctrlreg[1]))).filter(|root| root.0 != 0);
    let in_kernel = flags.contains(VgcfFlags::IN_KERNEL);
    set_root(hv, domain, &mut ctx.user_root, user_root, &mut budget)?;
    if !in_kernel && ctx.user_root.is_none() {
        return Err(Errno::EINVAL.into());
    }
    let entries = u32::try_from(guest.gdt_ents).map_err(|_| Errno::EINVAL)?;
    crate::pv::mm::set_gdt_frames(hv, domain, ctx, &guest.gdt_frames, entries)?;
    ctx.ldt.base = guest.ldt_base;
    ctx.ldt.entries = guest.ldt_ents as u32;
    take_over(hv, domain, ctx, guest);
    if vcpu.id.0 == 0 {
        domain
            .vm_assist
            .store(guest.vm_assist, core::sync::atomic::Ordering::Relaxed);
    }
    Ok(())
}

/// Replaces what `guest` may replace in the context of a vCPU that is initialised and not running: registers, handlers,
/// bases. The tables stay.
///
/// # Errors
/// `EINVAL` as [`prepare`]; `EOPNOTSUPP` if `guest` names other tables than the vCPU has.
pub fn replace<M: Machine>(
    hv: &Hypervisor<M>,
    domain: &Domain,
    vcpu: &Vcpu,
    ctx: &mut VcpuCtx,
    guest: &VcpuGuestContext,
) -> Result<(), Errno> {
    check(vcpu, guest)?;
    let in_kernel = VgcfFlags::from_bits_retain(guest.flags).contains(VgcfFlags::IN_KERNEL);
    let cr3 = |root: Option<Mfn>| root.map_or(0, |mfn| pfn_to_cr3(mfn.0));
    let frames = (0..)
        .zip(guest.gdt_frames)
        .take_while(|&(slot, _)| slot * GDT_ENTRIES_PER_FRAME < ctx.gdt.entries.into());
    let same_gdt = u64::from(ctx.gdt.entries) == guest.gdt_ents
        && frames
            .zip(ctx.gdt.frames)
            .all(|((_, named), has)| has == Some(Mfn(named)));
    let same = cr3(ctx.kernel_root) == guest.ctrlreg[3]
        && cr3(ctx.user_root) == guest.ctrlreg[1]
        && (in_kernel || ctx.user_root.is_some())
        && same_gdt
        && ctx.ldt.base == guest.ldt_base
        && u64::from(ctx.ldt.entries) == guest.ldt_ents;
    if !same {
        return Err(Errno::EOPNOTSUPP);
    }
    take_over(hv, domain, ctx, guest);
    Ok(())
}

/// Copies all that refers to no page.
fn take_over<M: Machine>(
    hv: &Hypervisor<M>,
    domain: &Domain,
    ctx: &mut VcpuCtx,
    guest: &VcpuGuestContext,
) {
    let flags = VgcfFlags::from_bits_retain(guest.flags);
    ctx.regs = guest.user_regs;
    ctx.iopl = ((guest.user_regs.rflags & rflags::IOPL) >> 12) as u8;
    let regs = &mut ctx.regs;
    regs.rflags = (regs.rflags & !(rflags::IOPL | rflags::VM)) | rflags::IF | rflags::RESERVED;
    regs.cs = ring3(regs.cs);
    regs.ss = ring3(regs.ss);
    regs.entry_vector = 0;
    // A selector that is not null has its base from the descriptor.
    let base_for = |selector: u16, base: u64| if selector & !3 == 0 { base } else { 0 };
    ctx.segments = Segments {
        ds: guest.user_regs.ds,
        es: guest.user_regs.es,
        fs: guest.user_regs.fs,
        gs: guest.user_regs.gs,
        fs_base: base_for(guest.user_regs.fs, guest.fs_base),
        gs_base_kernel: guest.gs_base_kernel,
        gs_base_user: base_for(guest.user_regs.gs, guest.gs_base_user),
    };
    ctx.kernel_mode = flags.contains(VgcfFlags::IN_KERNEL);
    for (vector, trap) in guest.trap_ctxt.iter().enumerate() {
        let mut trap = *trap;
        trap.cs = ring3(trap.cs);
        ctx.traps[vector] = trap;
    }
    let masked = |flag| flags.contains(flag);
    ctx.callbacks.event = Callback {
        address: guest.event_callback_eip,
        mask_events: true,
    };
    ctx.callbacks.failsafe = Callback {
        address: guest.failsafe_callback_eip,
        mask_events: masked(VgcfFlags::FAILSAFE_DISABLES_EVENTS),
    };
    ctx.callbacks.syscall = Callback {
        address: guest.syscall_callback_eip,
        mask_events: masked(VgcfFlags::SYSCALL_DISABLES_EVENTS),
    };
    ctx.kernel_ss = ring3(guest.kernel_ss as u16).into();
    ctx.kernel_sp = guest.kernel_sp;
    ctx.task_switched = guest.ctrlreg[0] & CR0_TS != 0;
    ctx.cr4 = hv
        .policies
        .guest_cr4(&domain.cpu_policy(), guest.ctrlreg[4]);
    ctx.debug_regs = [
        0,
        0,
        0,
        0,
        0,
        0,
        debugreg::DR6_DEFAULT,
        debugreg::DR7_DEFAULT,
    ];
    for reg in [0u32, 1, 2, 3, 6, 7] {
        // ABI: debug registers that are refused keep their defaults.
        let _ = debugreg::set(ctx, reg, guest.debugreg[reg as usize]);
    }
    if flags.contains(VgcfFlags::I387_VALID) {
        crate::pv::fpu::load_fxsave_image(ctx, &guest.fpu_ctxt.x);
    } else {
        ctx.reset_fpu();
    }
}

/// Makes `root` the table in `slot`, which a preempted call may have filled for other arguments than these.
fn set_root<M: Machine>(
    hv: &Hypervisor<M>,
    domain: &Domain,
    slot: &mut Option<Mfn>,
    root: Option<Mfn>,
    budget: &mut Budget,
) -> Result<(), Stop> {
    if *slot == root {
        return Ok(());
    }
    if let Some(root) = root {
        crate::pv::mm::get_table(hv, domain, root, PageType::L4, budget)?;
    }
    if let Some(old) = core::mem::replace(slot, root) {
        hv.mem.put_page_and_type(old);
    }
    Ok(())
}

/// What must hold of any context.
fn check(vcpu: &Vcpu, guest: &VcpuGuestContext) -> Result<(), Errno> {
    check_addresses(guest)?;
    if vcpu.id.0 == 0 && guest.vm_assist & !crate::hypercall::VALID_ASSISTS != 0 {
        return Err(Errno::EINVAL);
    }
    Ok(())
}

/// Everything that would be loaded into a register of the processor must be canonical (XSA-193), and the LDT may not
/// lie in the hypervisor's part.
fn check_addresses(guest: &VcpuGuestContext) -> Result<(), Errno> {
    let addresses = [
        guest.user_regs.rip,
        guest.user_regs.rsp,
        guest.kernel_sp,
        guest.ldt_base,
        guest.fs_base,
        guest.gs_base_kernel,
        guest.gs_base_user,
        guest.event_callback_eip,
        guest.failsafe_callback_eip,
        guest.syscall_callback_eip,
    ];
    let traps = guest.trap_ctxt.iter().map(|trap| trap.address);
    let canonical = addresses.into_iter().chain(traps).all(is_canonical);
    let ldt = is_guest_address(guest.ldt_base)
        && guest.ldt_base.is_multiple_of(4096)
        && guest.ldt_ents <= 8192;
    if canonical && ldt {
        Ok(())
    } else {
        Err(Errno::EINVAL)
    }
}

#[cfg(test)]
mod tests {
    use alloc::boxed::Box;

    use hypercall_abi::arch_x86::{VcpuGuestContext, VgcfFlags};
    use hypercall_abi::errno::Errno;
    use hypercall_abi::vcpu::VcpuOp;
    use hypercall_abi::xen::HypercallNr;
    use zerocopy::FromZeros;

    use crate::mm::PageType;
    use crate::num::{Mfn, Pfn, VcpuId};
    use crate::sim::{PvGuest, world};

    fn context(root: Mfn) -> Box<VcpuGuestContext> {
        let mut context = Box::new(VcpuGuestContext::new_zeroed());
        context.flags = VgcfFlags::IN_KERNEL.bits();
        context.ctrlreg[3] = root.addr();
        context
    }

    #[test]
    fn a_refused_context_holds_nothing_and_the_next_one_counts() {
        let hv = world();
        let mut guest = PvGuest::unprivileged(&hv, 1, 64);
        let vcpu = hv.create_vcpu(&guest.domain, VcpuId(1));
        let [first, second] = [20, 21].map(Pfn);
        for pfn in [first, second] {
            assert_eq!(guest.remap(&hv, pfn, false, true), 0);
        }
        let args = |at| [VcpuOp::INITIALISE.0.into(), 1, at, 0, 0, 0];
        // The root is fine, the frame of the GDT is not the guest's.
        let mut refused = context(guest.mfn(first));
        refused.gdt_ents = 1;
        let at = guest.put(&hv, Pfn(30), &*refused);
        let result = guest.hypercall(&hv, HypercallNr::VCPU_OP, args(at));
        assert_eq!(result, Errno::EINVAL.to_ret());
        guest.audit(&hv);
        let at = guest.put(&hv, Pfn(30), &*context(guest.mfn(second)));
        assert_eq!(guest.hypercall(&hv, HypercallNr::VCPU_OP, args(at)), 0);
        let root = vcpu.parked.lock().as_ref().and_then(|ctx| ctx.kernel_root);
        assert_eq!(root, Some(guest.mfn(second)));
        // The first table is memory again.
        assert_eq!(guest.remap(&hv, first, true, true), 0);
        assert_eq!(hv.mem.type_of(guest.mfn(second)).kind(), PageType::L4);
    }

    #[test]
    fn a_context_that_changes_while_its_tables_are_checked_is_the_one_that_counts() {
        let hv = world();
        let mut guest = PvGuest::unprivileged(&hv, 1, 64);
        let vcpu = hv.create_vcpu(&guest.domain, VcpuId(1));
        let [first, second] = [20, 21].map(Pfn);
        for pfn in [first, second] {
            assert_eq!(guest.remap(&hv, pfn, false, true), 0);
        }
        let mut ctx = vcpu.parked.lock().take().unwrap();
        // As a preempted call leaves it.
        let domain = guest.domain.clone();
        super::prepare(&hv, &domain, &vcpu, &mut ctx, &context(guest.mfn(first))).unwrap();
        super::prepare(&hv, &domain, &vcpu, &mut ctx, &context(guest.mfn(second))).unwrap();
        assert_eq!(ctx.kernel_root, Some(guest.mfn(second)));
        crate::pv::mm::drop_roots(&hv, &mut ctx);
        assert_eq!(guest.remap(&hv, first, true, true), 0);
        assert_eq!(guest.remap(&hv, second, true, true), 0);
        guest.audit(&hv);
    }
}
