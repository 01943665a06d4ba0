//! Dropping translations of other CPUs (SDM 3A 4.10.5).
//!
//! Each CPU has a [mailbox](FlushRequests) with what it is asked to drop. Whoever asks interrupts it and waits until
//! that was done. A CPU that waits serves its own mailbox meanwhile, and so do all that open interrupts between the
//! steps of a long operation, so two that wait for each other both go on. That needs a rule: nobody asks while holding a lock (docs/locking.md), since others may spin for it with
//! interrupts off.

use core::hint::spin_loop;

use arrayvec::ArrayVec;
use x86_64::VirtAddr;
use x86_64::instructions::tlb;
use xen_core::machine::{CpuMask, Flush};

use super::percpu::{self, PerCpu};
use crate::metal::irq::lapic;
use crate::metal::mem::stacks::this_cpu;

/// Vector of requests; above all device vectors.
pub const VECTOR: u8 = 0xfc;

/// Drops translations of the executing CPU.
fn flush_here(what: Flush) {
    match what {
        Flush::All => {
            tlb::flush_all();
            // Guests' nested tables may have changed as well.
            if let Some(svm) = this_cpu().svm.get() {
                svm.request_flush();
            }
        }
        Flush::Page(addr) => tlb::flush(VirtAddr::new_truncate(addr)),
    }
}

/// Does what the executing CPU is asked.
pub fn serve() {
    this_cpu().mailbox.serve(flush_here);
}

/// Drops translations on all online CPUs of `mask`, and returns when they are gone.
pub fn flush(mask: &CpuMask, what: Flush) {
    let here = this_cpu();
    let mut tickets: ArrayVec<(&PerCpu, u64), { CpuMask::CAPACITY as usize }> = ArrayVec::new();
    let mut myself = false;
    for cpu in mask.and(&percpu::online()).iter() {
        if cpu.0 == here.number {
            myself = true;
        } else if let Some(target) = percpu::find(cpu) {
            let (ticket, interrupt) = target.mailbox.ask(what);
            if interrupt {
                lapic::send_to(target.apic_id, VECTOR);
            }
            tickets.push((target, ticket));
        }
    }
    if myself {
        flush_here(what);
    }
    for (target, ticket) in tickets {
        while !target.mailbox.is_served(ticket) {
            serve();
            spin_loop();
        }
    }
}
