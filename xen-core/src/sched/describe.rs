//! The run queues in words, for the debug key.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::sync::atomic::Ordering;

use super::{DEFAULT_WEIGHT, Policy, Scheduler};
use crate::domain::Vcpu;

impl Scheduler {
    /// Xen's name of the scheduler: the long one, and the option's value.
    #[must_use]
    pub fn name(&self) -> (&'static str, &'static str) {
        match self.policy {
            Policy::Credit2 => ("SMP Credit Scheduler rev2", "credit2"),
            Policy::Null => ("null Scheduler", "null"),
        }
    }

    /// The queues of all processors and what they run.
    #[must_use]
    pub fn describe(&self) -> Vec<String> {
        let (name, short) = self.name();
        let mut lines = Vec::new();
        lines.push(format!("Scheduler: {name} ({short})"));
        lines.push(format!(
            "\tdefault-weight = {DEFAULT_WEIGHT}, ratelimit = {} us",
            self.ratelimit_us()
        ));
        for cpu in self.online().iter() {
            let Some(processor) = self.processor(cpu) else {
                continue;
            };
            let queue = processor.queue.lock();
            lines.push(format!(
                "CPU[{:02}] {} vtime={} waiting={} slice_end={}",
                cpu.0,
                if self.idlers.contains(cpu) {
                    "idle"
                } else {
                    "busy"
                },
                processor.vtime(),
                queue.len(),
                processor.slice_end_ns.load(Ordering::Relaxed),
            ));
            if let Some(current) = &queue.current {
                lines.push(format!("\trun: {}", describe(current)));
            }
            for (place, vcpu) in queue.iter().enumerate() {
                lines.push(format!("\t{:3}: {}", place + 1, describe(vcpu)));
            }
        }
        for vcpu in self.null.waiting() {
            lines.push(format!("\twithout a processor: {}", describe(&vcpu)));
        }
        lines
    }
}

fn describe(vcpu: &Vcpu) -> String {
    let domain = vcpu.domain.upgrade().map_or(u16::MAX, |domain| domain.id.0);
    let sched = &vcpu.sched;
    format!(
        "[{domain}.{}] flags={:?} vtime={} [w={},cap={}]",
        vcpu.id.0,
        vcpu.flags(),
        sched.vtime(),
        sched.domain.weight(),
        sched.domain.cap(),
    )
}
