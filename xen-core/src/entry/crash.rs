//! The end of a domain that cannot go on.

use core::fmt;

use hypercall_abi::arch_x86::CpuUserRegs;

use crate::hypervisor::{CpuLocal, Hypervisor, Running};
use crate::machine::Machine;
use crate::pv::mm;

/// SHUTDOWN_crash.
const SHUTDOWN_CRASH: u32 = 3;

impl<M: Machine> Hypervisor<M> {
    /// Shuts the current domain down as crashed and says why: registers, page-table walk, stack.
    pub fn crash_current(
        &self,
        cpu: &mut CpuLocal,
        regs: &CpuUserRegs,
        reason: fmt::Arguments<'_>,
    ) {
        let Some(Running { domain, vcpu, ctx }) = cpu.current.as_mut() else {
            return;
        };
        log::error!(
            "domain {} vCPU {} crashed: {reason}",
            domain.id.0,
            vcpu.id.0
        );
        let r = regs;
        log::error!(
            "rip: {:04x}:{:016x} rflags: {:016x} {}",
            r.cs,
            r.rip,
            r.rflags,
            if ctx.kernel_mode {
                "guest kernel"
            } else {
                "guest user"
            }
        );
        log::error!("rsp: {:04x}:{:016x} rbp: {:016x}", r.ss, r.rsp, r.rbp);
        log::error!(
            "rax: {:016x} rbx: {:016x} rcx: {:016x}",
            r.rax,
            r.rbx,
            r.rcx
        );
        log::error!(
            "rdx: {:016x} rsi: {:016x} rdi: {:016x}",
            r.rdx,
            r.rsi,
            r.rdi
        );
        log::error!("r8:  {:016x} r9:  {:016x} r10: {:016x}", r.r8, r.r9, r.r10);
        log::error!(
            "r11: {:016x} r12: {:016x} r13: {:016x}",
            r.r11,
            r.r12,
            r.r13
        );
        log::error!("r14: {:016x} r15: {:016x}", r.r14, r.r15);
        if let Some(root) = ctx.current_root() {
            log::error!("page tables {:#x}:", root.addr());
            mm::log_walk(self, root, regs.rip, "rip");
            mm::log_walk(self, root, regs.rsp, "rsp");
            if let Some(info) = vcpu.info() {
                mm::log_walk(self, root, info.cr2(&self.machine), "cr2");
            }
        }
        log::error!("stack:");
        for row in 0..6u64 {
            let mut words = [0u8; 32];
            let at = regs.rsp.wrapping_add(row * 32);
            if !crate::guest::is_guest_address(at)
                || self.machine.copy_from_guest(at, &mut words).is_err()
            {
                break;
            }
            let mut line = [0u64; 4];
            for (word, chunk) in line.iter_mut().zip(words.chunks_exact(8)) {
                let mut bytes = [0; 8];
                bytes.copy_from_slice(chunk);
                *word = u64::from_le_bytes(bytes);
            }
            log::error!(
                "  {:016x} {:016x} {:016x} {:016x}",
                line[0],
                line[1],
                line[2],
                line[3]
            );
        }
        let domain = domain.clone();
        self.shut_down(&domain, SHUTDOWN_CRASH);
    }
}
