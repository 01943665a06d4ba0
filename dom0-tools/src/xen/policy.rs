//! CPUID policies: what processors a guest may be shown and what one is shown.
//!
//! Contract: `get_cpu_policy`, `set_cpu_policy` of public/domctl.h and `get_cpu_policy`, `get_cpu_featureset` of public/sysctl.h.

use std::mem::offset_of;

use hypercall_abi::arch_x86::{CpuidLeaf, MsrEntry};
use hypercall_abi::domctl::{Domctl, DomctlCmd, DomctlCpuPolicy, DomctlU};
use hypercall_abi::sysctl::{
    CpuPolicyIndex, FeaturesetIndex, Sysctl, SysctlCmd, SysctlCpuFeatureset, SysctlCpuPolicy,
    SysctlU,
};
use hypercall_abi::xen::DomId;
use zerocopy::{FromBytes, FromZeros, IntoBytes};

use super::{Lent, Xen, XenError};

impl dyn Xen + '_ {
    /// The leaves of one of the hypervisor's policies.
    ///
    /// # Errors
    /// It has no such policy.
    pub fn system_policy(&self, index: CpuPolicyIndex) -> Result<Vec<CpuidLeaf>, XenError> {
        let ask = |leaves: u32, msrs: u32, lent| {
            let payload = SysctlU::from_cpu_policy(SysctlCpuPolicy {
                index: index.0,
                nr_leaves: leaves,
                nr_msrs: msrs,
                ..SysctlCpuPolicy::new_zeroed()
            });
            self.sysctl(SysctlCmd::GET_CPU_POLICY, payload, lent)
                .map(|answer| answer.as_cpu_policy())
        };
        let sizes = ask(0, 0, Vec::new())?;
        let mut leaves = vec![0; sizes.nr_leaves as usize * size_of::<CpuidLeaf>()];
        let mut msrs = vec![0; sizes.nr_msrs as usize * size_of::<MsrEntry>()];
        let at = offset_of!(Sysctl, u);
        let lent = vec![
            Lent {
                bytes: &mut leaves,
                address_at: at + offset_of!(SysctlCpuPolicy, leaves),
            },
            Lent {
                bytes: &mut msrs,
                address_at: at + offset_of!(SysctlCpuPolicy, msrs),
            },
        ];
        let filled = ask(sizes.nr_leaves, sizes.nr_msrs, lent)?;
        Ok(elements(&leaves, filled.nr_leaves))
    }

    /// How many leaves and MSRs one of the hypervisor's policies has at most.
    ///
    /// # Errors
    /// It has no such policy.
    pub fn system_policy_sizes(&self, index: CpuPolicyIndex) -> Result<(u32, u32), XenError> {
        let payload = SysctlU::from_cpu_policy(SysctlCpuPolicy {
            index: index.0,
            ..SysctlCpuPolicy::new_zeroed()
        });
        let answer = self.sysctl(SysctlCmd::GET_CPU_POLICY, payload, Vec::new())?;
        let answer = answer.as_cpu_policy();
        Ok((answer.nr_leaves, answer.nr_msrs))
    }

    /// One of the hypervisor's feature sets, in words.
    ///
    /// # Errors
    /// It has no such set.
    pub fn featureset(&self, index: FeaturesetIndex) -> Result<Vec<u32>, XenError> {
        /// More words than any version of Xen has.
        const WORDS: u32 = 64;
        let mut words = vec![0; WORDS as usize * 4];
        let payload = SysctlU::from_cpu_featureset(SysctlCpuFeatureset {
            index: index.0,
            nr_features: WORDS,
            ..SysctlCpuFeatureset::new_zeroed()
        });
        let lent = vec![Lent {
            bytes: &mut words,
            address_at: offset_of!(Sysctl, u) + offset_of!(SysctlCpuFeatureset, features),
        }];
        let answer = self.sysctl(SysctlCmd::GET_CPU_FEATURESET, payload, lent)?;
        Ok(elements(&words, answer.as_cpu_featureset().nr_features))
    }

    /// Sets what processor `domain` is shown.
    ///
    /// # Errors
    /// The hypervisor cannot show one of the leaves.
    pub fn set_policy(&self, domain: DomId, leaves: &[CpuidLeaf]) -> Result<(), XenError> {
        let mut bytes = leaves.as_bytes().to_vec();
        let payload = DomctlU::from_cpu_policy(DomctlCpuPolicy {
            nr_leaves: leaves.len() as u32,
            ..DomctlCpuPolicy::new_zeroed()
        });
        let lent = vec![Lent {
            bytes: &mut bytes,
            address_at: offset_of!(Domctl, u) + offset_of!(DomctlCpuPolicy, leaves),
        }];
        self.domctl(DomctlCmd::SET_CPU_POLICY, domain, payload, lent)
            .map(|_| ())
    }
}

/// The first `count` values in `bytes`.
fn elements<T: FromBytes>(bytes: &[u8], count: u32) -> Vec<T> {
    bytes
        .chunks_exact(size_of::<T>())
        .take(count as usize)
        .filter_map(|bytes| T::read_from_bytes(bytes).ok())
        .collect()
}
