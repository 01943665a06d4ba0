//! CPUID and MSRs as toolstacks read them.

use hypercall_abi::arch_x86::{CpuidLeaf, MsrEntry};
use hypercall_abi::errno::Errno;
use hypercall_abi::guest_handle::GuestHandle;
use hypercall_abi::sysctl::{SysctlCpuFeatureset, SysctlCpuPolicy};
use zerocopy::{Immutable, IntoBytes};

use super::Call;
use crate::cpu_policy::{CpuPolicy, MAX_LEAVES, MAX_MSRS};
use crate::guest::GuestAccess;
use crate::machine::{GuestMemory, Machine};

/// Words of a feature set (CPUID leaves in the order of the public header cpufeatureset.h).
const FEATURE_WORDS: u32 = size_of::<crate::cpu_policy::FeatureSet>() as u32 / 4;
/// Policies of XEN_SYSCTL_get_cpu_policy.
const POLICIES: u32 = 6;

impl<M: Machine> Call<'_, M> {
    pub(super) fn host_features(
        &self,
        at: GuestHandle<SysctlCpuFeatureset>,
        mut arg: SysctlCpuFeatureset,
    ) -> Result<(), Errno> {
        let machine = &self.hv.machine;
        if arg.features.is_null() {
            arg.nr_features = FEATURE_WORDS;
            return machine.write(at, &arg);
        }
        let set = self.hv.policies.feature_set_by_index(arg.index);
        let set = set.ok_or(Errno::EINVAL)?;
        let room = arg.nr_features.min(FEATURE_WORDS);
        for (i, word) in (0..room).zip(&set.0) {
            machine.write_at(arg.features, i.into(), word)?;
        }
        arg.nr_features = room;
        machine.write(at, &arg)?;
        if room < FEATURE_WORDS {
            Err(Errno::ENOBUFS)
        } else {
            Ok(())
        }
    }

    pub(super) fn host_policy(
        &self,
        at: GuestHandle<SysctlCpuPolicy>,
        mut arg: SysctlCpuPolicy,
    ) -> Result<(), Errno> {
        if arg.index >= POLICIES {
            return Err(Errno::EINVAL);
        }
        let machine = &self.hv.machine;
        let policy = self.hv.policies.by_index(arg.index).map(AsRef::as_ref);
        (arg.nr_leaves, arg.nr_msrs) = write_policy(
            machine,
            policy,
            (arg.leaves, arg.nr_leaves),
            (arg.msrs, arg.nr_msrs),
        )?;
        machine.write(at, &arg)
    }
}

/// Writes a policy into the caller's lists, each with its room, and returns how many entries there are; for a list
/// without address, how many there can be. No policy has no entries.
///
/// # Errors
/// `ENOBUFS` if a list is too short.
pub(in crate::hypercall) fn write_policy(
    machine: &impl GuestMemory,
    policy: Option<&CpuPolicy>,
    leaves: (GuestHandle<CpuidLeaf>, u32),
    msrs: (GuestHandle<MsrEntry>, u32),
) -> Result<(u32, u32), Errno> {
    let leaf_list = policy.map(CpuPolicy::leaves).unwrap_or_default();
    let msr_list = policy.map(CpuPolicy::msrs);
    let msr_list = msr_list.as_ref().map_or(&[][..], |list| &list[..]);
    Ok((
        write_list(machine, &leaf_list, leaves, MAX_LEAVES)?,
        write_list(machine, msr_list, msrs, MAX_MSRS)?,
    ))
}

fn write_list<T: IntoBytes + Immutable>(
    machine: &impl GuestMemory,
    list: &[T],
    (to, room): (GuestHandle<T>, u32),
    most: usize,
) -> Result<u32, Errno> {
    if to.is_null() {
        return u32::try_from(most).map_err(|_| Errno::EINVAL);
    }
    let count = u32::try_from(list.len()).map_err(|_| Errno::EINVAL)?;
    if count > room {
        return Err(Errno::ENOBUFS);
    }
    for (i, entry) in (0..).zip(list) {
        machine.write_at(to, i, entry)?;
    }
    Ok(count)
}
