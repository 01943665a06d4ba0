//! Setting and reading a whole vCPU context (`struct vcpu_guest_context`): VCPUOP_initialise, the dom0 builder and
//! the toolstack's setvcpucontext.

use alloc::sync::Arc;

use hypercall_abi::arch_x86::xen_x86_64::cr3_to_pfn;
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

/// Lets a vCPU whose context is set, and back in its place, run if `guest` marks it online.
pub fn go_online<M: Machine>(hv: &Hypervisor<M>, vcpu: &Arc<Vcpu>, guest: &VcpuGuestContext) {
    vcpu.set_flags(VcpuFlags::INITIALISED);
    if VgcfFlags::from_bits_retain(guest.flags).contains(VgcfFlags::ONLINE) {
        vcpu.clear_flags(VcpuFlags::DOWN);
        hv.make_runnable(vcpu);
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
    check_addresses(guest)?;
    if vcpu.id.0 == 0 && guest.vm_assist & !crate::hypercall::VALID_ASSISTS != 0 {
        return Err(Errno::EINVAL.into());
    }

    let mut budget = Budget::new(4096);
    let kernel_root = Mfn(cr3_to_pfn(guest.ctrlreg[3]));
    let user_root = Some(Mfn(cr3_to_pfn(guest.ctrlreg[1]))).filter(|root| root.0 != 0);
    let in_kernel = flags.contains(VgcfFlags::IN_KERNEL);
    if !vcpu.flags().contains(VcpuFlags::INITIALISED) {
        // What an earlier attempt has left, which was refused for something else.
        for (slot, wanted) in [
            (&mut ctx.kernel_root, Some(kernel_root)),
            (&mut ctx.user_root, user_root),
        ] {
            if let Some(old) = slot.take_if(|old| Some(*old) != wanted) {
                crate::pv::mm::put_table(hv, old, PageType::L4, &mut budget)?;
            }
        }
    }
    if ctx.kernel_root.is_none() {
        crate::pv::mm::get_table(hv, domain, kernel_root, PageType::L4, &mut budget)?;
        ctx.kernel_root = Some(kernel_root);
    }
    if let Some(root) = user_root.filter(|_| ctx.user_root.is_none()) {
        crate::pv::mm::get_table(hv, domain, root, PageType::L4, &mut budget)?;
        ctx.user_root = Some(root);
    }
    if !in_kernel && ctx.user_root.is_none() {
        return Err(Errno::EINVAL.into());
    }
    let entries = u32::try_from(guest.gdt_ents).map_err(|_| Errno::EINVAL)?;
    crate::pv::mm::set_gdt_frames(hv, domain, ctx, &guest.gdt_frames, entries)?;

    ctx.regs = guest.user_regs;
    ctx.iopl = ((guest.user_regs.rflags & rflags::IOPL) >> 12) as u8;
    let regs = &mut ctx.regs;
    regs.rflags = (regs.rflags & !(rflags::IOPL | rflags::VM)) | rflags::IF | rflags::RESERVED;
    regs.cs = ring3(regs.cs);
    regs.ss = ring3(regs.ss);
    regs.entry_vector = 0;
    ctx.segments = Segments {
        ds: guest.user_regs.ds,
        es: guest.user_regs.es,
        fs: guest.user_regs.fs,
        gs: guest.user_regs.gs,
        fs_base: guest.fs_base,
        gs_base_kernel: guest.gs_base_kernel,
        gs_base_user: guest.gs_base_user,
    };
    ctx.kernel_mode = in_kernel;
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
    ctx.ldt.base = guest.ldt_base;
    ctx.ldt.entries = guest.ldt_ents as u32;
    ctx.task_switched = guest.ctrlreg[0] & CR0_TS != 0;
    ctx.cr4 = hv.policies.guest_cr4(&domain.cpu_policy, guest.ctrlreg[4]);
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
    if vcpu.id.0 == 0 {
        domain
            .vm_assist
            .store(guest.vm_assist, core::sync::atomic::Ordering::Relaxed);
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

    use hypercall_abi::vcpu::VcpuOp;
    use hypercall_abi::xen::HypercallNr;
    use zerocopy::FromZeros;

    use super::*;
    use crate::num::{Pfn, VcpuId};
    use crate::sim::{PvGuest, world};

    /// A frame that is no descriptor page: the guest can write to it.
    const WRITABLE: Pfn = Pfn(20);

    #[test]
    fn a_context_that_was_refused_leaves_no_tables_for_the_next() {
        let hv = world();
        let mut guest = PvGuest::unprivileged(&hv, 1, 64);
        let second = hv.create_vcpu(&guest.domain, VcpuId(1));
        let empty = Pfn(2);
        assert_eq!(guest.remap(&hv, empty, false, true), 0);
        let mut context: Box<VcpuGuestContext> = Box::new(VcpuGuestContext::new_zeroed());
        context.flags = VgcfFlags::IN_KERNEL.bits();
        context.ctrlreg[3] = guest.mfn(empty).addr();
        context.ctrlreg[1] = guest.mfn(empty).addr();
        context.gdt_frames[0] = guest.mfn(WRITABLE).0;
        context.gdt_ents = 16;
        let initialise = |guest: &mut PvGuest, context: &VcpuGuestContext| {
            let at = guest.put(&hv, Pfn(3), context);
            let cmd = u64::from(VcpuOp::INITIALISE.0);
            guest.hypercall(&hv, HypercallNr::VCPU_OP, [cmd, 1, at, 0, 0, 0])
        };
        assert_eq!(initialise(&mut guest, &context), Errno::EINVAL.to_ret());
        context.ctrlreg[3] = guest.mfn(guest.l4).addr();
        context.ctrlreg[1] = 0;
        context.gdt_ents = 0;
        assert_eq!(initialise(&mut guest, &context), 0);
        let parked = second.parked.lock();
        let ctx = parked.as_ref().expect("context");
        assert_eq!(ctx.kernel_root, Some(guest.mfn(guest.l4)));
        assert_eq!(ctx.user_root, None);
        assert_eq!(hv.mem.type_of(guest.mfn(empty)).count(), 0);
    }
}
