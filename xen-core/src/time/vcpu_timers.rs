//! Timers of a vCPU: one-shot, tick, and the end of a poll.
//!
//! The deadline in the vCPU is the truth. An entry of a heap that differs from it is a leftover and does nothing.

use alloc::sync::Arc;
use core::sync::atomic::{AtomicU64, Ordering};

use hypercall_abi::xen::Virq;

use super::Event;
use crate::domain::{Vcpu, VcpuFlags};
use crate::hypervisor::Hypervisor;
use crate::machine::Machine;

impl<M: Machine> Hypervisor<M> {
    /// Replaces a vCPU's deadline and its entry; 0 = none. `true` if a new one was armed.
    fn replace(&self, place: &AtomicU64, deadline_ns: u64, event: Event) {
        if place.swap(deadline_ns, Ordering::SeqCst) != 0 {
            self.timers.disarm(event.key(), self.machine.this_cpu());
        }
        if deadline_ns != 0 {
            self.arm_timer(deadline_ns, event);
        }
    }

    /// Arms the one-shot timer for an absolute time; one that has passed fires at once.
    pub fn set_singleshot(&self, vcpu: &Arc<Vcpu>, deadline_ns: u64) {
        // ABI: times are signed. One before the beginning has passed too.
        if deadline_ns <= self.machine.now_ns() || deadline_ns.cast_signed() < 0 {
            self.stop_singleshot(vcpu);
            self.send_virq(vcpu, Virq::TIMER);
            return;
        }
        self.replace(
            &vcpu.singleshot_ns,
            deadline_ns,
            Event::Singleshot(Arc::downgrade(vcpu)),
        );
    }

    /// Disarms the one-shot timer.
    pub fn stop_singleshot(&self, vcpu: &Arc<Vcpu>) {
        self.replace(
            &vcpu.singleshot_ns,
            0,
            Event::Singleshot(Arc::downgrade(vcpu)),
        );
    }

    pub(super) fn singleshot_expired(&self, vcpu: &Arc<Vcpu>, deadline_ns: u64) {
        if taken(&vcpu.singleshot_ns, deadline_ns, 0) {
            self.send_virq(vcpu, Virq::TIMER);
        }
    }

    /// Sets the period of the tick, and starts it if the vCPU is on a processor.
    pub fn set_periodic(&self, vcpu: &Arc<Vcpu>, period_ns: u64) {
        vcpu.period_ns.store(period_ns, Ordering::SeqCst);
        let next = if vcpu.is_running() {
            self.machine.now_ns().saturating_add(period_ns)
        } else {
            0
        };
        self.replace(
            &vcpu.period_next_ns,
            next,
            Event::Periodic(Arc::downgrade(vcpu)),
        );
    }

    /// Stops the tick.
    pub fn stop_periodic(&self, vcpu: &Arc<Vcpu>) {
        vcpu.period_ns.store(0, Ordering::SeqCst);
        self.replace(
            &vcpu.period_next_ns,
            0,
            Event::Periodic(Arc::downgrade(vcpu)),
        );
    }

    /// A vCPU with a tick comes to a processor: ticks go on. They count only the time on a processor; one that fell
    /// due meanwhile is delivered now.
    pub fn resume_periodic(&self, vcpu: &Arc<Vcpu>) {
        let period = vcpu.period_ns.load(Ordering::SeqCst);
        if period == 0 {
            return;
        }
        let now = self.machine.now_ns();
        let due = vcpu.period_next_ns.load(Ordering::SeqCst);
        if due == 0 || due <= now {
            if due != 0 {
                self.send_virq(vcpu, Virq::TIMER);
            }
            self.replace(
                &vcpu.period_next_ns,
                now.saturating_add(period),
                Event::Periodic(Arc::downgrade(vcpu)),
            );
        } else {
            self.replace(
                &vcpu.period_next_ns,
                due,
                Event::Periodic(Arc::downgrade(vcpu)),
            );
        }
    }

    pub(super) fn periodic_expired(&self, vcpu: &Arc<Vcpu>, deadline_ns: u64, now_ns: u64) {
        let period = vcpu.period_ns.load(Ordering::SeqCst);
        if vcpu.period_next_ns.load(Ordering::SeqCst) != deadline_ns || period == 0 {
            return;
        }
        // A vCPU that is off its processor gets the tick when it comes back: `resume_periodic` finds it due.
        if !vcpu.is_running() {
            return;
        }
        let next = now_ns.saturating_add(period);
        if taken(&vcpu.period_next_ns, deadline_ns, next) {
            self.arm_timer(next, Event::Periodic(Arc::downgrade(vcpu)));
            // One that waits on its processor is not woken by ticks.
            if vcpu.is_runnable() {
                self.send_virq(vcpu, Virq::TIMER);
            }
        }
    }

    /// Sets when the current SCHEDOP_poll ends without an event; 0 = never.
    pub fn set_poll_timeout(&self, vcpu: &Arc<Vcpu>, deadline_ns: u64) {
        self.replace(
            &vcpu.poll_deadline_ns,
            deadline_ns,
            Event::Poll(Arc::downgrade(vcpu)),
        );
    }

    /// Sets when the timer of the local APIC fires; 0 = not.
    pub(crate) fn set_lapic_deadline(&self, vcpu: &Arc<Vcpu>, deadline_ns: u64) {
        if let Some(mailbox) = vcpu.hvm.as_deref() {
            self.replace(
                &mailbox.lapic_deadline_ns,
                deadline_ns,
                Event::Lapic(Arc::downgrade(vcpu)),
            );
        }
    }

    pub(super) fn lapic_expired(&self, vcpu: &Arc<Vcpu>, deadline_ns: u64) {
        let Some(mailbox) = vcpu.hvm.as_deref() else {
            return;
        };
        if taken(&mailbox.lapic_deadline_ns, deadline_ns, 0) {
            mailbox.lapic_expired.store(true, Ordering::SeqCst);
            self.wake(vcpu);
        }
    }

    pub(super) fn poll_expired(&self, vcpu: &Arc<Vcpu>, deadline_ns: u64) {
        if taken(&vcpu.poll_deadline_ns, deadline_ns, 0)
            && vcpu.flags().contains(VcpuFlags::POLLING)
        {
            self.wake(vcpu);
        }
    }
}

/// Replaces the deadline that fired; false if it is not the current one.
fn taken(place: &AtomicU64, fired: u64, next: u64) -> bool {
    place
        .compare_exchange(fired, next, Ordering::SeqCst, Ordering::SeqCst)
        .is_ok()
}
