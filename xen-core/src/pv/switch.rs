//! Putting a vCPU on the processor and taking it off.
//!
//! The hypervisor never blocks in the middle of an operation, so a switch is an exchange of values: the registers of
//! one guest leave the entry frame, those of another enter it. There is one stack per processor and no stack switch.

use alloc::sync::Arc;

use hypercall_abi::arch_x86::CpuUserRegs;

use super::{debugreg, emulate, failsafe, fpu, mm};
use crate::domain::{Segments, Vcpu, VcpuCtx, VcpuFlags};
use crate::hypervisor::{CpuLocal, Hypervisor, Running};
use crate::machine::{CpuMask, Flush, Machine, SegmentBase, SelectorReg};
use crate::pv::bounce::ASSIST_ARCHITECTURAL_IOPL;

/// RUNSTATE_running.
pub const RUNNING: u32 = 0;
/// RUNSTATE_runnable.
pub const RUNNABLE: u32 = 1;
/// RUNSTATE_blocked.
pub const BLOCKED: u32 = 2;
/// RUNSTATE_offline.
pub const OFFLINE: u32 = 3;

/// The accounted state that the flags of a vCPU off the processor imply.
#[must_use]
pub fn parked_state(flags: VcpuFlags) -> u32 {
    if flags.intersects(VcpuFlags::DOWN | VcpuFlags::PAUSED | VcpuFlags::SHUTDOWN) {
        OFFLINE
    } else if flags.contains(VcpuFlags::BLOCKED) {
        BLOCKED
    } else {
        RUNNABLE
    }
}

impl<M: Machine> Hypervisor<M> {
    /// Takes the current vCPU off the processor and parks its context.
    pub fn switch_out(&self, cpu: &mut CpuLocal, regs: &CpuUserRegs) {
        let Some(Running {
            domain,
            vcpu,
            mut ctx,
        }) = cpu.current.take()
        else {
            return;
        };
        let machine = &self.machine;
        ctx.regs = *regs;
        if ctx.hvm.is_none() {
            ctx.segments = save_segments(machine, &ctx);
        } else if ctx.xcr0 != 0 {
            // Emulators let a guest set it without leaving.
            ctx.xcr0 = machine.xcr0();
            ctx.xcr0_accum |= ctx.xcr0;
        }
        fpu::save(machine, &mut ctx);
        // The root may be freed as soon as the vCPU is off (XSA-438): leave nothing of it loaded. User pages are global
        // and survive the loading of a root, so they must go too; then this processor need not hear of the domain's
        // changes any more.
        machine.load_idle_root();
        cpu.guest_root_loaded = false;
        self.mem
            .flush_tlb(machine, &CpuMask::single(cpu.id), Flush::All);
        domain.dirty_cpus.lock().remove(cpu.id);
        vcpu.enter_runstate(parked_state(vcpu.flags()), machine.now_ns());
        {
            // Under the lock: once the context is there to be had, another processor may note that it runs the vCPU.
            let mut parked = vcpu.parked.lock();
            *parked = Some(ctx);
            vcpu.set_running(None);
        }
        self.note_stopped(&domain);
    }

    /// Puts `vcpu` on the processor. False if its context is not there to be had.
    pub fn switch_in(&self, cpu: &mut CpuLocal, regs: &mut CpuUserRegs, vcpu: &Arc<Vcpu>) -> bool {
        let Some(domain) = vcpu.domain.upgrade() else {
            return false;
        };
        let Some(mut ctx) = vcpu.parked.lock().take() else {
            return false;
        };
        let machine = &self.machine;
        vcpu.set_running(Some(cpu.id));
        domain.dirty_cpus.lock().insert(cpu.id);
        *regs = ctx.regs;
        if ctx.hvm.is_some() {
            self.switch_in_hardware(cpu, domain, vcpu, ctx);
            return true;
        }
        if let Some(root) = ctx.current_root() {
            machine.load_root(root);
            cpu.guest_root_loaded = true;
        }
        for (slot, frame) in ctx.gdt.frames.iter().enumerate() {
            machine.set_gdt_slot(slot, *frame);
        }
        for (slot, frame) in ctx.ldt.shadow.iter().enumerate() {
            machine.set_ldt_slot(slot, *frame);
        }
        machine.load_ldt(ctx.ldt.entries);
        machine.set_guest_cr4(ctx.cr4);
        fpu::load(machine, &mut ctx);
        machine.load_debug_regs(&debugreg::hardware_regs(&ctx));
        emulate::msr::load(machine, &self.policies.host, &ctx);
        let had = ctx.segments;
        for selector in [had.ds, had.es, had.fs, had.gs] {
            mm::fill_ldt_for(self, &domain, &mut ctx, selector);
        }
        let loaded = load_segments(machine, &ctx, &had);
        vcpu.enter_runstate(RUNNING, machine.now_ns());
        let mut crash = None;
        if !loaded {
            crash = failsafe::deliver(
                machine,
                domain.assists(ASSIST_ARCHITECTURAL_IOPL),
                vcpu.info(),
                &mut ctx,
                regs,
                &had,
            )
            .err();
        }
        self.publish_time(vcpu);
        self.resume_periodic(vcpu);
        cpu.current = Some(Running {
            domain: domain.clone(),
            vcpu: vcpu.clone(),
            ctx,
        });
        if let Some(error) = crash {
            self.crash_current(cpu, regs, format_args!("failsafe callback: {error:?}"));
        }
        true
    }
}

/// Reads the live segment registers.
fn save_segments<M: Machine>(machine: &M, ctx: &VcpuCtx) -> Segments {
    let active = machine.base(SegmentBase::Gs);
    let inactive = machine.base(SegmentBase::InactiveGs);
    let (gs_base_kernel, gs_base_user) = if ctx.kernel_mode {
        (active, inactive)
    } else {
        (inactive, active)
    };
    Segments {
        ds: machine.selector(SelectorReg::Ds),
        es: machine.selector(SelectorReg::Es),
        fs: machine.selector(SelectorReg::Fs),
        gs: machine.selector(SelectorReg::Gs),
        fs_base: machine.base(SegmentBase::Fs),
        gs_base_kernel,
        gs_base_user,
    }
}

/// Loads selectors, then all three bases from the saved copies: user space may combine any selector with any base.
/// False if a selector could not be loaded (it is NUL then).
fn load_segments<M: Machine>(machine: &M, ctx: &VcpuCtx, had: &Segments) -> bool {
    let mut fine = true;
    for (reg, selector) in [
        (SelectorReg::Ds, had.ds),
        (SelectorReg::Es, had.es),
        (SelectorReg::Fs, had.fs),
        (SelectorReg::Gs, had.gs),
    ] {
        fine &= machine.load_selector(reg, selector).is_ok();
    }
    let (active, inactive) = if ctx.kernel_mode {
        (had.gs_base_kernel, had.gs_base_user)
    } else {
        (had.gs_base_user, had.gs_base_kernel)
    };
    machine.set_base(SegmentBase::Fs, had.fs_base);
    machine.set_base(SegmentBase::Gs, active);
    machine.set_base(SegmentBase::InactiveGs, inactive);
    fine
}
