//! Who runs next on a processor.

use alloc::sync::Arc;
use core::sync::atomic::Ordering;

use super::runqueue::RunQueue;
use super::{Policy, Scheduler};
use crate::domain::Vcpu;
use crate::num::CpuId;

impl Scheduler {
    /// Chooses who runs on `cpu` next, and claims it for the processor. What ran is charged until now. `None`: nobody;
    /// if what ran cannot go on, the processor counts as idle until [`decide`](Self::decide) or another `pick` says
    /// otherwise.
    ///
    /// The caller takes what ran off ([`stopped`](Self::stopped)), puts the new one on
    /// ([`start_slice`](Self::start_slice)), or gives it back ([`stopped`](Self::stopped) again).
    #[must_use]
    pub fn pick(&self, cpu: CpuId, now_ns: u64) -> Option<Arc<Vcpu>> {
        let processor = self.processor(cpu)?;
        let busy = {
            let mut queue = processor.queue.lock();
            self.charge(&mut queue, now_ns);
            let current = queue.current.as_ref();
            let busy = current.is_some_and(|current| {
                current.is_runnable() && self.allowed(current).contains(cpu)
            });
            if !busy {
                if let Some(current) = current
                    && queue.charged_ns.is_some()
                {
                    self.return_quota(current);
                }
                queue.charged_ns = None;
            }
            processor.publish(&queue);
            busy && self.online.contains(cpu)
        };
        if !self.online.contains(cpu) {
            processor.look();
            return None;
        }
        let mut next = self.take_next(cpu, busy, now_ns);
        if next.is_none() && !busy {
            // Whoever enters a vCPU in a queue looks for idle processors afterwards; so one of the two sees the other.
            self.idlers.insert(cpu);
            next = self.take_next(cpu, busy, now_ns);
        }
        if next.is_some() {
            self.idlers.remove(cpu);
            if busy && let Some(current) = &processor.queue.lock().current {
                self.return_quota(current);
            }
        }
        processor.look();
        next
    }

    /// The next for `cpu`, claimed and with budget.
    fn take_next(&self, cpu: CpuId, busy: bool, now_ns: u64) -> Option<Arc<Vcpu>> {
        let processor = self.processor(cpu)?;
        loop {
            let local = {
                let mut queue = processor.queue.lock();
                let first = queue.first(cpu).map(|(vtime, vcpu)| {
                    let resist = vcpu.sched.virtual_ns(self.resist_ns);
                    vtime.saturating_sub(resist)
                });
                processor.publish(&queue);
                first
            };
            let below = match local {
                Some(local) => local,
                // The one that runs may go on.
                None if busy => {
                    let current = processor.current_vtime.load(Ordering::Relaxed);
                    current.saturating_sub(1)
                }
                None => i64::MAX,
            };
            let alone = local.is_none() && !busy;
            if self.policy == Policy::Credit2
                && let Some((_, home)) = self.search(cpu, below, alone)
                && let Some(vcpu) = self.take_from(home, cpu, below, alone)
            {
                let mut queue = processor.queue.lock();
                // It meets others here.
                let fitted = self.fit(cpu, &vcpu, &queue);
                if self.admit(cpu, &vcpu, &mut queue, now_ns) {
                    vcpu.sched.set_vtime(fitted);
                    return Some(vcpu);
                }
                continue;
            }
            let mut queue = processor.queue.lock();
            let vcpu = queue.first(cpu).map(|(_, vcpu)| vcpu.clone())?;
            queue.remove(&vcpu);
            processor.publish(&queue);
            if self.admit(cpu, &vcpu, &mut queue, now_ns) {
                return Some(vcpu);
            }
        }
    }

    /// Claims a vCPU that is out of its queue, if it has budget. Otherwise somebody enters it again: whoever runs it,
    /// when it stops, or whoever refills the budget.
    fn admit(&self, cpu: CpuId, vcpu: &Arc<Vcpu>, queue: &mut RunQueue, now_ns: u64) -> bool {
        !vcpu.is_running() && self.afford(cpu, vcpu, queue, now_ns) && vcpu.claim(cpu)
    }

    /// Takes out the first in the queue of `from` that may run on `to`.
    fn take_from(&self, from: CpuId, to: CpuId, below: i64, idle: bool) -> Option<Arc<Vcpu>> {
        let processor = self.processor(from)?;
        let mut queue = processor.queue.lock();
        let idle = idle && worth_helping(&queue);
        let (_, vcpu) = queue.find(below, |vcpu| self.may_move(vcpu, from, to, idle))?;
        queue.remove(&vcpu);
        processor.publish(&queue);
        Some(vcpu)
    }

    /// Whether `vcpu`, which waits on `from`, may be taken over by `to`; `idle` = even to where it had better not be.
    fn may_move(&self, vcpu: &Vcpu, from: CpuId, to: CpuId, idle: bool) -> bool {
        self.allowed(vcpu).contains(to)
            && (idle || vcpu.sched.prefers(to) || !vcpu.sched.prefers(from))
    }

    /// Virtual time of the one that is farthest behind among those that wait elsewhere with less than `below` and may
    /// come to `cpu`; `idle` = the processor has nobody.
    pub(super) fn most_behind(&self, cpu: CpuId, below: i64, idle: bool) -> Option<i64> {
        self.search(cpu, below, idle).map(|(vtime, _)| vtime)
    }

    fn search(&self, cpu: CpuId, mut below: i64, idle: bool) -> Option<(i64, CpuId)> {
        let mut best = None;
        for other in self.online().iter().filter(|&other| other != cpu) {
            let Some(processor) = self.processor(other) else {
                continue;
            };
            if processor.waiting.load(Ordering::SeqCst) == 0
                || processor.first_vtime.load(Ordering::SeqCst) >= below
            {
                continue;
            }
            let queue = processor.queue.lock();
            let idle = idle && worth_helping(&queue);
            let found = queue.find(below, |vcpu| self.may_move(vcpu, other, cpu, idle));
            if let Some((vtime, _)) = found {
                below = vtime;
                best = Some((vtime, other));
            }
        }
        best
    }
}

/// Whether the processor of this queue is not about to run all who wait there.
fn worth_helping(queue: &RunQueue) -> bool {
    queue.charged_ns.is_some() || queue.len() > 1
}
