//! #UD that is a request: `ud2; "xen"` before an instruction asks us to emulate it (XEN_EMULATE_PREFIX).
//!
//! Contract: abi-requirements 5.1; public header arch-x86/xen.h, `XEN_CPUID`. Only CPUID can be asked for.

use alloc::sync::Arc;

use hypercall_abi::arch_x86::{CpuUserRegs, EMULATE_PREFIX};

use super::fetch::{FetchError, Snapshot};
use super::{Trap, cpuid};
use crate::cpu_policy::Via;
use crate::domain::{Domain, Vcpu, VcpuCtx};
use crate::hypervisor::Hypervisor;
use crate::machine::Machine;

/// CPUID.
const CPUID: [u8; 2] = [0x0f, 0xa2];
/// Length of prefix and instruction.
const LENGTH: usize = EMULATE_PREFIX.len() + CPUID.len();

/// Deals with a #UD in ring 3. False: it was no request, and the guest gets its #UD.
pub fn invalid_opcode<M: Machine>(
    hv: &Hypervisor<M>,
    domain: &Arc<Domain>,
    vcpu: &Arc<Vcpu>,
    ctx: &mut VcpuCtx,
    regs: &mut CpuUserRegs,
) -> bool {
    let snapshot = match Snapshot::take(&hv.machine, ctx, regs) {
        Ok(snapshot) => snapshot,
        Err(FetchError::Fault(exception)) => {
            ctx.inject(exception);
            return true;
        }
        Err(FetchError::Unusable) => return false,
    };
    let mut wanted = [0; LENGTH];
    wanted[..EMULATE_PREFIX.len()].copy_from_slice(&EMULATE_PREFIX);
    wanted[EMULATE_PREFIX.len()..].copy_from_slice(&CPUID);
    let bytes = snapshot.bytes();
    let seen = bytes.len().min(LENGTH);
    if bytes[..seen] != wanted[..seen] {
        return false;
    }
    if seen < LENGTH {
        // So far it is one, and the rest is not there.
        let Some(exception) = snapshot.fault() else {
            return false;
        };
        ctx.inject(exception);
        return true;
    }
    let width = snapshot.width;
    let mut trap = Trap {
        hv,
        domain,
        vcpu,
        ctx,
        regs,
    };
    if cpuid::faults_in_user_mode(trap.ctx) {
        trap.regs.rip = trap.regs.rip.wrapping_add(EMULATE_PREFIX.len() as u64);
        trap.ctx.inject(super::general_protection_fault());
        return true;
    }
    cpuid::execute(&mut trap, Via::Prefix);
    trap.retire(LENGTH, width);
    true
}
