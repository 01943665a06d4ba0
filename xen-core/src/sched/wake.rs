//! vCPUs that become runnable, and those that stop.

use alloc::sync::Arc;

use super::placement::Arrival;
use super::{Policy, Scheduler};
use crate::domain::{Vcpu, VcpuFlags};
use crate::hypervisor::Hypervisor;
use crate::machine::{CpuMask, Machine};
use crate::num::CpuId;

impl Scheduler {
    /// `vcpu`, which is on no processor, can run: enters it in a queue. Returns the processor that must look, if one
    /// must at once.
    #[must_use]
    pub fn wake(&self, vcpu: &Arc<Vcpu>, now_ns: u64) -> Option<CpuId> {
        if vcpu.flags().contains(VcpuFlags::QUEUED) {
            return None;
        }
        if self.policy == Policy::Null {
            return self.wake_at_home(vcpu, now_ns);
        }
        let cpu = self.place(vcpu)?;
        self.insert(cpu, vcpu, Arrival::New, now_ns)
    }

    /// `vcpu` is off processor `cpu`, its context parked. If it can run it waits for its next turn, here or elsewhere.
    /// Returns the processor that must look.
    #[must_use]
    pub fn stopped(&self, cpu: CpuId, vcpu: &Arc<Vcpu>, now_ns: u64) -> Option<CpuId> {
        if let Some(processor) = self.processor(cpu) {
            let mut queue = processor.queue.lock();
            let here = queue
                .current
                .as_ref()
                .is_some_and(|current| Arc::ptr_eq(current, vcpu));
            if here {
                queue.current = None;
                queue.charged_ns = None;
            }
        }
        if self.policy == Policy::Null {
            return self.stopped_at_home(vcpu, now_ns);
        }
        if !vcpu.is_runnable() || vcpu.is_running() {
            return None;
        }
        let stays = self.allowed(vcpu).contains(cpu)
            && self.online.contains(cpu)
            && !self.better_idle(cpu, vcpu);
        if stays {
            self.insert(cpu, vcpu, Arrival::Back, now_ns)
        } else {
            self.wake(vcpu, now_ns)
        }
    }

    /// The affinity of `vcpu` has changed. Returns the processor that must look.
    #[must_use]
    pub fn affinity_changed(&self, vcpu: &Arc<Vcpu>, now_ns: u64) -> Option<CpuId> {
        if let Some(cpu) = vcpu.running_on() {
            self.processor(cpu)?.look();
            return Some(cpu);
        }
        let waits = self.remove(vcpu);
        if self.policy == Policy::Null {
            return self.rehome(vcpu, now_ns);
        }
        if waits && vcpu.is_runnable() && !vcpu.is_running() {
            return self.wake(vcpu, now_ns);
        }
        None
    }

    /// `vcpu` will not run for a long time, or never again (it is down, or its domain is destroyed): whoever waits for
    /// its place may have it. Returns the processors that must look.
    #[must_use]
    pub fn retire(&self, vcpu: &Arc<Vcpu>, now_ns: u64) -> CpuMask {
        if vcpu.is_running() {
            // It gives everything up when it stops.
            return CpuMask::EMPTY;
        }
        let waited = self.remove(vcpu);
        if self.policy == Policy::Null {
            return self.leave_home(vcpu, now_ns);
        }
        // It may have come up again meanwhile.
        let target = if waited && vcpu.is_runnable() && !vcpu.is_running() {
            self.wake(vcpu, now_ns)
        } else {
            None
        };
        target.map_or(CpuMask::EMPTY, CpuMask::single)
    }
}

impl<M: Machine> Hypervisor<M> {
    /// Ends what `vcpu` waits for, and lets it run.
    pub fn wake(&self, vcpu: &Arc<Vcpu>) {
        vcpu.clear_flags(VcpuFlags::BLOCKED | VcpuFlags::POLLING);
        self.make_runnable(vcpu);
    }

    /// Enters `vcpu` in a queue if nothing keeps it from running, and tells the processor that should run it.
    pub fn make_runnable(&self, vcpu: &Arc<Vcpu>) {
        if !vcpu.is_runnable() {
            return;
        }
        if vcpu.is_running() {
            self.kick_vcpu(vcpu);
            return;
        }
        let target = self.sched.wake(vcpu, self.machine.now_ns());
        self.kick_target(target);
    }

    /// Makes a running vCPU look at its events and flags.
    pub fn kick_vcpu(&self, vcpu: &Vcpu) {
        self.kick_target(vcpu.running_on());
    }

    /// `vcpu` was taken off processor `cpu` (or could not be put on): lets it wait for its next turn if it can run.
    pub fn put_back(&self, cpu: CpuId, vcpu: &Arc<Vcpu>) {
        let target = self.sched.stopped(cpu, vcpu, self.machine.now_ns());
        self.kick_target(target);
    }

    /// A slice has begun on `cpu`: programs the timer for its end, and has an idle processor help with those who wait.
    pub fn slice_begun(&self, cpu: CpuId) {
        self.program_timer(cpu);
        self.kick_target(self.sched.helper(cpu));
    }

    /// Puts a changed affinity of `vcpu` into effect.
    pub fn affinity_changed(&self, vcpu: &Arc<Vcpu>) {
        let target = self.sched.affinity_changed(vcpu, self.machine.now_ns());
        self.kick_target(target);
    }

    /// Sets the cap of a domain, in percent of one processor; 0 = none.
    pub fn set_cap(&self, domain: &crate::domain::Domain, cap: u16) {
        for vcpu in domain.sched.set_cap(cap) {
            self.make_runnable(&vcpu);
        }
        // Those that run take a part of the budget now.
        for vcpu in domain.vcpus() {
            if vcpu.is_running() {
                let target = self.sched.affinity_changed(vcpu, self.machine.now_ns());
                self.kick_target(target);
            }
        }
    }

    /// `vcpu` went down or its domain ends: under `sched=null` others may have its processor.
    pub fn retire_vcpu(&self, vcpu: &Arc<Vcpu>) {
        let targets = self.sched.retire(vcpu, self.machine.now_ns());
        for cpu in targets.iter() {
            self.kick_target(Some(cpu));
        }
    }

    /// The scheduler's part of the timer on `cpu`.
    pub fn scheduler_tick(&self, cpu: CpuId, now_ns: u64) {
        for vcpu in self.sched.tick(cpu, now_ns) {
            self.make_runnable(&vcpu);
        }
    }

    /// Makes a processor look, unless it is this one, which looks on its way out.
    fn kick_target(&self, target: Option<CpuId>) {
        if let Some(cpu) = target
            && cpu != self.machine.this_cpu()
        {
            self.machine.kick(cpu);
        }
    }
}
