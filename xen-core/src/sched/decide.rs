//! Whether what runs goes on.

use alloc::sync::Arc;
use core::sync::atomic::Ordering;

use super::processor::{EXPIRED, Processor};
use super::runqueue::RunQueue;
use super::{Decision, Policy, SLICE_NS, Scheduler};
use crate::domain::{Vcpu, VcpuFlags};
use crate::num::CpuId;

/// The shortest slice that is worth a timer.
const MIN_SLICE_NS: u64 = 500_000;
/// How far a vCPU gets ahead of the next before that one's turn comes.
const GRAIN_NS: u64 = 4_000_000;

impl Scheduler {
    /// Decides for processor `cpu`, whose current vCPU is runnable. Asked on every way out of the hypervisor, and quick
    /// unless something has happened.
    #[must_use]
    pub fn decide(&self, cpu: CpuId, current: &Arc<Vcpu>, now_ns: u64) -> Decision {
        let Some(processor) = self.processor(cpu) else {
            return Decision::Stay;
        };
        let yielding = current.flags().contains(VcpuFlags::YIELDING);
        if !yielding && processor.attention.load(Ordering::SeqCst) == 0 {
            return Decision::Stay;
        }
        if yielding {
            current.clear_flags(VcpuFlags::YIELDING);
        }
        let expired = processor.attention.swap(0, Ordering::SeqCst) & EXPIRED != 0;
        let mut queue = processor.queue.lock();
        self.account(cpu, processor, &mut queue, current, now_ns);
        if !self.allowed(current).contains(cpu) || !self.online.contains(cpu) {
            return Decision::Leave;
        }
        if self.policy == Policy::Null {
            return Decision::Stay;
        }
        if !self.afford(cpu, current, &mut queue, now_ns) {
            return Decision::Leave;
        }
        let own = current.sched.vtime();
        let local = queue.first(cpu).map(|(vtime, _)| vtime);
        let ran = now_ns.saturating_sub(queue.started_ns);
        drop(queue);

        let mut next = local;
        if expired || (yielding && local.is_none()) {
            let resist = current.sched.virtual_ns(self.resist_ns);
            let below = local.unwrap_or(own).min(own).saturating_sub(resist);
            next = self.most_behind(cpu, below, false).or(local);
        }
        if yielding && next.is_some() {
            return Decision::Switch;
        }
        if expired && self.better_idle(cpu, current) {
            return Decision::Leave;
        }
        let behind = next.is_some_and(|vtime| vtime < own);
        if behind && ran >= self.ratelimit_ns() {
            return Decision::Switch;
        }
        let mut queue = processor.queue.lock();
        if expired {
            self.keep_pace(cpu, &mut queue);
        }
        // What came while the lock was free has asked for attention.
        let own = current.sched.vtime();
        let local = queue.first(cpu).map(|(vtime, _)| vtime);
        self.set_slice(processor, &queue, current, local, own, now_ns)
    }

    /// `vcpu` runs on `cpu` from now on: [`pick`](Self::pick) had chosen it.
    pub fn start_slice(&self, cpu: CpuId, vcpu: &Arc<Vcpu>, now_ns: u64) {
        let Some(processor) = self.processor(cpu) else {
            return;
        };
        let mut queue = processor.queue.lock();
        queue.current = Some(vcpu.clone());
        queue.charged_ns = Some(now_ns);
        queue.started_ns = now_ns;
        processor.publish(&queue);
        if self.policy == Policy::Null {
            return;
        }
        let own = vcpu.sched.vtime();
        let local = queue.first(cpu).map(|(vtime, _)| vtime);
        let _ = self.set_slice(processor, &queue, vcpu, local, own, now_ns);
    }

    /// Brings the books up to date: `current` ran since they were, or it wakes up on the processor now.
    fn account(
        &self,
        cpu: CpuId,
        processor: &Processor,
        queue: &mut RunQueue,
        current: &Arc<Vcpu>,
        now_ns: u64,
    ) {
        let known = queue
            .current
            .as_ref()
            .is_some_and(|known| Arc::ptr_eq(known, current));
        if known && queue.charged_ns.is_some() {
            self.charge(queue, now_ns);
        } else {
            queue.charged_ns = None;
            let fitted = self.fit(cpu, current, queue);
            current.sched.set_vtime(fitted);
            queue.current = Some(current.clone());
            queue.charged_ns = Some(now_ns);
            queue.started_ns = now_ns;
            self.idlers.remove(cpu);
        }
        processor.publish(queue);
    }

    /// A vCPU that runs where it had better not should go where it had better be, if nobody runs there.
    pub(super) fn better_idle(&self, cpu: CpuId, current: &Vcpu) -> bool {
        if current.sched.prefers(cpu) {
            return false;
        }
        let wish = current
            .sched
            .soft_affinity()
            .and(&self.allowed(current))
            .and(&self.idlers.load());
        !wish.is_empty()
    }

    /// Sets when the processor decides again, `current` going on with virtual time `own` and `next` being first in the
    /// queue.
    fn set_slice(
        &self,
        processor: &Processor,
        queue: &RunQueue,
        current: &Vcpu,
        next: Option<i64>,
        own: i64,
        now_ns: u64,
    ) -> Decision {
        let least = self.ratelimit_ns().max(MIN_SLICE_NS);
        let mut end = match next {
            Some(next) => {
                let turn = current
                    .sched
                    .real_ns(next.saturating_sub(own))
                    .saturating_add(GRAIN_NS)
                    .min(SLICE_NS);
                let turn = if next < own { 0 } else { turn };
                now_ns
                    .saturating_add(turn)
                    .max(queue.started_ns.saturating_add(least))
                    .max(now_ns.saturating_add(1))
            }
            // Others may wait elsewhere.
            None if self.online().iter().nth(1).is_some() => now_ns.saturating_add(SLICE_NS),
            None => 0,
        };
        let quota = current.sched.quota();
        if current.sched.domain.cap() != 0 && quota > 0 {
            let runs_out = now_ns.saturating_add(quota.unsigned_abs());
            end = if end == 0 {
                runs_out
            } else {
                end.min(runs_out)
            };
        }
        processor.slice_end_ns.store(end, Ordering::SeqCst);
        let refill_changed = processor.reprogram.swap(false, Ordering::SeqCst);
        if end == 0 && !refill_changed {
            Decision::Stay
        } else {
            Decision::StayForSlice
        }
    }
}
