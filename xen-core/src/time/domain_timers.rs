//! Watchdogs of a domain (SCHEDOP_watchdog). `Domain::watchdogs` holds the deadlines that count.

use alloc::sync::Arc;
use core::sync::atomic::Ordering;

use hypercall_abi::sched::ShutdownReason;

use super::Event;
use crate::domain::Domain;
use crate::hypervisor::Hypervisor;
use crate::machine::Machine;

impl<M: Machine> Hypervisor<M> {
    /// Arms watchdog `slot`, whose deadline is noted in the domain.
    pub fn arm_watchdog(&self, domain: &Arc<Domain>, slot: usize, deadline_ns: u64) {
        self.disarm_watchdog(domain, slot);
        self.arm_timer(deadline_ns, Event::Watchdog(Arc::downgrade(domain), slot));
    }

    /// Disarms watchdog `slot`.
    pub fn disarm_watchdog(&self, domain: &Arc<Domain>, slot: usize) {
        let key = Event::Watchdog(Arc::downgrade(domain), slot).key();
        self.timers.disarm(key, self.machine.this_cpu());
    }

    pub(super) fn watchdog_expired(&self, domain: &Arc<Domain>, slot: usize, deadline_ns: u64) {
        let current = domain
            .watchdogs
            .get(slot)
            .map(|place| place.load(Ordering::SeqCst));
        if current == Some(deadline_ns) {
            self.print(format_args!(
                "Watchdog timer fired for domain {}",
                domain.id.0
            ));
            self.shut_down(domain, ShutdownReason::WATCHDOG.0);
        }
    }
}
