//! `sched=null`: a vCPU owns a processor from its first run until it goes down. Others wait for one to become free.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use core::sync::atomic::Ordering;

use super::Scheduler;
use super::placement::Arrival;
use crate::domain::{Vcpu, VcpuFlags};
use crate::machine::CpuMask;
use crate::num::CpuId;
use crate::sync::{Rank, RankedMutex};

/// Which vCPU owns which processor.
#[derive(Debug)]
pub(super) struct Homes(RankedMutex<State>);

#[derive(Debug)]
struct State {
    owners: Box<[Weak<Vcpu>]>,
    /// Runnable vCPUs without a processor, first come first served.
    homeless: VecDeque<Weak<Vcpu>>,
}

impl Homes {
    pub fn new(cpus: u32) -> Self {
        let state = State {
            owners: (0..cpus).map(|_| Weak::new()).collect(),
            homeless: VecDeque::new(),
        };
        Self(RankedMutex::new(Rank::Scheduler, state))
    }

    /// Those that wait for a processor.
    pub fn waiting(&self) -> Vec<Arc<Vcpu>> {
        self.0.lock().waiting()
    }

    /// The processor has no owner any more.
    pub fn disown(&self, cpu: CpuId) {
        let mut state = self.0.lock();
        if let Some(owner) = state.owners.get_mut(cpu.0 as usize) {
            if let Some(vcpu) = owner.upgrade() {
                vcpu.sched.home.store(0, Ordering::SeqCst);
            }
            *owner = Weak::new();
        }
    }

    /// The processor that `vcpu` owns; it gets a free one of `allowed` if it owns none, or waits for one.
    fn settle(&self, vcpu: &Arc<Vcpu>, allowed: &CpuMask) -> Option<CpuId> {
        let mut state = self.0.lock();
        if let Some(home) = home(vcpu)
            && allowed.contains(home)
        {
            return Some(home);
        }
        state.leave(vcpu);
        let last = CpuId(vcpu.cpu.load(Ordering::SeqCst));
        let free = |cpu: &CpuId| state.is_free(*cpu);
        let found = Some(last)
            .filter(|last| allowed.contains(*last) && state.is_free(*last))
            .or_else(|| allowed.iter().find(free));
        let Some(cpu) = found else {
            if !state.homeless.iter().any(|other| is(other, vcpu)) {
                state.homeless.push_back(Arc::downgrade(vcpu));
            }
            return None;
        };
        state.homeless.retain(|other| !is(other, vcpu));
        state.own(cpu, vcpu);
        Some(cpu)
    }

    /// `vcpu` gives up its processor. Returns who may want it.
    fn leave(&self, vcpu: &Arc<Vcpu>) -> Vec<Arc<Vcpu>> {
        let mut state = self.0.lock();
        state.homeless.retain(|other| !is(other, vcpu));
        if state.leave(vcpu) {
            state.waiting()
        } else {
            Vec::new()
        }
    }
}

impl State {
    fn waiting(&self) -> Vec<Arc<Vcpu>> {
        self.homeless.iter().filter_map(Weak::upgrade).collect()
    }

    fn is_free(&self, cpu: CpuId) -> bool {
        // One that was down when it was last heard of, or is gone, owns nothing.
        self.owners.get(cpu.0 as usize).is_some_and(|owner| {
            owner
                .upgrade()
                .is_none_or(|vcpu| !vcpu.is_running() && vcpu.flags().contains(VcpuFlags::DOWN))
        })
    }

    fn own(&mut self, cpu: CpuId, vcpu: &Arc<Vcpu>) {
        if let Some(owner) = self.owners.get_mut(cpu.0 as usize) {
            if let Some(before) = owner.upgrade() {
                before.sched.home.store(0, Ordering::SeqCst);
            }
            *owner = Arc::downgrade(vcpu);
            vcpu.sched
                .home
                .store(cpu.0.saturating_add(1), Ordering::SeqCst);
        }
    }

    /// True if it owned a processor.
    fn leave(&mut self, vcpu: &Arc<Vcpu>) -> bool {
        let Some(cpu) = home(vcpu) else { return false };
        vcpu.sched.home.store(0, Ordering::SeqCst);
        if let Some(owner) = self.owners.get_mut(cpu.0 as usize)
            && is(owner, vcpu)
        {
            *owner = Weak::new();
        }
        true
    }
}

fn is(weak: &Weak<Vcpu>, vcpu: &Arc<Vcpu>) -> bool {
    core::ptr::eq(weak.as_ptr(), Arc::as_ptr(vcpu))
}

fn home(vcpu: &Vcpu) -> Option<CpuId> {
    let home = vcpu.sched.home.load(Ordering::SeqCst);
    home.checked_sub(1).map(CpuId)
}

impl Scheduler {
    /// [`wake`](Scheduler::wake) under `sched=null`.
    pub(super) fn wake_at_home(&self, vcpu: &Arc<Vcpu>, now_ns: u64) -> Option<CpuId> {
        let cpu = self.null.settle(vcpu, &self.allowed(vcpu))?;
        self.insert(cpu, vcpu, Arrival::New, now_ns)
    }

    /// [`stopped`](Scheduler::stopped) under `sched=null`.
    pub(super) fn stopped_at_home(&self, vcpu: &Arc<Vcpu>, now_ns: u64) -> Option<CpuId> {
        if vcpu.is_running() {
            return None;
        }
        if vcpu.is_runnable() {
            let before = home(vcpu);
            let target = self.wake_at_home(vcpu, now_ns);
            if before.is_none() || home(vcpu) == before {
                return target;
            }
            // It moved, and its old place is free.
            let others = self.house(self.null.waiting(), now_ns);
            return target.or_else(|| others.iter().next());
        }
        if vcpu.flags().contains(VcpuFlags::DOWN) {
            return self.leave_home(vcpu, now_ns).iter().next();
        }
        None
    }

    /// The affinity of `vcpu` has changed, and it is in no queue.
    pub(super) fn rehome(&self, vcpu: &Arc<Vcpu>, now_ns: u64) -> Option<CpuId> {
        let moves = home(vcpu).is_some_and(|home| !self.allowed(vcpu).contains(home));
        let others = if moves {
            self.leave_home(vcpu, now_ns)
        } else {
            CpuMask::EMPTY
        };
        let own = if vcpu.is_runnable() && !vcpu.is_running() {
            self.wake_at_home(vcpu, now_ns)
        } else {
            None
        };
        own.or_else(|| others.iter().next())
    }

    /// `vcpu` gives up its processor; the first that waits and may run there gets it.
    pub(super) fn leave_home(&self, vcpu: &Arc<Vcpu>, now_ns: u64) -> CpuMask {
        let waiting = self.null.leave(vcpu);
        self.house(waiting, now_ns)
    }

    /// Lets vCPUs without a processor look for one.
    fn house(&self, waiting: Vec<Arc<Vcpu>>, now_ns: u64) -> CpuMask {
        let mut kicks = CpuMask::EMPTY;
        for vcpu in waiting {
            if vcpu.is_runnable()
                && !vcpu.is_running()
                && let Some(kick) = self.wake(&vcpu, now_ns)
            {
                kicks.insert(kick);
            }
        }
        kicks
    }
}
