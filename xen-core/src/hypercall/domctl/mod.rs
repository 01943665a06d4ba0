//! `domctl`: what a toolstack does to a domain (public header domctl.h).
//!
//! Order of the checks: `EFAULT`, `EACCES` for another interface version, `ESRCH` for a domain that is not there,
//! `EPERM`, then the operation.

mod context;
mod hvm_context;
mod lifecycle;
mod memory;
mod permission;
mod scheduling;
mod settings;
mod vcpu;

use alloc::sync::Arc;
use core::sync::atomic::Ordering;

use hypercall_abi::domctl::{
    DOMCTL_INTERFACE_VERSION, Domctl, DomctlAddressSize, DomctlCmd, DomctlCpuPolicy,
    DomctlGetdomaininfo, DomctlMaxMem,
};
use hypercall_abi::errno::Errno;
use hypercall_abi::guest_handle::GuestHandle;
use hypercall_abi::xen::DomId;

use super::Call;
use super::sysctl::{read_cpus, write_bitmap, write_policy};
use crate::domain::{Domain, access};
use crate::guest::GuestAccess;
use crate::machine::Machine;
use crate::outcome::{HypercallResult, Outcome};

/// Where the domain stands in `struct xen_domctl`.
const DOMAIN: u64 = 8;
/// Where the union begins in `struct xen_domctl`.
const UNION: u64 = 16;

/// Width of a guest's addresses.
const ADDRESS_SIZE: u32 = 64;
/// Shift from KiB to frames.
const KIB_PER_PAGE_SHIFT: u32 = 2;
/// The nodes that memory comes from: the only one.
const NODES: [u64; 1] = [1];

impl<M: Machine> Call<'_, M> {
    pub(super) fn domctl(&mut self, handle: GuestHandle<Domctl>) -> HypercallResult {
        // What the toolstack hears should be what is.
        self.hv.forget_dead();
        let op: Domctl = self.hv.machine.read(handle)?;
        if op.interface_version != DOMCTL_INTERFACE_VERSION {
            return Err(Errno::EACCES.into());
        }
        // The one call whose number need not be a domain's.
        if op.cmd == DomctlCmd::GETDOMAININFO {
            if !access::may_list(self.domain) {
                return Err(Errno::EPERM.into());
            }
            return self.next_domain(handle.addr(), op.domain);
        }
        let target = match op.cmd {
            DomctlCmd::CREATEDOMAIN => None,
            _ => Some(self.hv.domains.get(op.domain).ok_or(Errno::ESRCH)?),
        };
        if !access::may_administer(self.domain) {
            return Err(Errno::EPERM.into());
        }
        let Some(target) = target else {
            let id = self.create(op.domain, &op.u.as_createdomain())?;
            let at = GuestHandle::from_addr(handle.addr().wrapping_add(DOMAIN));
            self.hv.machine.write(at, &id)?;
            return Ok(Outcome::Done(0));
        };
        self.act(&op, &target, handle.addr().wrapping_add(UNION))
    }

    fn act(&self, op: &Domctl, target: &Arc<Domain>, union: u64) -> HypercallResult {
        let hv = self.hv;
        let machine = &hv.machine;
        let at = GuestHandle::<u8>::from_addr(union);
        let is_self = target.id == self.domain.id;
        match op.cmd {
            DomctlCmd::DESTROYDOMAIN if is_self => return Err(Errno::EINVAL.into()),
            DomctlCmd::DESTROYDOMAIN => hv.destroy(target)?,
            DomctlCmd::MAX_VCPUS => self.create_vcpus(target, op.u.as_max_vcpus())?,
            DomctlCmd::RESUMEDOMAIN if is_self => return Err(Errno::EINVAL.into()),
            DomctlCmd::RESUMEDOMAIN => hv.resume(target)?,
            DomctlCmd::SETVCPUCONTEXT => self.set_context(target, op.u.as_vcpucontext())?,
            DomctlCmd::GETVCPUCONTEXT => self.get_context(target, op.u.as_vcpucontext())?,
            DomctlCmd::SET_EXT_VCPUCONTEXT => {
                self.set_extended_context(target, op.u.as_ext_vcpucontext())?;
            }
            DomctlCmd::GET_EXT_VCPUCONTEXT => {
                self.get_extended_context(target, at.cast(), op.u.as_ext_vcpucontext())?;
            }
            DomctlCmd::SETVCPUEXTSTATE => {
                self.set_extended_state(target, op.u.as_vcpuextstate())?;
            }
            DomctlCmd::GETVCPUEXTSTATE => {
                self.get_extended_state(target, at.cast(), op.u.as_vcpuextstate())?;
            }
            DomctlCmd::SET_VCPU_MSRS => self.set_msrs(target, at.cast(), op.u.as_vcpu_msrs())?,
            DomctlCmd::GET_VCPU_MSRS => self.get_msrs(target, at.cast(), op.u.as_vcpu_msrs())?,
            DomctlCmd::PAUSEDOMAIN if is_self => return Err(Errno::EINVAL.into()),
            DomctlCmd::PAUSEDOMAIN => hv.pause(target)?,
            DomctlCmd::UNPAUSEDOMAIN if is_self => return Err(Errno::EINVAL.into()),
            DomctlCmd::UNPAUSEDOMAIN => hv.unpause(target)?,
            DomctlCmd::GETVCPUINFO => self.vcpu_info(target, at.cast(), op.u.as_getvcpuinfo())?,
            DomctlCmd::GETVCPUAFFINITY => self.vcpu_affinity(target, op.u.as_vcpuaffinity())?,
            DomctlCmd::SETVCPUAFFINITY => {
                self.set_vcpu_affinity(target, op.u.as_vcpuaffinity())?;
            }
            DomctlCmd::SCHEDULER_OP => {
                self.scheduling(target, at.cast(), op.u.as_scheduler_op())?;
            }
            DomctlCmd::SETDOMAINHANDLE => {
                let arg = op.u.as_setdomainhandle();
                *target.handle.lock() = arg.handle;
            }
            DomctlCmd::MAX_MEM => set_max_memory(target, op.u.as_max_mem()),
            DomctlCmd::GET_ADDRESS_SIZE => {
                let answer = DomctlAddressSize { size: ADDRESS_SIZE };
                machine.write(at.cast(), &answer)?;
            }
            DomctlCmd::GETTSCINFO | DomctlCmd::SETTSCINFO if is_self => {
                return Err(Errno::EINVAL.into());
            }
            DomctlCmd::GETTSCINFO => machine.write(at.cast(), &self.tsc_info(target))?,
            DomctlCmd::SETTSCINFO => Self::set_tsc_info(target, op.u.as_tsc_info())?,
            DomctlCmd::SETNODEAFFINITY => self.set_node_affinity(&op.u.as_nodeaffinity())?,
            DomctlCmd::SET_ADDRESS_SIZE => Self::set_address_size(op.u.as_address_size())?,
            DomctlCmd::HYPERCALL_INIT => {
                self.fill_hypercall_page(target, op.u.as_hypercall_init())?;
            }
            DomctlCmd::SETTIMEOFFSET => {
                self.set_time_offset(target, op.u.as_settimeoffset().time_offset_seconds);
            }
            DomctlCmd::SETDEBUGGING if is_self => return Err(Errno::EINVAL.into()),
            DomctlCmd::SETDEBUGGING => {
                let on = op.u.as_setdebugging().enable != 0;
                target.debugged.store(on, Ordering::Relaxed);
            }
            DomctlCmd::SUBSCRIBE => {
                let port = op.u.as_subscribe().port;
                target.suspend_port.store(port, Ordering::Relaxed);
            }
            DomctlCmd::SENDTRIGGER => self.send_trigger(target, op.u.as_sendtrigger())?,
            DomctlCmd::SET_VIRQ_HANDLER => {
                self.set_virq_handler(target, op.u.as_set_virq_handler().virq)?;
            }
            DomctlCmd::SET_CPU_POLICY if is_self => return Err(Errno::EINVAL.into()),
            DomctlCmd::SET_CPU_POLICY => {
                self.set_policy(target, at.cast(), op.u.as_cpu_policy())?;
            }
            DomctlCmd::SHADOW_OP if is_self => return Err(Errno::EINVAL.into()),
            DomctlCmd::SHADOW_OP => Self::shadow_op(target, &op.u.as_shadow_op())?,
            DomctlCmd::IRQ_PERMISSION => self.permit_irq(target, op.u.as_irq_permission())?,
            DomctlCmd::IOMEM_PERMISSION => {
                self.permit_frames(target, op.u.as_iomem_permission())?;
            }
            DomctlCmd::IOPORT_PERMISSION => {
                self.permit_ports(target, op.u.as_ioport_permission())?;
            }
            // There is no IOMMU to give devices through.
            DomctlCmd::ASSIGN_DEVICE
            | DomctlCmd::TEST_ASSIGN_DEVICE
            | DomctlCmd::DEASSIGN_DEVICE
            | DomctlCmd::GET_DEVICE_GROUP => return Err(Errno::EOPNOTSUPP.into()),
            DomctlCmd::GETNODEAFFINITY => {
                write_bitmap(machine, &op.u.as_nodeaffinity().nodemap, &NODES, 1)?;
            }
            DomctlCmd::GET_CPU_POLICY => self.policy_of(target, at.cast(), op.u.as_cpu_policy())?,
            DomctlCmd::GETHVMCONTEXT => {
                self.get_hvm_context(target, at.cast(), op.u.as_hvmcontext())?
            }
            DomctlCmd::SETHVMCONTEXT => self.set_hvm_context(target, op.u.as_hvmcontext())?,
            DomctlCmd::GETHVMCONTEXT_PARTIAL => {
                self.get_hvm_record(target, at.cast(), op.u.as_hvmcontext_partial())?;
            }
            _ => self.memory_domctl(op, target, at).ok_or(Errno::ENOSYS)??,
        }
        Ok(Outcome::Done(0))
    }

    /// Describes the first domain whose number is not below `first`.
    fn next_domain(&self, op: u64, first: DomId) -> HypercallResult {
        if first >= DomId::FIRST_RESERVED {
            return Err(Errno::EINVAL.into());
        }
        let machine = &self.hv.machine;
        let domains = self.hv.domains.all();
        let domain = domains
            .iter()
            .find(|domain| domain.id >= first)
            .ok_or(Errno::ESRCH)?;
        let info = domain.info(machine.now_ns(), self.hv.policies.host.address_bits());
        let info_at = GuestHandle::<DomctlGetdomaininfo>::from_addr(op.wrapping_add(UNION));
        machine.write(info_at, &info)?;
        machine.write(GuestHandle::from_addr(op.wrapping_add(DOMAIN)), &domain.id)?;
        Ok(Outcome::Done(0))
    }

    fn policy_of(
        &self,
        target: &Domain,
        at: GuestHandle<DomctlCpuPolicy>,
        mut arg: DomctlCpuPolicy,
    ) -> Result<(), Errno> {
        let machine = &self.hv.machine;
        (arg.nr_leaves, arg.nr_msrs) = write_policy(
            machine,
            Some(&target.cpu_policy()),
            (arg.leaves, arg.nr_leaves),
            (arg.msrs, arg.nr_msrs),
        )?;
        machine.write(at, &arg)
    }
}

/// ABI: a limit below what the domain has is no error.
fn set_max_memory(target: &Domain, arg: DomctlMaxMem) {
    let pages = arg.max_memkb >> KIB_PER_PAGE_SHIFT;
    target
        .pages
        .set_max_pages(pages.min(u64::from(u32::MAX - 1)));
}

#[cfg(test)]
mod tests;
