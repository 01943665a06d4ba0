//! Policies as lists of leaves and MSRs, as toolstacks read and write them.
//!
//! Contract: public headers sysctl.h (XEN_SYSCTL_get_cpu_policy) and domctl.h (XEN_DOMCTL_{get,set}_cpu_policy),
//! arch-x86/xen.h (`xen_cpuid_leaf_t`, `xen_msr_entry_t`).

use alloc::vec::Vec;

use hypercall_abi::arch_x86::{CpuidLeaf as WireLeaf, MsrEntry};
use hypercall_abi::errno::Errno;

use super::features::Feature;
use super::policy::{
    BASIC_LEAVES, CACHE_SUBLEAVES, CpuPolicy, EXTENDED_BASE, EXTENDED_LEAVES, FEATURE_SUBLEAVES,
    TOPOLOGY_SUBLEAVES, XSTATE_SUBLEAVES,
};
use crate::machine::CpuidLeaf;

/// XEN_CPUID_NO_SUBLEAF.
pub const NO_SUBLEAF: u32 = u32::MAX;
/// Second block of hypervisor leaves.
const HYPERVISOR2_BASE: u32 = 0x4000_0100;
/// First block of hypervisor leaves.
const HYPERVISOR_BASE: u32 = 0x4000_0000;
/// MSR_PLATFORM_INFO.
const MSR_PLATFORM_INFO: u32 = 0xce;
/// MSR_ARCH_CAPABILITIES.
const MSR_ARCH_CAPABILITIES: u32 = 0x10a;

/// The most leaves that any policy needs: every plain leaf, every subleaf, two hypervisor limits.
pub const MAX_LEAVES: usize = (BASIC_LEAVES - 4)
    + CACHE_SUBLEAVES
    + FEATURE_SUBLEAVES
    + TOPOLOGY_SUBLEAVES
    + XSTATE_SUBLEAVES
    + EXTENDED_LEAVES
    + 2;
/// MSRs of a policy.
pub const MAX_MSRS: usize = 2;

/// What was wrong with a policy from the toolstack: copied back as `err_leaf`, `err_subleaf`, `err_msr`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PolicyError {
    /// The answer.
    pub errno: Errno,
    /// The leaf, or all ones.
    pub leaf: u32,
    /// The subleaf, or all ones.
    pub subleaf: u32,
    /// The MSR, or all ones.
    pub msr: u32,
}

impl PolicyError {
    const fn nowhere(errno: Errno) -> Self {
        Self {
            errno,
            leaf: u32::MAX,
            subleaf: u32::MAX,
            msr: u32::MAX,
        }
    }

    const fn at_leaf(errno: Errno, leaf: u32, subleaf: u32) -> Self {
        Self {
            leaf,
            subleaf,
            ..Self::nowhere(errno)
        }
    }

    const fn at_msr(errno: Errno, msr: u32) -> Self {
        Self {
            msr,
            ..Self::nowhere(errno)
        }
    }
}

impl From<Errno> for PolicyError {
    /// A failure that is no leaf's and no MSR's.
    fn from(errno: Errno) -> Self {
        Self::nowhere(errno)
    }
}

impl CpuPolicy {
    /// The policy as a list of leaves.
    #[must_use]
    pub fn leaves(&self) -> Vec<WireLeaf> {
        let mut out = Vec::with_capacity(MAX_LEAVES);
        let mut push = |leaf, subleaf, values: &CpuidLeaf| {
            out.push(WireLeaf {
                leaf,
                subleaf,
                a: values.a,
                b: values.b,
                c: values.c,
                d: values.d,
            });
        };
        for leaf in 0..=self.basic[0].a.min(BASIC_LEAVES as u32 - 1) {
            match leaf {
                4 => (0..)
                    .zip(&self.cache)
                    .for_each(|(sub, values)| push(4, sub, values)),
                7 => (0..=self.features[0].a)
                    .zip(&self.features)
                    .for_each(|(sub, values)| push(7, sub, values)),
                0xb => (0..)
                    .zip(&self.topology)
                    .for_each(|(sub, values)| push(0xb, sub, values)),
                0xd => {
                    let states = self.xcr0_mask();
                    for (sub, values) in (0..).zip(&self.xstate) {
                        if sub < 2 || states & (1 << sub) != 0 {
                            push(0xd, sub, values);
                        }
                    }
                }
                _ => push(leaf, NO_SUBLEAF, &self.basic[leaf as usize]),
            }
        }
        let limit = |a| CpuidLeaf {
            a,
            ..CpuidLeaf::default()
        };
        push(HYPERVISOR_BASE, NO_SUBLEAF, &limit(self.hypervisor_limit));
        push(HYPERVISOR2_BASE, NO_SUBLEAF, &limit(self.hypervisor2_limit));
        let extended = (self.extended[0].a & 0xffff).min(EXTENDED_LEAVES as u32 - 1);
        for (leaf, values) in (0..=extended).zip(&self.extended) {
            push(EXTENDED_BASE + leaf, NO_SUBLEAF, values);
        }
        out
    }

    /// The policy's MSRs.
    #[must_use]
    pub const fn msrs(&self) -> [MsrEntry; MAX_MSRS] {
        [
            MsrEntry {
                idx: MSR_PLATFORM_INFO,
                flags: 0,
                val: self.platform_info,
            },
            MsrEntry {
                idx: MSR_ARCH_CAPABILITIES,
                flags: 0,
                val: self.arch_caps,
            },
        ]
    }

    /// The policy with `leaves` and `msrs` put over it. Nothing is checked against what is possible: see
    /// [`CpuPolicies::guest`](super::CpuPolicies::guest).
    ///
    /// # Errors
    /// `ERANGE` for a leaf, subleaf or MSR that no policy has; `EINVAL` for MSR flags.
    pub fn overlaid(&self, leaves: &[WireLeaf], msrs: &[MsrEntry]) -> Result<Self, PolicyError> {
        let mut policy = self.clone();
        for wire in leaves {
            policy.put_leaf(wire)?;
        }
        for entry in msrs {
            if entry.flags != 0 {
                return Err(PolicyError::at_msr(Errno::EINVAL, entry.idx));
            }
            match entry.idx {
                MSR_PLATFORM_INFO => policy.platform_info = entry.val,
                MSR_ARCH_CAPABILITIES => policy.arch_caps = entry.val,
                _ => return Err(PolicyError::at_msr(Errno::ERANGE, entry.idx)),
            }
        }
        Ok(policy)
    }

    fn put_leaf(&mut self, wire: &WireLeaf) -> Result<(), PolicyError> {
        let values = CpuidLeaf {
            a: wire.a,
            b: wire.b,
            c: wire.c,
            d: wire.d,
        };
        let bad = PolicyError::at_leaf(Errno::ERANGE, wire.leaf, wire.subleaf);
        let sub = wire.subleaf as usize;
        let slot = match wire.leaf {
            4 => self.cache.get_mut(sub),
            7 => self.features.get_mut(sub),
            0xb => self.topology.get_mut(sub),
            0xd => self.xstate.get_mut(sub),
            _ if wire.subleaf != NO_SUBLEAF => return Err(bad),
            HYPERVISOR_BASE | HYPERVISOR2_BASE => {
                if wire.a & !0xff != 0 && wire.a & !0xff != wire.leaf {
                    return Err(bad);
                }
                if wire.leaf == HYPERVISOR_BASE {
                    self.hypervisor_limit = wire.a;
                } else {
                    self.hypervisor2_limit = wire.a;
                }
                return Ok(());
            }
            leaf if leaf >= EXTENDED_BASE => self.extended.get_mut((leaf - EXTENDED_BASE) as usize),
            leaf => self.basic.get_mut(leaf as usize),
        };
        *slot.ok_or(bad)? = values;
        Ok(())
    }

    /// Whether a guest with `self` can run where `max` is possible.
    ///
    /// # Errors
    /// `EINVAL` naming the first limit that is too high. Features beyond `max` are no error: they are taken out.
    pub fn check_within(&self, max: &Self) -> Result<(), PolicyError> {
        if self.basic[0].a > max.basic[0].a {
            return Err(PolicyError::at_leaf(Errno::EINVAL, 0, NO_SUBLEAF));
        }
        if self.features[0].a > max.features[0].a {
            return Err(PolicyError::at_leaf(Errno::EINVAL, 7, 0));
        }
        if self.extended[0].a > max.extended[0].a {
            return Err(PolicyError::at_leaf(
                Errno::EINVAL,
                EXTENDED_BASE,
                NO_SUBLEAF,
            ));
        }
        if self.platform_info & !max.platform_info != 0 {
            return Err(PolicyError::at_msr(Errno::EINVAL, MSR_PLATFORM_INFO));
        }
        if self.has(Feature::ARCH_CAPS) && !max.has(Feature::ARCH_CAPS) {
            return Err(PolicyError::at_msr(Errno::EINVAL, MSR_ARCH_CAPABILITIES));
        }
        Ok(())
    }
}
