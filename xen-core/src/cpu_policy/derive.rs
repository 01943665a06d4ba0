//! Host facts → host policy → what PV guests can ask for → what they get.
//!
//! Contract: abi-requirements 5.4.

use super::features::{Feature, FeatureSet, PV_DEFAULT, PV_MAX};
use super::policy::{
    BASIC_LEAVES, COMMON_1D, CpuPolicy, EXTENDED_BASE, EXTENDED_LEAVES,
    PLATFORM_INFO_CPUID_FAULTING, Vendor, XCR0_PKRU,
};
use crate::machine::{CpuidLeaf, PvCpu};

/// MSR_PLATFORM_INFO.
const MSR_PLATFORM_INFO: u32 = 0xce;
/// MSR_ARCH_CAPABILITIES.
const MSR_ARCH_CAPABILITIES: u32 = 0x10a;

/// XCR0 bits of AVX-512: opmask, upper halves, upper registers.
const XCR0_AVX512: u64 = 0xe0;
/// XCR0 bit of AVX.
const XCR0_AVX: u64 = 4;
/// XCR0 bits of x87 and SSE.
const XCR0_BASE: u64 = 3;

/// Reads everything that a policy can hold from the processor.
#[must_use]
pub fn raw(machine: &impl PvCpu) -> CpuPolicy {
    let mut policy = read_leaves(|leaf, subleaf| machine.cpuid(leaf, subleaf));
    if policy.vendor() == Vendor::Intel {
        policy.platform_info =
            machine.read_msr(MSR_PLATFORM_INFO).unwrap_or(0) & PLATFORM_INFO_CPUID_FAULTING;
    }
    if policy.has(Feature::ARCH_CAPS) {
        policy.arch_caps = machine.read_msr(MSR_ARCH_CAPABILITIES).unwrap_or(0);
    }
    policy
}

/// Reads every leaf that a policy can hold and the processor has.
pub(super) fn read_leaves(cpuid: impl Fn(u32, u32) -> CpuidLeaf) -> CpuPolicy {
    let mut policy = CpuPolicy::default();
    let max = cpuid(0, 0).a.min(BASIC_LEAVES as u32 - 1);
    for leaf in 0..=max {
        match leaf {
            4 => fill(&mut policy.cache, |subleaf| cpuid(4, subleaf)),
            7 => {
                let last = cpuid(7, 0).a;
                fill(&mut policy.features, |subleaf| {
                    if subleaf <= last {
                        cpuid(7, subleaf)
                    } else {
                        CpuidLeaf::default()
                    }
                });
            }
            0xb => fill(&mut policy.topology, |subleaf| cpuid(0xb, subleaf)),
            0xd => {
                let base = cpuid(0xd, 0);
                let states = u64::from(base.a) | u64::from(base.d) << 32;
                fill(&mut policy.xstate, |subleaf| {
                    if subleaf < 2 || states & (1 << subleaf) != 0 {
                        cpuid(0xd, subleaf)
                    } else {
                        CpuidLeaf::default()
                    }
                });
            }
            _ => policy.basic[leaf as usize] = cpuid(leaf, 0),
        }
    }
    let extended_max = cpuid(EXTENDED_BASE, 0).a;
    // A processor without extended leaves answers with those of its highest basic leaf.
    if extended_max >> 16 == EXTENDED_BASE >> 16 {
        let max = (extended_max & 0xffff).min(EXTENDED_LEAVES as u32 - 1);
        for leaf in 0..=max {
            policy.extended[leaf as usize] = cpuid(EXTENDED_BASE + leaf, 0);
        }
    }
    policy
}

fn fill(leaves: &mut [CpuidLeaf], read: impl Fn(u32) -> CpuidLeaf) {
    for (subleaf, leaf) in (0..).zip(leaves) {
        *leaf = read(subleaf);
    }
}

/// What the hypervisor itself knows and can use: the raw leaves, with XSAVE components that it does not enable left out.
#[must_use]
pub fn host(raw: &CpuPolicy, host_xcr0: u64) -> CpuPolicy {
    let mut policy = raw.clone();
    policy.basic[0].a = policy.basic[0].a.min(BASIC_LEAVES as u32 - 1);
    policy.features[0].a = policy.features[0].a.min(policy.features.len() as u32 - 1);
    limit_extended(&mut policy);
    trim(&mut policy);
    let mut features = policy.feature_set();
    if host_xcr0 & XCR0_BASE != XCR0_BASE {
        features.set(Feature::XSAVE, false);
    }
    features.set(
        Feature::AVX,
        features.has(Feature::AVX) && host_xcr0 & XCR0_AVX != 0,
    );
    features.set(
        Feature::AVX512F,
        features.has(Feature::AVX512F) && host_xcr0 & XCR0_AVX512 == XCR0_AVX512,
    );
    features.drop_unsupported();
    policy.set_feature_set(&features);
    rebuild_xstate(&mut policy, raw, host_xcr0);
    policy
}

/// What a PV guest can ask for.
#[must_use]
pub fn pv_max(host: &CpuPolicy) -> CpuPolicy {
    let mut features = host.feature_set().and(&PV_MAX);
    features.set(Feature::HYPERVISOR, true);
    // These two describe the guest's own topology and may be claimed on any host.
    features.set(Feature::HTT, true);
    features.set(Feature::CMP_LEGACY, true);
    restrict(host, host, features)
}

/// What a PV guest gets unasked.
#[must_use]
pub fn pv_default(host: &CpuPolicy, max: &CpuPolicy) -> CpuPolicy {
    unasked(host, max, &PV_DEFAULT)
}

/// What a guest that could ask for `max` gets unasked: the features in `default`.
pub(super) fn unasked(host: &CpuPolicy, max: &CpuPolicy, default: &FeatureSet) -> CpuPolicy {
    let mut features = max.feature_set().and(default);
    let host_features = host.feature_set();
    features.set(Feature::HTT, host_features.has(Feature::HTT));
    features.set(Feature::CMP_LEGACY, host_features.has(Feature::CMP_LEGACY));
    // A processor that aborts every transaction still says RTM; new guests should not try.
    if host_features.has(Feature::RTM_ALWAYS_ABORT) {
        features.set(Feature::RTM, false);
    }
    restrict(max, host, features)
}

/// The hardware domain's: the default, plus the invariant TSC, since it never migrates.
#[must_use]
pub fn hardware_domain(default: &CpuPolicy, max: &CpuPolicy, host: &CpuPolicy) -> CpuPolicy {
    let mut features = default.feature_set();
    features.set(Feature::ITSC, max.has(Feature::ITSC));
    restrict(max, host, features)
}

/// Brings a wish of the toolstack within what is possible: every feature and limit is at most that of `max`, and what
/// follows from others is computed again.
#[must_use]
pub fn recalculate(wish: &CpuPolicy, max: &CpuPolicy, host: &CpuPolicy) -> CpuPolicy {
    let features = wish.feature_set().and(&max.feature_set());
    let mut policy = restrict(wish, host, features);
    policy.basic[0].a = policy.basic[0].a.min(max.basic[0].a);
    policy.features[0].a = policy.features[0].a.min(max.features[0].a);
    policy.extended[0].a = policy.extended[0].a.min(max.extended[0].a);
    let bits = (policy.extended[8].a & 0xff).min(max.address_bits());
    policy.extended[8].a = (policy.extended[8].a & !0xff) | bits;
    trim(&mut policy);
    policy.platform_info = wish.platform_info & max.platform_info;
    policy.msr_relaxed = wish.msr_relaxed;
    policy
}

/// `base` with exactly `features` and everything hidden that no guest is shown.
pub(super) fn restrict(base: &CpuPolicy, host: &CpuPolicy, mut features: FeatureSet) -> CpuPolicy {
    let mut policy = base.clone();
    features.set(Feature::HYPERVISOR, true);
    // A 64-bit guest kernel cannot do without these, and every host that runs us has them.
    features.set(Feature::SYSCALL, true);
    features.set(Feature::LM, host.has(Feature::LM));
    features.drop_unsupported();
    policy.set_feature_set(&features);
    limit_extended(&mut policy);
    if !features.has(Feature::ARCH_CAPS) {
        policy.arch_caps = 0;
    }
    hide_common(&mut policy);
    match policy.vendor() {
        Vendor::Amd => hide_amd(&mut policy),
        Vendor::Intel | Vendor::Other => hide_intel(&mut policy),
    }
    policy.features[0].a = policy.features[0].a.min(policy.features.len() as u32 - 1);
    // Of subleaf 2 only EDX is known.
    policy.features[2] = CpuidLeaf {
        d: policy.features[2].d,
        ..CpuidLeaf::default()
    };
    trim(&mut policy);
    rebuild_xstate(&mut policy, host, host.xcr0_mask());
    policy
}

/// Leaves beyond the limits are zero: nobody can ask for them.
fn trim(policy: &mut CpuPolicy) {
    let basic = policy.basic[0].a as usize;
    let zero = CpuidLeaf::default();
    policy
        .basic
        .iter_mut()
        .skip(basic + 1)
        .for_each(|leaf| *leaf = zero);
    if basic < 4 {
        policy.cache.fill(zero);
    }
    if basic < 7 {
        policy.features.fill(zero);
    }
    if basic < 0xd {
        policy.xstate.fill(zero);
    }
    let subleaves = policy.features[0].a as usize;
    policy
        .features
        .iter_mut()
        .skip(subleaves + 1)
        .for_each(|leaf| *leaf = zero);
    let extended = (policy.extended[0].a & 0xffff) as usize;
    policy
        .extended
        .iter_mut()
        .skip(extended + 1)
        .for_each(|leaf| *leaf = zero);
}

/// Extended leaves that the vendor does not define are cut off.
fn limit_extended(policy: &mut CpuPolicy) {
    let last = match policy.vendor() {
        Vendor::Amd => EXTENDED_LEAVES as u32 - 1,
        Vendor::Intel | Vendor::Other => 8,
    };
    policy.extended[0].a = policy.extended[0]
        .a
        .min(EXTENDED_BASE + last)
        .max(EXTENDED_BASE);
}

fn hide_common(policy: &mut CpuPolicy) {
    // Processor type; initial APIC id.
    policy.basic[1].a &= 0x0fff_0fff;
    policy.basic[1].b &= 0x00ff_ffff;
    for leaf in [3, 5, 6, 8, 9, 0xa, 0xc] {
        policy.basic[leaf] = CpuidLeaf::default();
    }
    policy.topology.fill(CpuidLeaf::default());
    policy.extended[1].d &= !COMMON_1D;
    let power = &mut policy.extended[7];
    (power.a, power.b, power.c) = (0, 0, 0);
    policy.extended[8].d = 0;
}

fn hide_intel(policy: &mut CpuPolicy) {
    // One query of leaf 2 gives everything.
    if policy.basic[0].a >= 2 {
        policy.basic[2].a = (policy.basic[2].a & !0xff) | 1;
    }
    let max = &mut policy.extended[0];
    (max.b, max.c, max.d) = (0, 0, 0);
    (policy.extended[1].a, policy.extended[1].b) = (0, 0);
    policy.extended[5] = CpuidLeaf::default();
    let cache = &mut policy.extended[6];
    (cache.a, cache.b, cache.d) = (0, 0, 0);
    policy.extended[8].a &= 0xffff;
    policy.extended[8].c = 0;
}

fn hide_amd(policy: &mut CpuPolicy) {
    policy.basic[2] = CpuidLeaf::default();
    policy.cache.fill(CpuidLeaf::default());
    let vendor = policy.basic[0];
    let max = &mut policy.extended[0];
    (max.b, max.c, max.d) = (vendor.b, vendor.c, vendor.d);
    policy.extended[1].a = policy.basic[1].a;
    policy.extended[1].b &= 0xff00_ffff;
    policy.extended[1].d |= policy.basic[1].d & COMMON_1D;
    policy.extended[8].a &= 0xffff;
    policy.extended[8].c &= 0x0003_f0ff;
    policy.extended[9] = CpuidLeaf::default();
    for leaf in 0xb..=0x18 {
        policy.extended[leaf] = CpuidLeaf::default();
    }
    // Instruction-based sampling, light-weight profiling, topology, encryption and quality of service.
    policy.extended[0x1b] = CpuidLeaf::default();
    policy.extended[0x1c] = CpuidLeaf::default();
    for leaf in 0x1d..=0x20 {
        policy.extended[leaf] = CpuidLeaf::default();
    }
    let more = &mut policy.extended[0x21];
    (more.b, more.d) = (0, 0);
}

/// Computes leaf 0xd from the features: components in `allowed` that the policy's features use, at the host's offsets.
fn rebuild_xstate(policy: &mut CpuPolicy, host: &CpuPolicy, allowed: u64) {
    let features = policy.feature_set();
    if !features.has(Feature::XSAVE) {
        policy.xstate.fill(CpuidLeaf::default());
        return;
    }
    let mut states = XCR0_BASE;
    if features.has(Feature::AVX) {
        states |= XCR0_AVX;
    }
    if features.has(Feature::AVX512F) {
        states |= XCR0_AVX512;
    }
    if features.has(Feature::PKU) {
        states |= XCR0_PKRU;
    }
    states &= allowed | XCR0_BASE;
    let instructions = policy.xstate[1].a;
    for (component, leaf) in policy.xstate.iter_mut().enumerate() {
        *leaf = if component >= 2 && states & (1 << component) != 0 {
            CpuidLeaf {
                d: 0,
                ..host.xstate[component]
            }
        } else {
            CpuidLeaf::default()
        };
    }
    policy.xstate[1].a = instructions;
    let size = policy.xstate_size(states);
    #[expect(
        clippy::cast_possible_truncation,
        reason = "the register pair holds 64 bits"
    )]
    let (low, high) = (states as u32, (states >> 32) as u32);
    policy.xstate[0] = CpuidLeaf {
        a: low,
        b: size,
        c: size,
        d: high,
    };
}
