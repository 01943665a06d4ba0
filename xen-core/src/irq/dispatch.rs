//! From a vector to whoever wants to know: the seam between interrupts and event channels.

use hypercall_abi::errno::Errno;

use super::{KICK_VECTOR, PirqOwner, SERIAL_VECTOR, SPURIOUS_VECTOR, TIMER_VECTOR};
use crate::domain::Domain;
use crate::hypervisor::Hypervisor;
use crate::machine::Machine;
use crate::num::{CpuId, Pirq, VcpuId, Vector};

impl<M: Machine> Hypervisor<M> {
    /// An interrupt arrived on `cpu`. Acknowledges it and does what is due.
    pub fn handle_vector(&self, cpu: CpuId, vector: Vector) {
        match vector {
            // No EOI: the local APIC does not hold a spurious interrupt in service (SDM volume 3, 11.9).
            SPURIOUS_VECTOR => {}
            TIMER_VECTOR => {
                self.machine.eoi(vector);
                self.run_timers(cpu);
                self.announce_log();
            }
            KICK_VECTOR => self.machine.eoi(vector),
            SERIAL_VECTOR => {
                self.machine.eoi(vector);
                self.poll_console();
            }
            _ => self.device_interrupt(vector),
        }
    }

    fn device_interrupt(&self, vector: Vector) {
        let Some(arrival) = self.irqs.arrive(&self.machine, vector) else {
            return;
        };
        let mut all_pending = true;
        for (id, pirq) in arrival.targets() {
            let Some(domain) = self.domains.get(id) else {
                continue;
            };
            let port = domain.events.pirq_port(pirq);
            all_pending &= port.is_some_and(|port| self.event_pending_for_poll(&domain, port));
            self.pirq_event(&domain, pirq);
        }
        if all_pending && arrival.may_throttle {
            self.irqs.throttle(&self.machine, arrival.irq);
        }
    }

    /// Connects a PIRQ of `domain` to its interrupt, for EVTCHNOP_bind_pirq. May be called with the domain's
    /// event-channel lock held.
    ///
    /// # Errors
    /// As [`IrqTable::bind`](super::IrqTable::bind).
    pub fn bind_pirq_irq(&self, domain: &Domain, pirq: Pirq, share: bool) -> Result<(), Errno> {
        let cpu = self.interrupt_cpu(domain, VcpuId(0));
        self.irqs
            .bind(&self.machine, PirqOwner::of(domain), pirq, share, cpu)
    }

    /// Undoes [`Hypervisor::bind_pirq_irq`], when the port is closed.
    pub fn unbind_pirq_irq(&self, domain: &Domain, pirq: Pirq) {
        self.irqs.unbind(&self.machine, PirqOwner::of(domain), pirq);
    }

    /// The port of a PIRQ was bound to another vCPU: its interrupt follows.
    pub fn move_pirq_irq(&self, domain: &Domain, pirq: Pirq, vcpu: VcpuId) {
        let cpu = self.interrupt_cpu(domain, vcpu);
        self.irqs
            .retarget(&self.machine, PirqOwner::of(domain), pirq, cpu);
    }

    /// The domain has dealt with the interrupt of a PIRQ (PHYSDEVOP_eoi). True if its port is to be unmasked too.
    ///
    /// # Errors
    /// `EINVAL`: the domain has no such PIRQ.
    pub fn pirq_eoi(&self, domain: &Domain, pirq: Pirq) -> Result<bool, Errno> {
        self.irqs.eoi(&self.machine, PirqOwner::of(domain), pirq)
    }

    /// Gives up all interrupts of a domain that goes away.
    pub fn release_irqs(&self, domain: &Domain) {
        if let Some(mfn) = self.irqs.release(&self.machine, PirqOwner::of(domain)) {
            drop(self.mem.adopt_writable(mfn));
        }
        self.console.forget(domain.id);
    }

    fn interrupt_cpu(&self, domain: &Domain, vcpu: VcpuId) -> CpuId {
        let cpu = domain
            .vcpu(vcpu)
            .map(|vcpu| vcpu.cpu.load(core::sync::atomic::Ordering::Relaxed));
        let online = self.machine.online();
        cpu.map(CpuId)
            .filter(|&cpu| online.contains(cpu))
            .unwrap_or(self.machine.this_cpu())
    }
}
