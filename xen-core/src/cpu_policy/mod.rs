//! What CPUID and MSRs a guest may see.
//!
//! Facts of the processor are read once; everything else is computed: raw → host (what we use ourselves) → PV max (what
//! a guest can ask for) → PV default (what it gets unasked) → the policy of a domain; and the same for HVM guests.
//! Contract: abi-requirements 5.4.

pub mod cr4;
mod derive;
pub mod features;
mod hvm;
mod lookup;
mod policy;
#[cfg(test)]
pub(crate) mod samples;
mod serialise;
#[cfg(test)]
mod tests;
mod topology;

use alloc::sync::Arc;

pub use self::features::{Feature, FeatureSet};
pub use self::hvm::{HvmCpuidInputs, hvm_cpuid};
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
    /// What an HVM guest can ask for.
    pub hvm_max: Arc<CpuPolicy>,
    /// What an HVM guest gets unasked.
    pub hvm_default: Arc<CpuPolicy>,
    /// The machine can run HVM guests.
    hvm: bool,
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
        let hvm_max = hvm::max(&raw, &host);
        let hvm_default = hvm::default(&host, &hvm_max);
        Self {
            hvm_max: hvm_max.into(),
            hvm_default: hvm_default.into(),
            hvm: false,
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

    /// The same policies on a machine that can run HVM guests: those of HVM guests have numbers.
    #[must_use]
    pub fn with_hvm(self) -> Self {
        Self { hvm: true, ..self }
    }

    /// The policy with a number of XEN_SYSCTL_get_cpu_policy: 0 raw, 1 host, 2 PV max, 3 HVM max, 4 PV default, 5 HVM
    /// default. Without HVM guests there are none for them.
    #[must_use]
    pub fn by_index(&self, index: u32) -> Option<&Arc<CpuPolicy>> {
        match index {
            0 => Some(&self.raw),
            1 => Some(&self.host),
            2 => Some(&self.pv_max),
            3 if self.hvm => Some(&self.hvm_max),
            4 => Some(&self.pv_default),
            5 if self.hvm => Some(&self.hvm_default),
            _ => None,
        }
    }

    /// The feature set with a number of XEN_SYSCTL_get_cpu_featureset: 0 raw, 1 host, 2 PV default, 3 HVM default, 4 PV
    /// max, 5 HVM max. Without HVM guests there are none for them.
    #[must_use]
    pub fn feature_set_by_index(&self, index: u32) -> Option<FeatureSet> {
        match index {
            0 => Some(self.raw.feature_set()),
            1 => Some(self.host.feature_set()),
            2 => Some(self.pv_default.feature_set()),
            3 if self.hvm => Some(self.hvm_default.feature_set()),
            4 => Some(self.pv_max.feature_set()),
            5 if self.hvm => Some(self.hvm_max.feature_set()),
            _ => None,
        }
    }

    /// An HVM domain's policy from a toolstack's wish.
    ///
    /// # Errors
    /// The wish has limits beyond what is possible.
    pub fn guest_hvm(&self, wish: &CpuPolicy) -> Result<CpuPolicy, PolicyError> {
        wish.check_within(&self.hvm_max)?;
        Ok(hvm::guest(wish, &self.hvm_max, &self.host))
    }

    /// A PV domain's policy from a toolstack's wish.
    ///
    /// # Errors
    /// The wish has limits beyond what is possible.
    pub fn guest(&self, wish: &CpuPolicy) -> Result<CpuPolicy, PolicyError> {
        wish.check_within(&self.pv_max)?;
        Ok(derive::recalculate(wish, &self.pv_max, &self.host))
    }
}
