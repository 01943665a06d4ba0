//! Deadlines of each processor.
//!
//! A deadline sits in the heap of the processor that set it, so that programming the hardware is always local. At most
//! one deadline per key is in each heap, which bounds their number whatever guests ask for.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use core::fmt;

use hashbrown::HashMap;

use crate::domain::{Domain, Vcpu};
use crate::hypervisor::Hypervisor;
use crate::machine::Machine;
use crate::num::CpuId;
use crate::sync::{Rank, RankedMutex};

/// Something to be done at a time, outside the kinds that are listed.
pub trait TimerTask: fmt::Debug + Send + Sync {
    /// The deadline has passed. Returns the next one, if there is one.
    fn expire(&self, now_ns: u64) -> Option<u64>;
}

/// What happens at a deadline.
#[derive(Clone, Debug)]
pub enum Event {
    /// The one-shot timer of a vCPU.
    Singleshot(Weak<Vcpu>),
    /// The tick of a vCPU.
    Periodic(Weak<Vcpu>),
    /// The end of a SCHEDOP_poll.
    Poll(Weak<Vcpu>),
    /// The timer of the local APIC of a vCPU that runs in hardware.
    Lapic(Weak<Vcpu>),
    /// A watchdog of a domain, by slot.
    Watchdog(Weak<Domain>, usize),
    /// The time that domains have for the end of an interrupt, by its number.
    Interrupt(u32),
    /// The processor looks for errors in its banks.
    PollMachineChecks,
    /// Anything else.
    Task(Arc<dyn TimerTask>),
}

/// Tells deadlines apart.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct TimerKey {
    kind: u8,
    /// Address of the object, which the deadline keeps from being used for another, or a number.
    object: usize,
}

impl Event {
    /// The key: two events with the same one replace each other.
    #[must_use]
    pub fn key(&self) -> TimerKey {
        let (kind, object) = match self {
            Self::Singleshot(vcpu) => (0, vcpu.as_ptr().addr()),
            Self::Periodic(vcpu) => (1, vcpu.as_ptr().addr()),
            Self::Poll(vcpu) => (2, vcpu.as_ptr().addr()),
            Self::Task(task) => (3, Arc::as_ptr(task).addr()),
            Self::Interrupt(irq) => (6, *irq as usize),
            Self::PollMachineChecks => (7, 0),
            Self::Lapic(vcpu) => (8, vcpu.as_ptr().addr()),
            Self::Watchdog(domain, slot) => (4 | (*slot as u8 & 1), domain.as_ptr().addr()),
        };
        TimerKey { kind, object }
    }
}

/// Deadlines of one processor.
#[derive(Debug, Default)]
struct Heap {
    /// By deadline, and among equal ones in the order of arming.
    queue: BTreeMap<(u64, u64), Event>,
    places: HashMap<TimerKey, (u64, u64)>,
    armed: u64,
}

impl Heap {
    fn insert(&mut self, deadline_ns: u64, event: Event) {
        let key = event.key();
        self.remove(key);
        let place = (deadline_ns, self.armed);
        self.armed += 1;
        self.queue.insert(place, event);
        self.places.insert(key, place);
    }

    fn remove(&mut self, key: TimerKey) -> bool {
        self.places
            .remove(&key)
            .is_some_and(|place| self.queue.remove(&place).is_some())
    }

    fn first(&self) -> Option<u64> {
        self.queue
            .first_key_value()
            .map(|((deadline, _), _)| *deadline)
    }

    fn take_due(&mut self, now_ns: u64) -> Option<(u64, Event)> {
        let entry = self.queue.first_entry()?;
        let (deadline, _) = *entry.key();
        if deadline > now_ns {
            return None;
        }
        let event = entry.remove();
        self.places.remove(&event.key());
        Some((deadline, event))
    }
}

/// Deadlines of every processor.
#[derive(Debug)]
pub struct Timers {
    cpus: Box<[RankedMutex<Heap>]>,
}

impl Timers {
    /// No deadlines, on `cpus` processors.
    #[must_use]
    pub fn new(cpus: u32) -> Self {
        let mut heaps = Vec::new();
        heaps.resize_with(cpus.max(1) as usize, || {
            RankedMutex::new(Rank::Timers, Heap::default())
        });
        Self {
            cpus: heaps.into_boxed_slice(),
        }
    }

    /// Arms `event` on processor `cpu`, in place of one with the same key there. True if it is now the first there:
    /// the processor must be programmed.
    pub fn arm(&self, cpu: CpuId, deadline_ns: u64, event: Event) -> bool {
        let Some(heap) = self.cpus.get(cpu.0 as usize) else {
            return false;
        };
        let mut heap = heap.lock();
        heap.insert(deadline_ns, event);
        heap.first() == Some(deadline_ns)
    }

    /// Disarms the event of this key wherever it is, looking at processor `likely` first.
    pub fn disarm(&self, key: TimerKey, likely: CpuId) {
        let here = likely.0 as usize;
        if self
            .cpus
            .get(here)
            .is_some_and(|heap| heap.lock().remove(key))
        {
            return;
        }
        for (cpu, heap) in self.cpus.iter().enumerate() {
            if cpu != here && heap.lock().remove(key) {
                return;
            }
        }
    }

    /// The first deadline of `cpu`.
    #[must_use]
    pub fn first(&self, cpu: CpuId) -> Option<u64> {
        self.cpus.get(cpu.0 as usize)?.lock().first()
    }

    /// Takes one event of `cpu` whose deadline has passed, with the deadline.
    #[must_use]
    pub fn take_due(&self, cpu: CpuId, now_ns: u64) -> Option<(u64, Event)> {
        self.cpus.get(cpu.0 as usize)?.lock().take_due(now_ns)
    }

    /// Number of deadlines on `cpu`.
    #[must_use]
    pub fn armed_on(&self, cpu: CpuId) -> usize {
        self.cpus
            .get(cpu.0 as usize)
            .map_or(0, |heap| heap.lock().queue.len())
    }
}

impl<M: Machine> Hypervisor<M> {
    /// Arms `event` on this processor; one with the same key on another processor stays.
    pub fn arm_timer(&self, deadline_ns: u64, event: Event) {
        let cpu = self.machine.this_cpu();
        if self.timers.arm(cpu, deadline_ns, event) {
            self.program_timer(cpu);
        }
    }

    /// Does everything whose time has come on this processor, and programs its timer for the rest.
    pub fn run_timers(&self, cpu: CpuId) {
        // One reading for the whole run: what is armed from here on lies after it, so this ends.
        let now = self.machine.now_ns();
        while let Some((deadline, event)) = self.timers.take_due(cpu, now) {
            self.expire(cpu, deadline, event, now);
        }
        self.scheduler_tick(cpu, now);
        self.program_timer(cpu);
    }

    fn expire(&self, cpu: CpuId, deadline: u64, event: Event, now: u64) {
        match &event {
            Event::Singleshot(vcpu) => {
                if let Some(vcpu) = vcpu.upgrade() {
                    self.singleshot_expired(&vcpu, deadline);
                }
            }
            Event::Periodic(vcpu) => {
                if let Some(vcpu) = vcpu.upgrade() {
                    self.periodic_expired(&vcpu, deadline, now);
                }
            }
            Event::Poll(vcpu) => {
                if let Some(vcpu) = vcpu.upgrade() {
                    self.poll_expired(&vcpu, deadline);
                }
            }
            Event::Lapic(vcpu) => {
                if let Some(vcpu) = vcpu.upgrade() {
                    self.lapic_expired(&vcpu, deadline);
                }
            }
            Event::Watchdog(domain, slot) => {
                if let Some(domain) = domain.upgrade() {
                    self.watchdog_expired(&domain, *slot, deadline);
                }
            }
            Event::Interrupt(irq) => self.interrupt_timeout(*irq),
            Event::PollMachineChecks => self.poll_machine_checks(cpu),
            Event::Task(task) => {
                if let Some(next) = task.expire(now) {
                    self.timers.arm(cpu, next.max(now.saturating_add(1)), event);
                }
            }
        }
    }

    /// Programs this processor's timer for its first deadline or the end of the time slice.
    pub fn program_timer(&self, cpu: CpuId) {
        let first = self.timers.first(cpu);
        let slice = self.sched.slice_deadline(cpu);
        let deadline = match (first, slice) {
            (Some(first), Some(slice)) => Some(first.min(slice)),
            (first, slice) => first.or(slice),
        };
        self.machine.set_deadline(deadline);
    }
}
