//! Which bits of CR4 a guest controls.
//!
//! Contract: abi-requirements 5.2.

use super::features::Feature;
use super::{CpuPolicies, CpuPolicy};

/// CR4.TSD: RDTSC faults in user mode.
pub const TSD: u64 = 1 << 2;
/// CR4.DE: debugging extensions.
pub const DE: u64 = 1 << 3;
/// CR4.FSGSBASE: RDFSBASE and the like in user mode. Only on if the guest asked for it (XSA-293).
pub const FSGSBASE: u64 = 1 << 16;
/// CR4.OSXSAVE.
pub const OSXSAVE: u64 = 1 << 18;
/// PAE, MCE, OSFXSR, OSXMMEXCPT: bits of the host that a guest sees and cannot change.
const VISIBLE: u64 = (1 << 5) | (1 << 6) | (1 << 9) | (1 << 10);

impl CpuPolicy {
    /// CR4 bits that the guest controls.
    #[must_use]
    pub fn cr4_mask(&self) -> u64 {
        let features = self.feature_set();
        [
            (Feature::TSC, TSD),
            (Feature::DE, DE),
            (Feature::FSGSBASE, FSGSBASE),
            (Feature::XSAVE, OSXSAVE),
        ]
        .into_iter()
        .filter(|&(feature, _)| features.has(feature))
        .fold(0, |mask, (_, bit)| mask | bit)
    }
}

impl CpuPolicies {
    /// What remains of a CR4 that a guest with `policy` asks for; all other bits are dropped silently.
    #[must_use]
    pub fn guest_cr4(&self, policy: &CpuPolicy, value: u64) -> u64 {
        value & policy.cr4_mask()
    }
}

/// CR4 as the guest reads it: its own bits and those of the host that it may know.
#[must_use]
pub const fn view(host_cr4: u64, guest_cr4: u64) -> u64 {
    (host_cr4 & VISIBLE) | guest_cr4
}
