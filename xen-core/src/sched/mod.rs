//! Who runs next.
//!
//! One run queue, first come first served, with a time slice when others wait. Everyone wakes a vCPU through
//! [`Hypervisor::wake`], never by touching the queue.

mod idle;

use alloc::collections::VecDeque;
use alloc::sync::Arc;
use core::sync::atomic::{AtomicU64, Ordering};

pub use idle::IdleTimes;

use crate::domain::{Vcpu, VcpuFlags};
use crate::hypervisor::Hypervisor;
use crate::machine::Machine;
use crate::num::CpuId;
use crate::sync::{Rank, RankedMutex};

/// How long a vCPU runs while others wait.
pub const SLICE_NS: u64 = 10_000_000;

/// The scheduler.
#[derive(Debug)]
pub struct Scheduler {
    queue: RankedMutex<VecDeque<Arc<Vcpu>>>,
    /// End of the running slice; 0 = none has been started.
    slice_end_ns: AtomicU64,
    /// Time without work.
    pub idle: IdleTimes,
}

/// What a processor should do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Decision {
    /// Go on with what runs.
    Stay,
    /// Go on, for a slice that begins now: the timer must be programmed for its end.
    StayForSlice,
    /// Give the processor to the next in the queue.
    Switch,
}

impl Default for Scheduler {
    fn default() -> Self {
        Self::new()
    }
}

impl Scheduler {
    /// Nobody waits.
    #[must_use]
    pub fn new() -> Self {
        Self {
            queue: RankedMutex::new(Rank::Scheduler, VecDeque::new()),
            slice_end_ns: AtomicU64::new(0),
            idle: IdleTimes::default(),
        }
    }

    /// Puts a runnable vCPU at the end of the queue, unless it is there already.
    pub fn enqueue(&self, vcpu: &Arc<Vcpu>) {
        let mut queue = self.queue.lock();
        if !vcpu
            .set_flags(VcpuFlags::QUEUED)
            .contains(VcpuFlags::QUEUED)
        {
            queue.push_back(vcpu.clone());
        }
    }

    /// Takes the next runnable vCPU out of the queue. Those that stopped being runnable while they waited are
    /// dropped: whoever makes them runnable again enqueues them.
    #[must_use]
    pub fn pick(&self) -> Option<Arc<Vcpu>> {
        let mut queue = self.queue.lock();
        while let Some(vcpu) = queue.pop_front() {
            vcpu.clear_flags(VcpuFlags::QUEUED);
            if vcpu.is_runnable() && !vcpu.is_running() {
                return Some(vcpu);
            }
        }
        None
    }

    /// Whether anybody waits.
    #[must_use]
    pub fn anyone_waits(&self) -> bool {
        !self.queue.lock().is_empty()
    }

    /// Decides for a processor whose current vCPU is runnable.
    #[must_use]
    pub fn decide(&self, current: &Vcpu, now_ns: u64) -> Decision {
        let yielding = current.flags().contains(VcpuFlags::YIELDING);
        if !self.anyone_waits() {
            if yielding {
                current.clear_flags(VcpuFlags::YIELDING);
            }
            self.slice_end_ns.store(0, Ordering::Relaxed);
            return Decision::Stay;
        }
        if yielding {
            current.clear_flags(VcpuFlags::YIELDING);
            return Decision::Switch;
        }
        match self.slice_end_ns.load(Ordering::Relaxed) {
            0 => {
                self.start_slice(now_ns);
                Decision::StayForSlice
            }
            end if now_ns >= end => Decision::Switch,
            _ => Decision::Stay,
        }
    }

    /// Begins a slice for whoever is on the processor now.
    pub fn start_slice(&self, now_ns: u64) {
        self.slice_end_ns
            .store(now_ns.saturating_add(SLICE_NS), Ordering::Relaxed);
    }

    /// Nobody runs, so no slice ends. True if one was under way, for which the timer may be programmed.
    pub fn end_slice(&self) -> bool {
        self.slice_end_ns.swap(0, Ordering::Relaxed) != 0
    }

    /// When the slice ends, if somebody waits for that.
    #[must_use]
    pub fn slice_deadline(&self) -> Option<u64> {
        match self.slice_end_ns.load(Ordering::Relaxed) {
            0 => None,
            end => Some(end),
        }
    }

    /// Names of the waiting vCPUs, for the debug key.
    #[must_use]
    pub fn waiting(&self) -> alloc::vec::Vec<Arc<Vcpu>> {
        self.queue.lock().iter().cloned().collect()
    }
}

impl<M: Machine> Hypervisor<M> {
    /// Ends what `vcpu` waits for, and lets it run.
    pub fn wake(&self, vcpu: &Arc<Vcpu>) {
        vcpu.clear_flags(VcpuFlags::BLOCKED | VcpuFlags::POLLING);
        self.make_runnable(vcpu);
    }

    /// Enters `vcpu` in the queue if nothing keeps it from running, and tells its processor.
    pub fn make_runnable(&self, vcpu: &Arc<Vcpu>) {
        if !vcpu.is_runnable() {
            return;
        }
        if vcpu.is_running() {
            self.kick_vcpu(vcpu);
            return;
        }
        self.sched.enqueue(vcpu);
        let last = CpuId(vcpu.cpu.load(Ordering::Relaxed));
        let online = self.machine.online();
        let cpu = core::iter::once(last)
            .chain(online.iter())
            .find(|&cpu| self.sched.idle.is_idle(cpu))
            .unwrap_or(last);
        if cpu != self.machine.this_cpu() {
            self.machine.kick(cpu);
        }
    }

    /// Makes a running vCPU look at its events and flags.
    pub fn kick_vcpu(&self, vcpu: &Vcpu) {
        let cpu = CpuId(vcpu.cpu.load(Ordering::Relaxed));
        if vcpu.is_running() && cpu != self.machine.this_cpu() {
            self.machine.kick(cpu);
        }
    }
}
