//! On which processor a vCPU waits.

use alloc::sync::Arc;
use core::sync::atomic::Ordering;

use super::processor::Processor;
use super::{Scheduler, accounts};
use crate::domain::{Vcpu, VcpuFlags};
use crate::machine::CpuMask;
use crate::num::CpuId;

/// How a vCPU comes into a queue.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Arrival {
    /// It slept, or comes from another processor.
    New,
    /// It ran here a moment ago.
    Back,
}

impl Scheduler {
    /// The processor on which `vcpu` should wait: an idle one if it may run there, best where it was and where it had
    /// better be; else one whose vCPU it may push away; else the one with the shortest queue.
    pub(super) fn place(&self, vcpu: &Vcpu) -> Option<CpuId> {
        let allowed = self.allowed(vcpu);
        let soft = vcpu.sched.soft_affinity().and(&allowed);
        let preferred = if soft.is_empty() { allowed } else { soft };
        let last = CpuId(vcpu.cpu.load(Ordering::SeqCst));
        let idlers = self.idlers.load();
        let idle = first_from(&preferred.and(&idlers), last)
            .or_else(|| first_from(&allowed.and(&idlers), last));
        if idle.is_some() {
            return idle;
        }
        let vtime = vcpu.sched.vtime();
        let lag = vcpu.sched.virtual_ns(accounts::LAG_NS);
        // What it will have there is not less than that.
        let pushes = |processor: &Processor| {
            let fitted = vtime.max(processor.vtime().saturating_sub(lag));
            fitted < processor.current_vtime.load(Ordering::Relaxed)
        };
        if preferred.contains(last) && self.processor(last).is_some_and(pushes) {
            return Some(last);
        }
        preferred
            .iter()
            .filter_map(|cpu| Some((cpu, self.processor(cpu)?)))
            .min_by_key(|(cpu, processor)| {
                let waiting = processor.waiting.load(Ordering::SeqCst);
                (!pushes(processor), waiting, *cpu != last)
            })
            .map(|(cpu, _)| cpu)
    }

    /// Enters a runnable vCPU in the queue of `cpu`, unless it is in one. Returns the processor that must look.
    pub(super) fn insert(
        &self,
        cpu: CpuId,
        vcpu: &Arc<Vcpu>,
        arrival: Arrival,
        now_ns: u64,
    ) -> Option<CpuId> {
        let processor = self.processor(cpu)?;
        let urgent = {
            let mut queue = processor.queue.lock();
            if vcpu
                .set_flags(VcpuFlags::QUEUED)
                .contains(VcpuFlags::QUEUED)
            {
                return None;
            }
            if arrival == Arrival::New {
                let fitted = self.fit(cpu, vcpu, &queue);
                vcpu.sched.set_vtime(fitted);
            }
            queue.push(cpu, vcpu);
            processor.publish(&queue);
            let sliced = processor.slice_end_ns.load(Ordering::SeqCst) != 0;
            match (&queue.current, queue.charged_ns) {
                (Some(current), Some(since)) => {
                    let ran = current.sched.virtual_ns(now_ns.saturating_sub(since));
                    let reached = current.sched.vtime().saturating_add(ran);
                    !sliced || vcpu.sched.vtime() < reached
                }
                _ => true,
            }
        };
        // Who changes an affinity looks for the vCPU in the queues afterwards; so one of the two sees the other.
        if !self.allowed(vcpu).contains(cpu) && self.remove(vcpu) {
            return self.wake(vcpu, now_ns);
        }
        if urgent && arrival == Arrival::New {
            // The next to wake up finds another.
            self.idlers.remove(cpu);
            processor.look();
            return Some(cpu);
        }
        // A processor that became idle meanwhile may have looked before this one was in.
        if self.idlers.remove(cpu) {
            return Some(cpu);
        }
        self.spare(vcpu)
    }

    /// An idle processor that could run `vcpu`.
    fn spare(&self, vcpu: &Vcpu) -> Option<CpuId> {
        if self.policy == super::Policy::Null {
            return None;
        }
        let idle = self.idlers.load();
        if idle.is_empty() {
            return None;
        }
        first_from(&self.allowed(vcpu).and(&idle), CpuId(0))
    }

    /// An idle processor that could run somebody who waits on `cpu`. It does not count as idle any more: it must be
    /// made to look.
    #[must_use]
    pub fn helper(&self, cpu: CpuId) -> Option<CpuId> {
        let processor = self.processor(cpu)?;
        if processor.waiting.load(Ordering::SeqCst) == 0 || self.idlers.load().is_empty() {
            return None;
        }
        let queue = processor.queue.lock();
        let waiting = queue.iter().filter(|vcpu| vcpu.is_runnable());
        let found = waiting.filter_map(|vcpu| self.spare(vcpu)).next()?;
        self.idlers.remove(found).then_some(found)
    }

    /// Takes `vcpu` out of the queue in which it waits. False if it waits in none.
    pub(super) fn remove(&self, vcpu: &Arc<Vcpu>) -> bool {
        while vcpu.flags().contains(VcpuFlags::QUEUED) {
            let cpu = CpuId(vcpu.sched.queue.load(Ordering::SeqCst));
            if let Some(processor) = self.processor(cpu) {
                let mut queue = processor.queue.lock();
                if queue.remove(vcpu) {
                    processor.publish(&queue);
                    return true;
                }
            }
            // Somebody is just entering it, or taking it out.
            core::hint::spin_loop();
        }
        false
    }
}

/// `first` if it is in the set, or else the next one that is, in a circle.
fn first_from(set: &CpuMask, first: CpuId) -> Option<CpuId> {
    if set.contains(first) {
        return Some(first);
    }
    set.iter()
        .find(|cpu| *cpu > first)
        .or_else(|| set.iter().next())
}
