//! Model-specific registers that go along with a vCPU (XEN_DOMCTL_get_vcpu_msrs, XEN_DOMCTL_set_vcpu_msrs).

use crate::cpu_policy::{CpuPolicy, Feature, PLATFORM_INFO_CPUID_FAULTING};
use crate::domain::VcpuCtx;
use crate::pv::debugreg;

/// Speculation control, which no PV guest has.
const SPEC_CTRL: u32 = 0x48;
/// CPUID faulting.
const MISC_FEATURES_ENABLES: u32 = 0x140;
/// What RDTSCP returns in ECX.
const TSC_AUX: u32 = 0xc000_0103;
/// The CPUID faulting bit.
const CPUID_FAULTING: u64 = 1;

/// The registers, in the order of the contract.
pub const MIGRATED_MSRS: [u32; 7] = [
    SPEC_CTRL,
    MISC_FEATURES_ENABLES,
    TSC_AUX,
    0xc001_1027,
    0xc001_1019,
    0xc001_101a,
    0xc001_101b,
];

/// The value in a vCPU that is not running; `None` if the guest has no such register.
#[must_use]
pub fn get_msr(ctx: &VcpuCtx, policy: &CpuPolicy, msr: u32) -> Option<u64> {
    match msr {
        MISC_FEATURES_ENABLES => Some(ctx.misc_features_enables),
        TSC_AUX => has_tsc_aux(policy).then_some(ctx.tsc_aux.into()),
        _ => {
            let mask = debugreg::mask_index(msr)?;
            policy
                .has(Feature::DBEXT)
                .then_some(ctx.dr_masks[mask].into())
        }
    }
}

/// Sets the value in a vCPU that is not running; `None` if the guest has no such register or it cannot hold the value.
pub fn set_msr(ctx: &mut VcpuCtx, policy: &CpuPolicy, msr: u32, value: u64) -> Option<()> {
    match msr {
        MISC_FEATURES_ENABLES => {
            let faulting = policy.platform_info() & PLATFORM_INFO_CPUID_FAULTING != 0;
            let available = if faulting { CPUID_FAULTING } else { 0 };
            if value & !available != 0 {
                return None;
            }
            ctx.misc_features_enables = value;
        }
        TSC_AUX if has_tsc_aux(policy) => ctx.tsc_aux = u32::try_from(value).ok()?,
        TSC_AUX => return None,
        _ => {
            let mask = debugreg::mask_index(msr)?;
            if !policy.has(Feature::DBEXT) {
                return None;
            }
            ctx.dr_masks[mask] = u32::try_from(value).ok()?;
        }
    }
    Some(())
}

fn has_tsc_aux(policy: &CpuPolicy) -> bool {
    policy.has(Feature::RDTSCP) || policy.has(Feature::RDPID)
}
