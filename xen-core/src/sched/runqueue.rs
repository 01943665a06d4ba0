//! Who waits for a processor, in the order of virtual time.

use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::Ordering;

use super::share::DomainSched;
use crate::domain::{Vcpu, VcpuFlags};
use crate::num::CpuId;

/// The run queue of a processor, and what it runs.
#[derive(Debug, Default)]
pub(super) struct RunQueue {
    /// By virtual time less `base`, and among equals in the order of arrival.
    waiting: BTreeMap<(i64, u64), Arc<Vcpu>>,
    arrivals: u64,
    /// What was added to everyone's virtual time: they advance together by changing this.
    base: i64,
    /// What the processor runs, or keeps loaded while it waits.
    pub current: Option<Arc<Vcpu>>,
    /// Until when `current` was charged; `None` = it is not running.
    pub charged_ns: Option<u64>,
    /// When it began to run.
    pub started_ns: u64,
    /// Budgets to be refilled from this processor, and when.
    pub refills: Vec<(u64, Arc<DomainSched>)>,
}

impl RunQueue {
    /// Number of those that wait.
    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Whether nobody waits.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Those that wait, in their order.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Vcpu>> {
        self.waiting.values()
    }

    /// Enters `vcpu`, whose flag QUEUED the caller has set, on the queue of `cpu`.
    pub fn push(&mut self, cpu: CpuId, vcpu: &Arc<Vcpu>) {
        let key = vcpu.sched.vtime().saturating_sub(self.base);
        self.arrivals = self.arrivals.wrapping_add(1);
        vcpu.sched.queue.store(cpu.0, Ordering::SeqCst);
        vcpu.sched.place.0.store(key, Ordering::Relaxed);
        vcpu.sched.place.1.store(self.arrivals, Ordering::Relaxed);
        self.waiting.insert((key, self.arrivals), vcpu.clone());
    }

    /// Takes `vcpu` out; false if it is not here.
    pub fn remove(&mut self, vcpu: &Arc<Vcpu>) -> bool {
        let place = (
            vcpu.sched.place.0.load(Ordering::Relaxed),
            vcpu.sched.place.1.load(Ordering::Relaxed),
        );
        let here = self
            .waiting
            .get(&place)
            .is_some_and(|found| Arc::ptr_eq(found, vcpu));
        if here {
            self.waiting.remove(&place);
            self.taken_out(place.0, vcpu);
        }
        here
    }

    fn taken_out(&self, key: i64, vcpu: &Vcpu) {
        vcpu.sched.set_vtime(key.saturating_add(self.base));
        vcpu.clear_flags(VcpuFlags::QUEUED);
    }

    /// Virtual time of the first that waits and can run, and the vCPU. Those that cannot run any more are dropped:
    /// whoever makes them runnable again enters them.
    pub fn first(&mut self, cpu: CpuId) -> Option<(i64, &Arc<Vcpu>)> {
        while let Some((&place, vcpu)) = self.waiting.first_key_value() {
            if vcpu.is_runnable() {
                break;
            }
            let vcpu = vcpu.clone();
            self.waiting.remove(&place);
            self.taken_out(place.0, &vcpu);
            // It may have become runnable just before it was out, by somebody who saw that it was in.
            if vcpu.is_runnable()
                && !vcpu
                    .set_flags(VcpuFlags::QUEUED)
                    .contains(VcpuFlags::QUEUED)
            {
                self.push(cpu, &vcpu);
            }
        }
        let (place, vcpu) = self.waiting.first_key_value()?;
        Some((place.0.saturating_add(self.base), vcpu))
    }

    /// The first that waits, whether it can still run or not.
    pub fn first_vtime(&self) -> Option<i64> {
        let (place, _) = self.waiting.first_key_value()?;
        Some(place.0.saturating_add(self.base))
    }

    /// The first that can run and passes `fits`, with a virtual time below `below`.
    pub fn find(
        &self,
        below: i64,
        mut fits: impl FnMut(&Vcpu) -> bool,
    ) -> Option<(i64, Arc<Vcpu>)> {
        for (place, vcpu) in &self.waiting {
            let vtime = place.0.saturating_add(self.base);
            if vtime >= below {
                return None;
            }
            if vcpu.is_runnable() && fits(vcpu) {
                return Some((vtime, vcpu.clone()));
            }
        }
        None
    }

    /// Lets everyone's virtual time, that of `current` too, advance by `by`.
    pub fn advance(&mut self, by: i64) {
        self.base = self.base.saturating_add(by);
        if let Some(current) = &self.current {
            current
                .sched
                .set_vtime(current.sched.vtime().saturating_add(by));
        }
    }

    /// Takes everybody out.
    pub fn drain(&mut self) -> Vec<Arc<Vcpu>> {
        let waiting = core::mem::take(&mut self.waiting);
        waiting
            .into_iter()
            .map(|(place, vcpu)| {
                self.taken_out(place.0, &vcpu);
                vcpu
            })
            .collect()
    }
}
