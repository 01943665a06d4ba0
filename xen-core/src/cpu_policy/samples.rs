//! Processors that do not exist, for tests.

use super::{CpuPolicies, CpuPolicy};
use crate::machine::CpuidLeaf;

/// Intel's name as leaf 0 gives it.
pub const INTEL: [u32; 3] = [0x756e_6547, 0x6c65_746e, 0x4965_6e69];
/// AMD's name.
pub const AMD: [u32; 3] = [0x6874_7541, 0x444d_4163, 0x6974_6e65];

/// A leaf.
pub fn leaf(a: u32, b: u32, c: u32, d: u32) -> CpuidLeaf {
    CpuidLeaf { a, b, c, d }
}

/// A processor with every feature bit set, so that only the policy decides.
pub fn everything([b, c, d]: [u32; 3], fms: u32) -> CpuPolicy {
    let mut raw = CpuPolicy::default();
    raw.basic[0] = leaf(0x20, b, c, d);
    raw.basic[1] = leaf(fms, 0x0510_0800, u32::MAX, u32::MAX);
    raw.basic[2] = leaf(0x00fe_ff01, 1, 2, 3);
    for index in [3, 5, 6, 8, 9, 0xa, 0xc] {
        raw.basic[index] = leaf(1, 2, 3, 4);
    }
    raw.cache[0] = leaf(0x121, 1, 1, 0);
    raw.features = [
        leaf(2, u32::MAX, u32::MAX, u32::MAX),
        leaf(u32::MAX, 0, 0, 0),
        leaf(0, 0, 0, u32::MAX),
    ];
    raw.topology[0] = leaf(1, 2, 0x100, 0);
    raw.xstate[0] = leaf(0x2e7, 0xa88, 0xa88, 0);
    raw.xstate[1] = leaf(0xf, 0xa88, 0x100, 0);
    raw.xstate[2] = leaf(256, 576, 0, 0);
    raw.xstate[5] = leaf(64, 1088, 0, 0);
    raw.xstate[6] = leaf(512, 1152, 0, 0);
    raw.xstate[7] = leaf(1024, 1664, 0, 0);
    raw.xstate[9] = leaf(8, 2688, 0, 0);
    raw.extended[0] = leaf(0x8000_0028, b, c, d);
    raw.extended[1] = leaf(fms, 0x1234_5678, u32::MAX, u32::MAX);
    for index in 2..0x22 {
        raw.extended[index] = leaf(0x3030, u32::MAX, u32::MAX, u32::MAX);
    }
    raw.arch_caps = u64::MAX;
    raw
}

/// Policies of a processor of Intel that has everything.
pub fn intel() -> CpuPolicies {
    CpuPolicies::from_raw(everything(INTEL, 0x0005_0654), 0xe7)
}

/// Policies of one of AMD.
pub fn amd() -> CpuPolicies {
    CpuPolicies::from_raw(everything(AMD, 0x00a0_0f11), 7)
}

/// QEMU's `-cpu max` under TCG: AVX2 but no AVX-512, no invariant TSC, vendor AMD.
pub fn tcg_max() -> CpuPolicies {
    let mut raw = everything(AMD, 0x0000_0663);
    raw.basic[0].a = 0xd;
    raw.basic[1].c = 0xf6f8_3203;
    raw.basic[1].d = 0x0f8b_fbff;
    raw.features = [
        leaf(0, 0x219c_07ab, 0x0040_0004, 0),
        leaf(0, 0, 0, 0),
        leaf(0, 0, 0, 0),
    ];
    raw.xstate[0] = leaf(7, 0x340, 0x340, 0);
    raw.xstate[5..].fill(CpuidLeaf::default());
    raw.xstate[1] = leaf(1 | 4, 0, 0, 0);
    raw.extended[0].a = 0x8000_001f;
    raw.extended[0x20..].fill(CpuidLeaf::default());
    raw.extended[1].c = 0x0000_0575;
    raw.extended[1].d = 0xed93_fbff;
    raw.extended[7] = leaf(0, 0, 0, 0);
    raw.extended[8] = leaf(0x3028, 0x0200_0204, 3, 0);
    raw.arch_caps = 0;
    CpuPolicies::from_raw(raw, 7)
}
