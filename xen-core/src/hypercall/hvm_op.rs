//! `hvm_op`: guests that run in hardware, and those who serve them.
//!
//! Contract: public header hvm/hvm_op.h.

use alloc::sync::Arc;
use core::sync::atomic::Ordering;

use hypercall_abi::errno::Errno;
use hypercall_abi::guest_handle::GuestHandle;
use hypercall_abi::hvm::hvm_op::{
    HvmEvtchnUpcallVector, HvmGetMemType, HvmGetTime, HvmMemType, HvmOp, HvmPagetableDying,
    HvmParam,
};
use hypercall_abi::xen::DomId;

use super::Call;
use crate::domain::Domain;
use crate::guest::GuestAccess;
use crate::hvm::params::{ParamCaller, ParamEffect};
use crate::hvm::{HvmDomain, P2mKind};
use crate::machine::{CpuMask, Flush, Machine};
use crate::num::{Pfn, VcpuId};
use crate::outcome::{HypercallResult, Outcome};

/// SHUTDOWN_crash.
const SHUTDOWN_CRASH: u32 = 3;
/// The lowest vector that a local APIC takes.
const FIRST_VECTOR: u8 = 16;

impl<M: Machine> Call<'_, M> {
    pub(super) fn hvm_op(&mut self, cmd: u32, arg: GuestHandle<u8>) -> HypercallResult {
        let machine = &self.hv.machine;
        match HvmOp(cmd) {
            HvmOp::SET_PARAM => {
                let request: HvmParam = machine.read(arg.cast())?;
                self.set_param(&request)?;
            }
            HvmOp::GET_PARAM => {
                let mut request: HvmParam = machine.read(arg.cast())?;
                let target = self.hvm_target(request.domid)?;
                let asker = self.asker(&target);
                request.value = hvm_of(&target)?.params.lock().get(request.index, asker)?;
                machine.write(arg.cast(), &request)?;
            }
            HvmOp::FLUSH_TLBS => {
                if !arg.is_null() || !self.domain.is_translated() {
                    return Err(Errno::EINVAL.into());
                }
                let mask: CpuMask = *self.domain.dirty_cpus.lock();
                self.hv.mem.flush_tlb(machine, &mask, Flush::All);
            }
            HvmOp::PAGETABLE_DYING => {
                let request: HvmPagetableDying = machine.read(arg.cast())?;
                self.hvm_target(request.domid)?;
                // Only the hypervisor's own copies of a guest's tables would want to know, and there are none.
                return Err(Errno::EINVAL.into());
            }
            HvmOp::GET_TIME => {
                let now = HvmGetTime {
                    now: machine.now_ns(),
                };
                machine.write(arg.cast(), &now)?;
            }
            HvmOp::GET_MEM_TYPE => {
                let mut request: HvmGetMemType = machine.read(arg.cast())?;
                let target = self.hvm_target(request.domid)?;
                let mapped = hvm_of(&target)?.p2m.get(machine, Pfn(request.pfn));
                request.mem_type = match mapped.map(|mapped| mapped.kind) {
                    None | Some(P2mKind::Hole) => HvmMemType::MMIO_DM.0,
                    Some(P2mKind::RamReadOnly) => HvmMemType::RAM_RO.0,
                    Some(P2mKind::IoreqServer) => HvmMemType::IOREQ_SERVER.0,
                    Some(_) => HvmMemType::RAM_RW.0,
                };
                machine.write(arg.cast(), &request)?;
            }
            HvmOp::SET_EVTCHN_UPCALL_VECTOR => {
                let request: HvmEvtchnUpcallVector = machine.read(arg.cast())?;
                self.set_upcall_vector(request)?;
            }
            HvmOp::GUEST_REQUEST_VM_EVENT => {
                if !arg.is_null() || !self.domain.is_translated() {
                    return Err(Errno::EINVAL.into());
                }
            }
            HvmOp::ALTP2M => return Err(Errno::EOPNOTSUPP.into()),
            _ => return Err(Errno::ENOSYS.into()),
        }
        Ok(Outcome::Done(0))
    }

    /// The domain that a request names: the caller, or any for the control domain.
    fn hvm_target(&self, id: DomId) -> Result<Arc<Domain>, Errno> {
        let target = self.hv.domain(self.domain, id).ok_or(Errno::ESRCH)?;
        if !target.is_translated() {
            return Err(Errno::EINVAL);
        }
        if target.id != self.domain.id && !self.domain.privileges.control {
            return Err(Errno::EPERM);
        }
        Ok(target)
    }

    fn asker(&self, target: &Domain) -> ParamCaller {
        if target.id == self.domain.id {
            ParamCaller::Guest
        } else {
            ParamCaller::Toolstack
        }
    }

    fn set_param(&self, request: &HvmParam) -> Result<(), Errno> {
        let target = self.hvm_target(request.domid)?;
        let hvm = hvm_of(&target)?;
        let asker = self.asker(&target);
        let set = hvm
            .params
            .lock()
            .set(request.index, request.value, asker, hvm.facts());
        match set {
            Ok(ParamEffect::Callback(_)) => {
                if asker == ParamCaller::Guest
                    && let Some(own) = &self.ctx.hvm
                {
                    hvm.wide_shared_info
                        .store(own.state.is_64bit(), Ordering::SeqCst);
                }
            }
            Ok(_) => {}
            Err((errno, effect)) => {
                if effect == ParamEffect::Crash {
                    self.hv.shut_down(&target, SHUTDOWN_CRASH);
                }
                return Err(errno);
            }
        }
        Ok(())
    }

    fn set_upcall_vector(&self, request: HvmEvtchnUpcallVector) -> Result<(), Errno> {
        if !self.domain.is_translated() || request.vector < FIRST_VECTOR {
            return Err(Errno::EINVAL);
        }
        let vcpu = self
            .domain
            .vcpu(VcpuId(request.vcpu))
            .ok_or(Errno::ENOENT)?;
        let mailbox = vcpu.hvm.as_deref().ok_or(Errno::EINVAL)?;
        mailbox
            .upcall_vector
            .store(request.vector, Ordering::SeqCst);
        // What is pending already is told by the new way.
        let pending = vcpu
            .info()
            .is_some_and(|info| info.upcall_pending(&self.hv.machine));
        if pending {
            mailbox.upcall.store(true, Ordering::SeqCst);
            self.hv.wake(vcpu);
        }
        Ok(())
    }
}

fn hvm_of(domain: &Domain) -> Result<&HvmDomain, Errno> {
    domain.hvm.as_ref().ok_or(Errno::EINVAL)
}
