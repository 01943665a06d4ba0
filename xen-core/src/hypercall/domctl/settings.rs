//! Small properties of a domain that the toolstack sets before it runs, and signals to it.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::Ordering;

use hypercall_abi::domctl::{
    DomctlAddressSize, DomctlCpuPolicy, DomctlHypercallInit, DomctlNodeaffinity, DomctlSendtrigger,
    DomctlShadowOp, DomctlTscInfo, SendTrigger, ShadowEnable, ShadowLogdirty, ShadowOpCmd,
};
use hypercall_abi::errno::Errno;
use hypercall_abi::guest_handle::GuestHandle;
use hypercall_abi::xen::Virq;
use zerocopy::{FromBytes, IntoBytes};

use super::{ADDRESS_SIZE, Call, NODES};
use crate::cpu_policy::{MAX_LEAVES, MAX_MSRS, PolicyError};
use crate::dom0::hypercall_page;
use crate::domain::{Domain, VcpuFlags};
use crate::guest::GuestAccess;
use crate::machine::Machine;
use crate::num::{Mfn, VcpuId};

/// The TSC of the machine, and emulation where the frequency differs (XEN_CPUID_TSC_MODE_DEFAULT).
const TSC_DEFAULT: u32 = 0;
/// XEN_CPUID_TSC_MODE_ALWAYS_EMULATE.
const TSC_ALWAYS_EMULATE: u32 = 1;
/// XEN_CPUID_TSC_MODE_NEVER_EMULATE.
const TSC_NEVER_EMULATE: u32 = 2;

impl<M: Machine> Call<'_, M> {
    /// Only 64-bit guests.
    pub(super) fn set_address_size(arg: DomctlAddressSize) -> Result<(), Errno> {
        match arg.size {
            ADDRESS_SIZE => Ok(()),
            32 => Err(Errno::EOPNOTSUPP),
            _ => Err(Errno::EINVAL),
        }
    }

    pub(super) fn fill_hypercall_page(
        &self,
        target: &Domain,
        arg: DomctlHypercallInit,
    ) -> Result<(), Errno> {
        let mfn = Mfn(arg.gmfn);
        let mem = &self.hv.mem;
        let _page = mem.get_page(mfn, target.id).ok_or(Errno::EINVAL)?;
        let page = mem.get_writable(mfn, target.id).map_err(|_| Errno::EPERM)?;
        self.hv
            .machine
            .write_frame(page.mfn(), 0, &hypercall_page::bytes());
        Ok(())
    }

    pub(super) fn set_time_offset(&self, target: &Domain, seconds: i64) {
        target
            .time_offset_s
            .store(seconds.cast_unsigned(), Ordering::Relaxed);
        self.hv.publish_wallclock(target);
    }

    /// All memory is of one node, which must be among those allowed.
    pub(super) fn set_node_affinity(&self, arg: &DomctlNodeaffinity) -> Result<(), Errno> {
        let map = &arg.nodemap;
        let mut bits = 0u8;
        if map.nr_bits != 0 {
            bits = self.hv.machine.read_at(map.bitmap, 0)?;
        }
        if u64::from(bits) & NODES[0] == 0 {
            return Err(Errno::EINVAL);
        }
        Ok(())
    }

    pub(super) fn send_trigger(
        &self,
        target: &Arc<Domain>,
        arg: DomctlSendtrigger,
    ) -> Result<(), Errno> {
        let vcpu = target.vcpu(VcpuId(arg.vcpu)).ok_or(Errno::ESRCH)?;
        match SendTrigger(arg.trigger) {
            SendTrigger::NMI => {
                vcpu.set_flags(VcpuFlags::NMI_PENDING);
                self.hv.wake(vcpu);
                Ok(())
            }
            // PV guests have no buttons.
            SendTrigger::POWER | SendTrigger::SLEEP => Err(Errno::EINVAL),
            _ => Err(Errno::ENOSYS),
        }
    }

    /// Makes `target` the receiver of a VIRQ of which there is one in the machine.
    pub(super) fn set_virq_handler(&self, target: &Domain, virq: Virq) -> Result<(), Errno> {
        if crate::evtchn::is_global(virq) != Some(true) {
            return Err(Errno::EINVAL);
        }
        self.hv.domains.set_virq_handler(virq, target.id);
        Ok(())
    }

    /// Guests have the machine's counter; what is asked for is remembered for the next host.
    pub(super) fn set_tsc_info(target: &Domain, arg: DomctlTscInfo) -> Result<(), Errno> {
        // Its counter is the machine's, whatever is asked for.
        if target.privileges.hardware {
            return Ok(());
        }
        match arg.tsc_mode {
            TSC_DEFAULT | TSC_NEVER_EMULATE => {}
            TSC_ALWAYS_EMULATE => return Err(Errno::EOPNOTSUPP),
            _ => return Err(Errno::EINVAL),
        }
        target.tsc_mode.store(arg.tsc_mode, Ordering::Relaxed);
        target
            .tsc_incarnation
            .store(arg.incarnation.wrapping_add(1), Ordering::Relaxed);
        Ok(())
    }

    pub(super) fn tsc_info(&self, target: &Domain) -> DomctlTscInfo {
        let machine = &self.hv.machine;
        let tsc_mode = target.tsc_mode.load(Ordering::Relaxed);
        let (mut gtsc_khz, mut elapsed_nsec) = (0, 0);
        if tsc_mode != TSC_NEVER_EMULATE {
            let scale = machine.tsc_scale();
            let ticks = u128::from(machine.tsc());
            let shifted = if scale.shift < 0 {
                ticks >> scale.shift.unsigned_abs().min(127)
            } else {
                ticks << scale.shift.unsigned_abs().min(31)
            };
            let elapsed = shifted.saturating_mul(scale.mul.into()) >> 32;
            gtsc_khz = u32::try_from(machine.tsc_khz()).unwrap_or(u32::MAX);
            elapsed_nsec = u64::try_from(elapsed).unwrap_or(u64::MAX);
        }
        DomctlTscInfo {
            tsc_mode,
            gtsc_khz,
            incarnation: target.tsc_incarnation.load(Ordering::Relaxed),
            pad: 0,
            elapsed_nsec,
        }
    }

    pub(super) fn set_policy(
        &self,
        target: &Domain,
        at: GuestHandle<DomctlCpuPolicy>,
        mut arg: DomctlCpuPolicy,
    ) -> Result<(), Errno> {
        if target.has_run() {
            return Err(Errno::EEXIST);
        }
        self.replace_policy(target, &arg).or_else(|error| {
            (arg.err_leaf, arg.err_subleaf) = (error.leaf, error.subleaf);
            arg.err_msr = error.msr;
            self.hv.machine.write(at, &arg)?;
            Err(error.errno)
        })
    }

    fn replace_policy(&self, target: &Domain, arg: &DomctlCpuPolicy) -> Result<(), PolicyError> {
        let leaves = self.read_list(arg.leaves, arg.nr_leaves, MAX_LEAVES);
        let msrs = self.read_list(arg.msrs, arg.nr_msrs, MAX_MSRS);
        let leaves = leaves.map_err(PolicyError::from)?;
        let msrs = msrs.map_err(PolicyError::from)?;
        let wish = target.cpu_policy().overlaid(&leaves, &msrs)?;
        let policy = if target.is_translated() {
            self.hv.policies.guest_hvm(&wish)?
        } else {
            self.hv.policies.guest(&wish)?
        };
        target.set_cpu_policy(policy).map_err(PolicyError::from)
    }

    fn read_list<T: FromBytes + IntoBytes>(
        &self,
        from: GuestHandle<T>,
        count: u32,
        most: usize,
    ) -> Result<Vec<T>, Errno> {
        if count as usize > most {
            return Err(Errno::E2BIG);
        }
        (0..u64::from(count))
            .map(|i| self.hv.machine.read_at(from, i))
            .collect()
    }

    /// Writes to PV guests' memory are not logged and they have no pool of paging memory: what Xen without shadow paging
    /// answers.
    pub(super) fn shadow_op(target: &Domain, arg: &DomctlShadowOp) -> Result<(), Errno> {
        if target.ending.lock().dying {
            return Ok(());
        }
        let _ = target.vcpu(VcpuId(0)).ok_or(Errno::EINVAL)?;
        match ShadowOpCmd(arg.op) {
            ShadowOpCmd::ENABLE_LOGDIRTY => Err(Errno::EOPNOTSUPP),
            ShadowOpCmd::ENABLE if arg.mode & ShadowEnable::LOG_DIRTY.bits() != 0 => {
                Err(Errno::EOPNOTSUPP)
            }
            ShadowOpCmd::CLEAN | ShadowOpCmd::PEEK
                if arg.mode & !ShadowLogdirty::FINAL.bits() == 0 =>
            {
                Err(Errno::EOPNOTSUPP)
            }
            _ => Err(Errno::EINVAL),
        }
    }
}
