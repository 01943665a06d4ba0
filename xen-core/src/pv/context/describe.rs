//! A vCPU's context as toolstacks read it (XEN_DOMCTL_getvcpucontext).

use core::sync::atomic::Ordering;

use hypercall_abi::arch_x86::xen_x86_64::pfn_to_cr3;
use hypercall_abi::arch_x86::{VcpuGuestContext, VgcfFlags};

use super::CR0_TS;
use crate::cpu_policy::cr4;
use crate::domain::{Domain, Vcpu, VcpuCtx, VcpuFlags};
use crate::hypervisor::Hypervisor;
use crate::machine::Machine;
use crate::num::Mfn;
use crate::pv::{debugreg, fpu};

/// Fills `out` with the state of a vCPU that is not running.
pub fn describe<M: Machine>(
    hv: &Hypervisor<M>,
    domain: &Domain,
    vcpu: &Vcpu,
    ctx: &VcpuCtx,
    out: &mut VcpuGuestContext,
) {
    let mut flags = VgcfFlags::I387_VALID;
    flags.set(VgcfFlags::IN_KERNEL, ctx.kernel_mode);
    flags.set(VgcfFlags::ONLINE, !vcpu.flags().contains(VcpuFlags::DOWN));
    flags.set(
        VgcfFlags::FAILSAFE_DISABLES_EVENTS,
        ctx.callbacks.failsafe.mask_events,
    );
    flags.set(
        VgcfFlags::SYSCALL_DISABLES_EVENTS,
        ctx.callbacks.syscall.mask_events,
    );
    out.flags = flags.bits();
    out.fpu_ctxt.x = fpu::fxsave_image(ctx);

    let segments = &ctx.segments;
    out.user_regs = ctx.regs;
    // The privilege to do I/O is virtual.
    out.user_regs.rflags |= u64::from(ctx.iopl) << 12;
    out.user_regs.ds = segments.ds;
    out.user_regs.es = segments.es;
    out.user_regs.fs = segments.fs;
    out.user_regs.gs = segments.gs;
    out.fs_base = segments.fs_base;
    out.gs_base_kernel = segments.gs_base_kernel;
    out.gs_base_user = segments.gs_base_user;
    out.trap_ctxt = *ctx.traps;

    out.ldt_base = ctx.ldt.base;
    out.ldt_ents = ctx.ldt.entries.into();
    for (to, frame) in out.gdt_frames.iter_mut().zip(ctx.gdt.frames) {
        *to = frame.map_or(0, |mfn| mfn.0);
    }
    out.gdt_ents = ctx.gdt.entries.into();
    out.kernel_ss = ctx.kernel_ss;
    out.kernel_sp = ctx.kernel_sp;

    let cr3 = |root: Option<Mfn>| root.map_or(0, |mfn| pfn_to_cr3(mfn.0));
    let machine = &hv.machine;
    let ts = if ctx.task_switched { CR0_TS } else { 0 };
    out.ctrlreg[0] = (machine.cr0() & !CR0_TS) | ts;
    out.ctrlreg[1] = cr3(ctx.user_root);
    out.ctrlreg[2] = vcpu.info().map_or(0, |info| info.cr2(machine));
    out.ctrlreg[3] = cr3(ctx.kernel_root);
    out.ctrlreg[4] = cr4::view(machine.cr4(), ctx.cr4);
    for (register, to) in (0..).zip(&mut out.debugreg) {
        // ABI: 4 and 5 are other names, and not given.
        if !matches!(register, 4 | 5) {
            *to = debugreg::get(ctx, register).unwrap_or(0);
        }
    }
    out.event_callback_eip = ctx.callbacks.event.address;
    out.failsafe_callback_eip = ctx.callbacks.failsafe.address;
    out.syscall_callback_eip = ctx.callbacks.syscall.address;
    out.vm_assist = domain.vm_assist.load(Ordering::Relaxed);
}
