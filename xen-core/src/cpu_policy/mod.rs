//! What CPUID and MSRs a guest may see.
//!
//! Facts of the processor are read once; everything else is computed: raw → host (what we use ourselves) → PV max (what
//! a guest can ask for) → PV default (what it gets unasked) → the policy of a domain. Contract: abi-requirements 5.4.

pub mod cr4;
mod derive;
pub mod features;
mod lookup;
mod policy;
mod serialise;
#[cfg(test)]
mod tests;
mod topology;

use alloc::sync::Arc;

pub use self::features::{Feature, FeatureSet};
pub use self::lookup::{Asker, HYPERCALL_PAGE_MSR, TscFacts, Via};
pub use self::policy::{CpuPolicy, PLATFORM_INFO_CPUID_FAULTING, Vendor};
pub use self::serialise::{MAX_LEAVES, MAX_MSRS, NO_SUBLEAF, PolicyError};
pub use self::topology::ApicIdFields;
use crate::machine::PvCpu;

/// Policies derived from the host.
#[derive(Clone, Debug)]
pub struct CpuPolicies {
    /// The processor's own leaves.
    pub raw: Arc<CpuPolicy>,
    /// What the hypervisor knows and uses of them.
    pub host: Arc<CpuPolicy>,
    /// What a PV guest can ask for.
    pub pv_max: Arc<CpuPolicy>,
    /// What a PV guest gets unasked.
    pub pv_default: Arc<CpuPolicy>,
    hardware_domain: Arc<CpuPolicy>,
}

impl CpuPolicies {
    /// Reads the processor and derives the rest.
    #[must_use]
    pub fn detect(machine: &impl PvCpu) -> Self {
        Self::from_raw(derive::raw(machine), machine.host_xcr0())
    }

    fn from_raw(raw: CpuPolicy, host_xcr0: u64) -> Self {
        let host = derive::host(&raw, host_xcr0);
        let pv_max = derive::pv_max(&host);
        let pv_default = derive::pv_default(&host, &pv_max);
        let hardware_domain = derive::hardware_domain(&pv_default, &pv_max, &host);
        Self {
            raw: raw.into(),
            host: host.into(),
            pv_max: pv_max.into(),
            pv_default: pv_default.into(),
            hardware_domain: hardware_domain.into(),
        }
    }

    /// What the hardware domain gets.
    #[must_use]
    pub fn hardware_domain(&self) -> Arc<CpuPolicy> {
        self.hardware_domain.clone()
    }

    /// The policy with a number of XEN_SYSCTL_get_cpu_policy: 0 raw, 1 host, 2 PV max, 4 PV default. There are none for
    /// HVM (3 and 5).
    #[must_use]
    pub fn by_index(&self, index: u32) -> Option<&Arc<CpuPolicy>> {
        match index {
            0 => Some(&self.raw),
            1 => Some(&self.host),
            2 => Some(&self.pv_max),
            4 => Some(&self.pv_default),
            _ => None,
        }
    }

    /// The feature set with a number of XEN_SYSCTL_get_cpu_featureset: 0 raw, 1 host, 2 PV
    /// default, 4 PV max. There are none for HVM (3 and 5).
    #[must_use]
    pub fn feature_set_by_index(&self, index: u32) -> Option<FeatureSet> {
        match index {
            0 => Some(self.raw.feature_set()),
            1 => Some(self.host.feature_set()),
            2 => Some(self.pv_default.feature_set()),
            4 => Some(self.pv_max.feature_set()),
            _ => None,
        }
    }

    /// A domain's policy from a toolstack's wish.
    ///
    /// # Errors
    /// The wish has limits beyond what is possible.
    pub fn guest(&self, wish: &CpuPolicy) -> Result<CpuPolicy, PolicyError> {
        wish.check_within(&self.pv_max)?;
        Ok(derive::recalculate(wish, &self.pv_max, &self.host))
    }
}
