//! Register dumps on request of a debug key.
//!
//! Registers of a running vCPU are only at hand on its own processor, on the way out of the hypervisor. So a key marks
//! processors that owe a dump, and each pays when it passes [`Hypervisor::report_registers`].

use core::sync::atomic::{AtomicU64, Ordering};

use hypercall_abi::arch_x86::CpuUserRegs;

use crate::domain::{Vcpu, VcpuCtx};
use crate::hypervisor::Hypervisor;
use crate::machine::{CpuMask, Machine};
use crate::num::CpuId;

/// Processors that owe a dump.
#[derive(Debug, Default)]
pub(super) struct RegisterDump {
    owing: [AtomicU64; 4],
}

impl RegisterDump {
    pub(super) fn request(&self, cpus: &CpuMask) {
        for (owing, &wanted) in self.owing.iter().zip(cpus.words()) {
            owing.fetch_or(wanted, Ordering::SeqCst);
        }
    }

    fn settle(&self, cpu: CpuId) -> bool {
        let Some(word) = self.owing.get(cpu.0 as usize / 64) else {
            return false;
        };
        let bit = 1 << (cpu.0 % 64);
        word.load(Ordering::Relaxed) & bit != 0 && word.fetch_and(!bit, Ordering::SeqCst) & bit != 0
    }
}

impl<M: Machine> Hypervisor<M> {
    /// Prints the registers of the vCPU that `cpu` is about to resume, if a debug key asked for them. Cheap when not.
    pub fn report_registers(&self, cpu: CpuId, vcpu: &Vcpu, ctx: &VcpuCtx, regs: &CpuUserRegs) {
        if self.console.shared.registers.settle(cpu) {
            self.print_registers(Some(cpu), vcpu, ctx, regs);
        }
    }

    /// Asks processors for the registers of what they run.
    pub(super) fn request_registers(&self, cpus: &CpuMask) {
        self.console.shared.registers.request(cpus);
        for cpu in cpus.iter() {
            self.machine.kick(cpu);
        }
    }

    /// Prints one vCPU's registers.
    pub(super) fn print_registers(
        &self,
        cpu: Option<CpuId>,
        vcpu: &Vcpu,
        ctx: &VcpuCtx,
        regs: &CpuUserRegs,
    ) {
        let domain = vcpu.domain.upgrade().map_or(0xffff, |domain| domain.id.0);
        let mode = if ctx.kernel_mode { "kernel" } else { "user" };
        match cpu {
            Some(cpu) => self.print(format_args!(
                "*** Registers of d{domain}v{} on CPU{} ({mode} mode) ***",
                vcpu.id.0, cpu.0
            )),
            None => self.print(format_args!(
                "*** Registers of d{domain}v{}, not running ({mode} mode) ***",
                vcpu.id.0
            )),
        }
        let r = regs;
        self.print(format_args!("RIP:    {:04x}:[<{:016x}>]", r.cs, r.rip));
        self.print(format_args!("RFLAGS: {:016x}", r.rflags));
        self.print(format_args!(
            "rax: {:016x}   rbx: {:016x}   rcx: {:016x}",
            r.rax, r.rbx, r.rcx
        ));
        self.print(format_args!(
            "rdx: {:016x}   rsi: {:016x}   rdi: {:016x}",
            r.rdx, r.rsi, r.rdi
        ));
        self.print(format_args!(
            "rbp: {:016x}   rsp: {:016x}   r8:  {:016x}",
            r.rbp, r.rsp, r.r8
        ));
        self.print(format_args!(
            "r9:  {:016x}   r10: {:016x}   r11: {:016x}",
            r.r9, r.r10, r.r11
        ));
        self.print(format_args!(
            "r12: {:016x}   r13: {:016x}   r14: {:016x}",
            r.r12, r.r13, r.r14
        ));
        self.print(format_args!(
            "r15: {:016x}   cr3: {:016x}   cr2: {:016x}",
            r.r15,
            ctx.current_root().map_or(0, |root| root.addr()),
            vcpu.info().map_or(0, |info| info.cr2(&self.machine)),
        ));
        self.print(format_args!(
            "ds: {:04x}   es: {:04x}   fs: {:04x}   gs: {:04x}   ss: {:04x}   cs: {:04x}",
            r.ds, r.es, r.fs, r.gs, r.ss, r.cs
        ));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_processor_that_was_asked_pays_once() {
        let dump = RegisterDump::default();
        let mut cpus = CpuMask::single(CpuId(3));
        cpus.insert(CpuId(70));
        dump.request(&cpus);
        assert!(!dump.settle(CpuId(0)));
        assert!(dump.settle(CpuId(3)));
        assert!(!dump.settle(CpuId(3)));
        assert!(dump.settle(CpuId(70)));
        assert!(!dump.settle(CpuId(9999)));
    }
}
