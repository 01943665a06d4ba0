//! Answers to CPUID.
//!
//! Contract: abi-requirements 5.4; public header arch-x86/cpuid.h.

use super::CpuPolicies;
use super::features::Feature;
use super::policy::{
    BASIC_LEAVES, CACHE_SUBLEAVES, COMMON_1D, CpuPolicy, EXTENDED_BASE, EXTENDED_LEAVES,
    TOPOLOGY_SUBLEAVES, Vendor, XSTATE_SUBLEAVES,
};
use crate::machine::{CpuidLeaf, TscScale};

/// First hypervisor leaf (XEN_CPUID_FIRST_LEAF).
pub const HYPERVISOR_BASE: u32 = 0x4000_0000;
/// Highest hypervisor leaf above the base (XEN_CPUID_MAX_NUM_LEAVES).
pub const HYPERVISOR_LEAVES: u32 = 5;
/// The MSR through which the hypercall page is written.
pub const HYPERCALL_PAGE_MSR: u32 = 0x4000_0000;
/// XEN_CPUID_FEAT1_MMU_PT_UPDATE_PRESERVE_AD.
const FEATURE_PRESERVE_AD: u32 = 1;
/// What xen_version and leaf +1 give: major 4, minor 17.
const XEN_VERSION: u32 = (4 << 16) | 17;

/// The time-stamp counter as leaf +3 describes it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TscFacts {
    /// RDTSC is emulated for this guest.
    pub emulated: bool,
    /// The host's counter is reliable.
    pub reliable: bool,
    /// Mode (TSC_MODE_*).
    pub mode: u32,
    /// Frequency the guest sees, kHz.
    pub khz: u32,
    /// Frequency of the host, kHz.
    pub host_khz: u32,
    /// Times the guest has moved.
    pub incarnation: u32,
    /// Offset of an emulated counter, ns.
    pub offset_ns: u64,
    /// Scale of an emulated counter.
    pub scale: TscScale,
}

/// How an instruction came to be emulated.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Via {
    /// The forced-emulation prefix.
    Prefix,
    /// CPUID faulting.
    Fault,
}

/// Who asks, as far as the answer depends on it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Asker {
    /// The guest's kernel, not its user mode.
    pub kernel_mode: bool,
    /// The hardware domain.
    pub hardware: bool,
    /// How.
    pub via: Via,
    /// CR4.OSXSAVE of the processor.
    pub host_osxsave: bool,
    /// CR4.OSXSAVE as the guest set it.
    pub guest_osxsave: bool,
    /// The guest's XCR0.
    pub xcr0: u64,
    /// Bits of the highest machine address.
    pub address_width: u32,
    /// The counter.
    pub tsc: TscFacts,
}

impl CpuPolicies {
    /// What a guest with `policy` is told about `leaf`.
    #[must_use]
    pub fn cpuid(&self, policy: &CpuPolicy, leaf: u32, subleaf: u32, asker: &Asker) -> CpuidLeaf {
        match leaf {
            0..HYPERVISOR_BASE => self.basic(policy, leaf, subleaf, asker),
            HYPERVISOR_BASE..=0x4000_00ff => {
                let mut out = hypervisor(policy, leaf - HYPERVISOR_BASE, subleaf, &asker.tsc);
                if (leaf - HYPERVISOR_BASE, subleaf) == (5, 0) && hypervisor_limit(policy) >= 5 {
                    out.b = asker.address_width & 0xff;
                }
                out
            }
            EXTENDED_BASE.. => self.extended(policy, leaf, asker),
            _ => CpuidLeaf::default(),
        }
    }

    fn basic(&self, policy: &CpuPolicy, leaf: u32, subleaf: u32, asker: &Asker) -> CpuidLeaf {
        if leaf > policy.basic[0].a.min(BASIC_LEAVES as u32 - 1) {
            return CpuidLeaf::default();
        }
        let sub = subleaf as usize;
        match leaf {
            1 => self.version(policy, asker),
            4 if sub < CACHE_SUBLEAVES => policy.cache[sub],
            5 if asker.hardware && asker.kernel_mode && asker.via == Via::Fault => {
                self.raw.basic[5]
            }
            7 if subleaf <= policy.features[0].a && sub < policy.features.len() => {
                policy.features[sub]
            }
            0xb if sub < TOPOLOGY_SUBLEAVES => policy.topology[sub],
            0xd if sub < XSTATE_SUBLEAVES => xstate(policy, sub, asker.xcr0),
            4 | 7 | 0xb | 0xd => CpuidLeaf::default(),
            _ => policy.basic.get(leaf as usize).copied().unwrap_or_default(),
        }
    }

    fn version(&self, policy: &CpuPolicy, asker: &Asker) -> CpuidLeaf {
        let mut out = policy.basic[1];
        out.b &= 0x00ff_ffff;
        // A kernel that asks through the prefix learns whether XSAVE works at all: Linux gives XSAVE up unless it sees
        // this bit long before it writes CR4.
        let osxsave = match asker.via {
            Via::Prefix if asker.kernel_mode => asker.host_osxsave,
            _ => asker.guest_osxsave,
        };
        let xsave = out.c & Feature::XSAVE.mask() != 0;
        if osxsave && xsave {
            out.c |= Feature::OSXSAVE.mask();
        } else {
            out.c &= !Feature::OSXSAVE.mask();
        }
        if asker.hardware && asker.kernel_mode {
            let host = self.raw.basic[1];
            out.d |= host.d & Feature::MTRR.mask();
            out.c |= host.c & Feature::EIST.mask();
            // Linux uploads C-state data only if its native CPUID shows MWAIT.
            if asker.via == Via::Fault {
                out.c |= host.c & Feature::MONITOR.mask();
            }
        }
        out
    }

    fn extended(&self, policy: &CpuPolicy, leaf: u32, asker: &Asker) -> CpuidLeaf {
        let index = (leaf - EXTENDED_BASE) as usize;
        if leaf > policy.extended[0].a || index >= EXTENDED_LEAVES {
            return CpuidLeaf::default();
        }
        let mut out = policy.extended[index];
        if index == 1 && policy.vendor() == Vendor::Amd && asker.hardware && asker.kernel_mode {
            out.d |= self.raw.extended[1].d & Feature::MTRR.mask() & COMMON_1D;
        }
        out
    }
}

/// Leaf 0xd.
pub(super) fn xstate(policy: &CpuPolicy, subleaf: usize, xcr0: u64) -> CpuidLeaf {
    let mut out = policy.xstate[subleaf];
    if policy.xcr0_mask() == 0 {
        return CpuidLeaf::default();
    }
    match subleaf {
        0 => out.b = policy.xstate_size(xcr0),
        1 if out.a & Feature::XSAVEC.mask() != 0 => out.b = policy.xstate_compacted_size(xcr0),
        _ => {}
    }
    out
}

/// The highest of the hypervisor's leaves.
pub(super) fn hypervisor_limit(policy: &CpuPolicy) -> u32 {
    match policy.hypervisor_limit & 0xff {
        0 => HYPERVISOR_LEAVES,
        limit => limit.clamp(2, HYPERVISOR_LEAVES),
    }
}

/// The hypervisor's leaf `index`, as far as it does not depend on the kind of guest.
#[expect(clippy::cast_possible_truncation, reason = "registers hold halves")]
pub(super) fn hypervisor(
    policy: &CpuPolicy,
    index: u32,
    subleaf: u32,
    tsc: &TscFacts,
) -> CpuidLeaf {
    let limit = hypervisor_limit(policy);
    if index > limit {
        return CpuidLeaf::default();
    }
    match (index, subleaf) {
        // "XenVMMXenVMM"
        (0, _) => CpuidLeaf {
            a: HYPERVISOR_BASE + limit,
            b: 0x566e_6558,
            c: 0x6558_4d4d,
            d: 0x4d4d_566e,
        },
        (1, _) => CpuidLeaf {
            a: XEN_VERSION,
            ..CpuidLeaf::default()
        },
        (2, _) => CpuidLeaf {
            a: 1,
            b: HYPERCALL_PAGE_MSR,
            c: FEATURE_PRESERVE_AD,
            d: 0,
        },
        (3, 0) => CpuidLeaf {
            a: u32::from(tsc.emulated)
                | u32::from(tsc.reliable) << 1
                | u32::from(policy.has(Feature::RDTSCP)) << 2,
            b: tsc.mode,
            c: tsc.khz,
            d: tsc.incarnation,
        },
        (3, 1) => CpuidLeaf {
            a: tsc.offset_ns as u32,
            b: (tsc.offset_ns >> 32) as u32,
            c: tsc.scale.mul,
            d: i32::from(tsc.scale.shift).cast_unsigned(),
        },
        (3, 2) => CpuidLeaf {
            a: tsc.host_khz,
            ..CpuidLeaf::default()
        },
        _ => CpuidLeaf::default(),
    }
}
