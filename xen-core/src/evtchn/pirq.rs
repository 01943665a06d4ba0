//! Ports bound to physical interrupts: the seam to `irq`.

use alloc::sync::Arc;

use hypercall_abi::errno::Errno;

use super::Binding;
use crate::domain::Domain;
use crate::hypervisor::Hypervisor;
use crate::machine::Machine;
use crate::num::{Pirq, Port, VcpuId};

impl<M: Machine> Hypervisor<M> {
    /// Binds a physical interrupt to a new port of `domain` and starts it.
    ///
    /// # Errors
    /// `EEXIST` if it is bound, `ENOSPC`, or what `irq` has against it.
    pub fn bind_pirq(&self, domain: &Arc<Domain>, pirq: Pirq, share: bool) -> Result<Port, Errno> {
        let events = &domain.events;
        let mut table = events.lock();
        if events.pirq_port(pirq).is_some() {
            return Err(Errno::EEXIST);
        }
        let port = events.allocate(&mut table, &self.machine, Binding::Pirq(pirq), VcpuId(0))?;
        // The port is complete before the interrupt starts: the first one may come at once.
        events.set_pirq_port(pirq, Some(port));
        // The table stays locked, so that no close of the port gets between. The lock order has `Irq` after it.
        if let Err(errno) = self.bind_pirq_irq(domain, pirq, share) {
            events.set_pirq_port(pirq, None);
            self.free_port(domain, &mut table, port);
            return Err(errno);
        }
        Ok(port)
    }

    /// Lets go of the interrupt behind a port that is being closed. The table is locked.
    pub(super) fn unbind_pirq(&self, domain: &Arc<Domain>, pirq: Pirq) {
        self.unbind_pirq_irq(domain, pirq);
        domain.events.set_pirq_port(pirq, None);
    }

    /// A physical interrupt arrived for `domain`; true if the guest has not even looked at the one before.
    pub fn pirq_event(&self, domain: &Arc<Domain>, pirq: Pirq) -> bool {
        let Some(port) = domain.events.pirq_port(pirq) else {
            return false;
        };
        let raised = self.raise_if(
            domain,
            port,
            |binding| matches!(binding, Binding::Pirq(bound) if *bound == pirq),
        );
        raised.is_some_and(|raised| !raised.newly_pending)
    }

    /// The vCPU that is told of a physical interrupt.
    pub(crate) fn pirq_vcpu(&self, domain: &Domain, pirq: Pirq) -> Option<VcpuId> {
        let port = domain.events.pirq_port(pirq)?;
        Some(domain.events.slot(port)?.lock().notify)
    }

    /// Unmasks the port of a physical interrupt, where the guest asked for that with the end of interrupt
    /// (PHYSDEVOP_pirq_eoi_gmfn_v1).
    pub fn unmask_pirq_event(&self, domain: &Domain, pirq: Pirq) {
        if let Some(port) = domain.events.pirq_port(pirq) {
            // The port exists: it is bound.
            let _ = self.unmask_event(domain, port);
        }
    }
}
