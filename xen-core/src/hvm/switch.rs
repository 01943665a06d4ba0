//! Putting a vCPU that runs in hardware on a processor, and its areas in guest memory.

use alloc::boxed::Box;
use alloc::sync::Arc;

use hypercall_abi::arch_x86::CpuUserRegs;

use super::walk::GuestView;
use crate::domain::{Domain, Vcpu, VcpuCtx};
use crate::hypervisor::{CpuLocal, Hypervisor, Running};
use crate::machine::Machine;
use crate::pv::fpu;
use crate::pv::switch::RUNNING;

/// MSR_TSC_AUX.
const TSC_AUX: u32 = 0xc000_0103;

impl<M: Machine> Hypervisor<M> {
    /// The part of [`switch_in`](Hypervisor::switch_in) for a vCPU that runs in hardware: no tables of its are ever
    /// loaded, and all its registers but those that the hypervisor does not use go in at each entry.
    pub(crate) fn switch_in_hardware(
        &self,
        cpu: &mut CpuLocal,
        domain: Arc<Domain>,
        vcpu: &Arc<Vcpu>,
        mut ctx: Box<VcpuCtx>,
    ) {
        let machine = &self.machine;
        machine.load_idle_root();
        cpu.guest_root_loaded = false;
        fpu::load(machine, &mut ctx);
        // Absent where the processor has no RDTSCP.
        let _ = machine.write_msr(TSC_AUX, u64::from(ctx.tsc_aux));
        machine.forget_hvm_translations();
        vcpu.enter_runstate(RUNNING, machine.now_ns());
        self.publish_time(vcpu);
        self.resume_periodic(vcpu);
        cpu.current = Some(Running {
            domain,
            vcpu: vcpu.clone(),
            ctx,
        });
    }

    /// Brings the areas of the running vCPU up to date, through its own page tables.
    pub(super) fn refresh_areas_in_hardware(
        &self,
        domain: &Arc<Domain>,
        vcpu: &Arc<Vcpu>,
        cpu: &CpuLocal,
        regs: &CpuUserRegs,
    ) {
        if !vcpu.areas_stale.load(core::sync::atomic::Ordering::Relaxed) {
            return;
        }
        let Some(Running { ctx, .. }) = &cpu.current else {
            return;
        };
        let (Some(hvm), Some(hvm_domain)) = (&ctx.hvm, &domain.hvm) else {
            return;
        };
        // The areas are the kernel's, whatever runs.
        let view = GuestView::for_areas(hvm_domain.p2m.root(), &hvm.state, regs.rflags);
        self.machine.set_guest_view(Some(view));
        self.refresh_guest_areas(domain, vcpu, ctx);
        self.machine.set_guest_view(None);
    }
}
