//! `sysctl`: what a toolstack asks of the machine (public header sysctl.h).
//!
//! Order of the checks: `EFAULT`, `EACCES` for another interface version, `EPERM`, then the operation. Only the
//! operation's own part of the structure is written back.

mod console;
mod features;
mod machine;
mod pools;

use hypercall_abi::errno::Errno;
use hypercall_abi::guest_handle::GuestHandle;
use hypercall_abi::sysctl::{
    SYSCTL_INTERFACE_VERSION, Sysctl, SysctlCmd, SysctlCpuLevellingCaps, SysctlGetdomaininfolist,
    SysctlSchedId,
};

use super::Call;
use crate::domain::access;
use crate::guest::GuestAccess;
use crate::machine::Machine;
use crate::outcome::{HypercallResult, Outcome};

pub(super) use features::write_policy;
pub(super) use pools::{read_cpus, write_bitmap};

/// Where the union begins in `struct xen_sysctl`.
const UNION: u64 = 8;

impl<M: Machine> Call<'_, M> {
    pub(super) fn sysctl(&mut self, handle: GuestHandle<Sysctl>) -> HypercallResult {
        self.hv.forget_dead();
        let op: Sysctl = self.hv.machine.read(handle)?;
        if op.interface_version != SYSCTL_INTERFACE_VERSION {
            return Err(Errno::EACCES.into());
        }
        let listing = op.cmd == SysctlCmd::GETDOMAININFOLIST && access::may_list(self.domain);
        if !listing && !access::may_administer(self.domain) {
            return Err(Errno::EPERM.into());
        }
        let union = handle.addr().wrapping_add(UNION);
        let at = GuestHandle::<u8>::from_addr(union);
        match op.cmd {
            SysctlCmd::READCONSOLE => self.read_console(at.cast(), op.u.as_readconsole())?,
            SysctlCmd::PHYSINFO => self.hv.machine.write(at.cast(), &self.physinfo())?,
            SysctlCmd::SCHED_ID => {
                let answer = SysctlSchedId {
                    sched_id: self.scheduler_id(),
                };
                self.hv.machine.write(at.cast(), &answer)?;
            }
            SysctlCmd::GETDOMAININFOLIST => {
                self.list_domains(at.cast(), op.u.as_getdomaininfolist())?;
            }
            SysctlCmd::DEBUG_KEYS => {
                return self.press_keys(handle, at.cast(), op.u.as_debug_keys());
            }
            SysctlCmd::GETCPUINFO => self.idle_times(at.cast(), op.u.as_getcpuinfo())?,
            SysctlCmd::AVAILHEAP => self.available_memory(at.cast(), op.u.as_availheap())?,
            SysctlCmd::CPUTOPOINFO => self.cpu_topology(at.cast(), op.u.as_cputopoinfo())?,
            SysctlCmd::NUMAINFO => self.nodes(at.cast(), op.u.as_numainfo())?,
            SysctlCmd::CPUPOOL_OP => self.cpu_pools(at.cast(), op.u.as_cpupool_op())?,
            SysctlCmd::SCHEDULER_OP => self.global_scheduling(at.cast(), op.u.as_scheduler_op())?,
            SysctlCmd::GET_CPU_LEVELLING_CAPS => {
                // CPUID is not changed for domains one by one.
                let answer = SysctlCpuLevellingCaps { caps: 0 };
                self.hv.machine.write(at.cast(), &answer)?;
            }
            SysctlCmd::GET_CPU_FEATURESET => {
                self.host_features(at.cast(), op.u.as_cpu_featureset())?;
            }
            SysctlCmd::GET_CPU_POLICY => self.host_policy(at.cast(), op.u.as_cpu_policy())?,
            SysctlCmd::LIVEPATCH_OP => return Err(Errno::EOPNOTSUPP.into()),
            // Traces, counters, power statistics, hot-plug, taking frames out of use, profiles, coverage, cache
            // allocation and device nodes are not offered.
            _ => return Err(Errno::ENOSYS.into()),
        }
        Ok(Outcome::Done(0))
    }

    /// Domains by ascending number, from a first one on.
    fn list_domains(
        &self,
        at: GuestHandle<SysctlGetdomaininfolist>,
        mut arg: SysctlGetdomaininfolist,
    ) -> Result<(), Errno> {
        let machine = &self.hv.machine;
        let bits = self.hv.policies.host.address_bits();
        let first = arg.first_domain;
        let domains = self.hv.domains.all();
        let wanted = domains.iter().filter(|domain| domain.id.0 >= first.0);
        arg.num_domains = 0;
        for (i, domain) in (0..arg.max_domains).zip(wanted) {
            let info = domain.info(machine.now_ns(), bits);
            machine.write_at(arg.buffer, i.into(), &info)?;
            arg.num_domains = i + 1;
        }
        machine.write(at, &arg)
    }
}

#[cfg(test)]
mod tests;
