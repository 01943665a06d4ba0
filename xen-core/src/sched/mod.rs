//! Who runs next.
//!
//! Every processor has a run queue with a lock of its own. The policy is Xen's credit2 in what it promises, proportional
//! share by weight with caps, soft and hard affinity, or `sched=null`: one vCPU per processor. Nothing here touches the
//! machine: [`Scheduler`] is told the time and who stops, and answers who runs and which processor must look. Everyone
//! wakes a vCPU through [`Hypervisor::wake`](crate::hypervisor::Hypervisor::wake), never by touching a queue.
//!
//! Whoever runs next is *claimed* ([`Vcpu::claim`]) while its queue is locked. A vCPU is claimed until its context is
//! parked, so that no two processors ever run one.

mod accounts;
mod decide;
mod describe;
mod idle;
mod null;
mod pick;
mod placement;
mod processor;
mod runqueue;
mod share;
#[cfg(test)]
mod tests;
mod vcpu_state;
mod wake;

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU32, Ordering};

pub use idle::IdleTimes;
pub use share::{DEFAULT_WEIGHT, DomainSched};
pub use vcpu_state::VcpuSched;

use crate::domain::Vcpu;
use crate::machine::{AtomicCpuMask, CpuMask};
use crate::num::CpuId;
use processor::Processor;

/// The longest that a vCPU runs before the queues are looked at again.
pub const SLICE_NS: u64 = 10_000_000;
/// How long a vCPU runs at least before one that wakes up takes its place (`sched_ratelimit_us=`).
pub const DEFAULT_RATELIMIT_US: u32 = 1000;

/// Default of [`Settings::migrate_resist_us`], credit2's.
pub const DEFAULT_MIGRATE_RESIST_US: u32 = 500;

/// Which scheduler.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Policy {
    /// Proportional share, as Xen's credit2.
    #[default]
    Credit2,
    /// One vCPU per processor, for as long as it is up.
    Null,
}

/// How to schedule.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Settings {
    /// Which scheduler.
    pub policy: Policy,
    /// See [`Scheduler::ratelimit_us`].
    pub ratelimit_us: u32,
    /// A vCPU that waits elsewhere must be so much behind, in microseconds of its own running time, for a busy
    /// processor to take it over: it leaves its caches there (`sched_credit2_migrate_resist=`).
    pub migrate_resist_us: u32,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            policy: Policy::default(),
            ratelimit_us: DEFAULT_RATELIMIT_US,
            migrate_resist_us: DEFAULT_MIGRATE_RESIST_US,
        }
    }
}

/// The scheduler.
#[derive(Debug)]
pub struct Scheduler {
    policy: Policy,
    cpus: Box<[Processor]>,
    online: AtomicCpuMask,
    /// Processors that have nothing to run.
    idlers: AtomicCpuMask,
    ratelimit_us: AtomicU32,
    resist_ns: u64,
    null: null::Homes,
    /// Time without work.
    pub idle: IdleTimes,
}

/// What a processor should do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Decision {
    /// Go on with what runs.
    Stay,
    /// Go on, until the new [`Scheduler::slice_deadline`]: see [`Hypervisor::slice_begun`](crate::hypervisor::Hypervisor::slice_begun).
    StayForSlice,
    /// Give the processor to the next in the queue, if there is one.
    Switch,
    /// What runs must leave this processor, whether there is a next one or not.
    Leave,
}

impl Default for Scheduler {
    fn default() -> Self {
        Self::new(Settings::default(), 1)
    }
}

impl Scheduler {
    /// Nobody waits. There is room for `cpus` processors, none of which takes part before
    /// [`cpu_online`](Self::cpu_online).
    #[must_use]
    pub fn new(settings: Settings, cpus: u32) -> Self {
        let count = cpus.clamp(1, CpuMask::CAPACITY);
        Self {
            policy: settings.policy,
            cpus: (0..count).map(|_| Processor::default()).collect(),
            online: AtomicCpuMask::default(),
            idlers: AtomicCpuMask::default(),
            ratelimit_us: AtomicU32::new(settings.ratelimit_us),
            resist_ns: u64::from(settings.migrate_resist_us) * 1000,
            null: null::Homes::new(count),
            idle: IdleTimes::default(),
        }
    }

    /// Which scheduler this is.
    #[must_use]
    pub fn policy(&self) -> Policy {
        self.policy
    }

    /// How long a vCPU runs at least, in microseconds, before one that wakes up takes its place; 0 = no time.
    #[must_use]
    pub fn ratelimit_us(&self) -> u32 {
        self.ratelimit_us.load(Ordering::Relaxed)
    }

    /// Sets [`ratelimit_us`](Self::ratelimit_us).
    pub fn set_ratelimit_us(&self, us: u32) {
        self.ratelimit_us.store(us, Ordering::Relaxed);
    }

    fn ratelimit_ns(&self) -> u64 {
        u64::from(self.ratelimit_us()) * 1000
    }

    /// Processors that take part.
    #[must_use]
    pub fn online(&self) -> CpuMask {
        self.online.load()
    }

    fn processor(&self, cpu: CpuId) -> Option<&Processor> {
        self.cpus.get(cpu.0 as usize)
    }

    /// `cpu` takes part from now on. To be called before it asks for work.
    pub fn cpu_online(&self, cpu: CpuId) {
        if self.processor(cpu).is_some() {
            self.online.insert(cpu);
            self.idlers.insert(cpu);
        }
    }

    /// `cpu` takes no part any more. What waits there goes elsewhere; what runs there leaves as soon as the processor
    /// looks. Returns the processors to kick, `cpu` itself among them.
    pub fn cpu_offline(&self, cpu: CpuId, now_ns: u64) -> CpuMask {
        let mut kicks = CpuMask::single(cpu);
        let Some(processor) = self.processor(cpu) else {
            return CpuMask::EMPTY;
        };
        self.online.remove(cpu);
        self.idlers.remove(cpu);
        let (waiting, refills) = {
            let mut queue = processor.queue.lock();
            let taken = (queue.drain(), core::mem::take(&mut queue.refills));
            processor.publish(&queue);
            taken
        };
        processor.look();
        if let Some(other) = self.online().iter().next() {
            for (at, share) in refills {
                self.await_refill(other, at, share);
            }
            kicks.insert(other);
        }
        self.null.disown(cpu);
        for vcpu in waiting {
            if let Some(kick) = self.wake(&vcpu, now_ns) {
                kicks.insert(kick);
            }
        }
        kicks
    }

    /// The processors on which `vcpu` may run now: its affinity as far as it is online, or all if nothing of it is.
    #[must_use]
    pub fn allowed(&self, vcpu: &Vcpu) -> CpuMask {
        let online = self.online();
        let allowed = vcpu.sched.allowed().and(&online);
        if allowed.is_empty() { online } else { allowed }
    }

    /// When `cpu` must look again: the end of the slice, or of a budget's period.
    #[must_use]
    pub fn slice_deadline(&self, cpu: CpuId) -> Option<u64> {
        self.processor(cpu)?.deadline()
    }

    /// Nobody runs on `cpu`, so no slice ends. True if the timer must be programmed anew:
    /// one was under way, or a budget waits for its refill.
    pub fn end_slice(&self, cpu: CpuId) -> bool {
        self.processor(cpu).is_some_and(|processor| {
            let slice = processor.slice_end_ns.swap(0, Ordering::SeqCst) != 0;
            processor.reprogram.swap(false, Ordering::SeqCst) || slice
        })
    }

    /// Whether anybody waits for a processor.
    #[must_use]
    pub fn anyone_waits(&self) -> bool {
        !self.waiting().is_empty()
    }

    /// The waiting vCPUs, processor by processor.
    #[must_use]
    pub fn waiting(&self) -> Vec<Arc<Vcpu>> {
        let mut all = Vec::new();
        for processor in &self.cpus {
            all.extend(processor.queue.lock().iter().cloned());
        }
        all.extend(self.null.waiting());
        all
    }
}
