//! From a vector to whoever wants to know: the seam between interrupts and event channels.

use alloc::sync::Arc;

use hypercall_abi::errno::Errno;

use super::{KICK_VECTOR, PirqOwner, SERIAL_VECTOR, SPURIOUS_VECTOR, TIMER_VECTOR};
use crate::console::Level;
use crate::domain::Domain;
use crate::hypervisor::Hypervisor;
use crate::machine::Machine;
use crate::num::{CpuId, Pirq, VcpuId, Vector};
use crate::time::Event;

impl<M: Machine> Hypervisor<M> {
    /// An interrupt arrived on `cpu`, which executes this. Acknowledges it and does what is due.
    pub fn handle_vector(&self, cpu: CpuId, vector: Vector) {
        match vector {
            // No EOI: the local APIC does not hold a spurious interrupt in service (SDM volume 3, 11.9).
            SPURIOUS_VECTOR => {}
            TIMER_VECTOR => {
                self.machine.eoi(vector);
                self.run_timers(cpu);
                self.announce_log();
            }
            KICK_VECTOR => {
                self.machine.eoi(vector);
                self.irqs.settle(&self.machine, cpu);
            }
            SERIAL_VECTOR => {
                self.machine.eoi(vector);
                self.poll_console();
            }
            _ => self.device_interrupt(cpu, vector),
        }
    }

    fn device_interrupt(&self, cpu: CpuId, vector: Vector) {
        let now = self.machine.now_ns();
        let Some(arrival) = self.irqs.arrive(&self.machine, cpu, vector, now) else {
            self.report_irqs();
            return;
        };
        let mut due = arrival.due_ns;
        let mut all_pending = true;
        let mut first = None;
        for (id, pirq) in arrival.targets() {
            let Some(domain) = self.domains.get(id) else {
                continue;
            };
            let port = domain.events.pirq_port(pirq);
            all_pending &= port.is_some_and(|port| self.event_pending_for_poll(&domain, port));
            self.pirq_event(&domain, pirq);
            first.get_or_insert((domain, pirq));
        }
        if all_pending && arrival.may_throttle {
            let throttled = self.irqs.throttle(&self.machine, arrival.irq, now);
            due = due.max(throttled);
        }
        if let Some(due) = due {
            self.arm_timer(due, Event::Interrupt(arrival.irq));
        }
        if let Some(old) = arrival.clean_on {
            self.machine.kick(old);
        }
        if let Some((domain, pirq)) = first {
            self.follow_vcpu(cpu, arrival.irq, &domain, pirq);
        }
    }

    /// The vCPU that an interrupt is for may have moved to another processor.
    fn follow_vcpu(&self, cpu: CpuId, irq: u32, domain: &Arc<Domain>, pirq: Pirq) {
        let Some(vcpu) = self.pirq_vcpu(domain, pirq) else {
            return;
        };
        let wanted = self.interrupt_cpu(domain, vcpu);
        if wanted != cpu
            && self
                .irqs
                .follow(&self.machine, irq, wanted, self.machine.now_ns())
        {
            self.pirq_event(domain, pirq);
        }
    }

    /// The time is over that domains have for the end of an interrupt.
    pub(crate) fn interrupt_timeout(&self, irq: u32) {
        let again = self.irqs.expire(&self.machine, irq, self.machine.now_ns());
        if let Some(due) = again {
            self.arm_timer(due, Event::Interrupt(irq));
        }
        self.report_irqs();
    }

    /// Tells the log what went wrong with interrupts.
    fn report_irqs(&self) {
        while let Some(line) = self.irqs.take_news() {
            self.print_at(Level::Warning, format_args!("{line}"));
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
    pub fn move_pirq_irq(&self, domain: &Arc<Domain>, pirq: Pirq, vcpu: VcpuId) {
        let cpu = self.interrupt_cpu(domain, vcpu);
        let (owner, now) = (PirqOwner::of(domain), self.machine.now_ns());
        if self.irqs.retarget(&self.machine, owner, pirq, cpu, now) {
            self.pirq_event(domain, pirq);
        }
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
        let reachable = self.machine.interrupt_cpus();
        cpu.map(CpuId)
            .filter(|&cpu| reachable.contains(cpu))
            .unwrap_or(self.machine.this_cpu())
    }
}
