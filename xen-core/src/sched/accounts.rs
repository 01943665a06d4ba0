//! Charging who runs, and caps.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::Ordering;

use super::processor::{EXPIRED, LOOK, Processor};
use super::runqueue::RunQueue;
use super::share::{DomainSched, Grant};
use super::{Policy, Scheduler};
use crate::domain::Vcpu;
use crate::num::CpuId;

/// The most that a vCPU that slept, or comes from elsewhere, may be behind those it meets, in its own running time.
pub(super) const LAG_NS: u64 = 10_000_000;
/// The most that it may be ahead of them.
const LEAD_NS: u64 = 20_000_000;

impl Scheduler {
    /// Charges whoever runs on the processor for the time since it was last charged.
    pub(super) fn charge(&self, queue: &mut RunQueue, now_ns: u64) {
        let (Some(current), Some(since)) = (&queue.current, queue.charged_ns) else {
            return;
        };
        let ran = now_ns.saturating_sub(since);
        current.sched.charge(ran);
        let ran = i64::try_from(ran).unwrap_or(i64::MAX);
        current
            .sched
            .set_quota(current.sched.quota().saturating_sub(ran));
        queue.charged_ns = Some(now_ns.max(since));
    }

    /// `vcpu` stops running: what it holds of its domain's budget goes back.
    pub(super) fn return_quota(&self, vcpu: &Vcpu) {
        let left = vcpu.sched.quota();
        vcpu.sched.set_quota(0);
        if left != 0 && vcpu.sched.domain.cap() != 0 {
            vcpu.sched.domain.give_back(left);
        }
    }

    /// Sees to it that `vcpu`, which is about to run on `cpu` or runs there, has budget. False if it must stop: it is
    /// throttled then.
    pub(super) fn afford(
        &self,
        cpu: CpuId,
        vcpu: &Arc<Vcpu>,
        queue: &mut RunQueue,
        now: u64,
    ) -> bool {
        let share = &vcpu.sched.domain;
        if self.policy == Policy::Null || share.cap() == 0 {
            vcpu.sched.set_quota(0);
            return true;
        }
        if vcpu.sched.quota() > 0 {
            return true;
        }
        self.return_quota(vcpu);
        match share.grant(vcpu, now) {
            Grant::Unlimited => true,
            Grant::For(ns) => {
                vcpu.sched.set_quota(ns);
                true
            }
            Grant::Nothing(refill) => {
                if let (Some(at), Some(processor)) = (refill, self.processor(cpu)) {
                    queue.refills.push((at, share.clone()));
                    publish_refills(processor, queue);
                }
                false
            }
        }
    }

    /// Has `share` refilled from `cpu` at a time.
    pub(super) fn await_refill(&self, cpu: CpuId, at_ns: u64, share: Arc<DomainSched>) {
        if let Some(processor) = self.processor(cpu) {
            let mut queue = processor.queue.lock();
            queue.refills.push((at_ns, share));
            publish_refills(processor, &queue);
        }
    }

    /// The timer of `cpu` has gone off: notes the end of its slice and refills budgets that are due. Returns vCPUs
    /// that may run again; the caller makes them runnable.
    #[must_use]
    pub fn tick(&self, cpu: CpuId, now_ns: u64) -> Vec<Arc<Vcpu>> {
        let Some(processor) = self.processor(cpu) else {
            return Vec::new();
        };
        let end = processor.slice_end_ns.load(Ordering::SeqCst);
        if end != 0 && now_ns >= end {
            processor.slice_end_ns.store(0, Ordering::SeqCst);
            processor
                .attention
                .fetch_or(LOOK | EXPIRED, Ordering::SeqCst);
        }
        let refill = processor.refill_ns.load(Ordering::SeqCst);
        if refill == 0 || now_ns < refill {
            return Vec::new();
        }
        let mut free = Vec::new();
        let mut queue = processor.queue.lock();
        let all = core::mem::take(&mut queue.refills);
        for (at, share) in all {
            if at > now_ns {
                queue.refills.push((at, share));
                continue;
            }
            let (released, again) = share.refill(now_ns);
            free.extend(released);
            if let Some(at) = again {
                queue.refills.push((at, share));
            }
        }
        publish_refills(processor, &queue);
        free
    }

    /// The virtual time with which `vcpu` enters the queue of `cpu`: its own, but neither so far behind those it meets
    /// there that it would keep them off for long, nor so far ahead that it would wait for long.
    pub(super) fn fit(&self, cpu: CpuId, vcpu: &Vcpu, queue: &RunQueue) -> i64 {
        let own = vcpu.sched.vtime();
        let Some(processor) = self.processor(cpu) else {
            return own;
        };
        let alone = queue.is_empty() && queue.charged_ns.is_none();
        let met = if alone {
            self.most_advanced(Some(cpu))
        } else {
            Some(processor.vtime())
        };
        let lag = vcpu.sched.virtual_ns(LAG_NS);
        let lead = vcpu.sched.virtual_ns(LEAD_NS);
        let fitted = met.map_or(own, |met| {
            own.clamp(met.saturating_sub(lag), met.saturating_add(lead))
        });
        if alone {
            // Nobody else counts here: this one sets the pace.
            processor.vtime.store(fitted, Ordering::Relaxed);
        }
        fitted
    }

    /// Virtual time of the busy processor that is farthest, `but` not counted.
    pub(super) fn most_advanced(&self, but: Option<CpuId>) -> Option<i64> {
        let idlers = self.idlers.load();
        let online = self.online();
        let busy = online
            .iter()
            .filter(|&cpu| Some(cpu) != but && !idlers.contains(cpu));
        busy.filter_map(|cpu| self.processor(cpu))
            .map(Processor::vtime)
            .max()
    }

    /// Keeps a processor's virtual time from falling behind without bound: where nobody waits who could go to a faster
    /// one, all here advance together.
    pub(super) fn keep_pace(&self, cpu: CpuId, queue: &mut RunQueue) {
        let (Some(processor), Some(current)) = (self.processor(cpu), &queue.current) else {
            return;
        };
        let Some(front) = self.most_advanced(Some(cpu)) else {
            return;
        };
        let behind = front
            .saturating_sub(processor.vtime())
            .saturating_sub(current.sched.virtual_ns(LAG_NS));
        if behind <= 0 {
            return;
        }
        let others = {
            let mut others = self.online();
            others.remove(cpu);
            others
        };
        let movable = queue
            .iter()
            .any(|vcpu| !vcpu.sched.allowed().and(&others).is_empty());
        if !movable {
            queue.advance(behind);
            processor.vtime.fetch_add(behind, Ordering::Relaxed);
            processor.publish(queue);
        }
    }
}

fn publish_refills(processor: &Processor, queue: &RunQueue) {
    let first = queue.refills.iter().map(|(at, _)| *at).min();
    processor
        .refill_ns
        .store(first.unwrap_or(0), Ordering::SeqCst);
    processor.reprogram.store(true, Ordering::SeqCst);
}
