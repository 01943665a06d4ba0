//! The end of a domain that cannot go on.

use alloc::string::String;
use core::fmt::{self, Write};

use hypercall_abi::arch_x86::CpuUserRegs;

use crate::console::Level;
use crate::domain::{Vcpu, VcpuCtx};
use crate::hypervisor::{CpuLocal, Hypervisor, Running};
use crate::machine::Machine;
use crate::pv::mm;

/// SHUTDOWN_crash.
const SHUTDOWN_CRASH: u32 = 3;
/// Rows of the stack that are shown, of four words each.
const STACK_ROWS: u64 = 6;

impl<M: Machine> Hypervisor<M> {
    /// Shuts the current domain down as crashed and says why: registers, page-table walk, stack. What an ordinary
    /// guest makes us print so is one message, subject to its rate.
    pub fn crash_current(
        &self,
        cpu: &mut CpuLocal,
        regs: &CpuUserRegs,
        reason: fmt::Arguments<'_>,
    ) {
        let Some(Running { domain, vcpu, ctx }) = cpu.current.as_mut() else {
            return;
        };
        let mut report = String::new();
        let _ = writeln!(
            report,
            "domain {} vCPU {} crashed: {reason}",
            domain.id.0, vcpu.id.0
        );
        // Writing to a String does not fail.
        let _ = self.write_state(&mut report, vcpu, ctx, regs);
        if domain.privileges.hardware {
            self.print(format_args!("{report}"));
        } else {
            self.print_for_guest(domain.id, Level::Error, format_args!("{report}"));
        }
        let domain = domain.clone();
        self.shut_down(&domain, SHUTDOWN_CRASH);
    }

    fn write_state(
        &self,
        out: &mut String,
        vcpu: &Vcpu,
        ctx: &VcpuCtx,
        r: &CpuUserRegs,
    ) -> fmt::Result {
        let mode = if ctx.kernel_mode {
            "guest kernel"
        } else {
            "guest user"
        };
        writeln!(
            out,
            "rip: {:04x}:{:016x} rflags: {:016x} {mode}",
            r.cs, r.rip, r.rflags
        )?;
        writeln!(out, "rsp: {:04x}:{:016x} rbp: {:016x}", r.ss, r.rsp, r.rbp)?;
        for row in [
            [("rax", r.rax), ("rbx", r.rbx), ("rcx", r.rcx)],
            [("rdx", r.rdx), ("rsi", r.rsi), ("rdi", r.rdi)],
            [("r8 ", r.r8), ("r9 ", r.r9), ("r10", r.r10)],
            [("r11", r.r11), ("r12", r.r12), ("r13", r.r13)],
        ] {
            let [(a, x), (b, y), (c, z)] = row;
            writeln!(out, "{a}: {x:016x} {b}: {y:016x} {c}: {z:016x}")?;
        }
        writeln!(out, "r14: {:016x} r15: {:016x}", r.r14, r.r15)?;
        if let Some(root) = ctx.current_root() {
            writeln!(out, "page tables {:#x}:", root.addr())?;
            mm::write_walk(out, self, root, r.rip, "rip")?;
            mm::write_walk(out, self, root, r.rsp, "rsp")?;
            if let Some(info) = vcpu.info() {
                mm::write_walk(out, self, root, info.cr2(&self.machine), "cr2")?;
            }
        }
        writeln!(out, "stack:")?;
        for row in 0..STACK_ROWS {
            let mut bytes = [0u8; 32];
            let at = r.rsp.wrapping_add(row * 32);
            if !crate::guest::is_guest_address(at)
                || self.machine.copy_from_guest(at, &mut bytes).is_err()
            {
                break;
            }
            for chunk in bytes.chunks_exact(8) {
                let mut word = [0; 8];
                word.copy_from_slice(chunk);
                write!(out, " {:016x}", u64::from_le_bytes(word))?;
            }
            writeln!(out)?;
        }
        Ok(())
    }
}
