//! What hardware-virtualized guests may see, and how they see it.
//!
//! Contract: annotations S (any HVM guest) and H (HVM guests with hardware-assisted paging, which are all of ours) of the
//! public header arch-x86/cpufeatureset.h; public header arch-x86/cpuid.h for the hypervisor's leaves. Features whose
//! state is not kept for guests are left out: nested virtualization, MSR_SPEC_CTRL, bounds, supervisor states of XSAVE.

use super::derive;
use super::features::{Feature, FeatureSet, PV_DEFAULT, PV_MAX, WORDS};
use super::lookup::{self, TscFacts};
use super::policy::{
    BASIC_LEAVES, CACHE_SUBLEAVES, COMMON_1D, CpuPolicy, EXTENDED_BASE, EXTENDED_LEAVES,
    PLATFORM_INFO_CPUID_FAULTING, TOPOLOGY_SUBLEAVES, Vendor, XCR0_PKRU, XSTATE_SUBLEAVES,
};
use crate::machine::CpuidLeaf;

/// What HVM guests see in addition to PV guests.
const BEYOND_PV: &[Feature] = &[
    Feature::VME,
    Feature::PSE,
    Feature::MTRR,
    Feature::PGE,
    Feature::PSE36,
    Feature::PCID,
    Feature::X2APIC,
    Feature::TSC_DEADLINE,
    Feature::PAGE1GB,
    Feature::CR8_LEGACY,
    Feature::TSC_ADJUST,
    Feature::SMEP,
    Feature::INVPCID,
    Feature::SMAP,
    Feature::UMIP,
    Feature::PKU,
    Feature::NO_LMSL,
];

const fn with(base: &FeatureSet, more: &[Feature]) -> FeatureSet {
    let mut set = FeatureSet([0; WORDS]);
    let mut word = 0;
    while word < WORDS {
        set.0[word] = base.0[word];
        word += 1;
    }
    let mut i = 0;
    while i < more.len() {
        set.set(more[i], true);
        i += 1;
    }
    set
}

/// All that an HVM guest can ask for.
const HVM_MAX: FeatureSet = with(&PV_MAX, BEYOND_PV);
/// What an HVM guest gets unasked.
const HVM_DEFAULT: FeatureSet = with(&PV_DEFAULT, BEYOND_PV);

/// Leaf 0x8000000a: nested virtualization.
const SVM_LEAF: usize = 0xa;
/// Bits of a guest-physical address that four levels of nested tables translate.
const NESTED_ADDRESS_BITS: u32 = 48;

/// What an HVM guest can ask for.
#[must_use]
pub fn max(raw: &CpuPolicy, host: &CpuPolicy) -> CpuPolicy {
    let mut features = host.feature_set().and(&HVM_MAX);
    // The local APIC is emulated whatever the host has; and there is no EFER.LMSLE.
    for feature in [
        Feature::APIC,
        Feature::X2APIC,
        Feature::NO_LMSL,
        Feature::HTT,
        Feature::CMP_LEGACY,
    ] {
        features.set(feature, true);
    }
    // AMD has no SYSENTER in long mode, where the hypervisor is, but guests may be in other modes.
    features.set(Feature::SEP, raw.has(Feature::SEP));
    if host.xcr0_mask() & XCR0_PKRU == 0 {
        features.set(Feature::PKU, false);
    }
    let mut policy = hide(derive::restrict(host, host, features));
    let bits = (policy.extended[8].a & 0xff).min(NESTED_ADDRESS_BITS);
    policy.extended[8].a = (policy.extended[8].a & !0xff) | bits;
    // CPUID is always intercepted, so it can always fault.
    policy.platform_info |= PLATFORM_INFO_CPUID_FAULTING;
    policy
}

/// What an HVM guest gets unasked.
#[must_use]
pub fn default(host: &CpuPolicy, max: &CpuPolicy) -> CpuPolicy {
    hide(derive::unasked(host, max, &HVM_DEFAULT))
}

/// A domain's policy from a toolstack's wish.
#[must_use]
pub fn guest(wish: &CpuPolicy, max: &CpuPolicy, host: &CpuPolicy) -> CpuPolicy {
    hide(derive::recalculate(wish, max, host))
}

/// Leaves that only describe features which no guest has.
fn hide(mut policy: CpuPolicy) -> CpuPolicy {
    policy.extended[SVM_LEAF] = CpuidLeaf::default();
    policy
}

/// What an answer depends on besides the policy.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct HvmCpuidInputs {
    /// The vCPU; its APIC id is twice this.
    pub vcpu: u32,
    /// Its domain.
    pub domid: u16,
    /// IA32_APIC_BASE enables the local APIC.
    pub apic_enabled: bool,
    /// CR4.OSXSAVE of the guest.
    pub osxsave: bool,
    /// CR4.PKE of the guest.
    pub pke: bool,
    /// The guest is in IA-32e mode.
    pub long_mode: bool,
    /// The guest's XCR0.
    pub xcr0: u64,
    /// Accesses to the APIC's registers do not leave the guest (hardware APIC virtualization).
    pub apic_register_virt: bool,
    /// Nor do those in x2APIC mode, and interrupts are delivered without leaving.
    pub x2apic_virt: bool,
    /// The counter.
    pub tsc: TscFacts,
}

/// What a guest with `policy` is told about `leaf`.
#[must_use]
pub fn hvm_cpuid(
    policy: &CpuPolicy,
    leaf: u32,
    subleaf: u32,
    inputs: &HvmCpuidInputs,
) -> CpuidLeaf {
    match leaf {
        0..lookup::HYPERVISOR_BASE => basic(policy, leaf, subleaf, inputs),
        lookup::HYPERVISOR_BASE..=0x4000_00ff => {
            hypervisor(policy, leaf - lookup::HYPERVISOR_BASE, subleaf, inputs)
        }
        EXTENDED_BASE.. => extended(policy, leaf, inputs),
        _ => CpuidLeaf::default(),
    }
}

fn basic(policy: &CpuPolicy, leaf: u32, subleaf: u32, inputs: &HvmCpuidInputs) -> CpuidLeaf {
    if leaf > policy.basic[0].a.min(BASIC_LEAVES as u32 - 1) {
        return CpuidLeaf::default();
    }
    let sub = subleaf as usize;
    match leaf {
        1 => version(policy, inputs),
        4 if sub < CACHE_SUBLEAVES => policy.cache[sub],
        7 if subleaf <= policy.features[0].a && sub < policy.features.len() => {
            let mut out = policy.features[sub];
            if sub == 0 {
                let shown = inputs.pke && out.c & Feature::PKU.mask() != 0;
                out.c = with_bit(out.c, Feature::OSPKE, shown);
            }
            out
        }
        0xb if sub < TOPOLOGY_SUBLEAVES => {
            let mut out = policy.topology[sub];
            if policy.has(Feature::X2APIC) {
                out.c = (out.c & !0xff) | subleaf;
                out.d = inputs.vcpu.wrapping_mul(2);
            }
            out
        }
        0xd if sub < XSTATE_SUBLEAVES => lookup::xstate(policy, sub, inputs.xcr0),
        4 | 7 | 0xb | 0xd => CpuidLeaf::default(),
        _ => policy.basic.get(leaf as usize).copied().unwrap_or_default(),
    }
}

fn version(policy: &CpuPolicy, inputs: &HvmCpuidInputs) -> CpuidLeaf {
    let mut out = policy.basic[1];
    out.b = (out.b & 0x00ff_ffff) | inputs.vcpu.wrapping_mul(2) << 24;
    let xsave = out.c & Feature::XSAVE.mask() != 0;
    out.c = with_bit(out.c, Feature::OSXSAVE, xsave && inputs.osxsave);
    if !inputs.apic_enabled {
        out.d = with_bit(out.d, Feature::APIC, false);
    }
    out
}

fn extended(policy: &CpuPolicy, leaf: u32, inputs: &HvmCpuidInputs) -> CpuidLeaf {
    let index = (leaf - EXTENDED_BASE) as usize;
    if leaf > policy.extended[0].a || index >= EXTENDED_LEAVES {
        return CpuidLeaf::default();
    }
    let mut out = policy.extended[index];
    if index == 1 {
        match policy.vendor() {
            Vendor::Amd if !inputs.apic_enabled => {
                out.d &= !(Feature::APIC.mask() & COMMON_1D);
            }
            // Intel's processors have SYSCALL only in 64-bit mode and say so.
            Vendor::Intel if !inputs.long_mode => {
                out.d = with_bit(out.d, Feature::SYSCALL, false);
            }
            _ => {}
        }
    }
    out
}

fn hypervisor(policy: &CpuPolicy, index: u32, subleaf: u32, inputs: &HvmCpuidInputs) -> CpuidLeaf {
    let mut out = lookup::hypervisor(policy, index, subleaf, &inputs.tsc);
    if index > lookup::hypervisor_limit(policy) {
        return out;
    }
    match (index, subleaf) {
        // MMU_PT_UPDATE_PRESERVE_AD is for PV guests.
        (2, _) => out.c = 0,
        (4, 0) => {
            // XEN_HVM_CPUID_*: mappings of foreign frames work for devices, vCPU in EBX, domain in ECX, upcall vector.
            out.a = u32::from(inputs.apic_register_virt)
                | u32::from(inputs.x2apic_virt) << 1
                | 1 << 2
                | 1 << 3
                | 1 << 4
                | 1 << 6;
            out.b = inputs.vcpu;
            out.c = inputs.domid.into();
        }
        _ => {}
    }
    out
}

const fn with_bit(word: u32, feature: Feature, on: bool) -> u32 {
    if on {
        word | feature.mask()
    } else {
        word & !feature.mask()
    }
}

#[cfg(test)]
mod tests;
