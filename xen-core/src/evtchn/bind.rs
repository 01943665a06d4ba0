//! Binding ports, and what concerns one bound port.

use alloc::sync::Arc;

use hypercall_abi::errno::Errno;
use hypercall_abi::event_channel::FIFO_PRIORITY_MIN;
use hypercall_abi::xen::{DomId, Virq};

use super::Binding;
use super::virq::is_global;
use crate::domain::Domain;
use crate::hypervisor::Hypervisor;
use crate::machine::Machine;
use crate::num::{Port, VcpuId};

/// What EVTCHNOP_status tells of a port.
#[derive(Clone, Debug)]
pub struct PortStatus {
    /// What it is bound to.
    pub binding: Binding,
    /// Who is told.
    pub notify: VcpuId,
}

impl<M: Machine> Hypervisor<M> {
    /// Allocates a port of `domain` to which `remote` may connect.
    ///
    /// # Errors
    /// `ENOSPC` if no port is free.
    pub fn alloc_unbound(&self, domain: &Domain, remote: DomId) -> Result<Port, Errno> {
        let mut table = domain.events.lock();
        domain.events.allocate(
            &mut table,
            &self.machine,
            Binding::Unbound { remote },
            VcpuId(0),
        )
    }

    /// Allocates a port for events to vCPU `vcpu` from others of the same domain.
    ///
    /// # Errors
    /// `ENOENT` if there is no such vCPU, `ENOSPC`.
    pub fn bind_ipi(&self, domain: &Domain, vcpu: VcpuId) -> Result<Port, Errno> {
        domain.vcpu(vcpu).ok_or(Errno::ENOENT)?;
        let mut table = domain.events.lock();
        domain
            .events
            .allocate(&mut table, &self.machine, Binding::Ipi, vcpu)
    }

    /// Binds a virtual interrupt of vCPU `vcpu`.
    ///
    /// # Errors
    /// `EINVAL` for a number that does not exist or a global one on another vCPU than 0, `ENOENT` if there is no such
    /// vCPU, `EEXIST` if it is bound, `ENOSPC`.
    pub fn bind_virq(&self, domain: &Domain, virq: Virq, vcpu: VcpuId) -> Result<Port, Errno> {
        let global = is_global(virq).ok_or(Errno::EINVAL)?;
        if global && vcpu.0 != 0 {
            return Err(Errno::EINVAL);
        }
        domain.vcpu(vcpu).ok_or(Errno::ENOENT)?;
        let events = &domain.events;
        events.prepare_vcpus(domain.max_vcpus());
        let mut table = events.lock();
        if events.virq_port(vcpu, virq).is_some() {
            return Err(Errno::EEXIST);
        }
        let port = events.allocate(&mut table, &self.machine, Binding::Virq(virq), vcpu)?;
        events.set_virq_port(vcpu, virq, Some(port));
        Ok(port)
    }

    /// Chooses the vCPU that is told of events on `port`. A selector bit that is set already is not moved.
    ///
    /// # Errors
    /// `ENOENT` if there is no such vCPU, `EINVAL` for a port that is not bound or bound to one vCPU by nature.
    pub fn bind_vcpu(&self, domain: &Arc<Domain>, port: Port, vcpu: VcpuId) -> Result<(), Errno> {
        domain.vcpu(vcpu).ok_or(Errno::ENOENT)?;
        let mut channel = domain.events.slot(port).ok_or(Errno::EINVAL)?.lock();
        match channel.binding {
            Binding::Virq(virq) if is_global(virq) != Some(true) => return Err(Errno::EINVAL),
            Binding::Virq(_)
            | Binding::Unbound { .. }
            | Binding::Interdomain(_)
            | Binding::Pirq(_) => {}
            Binding::Free | Binding::Reserved | Binding::Ipi => return Err(Errno::EINVAL),
        }
        channel.notify = vcpu;
        let pirq = if let Binding::Pirq(pirq) = channel.binding {
            Some(pirq)
        } else {
            None
        };
        drop(channel);
        if let Some(pirq) = pirq {
            self.move_pirq_irq(domain, pirq, vcpu);
        }
        Ok(())
    }

    /// What `port` is bound to.
    ///
    /// # Errors
    /// `EINVAL` if the port does not exist.
    pub fn port_status(&self, domain: &Domain, port: Port) -> Result<PortStatus, Errno> {
        let channel = domain.events.slot(port).ok_or(Errno::EINVAL)?.lock();
        Ok(PortStatus {
            binding: channel.binding.clone(),
            notify: channel.notify,
        })
    }

    /// Chooses the queue in which `port` is linked from now on.
    ///
    /// # Errors
    /// `EINVAL` for a port or priority that does not exist, `ENOSYS` in the 2-level format, `EACCES` for a port that is
    /// not bound.
    pub fn set_port_priority(
        &self,
        domain: &Domain,
        port: Port,
        priority: u32,
    ) -> Result<(), Errno> {
        let mut channel = domain.events.slot(port).ok_or(Errno::EINVAL)?.lock();
        if !domain.events.fifo.is_active() {
            return Err(Errno::ENOSYS);
        }
        if !channel.binding.is_usable() {
            return Err(Errno::EACCES);
        }
        if priority > FIFO_PRIORITY_MIN {
            return Err(Errno::EINVAL);
        }
        channel.fifo.priority = priority;
        Ok(())
    }
}
