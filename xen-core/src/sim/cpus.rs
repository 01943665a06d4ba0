//! Processors: one thread of the test is one processor at a time.

use std::cell::Cell;
use std::sync::atomic::Ordering;

use super::SimMachine;
use crate::machine::{CpuMask, Cpus, Flush};
use crate::num::{CpuId, Vector};

std::thread_local! {
    static THIS_CPU: Cell<CpuId> = const { Cell::new(CpuId(0)) };
}

/// Runs `body` as processor `cpu`.
pub fn on_cpu<T>(cpu: CpuId, body: impl FnOnce() -> T) -> T {
    let before = THIS_CPU.replace(cpu);
    let result = body();
    THIS_CPU.set(before);
    result
}

impl Cpus for SimMachine {
    fn this_cpu(&self) -> CpuId {
        THIS_CPU.get()
    }

    fn online(&self) -> CpuMask {
        let mut mask = CpuMask::EMPTY;
        for cpu in 0..self.config.cpus {
            mask.insert(CpuId(cpu));
        }
        mask
    }

    fn kick(&self, cpu: CpuId) {
        self.devices().kicked.insert(cpu);
    }

    fn flush_tlb(&self, mask: &CpuMask, what: Flush) {
        self.tlb_flushes.fetch_add(1, Ordering::SeqCst);
        for cpu in mask.iter().filter(|cpu| cpu.0 < self.config.cpus) {
            let mut cpu = self.cpu(cpu);
            match what {
                Flush::All => cpu.tlb.clear(),
                Flush::Page(addr) => {
                    cpu.tlb.remove(&(addr >> 12));
                }
            }
        }
    }

    fn must_yield(&self) -> bool {
        self.yield_after
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| match left {
                u64::MAX | 0 => None,
                left => Some(left - 1),
            })
            .is_err_and(|left| left == 0)
    }

    fn take_interrupt(&self) -> Option<Vector> {
        self.cpu(self.this_cpu()).interrupts.pop_front()
    }

    fn take_nmi(&self) -> bool {
        core::mem::take(&mut self.cpu(self.this_cpu()).nmi)
    }

    fn take_machine_check(&self) -> bool {
        core::mem::take(&mut self.cpu(self.this_cpu()).machine_check)
    }

    fn idle(&self) {
        // Nothing else runs: jump to the deadline, if there is one.
        let mut cpu = self.cpu(self.this_cpu());
        if let Some(deadline) = cpu.deadline_ns.filter(|_| cpu.interrupts.is_empty()) {
            self.now_ns.fetch_max(deadline, Ordering::SeqCst);
            cpu.deadline_ns = None;
            cpu.interrupts.push_back(crate::irq::TIMER_VECTOR);
        }
    }
}

impl SimMachine {
    /// Lets `must_yield` say no `calls` times, then yes until this is called again; `None`: never yes.
    pub fn yield_after(&self, calls: Option<u64>) {
        self.yield_after
            .store(calls.unwrap_or(u64::MAX), Ordering::SeqCst);
    }

    /// Raises an interrupt.
    pub fn raise(&self, cpu: CpuId, vector: Vector) {
        self.cpu(cpu).interrupts.push_back(vector);
    }

    /// Raises a non-maskable interrupt.
    pub fn raise_nmi(&self, cpu: CpuId) {
        self.cpu(cpu).nmi = true;
    }

    /// Raises a machine check.
    pub fn raise_machine_check(&self, cpu: CpuId) {
        self.cpu(cpu).machine_check = true;
    }

    /// Processors that were kicked since the last call.
    pub fn take_kicked(&self) -> CpuMask {
        core::mem::take(&mut self.devices().kicked)
    }

    /// How often translations were flushed.
    #[must_use]
    pub fn tlb_flushes(&self) -> usize {
        self.tlb_flushes.load(Ordering::SeqCst)
    }
}
