//! Real threads as processors: no wake-up is lost and no vCPU runs twice at a time, however they interleave.

extern crate std;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};
use std::vec::Vec;

use super::world::{Work, World};
use crate::domain::{Vcpu, VcpuFlags};
use crate::num::CpuId;
use crate::sched::{Decision, Scheduler};

const CPUS: u32 = 3;
const VCPUS: usize = 6;
/// Wake-ups of each vCPU.
const ROUNDS: u64 = 3000;

struct Shared {
    sched: Scheduler,
    vcpus: Vec<Arc<Vcpu>>,
    /// A vCPU's context is in use.
    on: Vec<AtomicBool>,
    served: Vec<AtomicU64>,
    kicked: Vec<AtomicBool>,
    start: Instant,
    stop: AtomicBool,
}

impl Shared {
    fn now(&self) -> u64 {
        1 + self.start.elapsed().as_nanos() as u64
    }

    fn kick(&self, target: Option<CpuId>) {
        if let Some(cpu) = target {
            self.kicked[cpu.0 as usize].store(true, Ordering::SeqCst);
        }
    }

    fn wake(&self, vcpu: &Arc<Vcpu>) {
        vcpu.clear_flags(VcpuFlags::BLOCKED);
        let target = match vcpu.running_on() {
            Some(cpu) => Some(cpu),
            None => self.sched.wake(vcpu, self.now()),
        };
        self.kick(target);
    }

    fn index(&self, vcpu: &Arc<Vcpu>) -> usize {
        let same = |other: &Arc<Vcpu>| Arc::ptr_eq(other, vcpu);
        self.vcpus.iter().position(same).expect("one of ours")
    }

    fn take_off(&self, cpu: CpuId, vcpu: &Arc<Vcpu>) {
        self.on[self.index(vcpu)].store(false, Ordering::SeqCst);
        vcpu.set_running(None);
        let target = self.sched.stopped(cpu, vcpu, self.now());
        self.kick(target);
    }

    /// One processor, until told to stop.
    fn processor(&self, cpu: CpuId) {
        let mut current: Option<Arc<Vcpu>> = None;
        while !self.stop.load(Ordering::SeqCst) {
            for vcpu in self.sched.tick(cpu, self.now()) {
                self.wake(&vcpu);
            }
            if let Some(vcpu) = current.as_ref().filter(|vcpu| vcpu.is_runnable())
                && matches!(
                    self.sched.decide(cpu, vcpu, self.now()),
                    Decision::Stay | Decision::StayForSlice
                )
            {
                // It does a piece of work and waits for the next.
                self.served[self.index(vcpu)].fetch_add(1, Ordering::SeqCst);
                vcpu.set_flags(VcpuFlags::BLOCKED);
                continue;
            }
            if let Some(next) = self.sched.pick(cpu, self.now()) {
                if let Some(vcpu) = current.take() {
                    self.take_off(cpu, &vcpu);
                }
                let twice = self.on[self.index(&next)].swap(true, Ordering::SeqCst);
                assert!(!twice, "a vCPU on two processors");
                self.sched.start_slice(cpu, &next, self.now());
                current = Some(next);
                continue;
            }
            if let Some(vcpu) = current.take_if(|vcpu| {
                !vcpu.flags().contains(VcpuFlags::BLOCKED)
                    || !self.sched.allowed(vcpu).contains(cpu)
            }) {
                self.take_off(cpu, &vcpu);
                continue;
            }
            // Halted: only a kick or the timer ends that.
            while !self.kicked[cpu.0 as usize].swap(false, Ordering::SeqCst) {
                if self.stop.load(Ordering::SeqCst) {
                    return;
                }
                thread::yield_now();
            }
        }
    }
}

#[test]
fn no_wake_up_is_lost_between_threads() {
    let mut world = World::new(CPUS);
    for _ in 0..VCPUS {
        world.task(256, Work::Hog);
    }
    let vcpus: Vec<_> = world.tasks.iter().map(|task| task.vcpu.clone()).collect();
    for vcpu in &vcpus {
        vcpu.set_flags(VcpuFlags::BLOCKED);
        vcpu.clear_flags(VcpuFlags::DOWN);
    }
    let shared = Shared {
        on: vcpus.iter().map(|_| AtomicBool::new(false)).collect(),
        served: vcpus.iter().map(|_| AtomicU64::new(0)).collect(),
        kicked: (0..CPUS).map(|_| AtomicBool::new(false)).collect(),
        sched: world.sched,
        vcpus,
        start: Instant::now(),
        stop: AtomicBool::new(false),
    };
    thread::scope(|scope| {
        let shared = &shared;
        for cpu in 0..CPUS {
            scope.spawn(move || shared.processor(CpuId(cpu)));
        }
        let wakers: Vec<_> = (0..2)
            .map(|waker| {
                scope.spawn(move || {
                    for round in 0..ROUNDS {
                        for (i, vcpu) in shared.vcpus.iter().enumerate() {
                            if i % 2 != waker {
                                continue;
                            }
                            if round % 7 == 0 {
                                let mut mask = crate::machine::CpuMask::EMPTY;
                                mask.insert(CpuId((round as u32 / 7 + i as u32) % CPUS));
                                mask.insert(CpuId((round as u32 / 11) % CPUS));
                                vcpu.sched.set_hard_affinity(&mask);
                                let target = shared.sched.affinity_changed(vcpu, shared.now());
                                shared.kick(target);
                            }
                            let before = shared.served[i].load(Ordering::SeqCst);
                            shared.wake(vcpu);
                            // The piece of work is done, sooner or later.
                            let begun = Instant::now();
                            while shared.served[i].load(Ordering::SeqCst) == before {
                                assert!(
                                    begun.elapsed() < Duration::from_secs(20),
                                    "lost: {:?}\n{:#?}",
                                    vcpu.flags(),
                                    shared.sched.describe()
                                );
                                thread::yield_now();
                            }
                        }
                    }
                })
            })
            .collect();
        let results: Vec<_> = wakers.into_iter().map(|waker| waker.join()).collect();
        shared.stop.store(true, Ordering::SeqCst);
        for result in results {
            result.expect("waker");
        }
    });
}
