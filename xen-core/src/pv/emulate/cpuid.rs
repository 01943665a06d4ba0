//! CPUID, asked for with the prefix or caught by CPUID faulting.

use super::Trap;
use crate::cpu_policy::{Asker, TscFacts, Via, cr4};
use crate::domain::VcpuCtx;
use crate::machine::Machine;
use crate::machine::TscScale;

/// MISC_FEATURES_ENABLES bit 0: the guest wants CPUID in its user mode to fault.
pub(super) const CPUID_FAULTING: u64 = 1;
/// TSC_MODE_DEFAULT.
const TSC_MODE_DEFAULT: u32 = 0;

/// Whether the guest kernel asked that CPUID in user mode raise #GP, and this is user mode.
pub(super) const fn faults_in_user_mode(ctx: &VcpuCtx) -> bool {
    !ctx.kernel_mode && ctx.misc_features_enables & CPUID_FAULTING != 0
}

/// Executes CPUID on the guest's registers; the caller steps over it.
pub(super) fn execute<M: Machine>(trap: &mut Trap<'_, M>, via: Via) {
    let machine = &trap.hv.machine;
    let policy = &trap.domain.cpu_policy();
    let hardware = trap.domain.privileges.hardware;
    let khz = u32::try_from(machine.tsc_khz()).unwrap_or(u32::MAX);
    let highest = machine.max_mfn().addr().saturating_sub(1);
    let asker = Asker {
        kernel_mode: trap.ctx.kernel_mode,
        hardware,
        via,
        host_osxsave: machine.cr4() & cr4::OSXSAVE != 0,
        guest_osxsave: trap.ctx.cr4 & cr4::OSXSAVE != 0,
        xcr0: trap.ctx.xcr0,
        address_width: u64::BITS - highest.leading_zeros(),
        tsc: TscFacts {
            emulated: false,
            reliable: machine.tsc_is_reliable(),
            mode: TSC_MODE_DEFAULT,
            // The hardware domain's counter is the host's and never described as anything else.
            khz: if hardware { 0 } else { khz },
            host_khz: khz,
            incarnation: 0,
            offset_ns: 0,
            scale: if hardware {
                TscScale::default()
            } else {
                machine.tsc_scale()
            },
        },
    };
    let regs = &mut trap.regs;
    #[expect(
        clippy::cast_possible_truncation,
        reason = "CPUID reads the low halves"
    )]
    let leaf = trap
        .hv
        .policies
        .cpuid(policy, regs.rax as u32, regs.rcx as u32, &asker);
    regs.rax = leaf.a.into();
    regs.rbx = leaf.b.into();
    regs.rcx = leaf.c.into();
    regs.rdx = leaf.d.into();
}
