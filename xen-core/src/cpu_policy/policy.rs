//! A policy: the leaves and MSR values that one class of guest, or one guest, is shown.
//!
//! Contract: abi-requirements 5.4; public header arch-x86/cpuid.h.

use super::features::{Feature, FeatureSet, WORDS};
use crate::machine::CpuidLeaf;

/// Basic leaves that a policy holds: 0 to 0xd.
pub const BASIC_LEAVES: usize = 0xe;
/// Subleaves of leaf 4.
pub const CACHE_SUBLEAVES: usize = 6;
/// Subleaves of leaf 7.
pub const FEATURE_SUBLEAVES: usize = 3;
/// Subleaves of leaf 0xb.
pub const TOPOLOGY_SUBLEAVES: usize = 2;
/// Subleaves of leaf 0xd.
pub const XSTATE_SUBLEAVES: usize = 63;
/// Extended leaves: 0x80000000 to 0x80000021.
pub const EXTENDED_LEAVES: usize = 0x22;

/// First extended leaf.
pub const EXTENDED_BASE: u32 = 0x8000_0000;

/// Features that AMD repeats in leaf 0x80000001 EDX at the place they have in leaf 1 EDX.
pub const COMMON_1D: u32 = 0x0183_f3ff;

/// MSR_PLATFORM_INFO bit 31: CPUID faulting.
pub const PLATFORM_INFO_CPUID_FAULTING: u64 = 1 << 31;

/// XCR0 bit of protection keys.
pub const XCR0_PKRU: u64 = 1 << 9;

/// Who made the processor, as far as it matters.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Vendor {
    /// Intel.
    Intel,
    /// AMD, and Hygon, which differs only in name.
    Amd,
    /// Anybody else.
    Other,
}

/// What CPUID and MSRs show.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CpuPolicy {
    /// Leaves 0 to 0xd; those with subleaves are in the arrays below and zero here.
    pub(super) basic: [CpuidLeaf; BASIC_LEAVES],
    /// Leaf 4.
    pub(super) cache: [CpuidLeaf; CACHE_SUBLEAVES],
    /// Leaf 7.
    pub(super) features: [CpuidLeaf; FEATURE_SUBLEAVES],
    /// Leaf 0xb.
    pub(super) topology: [CpuidLeaf; TOPOLOGY_SUBLEAVES],
    /// Leaf 0xd.
    pub(super) xstate: [CpuidLeaf; XSTATE_SUBLEAVES],
    /// Leaves from 0x80000000.
    pub(super) extended: [CpuidLeaf; EXTENDED_LEAVES],
    /// Highest hypervisor leaf, 0 = as many as there are.
    pub(super) hypervisor_limit: u32,
    /// Highest leaf of the second hypervisor block (Viridian); unused for PV.
    pub(super) hypervisor2_limit: u32,
    /// MSR_PLATFORM_INFO (0xce).
    pub(super) platform_info: u64,
    /// MSR_ARCH_CAPABILITIES (0x10a).
    pub(super) arch_caps: u64,
    /// Reads of MSRs without a rule give 0 and writes are ignored (createdomain `misc_flags` bit 0).
    pub(super) msr_relaxed: bool,
}

impl Default for CpuPolicy {
    fn default() -> Self {
        Self::EMPTY
    }
}

impl CpuPolicy {
    /// A policy that shows nothing.
    pub const EMPTY: Self = {
        const ZERO: CpuidLeaf = CpuidLeaf {
            a: 0,
            b: 0,
            c: 0,
            d: 0,
        };
        Self {
            basic: [ZERO; BASIC_LEAVES],
            cache: [ZERO; CACHE_SUBLEAVES],
            features: [ZERO; FEATURE_SUBLEAVES],
            topology: [ZERO; TOPOLOGY_SUBLEAVES],
            xstate: [ZERO; XSTATE_SUBLEAVES],
            extended: [ZERO; EXTENDED_LEAVES],
            hypervisor_limit: 0,
            hypervisor2_limit: 0,
            platform_info: 0,
            arch_caps: 0,
            msr_relaxed: false,
        }
    };

    /// The vendor.
    #[must_use]
    pub const fn vendor(&self) -> Vendor {
        vendor_of(self.basic[0])
    }

    /// Family with the extended family added.
    #[must_use]
    pub const fn family(&self) -> u32 {
        let fms = self.basic[1].a;
        let family = (fms >> 8) & 0xf;
        if family == 0xf {
            family + ((fms >> 20) & 0xff)
        } else {
            family
        }
    }

    /// Bits of a machine address.
    #[must_use]
    pub const fn address_bits(&self) -> u32 {
        let bits = self.extended[8].a & 0xff;
        if bits == 0 { 36 } else { bits }
    }

    /// The features in the order of the contract (XEN_SYSCTL_get_cpu_featureset).
    #[must_use]
    #[expect(clippy::cast_possible_truncation, reason = "the MSR spans two words")]
    pub const fn feature_set(&self) -> FeatureSet {
        FeatureSet([
            self.basic[1].d,
            self.basic[1].c,
            self.extended[1].d,
            self.extended[1].c,
            self.xstate[1].a,
            self.features[0].b,
            self.features[0].c,
            self.extended[7].d,
            self.extended[8].b,
            self.features[0].d,
            self.features[1].a,
            self.extended[0x21].a,
            self.features[1].b,
            self.features[2].d,
            self.features[1].c,
            self.features[1].d,
            self.arch_caps as u32,
            (self.arch_caps >> 32) as u32,
            self.extended[0x21].c,
        ])
    }

    /// Replaces the features.
    pub(super) const fn set_feature_set(&mut self, set: &FeatureSet) {
        let words: &[u32; WORDS] = &set.0;
        self.basic[1].d = words[0];
        self.basic[1].c = words[1];
        self.extended[1].d = words[2];
        self.extended[1].c = words[3];
        self.xstate[1].a = words[4];
        self.features[0].b = words[5];
        self.features[0].c = words[6];
        self.extended[7].d = words[7];
        self.extended[8].b = words[8];
        self.features[0].d = words[9];
        self.features[1].a = words[10];
        self.extended[0x21].a = words[11];
        self.features[1].b = words[12];
        self.features[2].d = words[13];
        self.features[1].c = words[14];
        self.features[1].d = words[15];
        self.arch_caps = words[16] as u64 | ((words[17] as u64) << 32);
        self.extended[0x21].c = words[18];
    }

    /// Whether the guest sees `feature`.
    #[must_use]
    pub const fn has(&self, feature: Feature) -> bool {
        self.feature_set().has(feature)
    }

    /// XCR0 bits that the guest may set; 0 without XSAVE.
    #[must_use]
    pub const fn xcr0_mask(&self) -> u64 {
        self.xstate[0].a as u64 | ((self.xstate[0].d as u64) << 32)
    }

    /// Bytes of an XSAVE area in standard format for the components in `xcr0`: 512 legacy bytes, 64 of header, and
    /// each further component at its fixed offset.
    #[must_use]
    pub fn xstate_size(&self, xcr0: u64) -> u32 {
        let mut size = 576;
        for (component, leaf) in self.xstate.iter().enumerate().skip(2) {
            if xcr0 & (1 << component) != 0 {
                size = size.max(leaf.b.saturating_add(leaf.a));
            }
        }
        size
    }

    /// Bytes of an XSAVE area in compacted format.
    #[must_use]
    pub fn xstate_compacted_size(&self, xcr0: u64) -> u32 {
        let mut size: u32 = 576;
        for (component, leaf) in self.xstate.iter().enumerate().skip(2) {
            if xcr0 & (1 << component) != 0 {
                if leaf.c & 2 != 0 {
                    size = size.checked_next_multiple_of(64).unwrap_or(size);
                }
                size = size.saturating_add(leaf.a);
            }
        }
        size
    }

    /// MSR_PLATFORM_INFO.
    #[must_use]
    pub const fn platform_info(&self) -> u64 {
        self.platform_info
    }

    /// MSR_ARCH_CAPABILITIES.
    #[must_use]
    pub const fn arch_caps(&self) -> u64 {
        self.arch_caps
    }

    /// Whether MSRs without a rule read as 0 and ignore writes.
    #[must_use]
    pub const fn msr_relaxed(&self) -> bool {
        self.msr_relaxed
    }

    /// The same policy with relaxed MSRs (createdomain `misc_flags` bit 0, XEN_X86_MSR_RELAXED).
    #[must_use]
    pub const fn with_msr_relaxed(mut self, relaxed: bool) -> Self {
        self.msr_relaxed = relaxed;
        self
    }
}

/// The vendor that leaf 0 names.
#[must_use]
pub const fn vendor_of(leaf0: CpuidLeaf) -> Vendor {
    match (leaf0.b, leaf0.d, leaf0.c) {
        // "GenuineIntel"
        (0x756e_6547, 0x4965_6e69, 0x6c65_746e) => Vendor::Intel,
        // "AuthenticAMD", "HygonGenuine"
        (0x6874_7541, 0x6974_6e65, 0x444d_4163) | (0x6f67_7948, 0x6e65_476e, 0x656e_6975) => {
            Vendor::Amd
        }
        _ => Vendor::Other,
    }
}
