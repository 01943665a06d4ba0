//! The one pool of processors and its scheduler.

use hypercall_abi::domctl::SchedulerId;
use hypercall_abi::errno::Errno;
use hypercall_abi::guest_handle::GuestHandle;
use hypercall_abi::sysctl::{
    CpupoolOpCmd, SYSCTL_CPUPOOL_PAR_ANY, SYSCTL_SCHED_RATELIMIT_MAX, SYSCTL_SCHED_RATELIMIT_MIN,
    SysctlCpupoolOp, SysctlCredit2Schedule, SysctlSchedulerOp, SysctlSchedulerOpCmd,
};
use hypercall_abi::xen::{DomId, XenctlBitmap};

use super::Call;
use crate::guest::GuestAccess;
use crate::machine::{CpuMask, GuestMemory, Machine};
use crate::num::CpuId;
use crate::sched::Policy;

/// The pool that every domain and every processor is in.
const POOL: u32 = 0;
/// The most bits of a caller's bitmap that are filled in.
const MAX_BITMAP_BITS: u32 = 1 << 16;

impl<M: Machine> Call<'_, M> {
    /// What the scheduler is called.
    pub(in crate::hypercall) fn scheduler_id(&self) -> SchedulerId {
        match self.hv.sched.policy() {
            Policy::Credit2 => SchedulerId::CREDIT2,
            Policy::Null => SchedulerId::NULL,
        }
    }

    pub(super) fn cpu_pools(
        &self,
        at: GuestHandle<SysctlCpupoolOp>,
        mut arg: SysctlCpupoolOp,
    ) -> Result<(), Errno> {
        let hv = self.hv;
        match arg.op {
            CpupoolOpCmd::INFO => {
                if arg.cpupool_id > POOL {
                    return Err(Errno::ENOENT);
                }
                arg.cpupool_id = POOL;
                arg.sched_id = self.scheduler_id().0;
                arg.n_dom = u32::try_from(hv.domains.all().len()).unwrap_or(u32::MAX);
                let cpus = hv.sched.online();
                write_bitmap(&hv.machine, &arg.cpumap, cpus.words(), self.nr_cpus())?;
                hv.machine.write(at, &arg)
            }
            CpupoolOpCmd::FREEINFO => {
                let none = CpuMask::EMPTY;
                write_bitmap(&hv.machine, &arg.cpumap, none.words(), self.nr_cpus())
            }
            CpupoolOpCmd::MOVEDOMAIN => {
                let id = u16::try_from(arg.domid).map_err(|_| Errno::ESRCH)?;
                let domain = hv.domains.get(DomId(id)).ok_or(Errno::ESRCH)?;
                if domain.id == self.domain.id {
                    return Err(Errno::EPERM);
                }
                self.only_pool(arg.cpupool_id)
            }
            // There is one pool for good: others cannot be made, and it does not give its processors away.
            CpupoolOpCmd::CREATE => Err(Errno::EINVAL),
            CpupoolOpCmd::DESTROY => self.only_pool(arg.cpupool_id).and(Err(Errno::EBUSY)),
            CpupoolOpCmd::ADDCPU if arg.cpu >= self.nr_cpus() => Err(Errno::EINVAL),
            CpupoolOpCmd::ADDCPU => Err(Errno::EBUSY),
            CpupoolOpCmd::RMCPU => {
                self.only_pool(arg.cpupool_id)?;
                if arg.cpu != SYSCTL_CPUPOOL_PAR_ANY && arg.cpu >= self.nr_cpus() {
                    return Err(Errno::EINVAL);
                }
                Err(Errno::EBUSY)
            }
            _ => Err(Errno::ENOSYS),
        }
    }

    fn only_pool(&self, id: u32) -> Result<(), Errno> {
        if id == POOL {
            Ok(())
        } else {
            Err(Errno::ENOENT)
        }
    }

    pub(super) fn global_scheduling(
        &self,
        at: GuestHandle<SysctlSchedulerOp>,
        mut arg: SysctlSchedulerOp,
    ) -> Result<(), Errno> {
        let cmd = SysctlSchedulerOpCmd(arg.cmd);
        if cmd != SysctlSchedulerOpCmd::PUTINFO && cmd != SysctlSchedulerOpCmd::GETINFO {
            return Err(Errno::EINVAL);
        }
        if arg.cpupool_id != POOL {
            return Err(Errno::ESRCH);
        }
        if arg.sched_id != self.scheduler_id().0 {
            return Err(Errno::EINVAL);
        }
        let sched = &self.hv.sched;
        if sched.policy() == Policy::Null {
            // ABI: it has nothing to set, and says so by doing nothing.
            return self.hv.machine.write(at, &arg);
        }
        if cmd == SysctlSchedulerOpCmd::PUTINFO {
            let us = arg.u.as_sched_credit2().ratelimit_us;
            let range = SYSCTL_SCHED_RATELIMIT_MIN..=SYSCTL_SCHED_RATELIMIT_MAX;
            if us != 0 && !range.contains(&us) {
                return Err(Errno::EINVAL);
            }
            sched.set_ratelimit_us(us);
        }
        // ABI: what is in force comes back either way.
        arg.u.set_sched_credit2(SysctlCredit2Schedule {
            ratelimit_us: sched.ratelimit_us(),
        });
        self.hv.machine.write(at, &arg)
    }
}

/// Fills in a caller's bitmap, of which `bits` bits mean something; the rest of it becomes zero.
///
/// # Errors
/// `EFAULT`; `EINVAL` for a bitmap that nothing needs to be as long as.
pub(in crate::hypercall) fn write_bitmap(
    machine: &impl GuestMemory,
    to: &XenctlBitmap,
    words: &[u64],
    bits: u32,
) -> Result<(), Errno> {
    if to.nr_bits > MAX_BITMAP_BITS {
        return Err(Errno::EINVAL);
    }
    for byte in 0..to.nr_bits.div_ceil(8) {
        let word = words.get(byte as usize / 8).copied().unwrap_or(0);
        let mut value = word.to_le_bytes()[byte as usize % 8];
        let meaningful = bits.saturating_sub(byte * 8).min(8);
        value &= ((1u16 << meaningful) - 1) as u8;
        machine.write_at(to.bitmap, byte.into(), &value)?;
    }
    Ok(())
}

/// Reads a caller's bitmap of processors; what it is too short for is not in the set.
///
/// # Errors
/// `EFAULT`.
pub(in crate::hypercall) fn read_cpus(
    machine: &impl GuestMemory,
    from: &XenctlBitmap,
    bits: u32,
) -> Result<CpuMask, Errno> {
    let mut mask = CpuMask::EMPTY;
    let count = from.nr_bits.min(bits).min(CpuMask::CAPACITY);
    for byte in 0..count.div_ceil(8) {
        let value: u8 = machine.read_at(from.bitmap, byte.into())?;
        for cpu in (byte * 8..count).take(8) {
            if value & 1 << (cpu % 8) != 0 {
                mask.insert(CpuId(cpu));
            }
        }
    }
    Ok(mask)
}
