//! Dropping translations of other CPUs (SDM 3A 4.10.5).
//!
//! Each CPU has a mailbox with what it is asked to drop. Whoever asks gets a ticket, interrupts the CPU and waits until
//! the ticket was served; there is no lock, and requests to one CPU add up. A CPU that waits serves its own mailbox
//! meanwhile, and so do all that open interrupts between the steps of a long operation, so two that wait for each other
//! both go on. That needs a rule: nobody asks while holding a lock (docs/locking.md), since others may spin for it with
//! interrupts off.

use core::hint::spin_loop;
use core::sync::atomic::{AtomicU64, Ordering};

use arrayvec::ArrayVec;
use x86_64::VirtAddr;
use x86_64::instructions::tlb;
use xen_core::machine::{CpuMask, Flush};

use super::percpu::{self, PerCpu};
use crate::metal::irq::lapic;
use crate::metal::mem::stacks::this_cpu;

/// Vector of requests; above all device vectors.
pub const VECTOR: u8 = 0xfc;

/// Nothing to drop.
const NOTHING: u64 = 0;
/// All translations.
const EVERYTHING: u64 = u64::MAX;
/// Marks the address of one page, so that page 0 differs from [`NOTHING`].
const ONE_PAGE: u64 = 1;
const PAGE_MASK: u64 = !0xfff;

/// What a CPU is asked to drop.
#[derive(Debug, Default)]
pub struct Mailbox {
    /// [`NOTHING`], [`EVERYTHING`], or the address of a page with [`ONE_PAGE`].
    what: AtomicU64,
    /// Requests so far: the last ticket.
    asked: AtomicU64,
    /// The last ticket that was served.
    served: AtomicU64,
}

impl Mailbox {
    /// Adds a request. Returns the ticket, and whether the CPU must be interrupted for it.
    fn ask(&self, what: u64) -> (u64, bool) {
        let merge = |old| match old {
            NOTHING => Some(what),
            same if same == what => None,
            EVERYTHING => None,
            _ => Some(EVERYTHING),
        };
        // First what, then the number: whoever sees the number finds what it stands for.
        let _ = self
            .what
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, merge);
        let ticket = self.asked.fetch_add(1, Ordering::SeqCst) + 1;
        // With an older request open, its interrupt is on the way, and `serve` looks again before it ends.
        (ticket, self.served.load(Ordering::SeqCst) + 1 == ticket)
    }

    fn is_served(&self, ticket: u64) -> bool {
        self.served.load(Ordering::SeqCst) >= ticket
    }

    /// Does what is asked, with `drop` for each request. Only by the mailbox's own CPU.
    fn serve(&self, drop: impl Fn(Flush)) {
        loop {
            let ticket = self.asked.load(Ordering::SeqCst);
            if ticket == self.served.load(Ordering::SeqCst) {
                return;
            }
            match self.what.swap(NOTHING, Ordering::SeqCst) {
                NOTHING => {}
                EVERYTHING => drop(Flush::All),
                page => drop(Flush::Page(page & PAGE_MASK)),
            }
            self.served.store(ticket, Ordering::SeqCst);
        }
    }
}

/// Drops translations of the executing CPU.
fn flush_here(what: Flush) {
    match what {
        Flush::All => tlb::flush_all(),
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
    let word = match what {
        Flush::All => EVERYTHING,
        Flush::Page(addr) => addr & PAGE_MASK | ONE_PAGE,
    };
    let mut tickets: ArrayVec<(&PerCpu, u64), { CpuMask::CAPACITY as usize }> = ArrayVec::new();
    let mut myself = false;
    for cpu in mask.and(&percpu::online()).iter() {
        if cpu.0 == here.number {
            myself = true;
        } else if let Some(target) = percpu::find(cpu) {
            let (ticket, interrupt) = target.mailbox.ask(word);
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
