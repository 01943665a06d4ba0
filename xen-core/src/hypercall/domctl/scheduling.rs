//! A domain's share of the processors, and where its vCPUs run.

use hypercall_abi::domctl::{
    DomctlSchedCredit2, DomctlSchedulerOp, DomctlSchedulerOpCmd, DomctlVcpuaffinity,
    VcpuAffinityFlags,
};
use hypercall_abi::errno::Errno;
use hypercall_abi::guest_handle::GuestHandle;

use super::vcpu::find;
use super::{Call, read_cpus, write_bitmap};
use crate::domain::Domain;
use crate::guest::GuestAccess;
use crate::machine::Machine;
use crate::sched::Policy;

impl<M: Machine> Call<'_, M> {
    /// XEN_DOMCTL_scheduler_op. Credit2 has parameters of domains, none of single vCPUs.
    pub(super) fn scheduling(
        &self,
        target: &Domain,
        at: GuestHandle<DomctlSchedulerOp>,
        mut arg: DomctlSchedulerOp,
    ) -> Result<(), Errno> {
        let hv = self.hv;
        if arg.sched_id != self.scheduler_id().0 {
            return Err(Errno::EINVAL);
        }
        let cmd = DomctlSchedulerOpCmd(arg.cmd);
        let of_domain = match cmd {
            DomctlSchedulerOpCmd::GETINFO | DomctlSchedulerOpCmd::PUTINFO => true,
            DomctlSchedulerOpCmd::GETVCPUINFO | DomctlSchedulerOpCmd::PUTVCPUINFO => false,
            _ => return Err(Errno::EINVAL),
        };
        if hv.sched.policy() == Policy::Null {
            // ABI: it has nothing to set, and says so by doing nothing.
            return hv.machine.write(at, &arg);
        }
        if !of_domain {
            return Err(Errno::EINVAL);
        }
        if cmd == DomctlSchedulerOpCmd::PUTINFO {
            let wish = arg.u.as_credit2();
            // ABI: no weight leaves the weight alone; no cap lifts the cap.
            target.sched.set_weight(wish.weight);
            hv.set_cap(target, wish.cap);
        } else {
            arg.u.set_credit2(DomctlSchedCredit2 {
                weight: target.sched.weight(),
                cap: target.sched.cap(),
            });
        }
        hv.machine.write(at, &arg)
    }

    /// XEN_DOMCTL_getvcpuaffinity: as it was set.
    pub(super) fn vcpu_affinity(
        &self,
        target: &Domain,
        arg: DomctlVcpuaffinity,
    ) -> Result<(), Errno> {
        let wanted = check(&arg)?;
        let vcpu = find(target, arg.vcpu)?;
        let machine = &self.hv.machine;
        let bits = self.nr_cpus();
        if wanted.contains(VcpuAffinityFlags::HARD) {
            let hard = vcpu.sched.hard_affinity();
            write_bitmap(machine, &arg.cpumap_hard, hard.words(), bits)?;
        }
        if wanted.contains(VcpuAffinityFlags::SOFT) {
            let soft = vcpu.sched.soft_affinity();
            write_bitmap(machine, &arg.cpumap_soft, soft.words(), bits)?;
        }
        Ok(())
    }

    /// XEN_DOMCTL_setvcpuaffinity. What comes back is what the scheduler goes by: processors that take part, and for
    /// the soft affinity only those of the hard one.
    pub(super) fn set_vcpu_affinity(
        &self,
        target: &Domain,
        arg: DomctlVcpuaffinity,
    ) -> Result<(), Errno> {
        let wanted = check(&arg)?;
        let vcpu = find(target, arg.vcpu)?;
        let hv = self.hv;
        let machine = &hv.machine;
        let bits = self.nr_cpus();
        if wanted.contains(VcpuAffinityFlags::FORCE) && vcpu.sched.unpin() {
            hv.affinity_changed(vcpu);
        }
        let online = hv.sched.online();
        let before = vcpu.sched.hard_affinity();
        if wanted.contains(VcpuAffinityFlags::HARD) {
            let hard = read_cpus(machine, &arg.cpumap_hard, bits)?;
            if hard.and(&online).is_empty() {
                return Err(Errno::EINVAL);
            }
            if vcpu.sched.pin_override().is_some() {
                return Err(Errno::EBUSY);
            }
            vcpu.sched.set_hard_affinity(&hard);
            hv.affinity_changed(vcpu);
            write_bitmap(machine, &arg.cpumap_hard, hard.and(&online).words(), bits)?;
        }
        if wanted.contains(VcpuAffinityFlags::SOFT) {
            let soft = read_cpus(machine, &arg.cpumap_soft, bits).and_then(|soft| {
                if vcpu.sched.pin_override().is_some() {
                    Err(Errno::EBUSY)
                } else {
                    Ok(soft)
                }
            });
            let soft = match soft {
                Ok(soft) => soft,
                Err(errno) => {
                    // ABI: a call that fails has changed nothing.
                    vcpu.sched.set_hard_affinity(&before);
                    hv.affinity_changed(vcpu);
                    return Err(errno);
                }
            };
            vcpu.sched.set_soft_affinity(&soft);
            hv.affinity_changed(vcpu);
            let effective = soft.and(&online).and(&vcpu.sched.hard_affinity());
            write_bitmap(machine, &arg.cpumap_soft, effective.words(), bits)?;
        }
        Ok(())
    }
}

/// Something is asked for, and there is room for the answer.
fn check(arg: &DomctlVcpuaffinity) -> Result<VcpuAffinityFlags, Errno> {
    let wanted = VcpuAffinityFlags::from_bits_retain(arg.flags);
    let lacks = |flag, at: GuestHandle<u8>| wanted.contains(flag) && at.is_null();
    if wanted.is_empty()
        || lacks(VcpuAffinityFlags::HARD, arg.cpumap_hard.bitmap)
        || lacks(VcpuAffinityFlags::SOFT, arg.cpumap_soft.bitmap)
    {
        return Err(Errno::EINVAL);
    }
    Ok(wanted)
}
