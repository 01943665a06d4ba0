//! Processors and vCPUs in simulated time. A processor does what the entry code does, in the same order.

extern crate std;

use std::sync::Arc;
use std::vec::Vec;

use hypercall_abi::xen::DomId;

use crate::domain::{Domain, DomainConfig, Privileges, Vcpu, VcpuFlags};
use crate::hypervisor::Hypervisor;
use crate::machine::CpuMask;
use crate::num::{CpuId, VcpuId};
use crate::sched::{Decision, Scheduler, Settings};
use crate::sim::{SimConfig, SimMachine, world_with};

pub const US: u64 = 1000;
pub const MS: u64 = 1_000_000;
pub const S: u64 = 1_000_000_000;

/// What a vCPU does with the time it gets.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Work {
    /// Runs whenever it can.
    Hog,
    /// Runs, then sleeps, for so long each.
    Sleeper { run: u64, sleep: u64 },
    /// Runs for so long and yields.
    Yielder { run: u64 },
    /// Sleeps for good.
    Idle,
}

pub struct Task {
    pub vcpu: Arc<Vcpu>,
    pub domain: Arc<Domain>,
    work: Work,
    /// Of the current run.
    left: u64,
    wake_at: Option<u64>,
    runnable_since: Option<u64>,
    /// Time it has run.
    pub ran: u64,
    /// The longest wait between a wake-up and the first instruction.
    pub worst_latency: u64,
    /// How often it was woken.
    pub wakes: u64,
    /// Where it ran.
    pub ran_on: CpuMask,
    pub switches: u64,
}

#[derive(Default)]
struct Cpu {
    current: Option<usize>,
    kicked: bool,
    halted: bool,
    running: bool,
}

pub struct World {
    pub hv: Hypervisor<SimMachine>,
    pub sched: Scheduler,
    pub now: u64,
    pub tasks: Vec<Task>,
    cpus: Vec<Cpu>,
    /// Time in which a processor had nothing to do although somebody could have run there.
    pub wasted: u64,
    pub idle: u64,
}

impl World {
    pub fn new(cpus: u32) -> Self {
        Self::with(cpus, Settings::default())
    }

    pub fn with(cpus: u32, settings: Settings) -> Self {
        let hv = world_with(SimConfig {
            cpus,
            ..SimConfig::default()
        });
        let sched = Scheduler::new(settings, cpus);
        for cpu in 0..cpus {
            sched.cpu_online(CpuId(cpu));
        }
        Self {
            hv,
            sched,
            now: S,
            tasks: Vec::new(),
            cpus: (0..cpus)
                .map(|_| Cpu {
                    halted: true,
                    ..Cpu::default()
                })
                .collect(),
            wasted: 0,
            idle: 0,
        }
    }

    /// A domain with this weight and one vCPU for each kind of work, which start now.
    pub fn domain(&mut self, weight: u16, work: &[Work]) -> Vec<usize> {
        let id = u16::try_from(self.tasks.len() + 1).expect("few");
        let config = DomainConfig {
            id: DomId(id),
            privileges: Privileges::default(),
            max_vcpus: u32::try_from(work.len()).expect("few"),
            max_evtchn_port: 1023,
            max_grant_frames: 1,
            max_maptrack_frames: 1,
            cpu_policy: self.hv.policies.hardware_domain(),
            handle: [0; 16],
            ssidref: 0,
            paused: false,
            hvm: None,
        };
        let domain = self.hv.create_domain(config).expect("sim: domain");
        domain.sched.set_weight(weight);
        let mut made = Vec::new();
        for (i, &work) in (0..).zip(work) {
            let vcpu = self.hv.create_vcpu(&domain, VcpuId(i));
            made.push(self.tasks.len());
            self.tasks.push(Task {
                vcpu,
                domain: domain.clone(),
                work,
                left: burst(work),
                wake_at: None,
                runnable_since: None,
                ran: 0,
                worst_latency: 0,
                wakes: 0,
                ran_on: CpuMask::EMPTY,
                switches: 0,
            });
        }
        made
    }

    pub fn task(&mut self, weight: u16, work: Work) -> usize {
        self.domain(weight, &[work])[0]
    }

    pub fn start(&mut self, task: usize) {
        self.tasks[task].vcpu.clear_flags(VcpuFlags::DOWN);
        self.wake(task);
    }

    pub fn start_all(&mut self) {
        for task in 0..self.tasks.len() {
            if self.tasks[task].vcpu.flags().contains(VcpuFlags::DOWN) {
                self.start(task);
            }
        }
    }

    pub fn kick(&mut self, cpu: Option<CpuId>) {
        if let Some(cpu) = cpu {
            self.cpus[cpu.0 as usize].kicked = true;
        }
    }

    fn wake(&mut self, task: usize) {
        let (vcpu, now) = (self.tasks[task].vcpu.clone(), self.now);
        vcpu.clear_flags(VcpuFlags::BLOCKED);
        self.tasks[task].runnable_since = Some(now);
        self.tasks[task].wakes += 1;
        self.make_runnable(&vcpu);
    }

    pub fn make_runnable(&mut self, vcpu: &Arc<Vcpu>) {
        if !vcpu.is_runnable() {
            return;
        }
        let target = match vcpu.running_on() {
            Some(cpu) => Some(cpu),
            None => self.sched.wake(vcpu, self.now),
        };
        self.kick(target);
    }

    pub fn set_cap(&mut self, task: usize, cap: u16) {
        let domain = self.tasks[task].domain.clone();
        for vcpu in domain.sched.set_cap(cap) {
            self.make_runnable(&vcpu);
        }
        for vcpu in domain.vcpus() {
            let target = self.sched.affinity_changed(vcpu, self.now);
            self.kick(target);
        }
    }

    pub fn set_affinity(&mut self, task: usize, hard: &[u32]) {
        let mut mask = CpuMask::EMPTY;
        hard.iter().for_each(|&cpu| mask.insert(CpuId(cpu)));
        let vcpu = self.tasks[task].vcpu.clone();
        vcpu.sched.set_hard_affinity(&mask);
        let target = self.sched.affinity_changed(&vcpu, self.now);
        self.kick(target);
    }

    fn index(&self, vcpu: &Arc<Vcpu>) -> usize {
        self.tasks
            .iter()
            .position(|task| Arc::ptr_eq(&task.vcpu, vcpu))
            .expect("sim: a vCPU of this world")
    }

    /// The entry code's loop.
    fn pass(&mut self, number: u32) {
        let id = CpuId(number);
        for vcpu in self.sched.tick(id, self.now) {
            self.make_runnable(&vcpu);
        }
        for _ in 0..10_000 {
            self.cpus[number as usize].kicked = false;
            self.cpus[number as usize].halted = false;
            self.cpus[number as usize].running = false;
            let current = self.cpus[number as usize].current;
            let vcpu = current.map(|task| self.tasks[task].vcpu.clone());
            let mut may_go_on = false;
            if let Some(vcpu) = vcpu.as_ref().filter(|vcpu| vcpu.is_runnable()) {
                match self.sched.decide(id, vcpu, self.now) {
                    decision @ (Decision::Stay | Decision::StayForSlice) => {
                        if decision == Decision::StayForSlice {
                            self.kick(self.sched.helper(id));
                        }
                        self.runs(number);
                        return;
                    }
                    Decision::Switch => may_go_on = true,
                    Decision::Leave => {}
                }
            }
            if let Some(next) = self.sched.pick(id, self.now) {
                assert_eq!(next.running_on(), Some(id), "claimed");
                if let Some(vcpu) = vcpu {
                    self.take_off(number, &vcpu);
                }
                let task = self.index(&next);
                let taken = self.cpus.iter().any(|cpu| cpu.current == Some(task));
                assert!(!taken, "a vCPU on two processors");
                self.cpus[number as usize].current = Some(task);
                self.tasks[task].switches += 1;
                self.sched.start_slice(id, &next, self.now);
                self.kick(self.sched.helper(id));
                continue;
            }
            if may_go_on {
                self.runs(number);
                return;
            }
            if let Some(vcpu) = vcpu {
                let flags = vcpu.flags();
                let keep =
                    flags.contains(VcpuFlags::BLOCKED) && self.sched.allowed(&vcpu).contains(id);
                if !keep {
                    self.take_off(number, &vcpu);
                    continue;
                }
            }
            self.sched.end_slice(id);
            self.cpus[number as usize].halted = true;
            return;
        }
        panic!("processor {number} never gets to run anything");
    }

    fn take_off(&mut self, number: u32, vcpu: &Arc<Vcpu>) {
        self.cpus[number as usize].current = None;
        vcpu.set_running(None);
        let target = self.sched.stopped(CpuId(number), vcpu, self.now);
        // The processor itself looks anyway.
        if target != Some(CpuId(number)) {
            self.kick(target);
        }
    }

    fn runs(&mut self, number: u32) {
        self.cpus[number as usize].running = true;
        let Some(current) = self.cpus[number as usize].current else {
            panic!("nobody runs");
        };
        let task = &mut self.tasks[current];
        assert!(task.vcpu.is_runnable());
        assert!(self.sched.allowed(&task.vcpu).contains(CpuId(number)));
        task.ran_on.insert(CpuId(number));
        if let Some(since) = task.runnable_since.take() {
            task.worst_latency = task.worst_latency.max(self.now - since);
        }
    }

    fn settle(&mut self) {
        for _ in 0..10_000 {
            let Some(number) = self.cpus.iter().position(|cpu| cpu.kicked) else {
                return;
            };
            self.pass(number as u32);
        }
        panic!("processors kick each other for ever");
    }

    /// Lets `ns` pass.
    pub fn run(&mut self, ns: u64) {
        let end = self.now + ns;
        self.settle();
        while self.now < end {
            let mut next = end;
            for (number, cpu) in (0..).zip(&self.cpus) {
                if let Some(at) = self.sched.slice_deadline(CpuId(number)) {
                    next = next.min(at);
                }
                if cpu.running
                    && let Some(task) = cpu.current
                {
                    next = next.min(self.now.saturating_add(self.tasks[task].left));
                }
            }
            for task in &self.tasks {
                next = next.min(task.wake_at.unwrap_or(u64::MAX));
            }
            self.pass_time(next.max(self.now));
            self.settle();
        }
    }

    fn pass_time(&mut self, to: u64) {
        let by = to - self.now;
        self.note_waste(by);
        self.now = to;
        for number in 0..self.cpus.len() {
            let cpu = &mut self.cpus[number];
            let due = self
                .sched
                .slice_deadline(CpuId(number as u32))
                .is_some_and(|at| at <= to);
            cpu.kicked |= due;
            let (true, Some(current)) = (cpu.running, cpu.current) else {
                continue;
            };
            let task = &mut self.tasks[current];
            task.ran += by;
            task.left = task.left.saturating_sub(by);
            if task.left == 0 {
                cpu.kicked = true;
                task.left = burst(task.work);
                match task.work {
                    Work::Hog => {}
                    Work::Sleeper { sleep, .. } => {
                        task.vcpu.set_flags(VcpuFlags::BLOCKED);
                        task.wake_at = Some(to + sleep);
                    }
                    Work::Yielder { .. } => {
                        task.vcpu.set_flags(VcpuFlags::YIELDING);
                    }
                    Work::Idle => {
                        task.vcpu.set_flags(VcpuFlags::BLOCKED);
                    }
                }
            }
        }
        for task in 0..self.tasks.len() {
            if self.tasks[task].wake_at.is_some_and(|at| at <= to) {
                self.tasks[task].wake_at = None;
                self.wake(task);
            }
        }
    }

    /// Work conservation: whoever can run and does not, finds no halted processor that it may use.
    fn note_waste(&mut self, by: u64) {
        let on: Vec<usize> = self.cpus.iter().filter_map(|cpu| cpu.current).collect();
        let mut free: Vec<u32> = (0..)
            .zip(&self.cpus)
            .filter(|(_, cpu)| cpu.halted)
            .map(|(number, _)| number)
            .collect();
        self.idle += by * free.len() as u64;
        for (i, task) in self.tasks.iter().enumerate() {
            if task.vcpu.is_runnable() && !on.contains(&i) {
                let allowed = self.sched.allowed(&task.vcpu);
                if let Some(at) = free.iter().position(|&cpu| allowed.contains(CpuId(cpu))) {
                    free.remove(at);
                    self.wasted += by;
                }
            }
        }
    }

    /// Time that each task has run since `before`.
    pub fn ran_since(&self, before: &[u64]) -> Vec<u64> {
        let times = self.tasks.iter().zip(before);
        times.map(|(task, before)| task.ran - before).collect()
    }

    pub fn ran(&self) -> Vec<u64> {
        self.tasks.iter().map(|task| task.ran).collect()
    }
}

fn burst(work: Work) -> u64 {
    match work {
        Work::Hog => u64::MAX,
        Work::Sleeper { run, .. } | Work::Yielder { run } => run,
        Work::Idle => 1000,
    }
}

/// Jain's index of fairness.
pub fn jain(shares: &[f64]) -> f64 {
    let sum: f64 = shares.iter().sum();
    let squares: f64 = shares.iter().map(|share| share * share).sum();
    sum * sum / (shares.len() as f64 * squares)
}

/// The shares of `cpus` processors that are proportional to weights as far as nobody gets more than its limit.
pub fn feasible(cpus: f64, weights: &[f64], limits: &[f64]) -> Vec<f64> {
    let mut shares = std::vec![0.0; weights.len()];
    let mut open: Vec<usize> = (0..weights.len()).collect();
    let mut left = cpus;
    loop {
        let total: f64 = open.iter().map(|&i| weights[i]).sum();
        let full: Vec<usize> = open
            .iter()
            .copied()
            .filter(|&i| weights[i] / total * left >= limits[i])
            .collect();
        if full.is_empty() {
            for i in open {
                shares[i] = weights[i] / total * left;
            }
            return shares;
        }
        for i in full {
            shares[i] = limits[i];
            left -= limits[i];
            open.retain(|&other| other != i);
        }
        if open.is_empty() {
            return shares;
        }
    }
}
