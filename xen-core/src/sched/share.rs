//! A domain's share of the processors: its weight against others, and the most that it gets (its cap).
//!
//! A cap is a budget of processor time per period. A vCPU takes a part of it before it runs and gives back what it did
//! not use; when the budget is empty, the domain's vCPUs are throttled until the next period refills it.

use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU32, Ordering};

use crate::domain::{Vcpu, VcpuFlags};
use crate::sync::{Rank, RankedMutex};

/// Weight of a domain that was given none (credit2's default).
pub const DEFAULT_WEIGHT: u16 = 256;
/// How often budgets are refilled (credit2's period).
pub const PERIOD_NS: u64 = 10_000_000;
/// The smallest part of a budget that is worth a switch.
const MIN_GRANT_NS: i64 = 100_000;

/// A domain's share.
#[derive(Debug)]
pub struct DomainSched {
    weight: AtomicU32,
    /// Percent of one processor; 0 = no cap.
    cap: AtomicU32,
    vcpus: AtomicU32,
    budget: RankedMutex<Budget>,
}

#[derive(Debug, Default)]
struct Budget {
    /// What is left of this period; negative is repaid by the next.
    left_ns: i64,
    /// When the next period begins; 0 = none has begun yet.
    next_ns: u64,
    /// Somebody will call [`DomainSched::refill`] then.
    awaited: bool,
    throttled: Vec<Weak<Vcpu>>,
}

/// What a vCPU may use of its domain's budget.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Grant {
    /// There is no cap.
    Unlimited,
    /// So many nanoseconds, which are taken from the budget.
    For(i64),
    /// Nothing: it is throttled now. With the time of the refill, if it is for the caller to see to it.
    Nothing(Option<u64>),
}

impl Default for DomainSched {
    fn default() -> Self {
        Self {
            weight: AtomicU32::new(DEFAULT_WEIGHT.into()),
            cap: AtomicU32::new(0),
            vcpus: AtomicU32::new(0),
            budget: RankedMutex::new(Rank::Machine, Budget::default()),
        }
    }
}

impl DomainSched {
    /// Its weight, 1 to 65535.
    #[must_use]
    pub fn weight(&self) -> u16 {
        self.weight.load(Ordering::Relaxed) as u16
    }

    /// Sets the weight; 0 is ignored.
    pub fn set_weight(&self, weight: u16) {
        if weight != 0 {
            self.weight.store(weight.into(), Ordering::Relaxed);
        }
    }

    /// Its cap in percent of one processor; 0 = none.
    #[must_use]
    pub fn cap(&self) -> u16 {
        self.cap.load(Ordering::Relaxed) as u16
    }

    /// Sets the cap. Returns vCPUs that the old cap held back: they may be runnable now.
    #[must_use]
    pub fn set_cap(&self, cap: u16) -> Vec<Arc<Vcpu>> {
        let mut budget = self.budget.lock();
        self.cap.store(cap.into(), Ordering::Relaxed);
        budget.left_ns = budget.left_ns.min(full(cap));
        if cap == 0 {
            budget.left_ns = 0;
            budget.next_ns = 0;
            return release(&mut budget);
        }
        Vec::new()
    }

    /// Counts a vCPU.
    pub(super) fn add_vcpu(&self) {
        self.vcpus.fetch_add(1, Ordering::Relaxed);
    }

    /// Number of vCPUs that were made.
    #[must_use]
    pub fn vcpus(&self) -> u32 {
        self.vcpus.load(Ordering::Relaxed)
    }

    /// Takes a part of the budget for `vcpu`, or throttles it.
    pub(super) fn grant(&self, vcpu: &Arc<Vcpu>, now_ns: u64) -> Grant {
        if self.cap() == 0 {
            return Grant::Unlimited;
        }
        let mut budget = self.budget.lock();
        let cap = self.cap();
        if cap == 0 {
            return Grant::Unlimited;
        }
        budget.advance(full(cap), now_ns);
        if budget.left_ns > 0 {
            let fair = full(cap) / i64::from(self.vcpus().max(1));
            let part = fair.max(MIN_GRANT_NS).min(budget.left_ns);
            budget.left_ns -= part;
            return Grant::For(part);
        }
        vcpu.set_flags(VcpuFlags::THROTTLED);
        budget.throttled.push(Arc::downgrade(vcpu));
        let first = !budget.awaited;
        budget.awaited = true;
        Grant::Nothing(first.then_some(budget.next_ns))
    }

    /// Gives back what was granted and not used; negative if more was used.
    pub(super) fn give_back(&self, ns: i64) {
        let mut budget = self.budget.lock();
        budget.left_ns = budget.left_ns.saturating_add(ns);
    }

    /// A period has ended. Returns the vCPUs that may go on, and when to call again if there is still nothing to
    /// give.
    pub(super) fn refill(&self, now_ns: u64) -> (Vec<Arc<Vcpu>>, Option<u64>) {
        let mut budget = self.budget.lock();
        let cap = self.cap();
        if cap != 0 {
            budget.advance(full(cap), now_ns);
            if budget.left_ns <= 0 && !budget.throttled.is_empty() {
                return (Vec::new(), Some(budget.next_ns));
            }
        }
        budget.awaited = false;
        (release(&mut budget), None)
    }
}

impl Budget {
    /// Refills for the periods that have begun by `now_ns`. What was not used does not add up.
    fn advance(&mut self, full_ns: i64, now_ns: u64) {
        if self.next_ns == 0 {
            self.left_ns = full_ns;
            self.next_ns = now_ns.saturating_add(PERIOD_NS);
            return;
        }
        let Some(late) = now_ns.checked_sub(self.next_ns) else {
            return;
        };
        let periods = late / PERIOD_NS + 1;
        let gained = full_ns.saturating_mul(i64::try_from(periods).unwrap_or(i64::MAX));
        self.left_ns = self.left_ns.saturating_add(gained).min(full_ns);
        self.next_ns = self
            .next_ns
            .saturating_add(periods.saturating_mul(PERIOD_NS));
    }
}

/// Budget of one period.
fn full(cap: u16) -> i64 {
    i64::from(cap) * (PERIOD_NS as i64 / 100)
}

fn release(budget: &mut Budget) -> Vec<Arc<Vcpu>> {
    let throttled = core::mem::take(&mut budget.throttled);
    let there = throttled.iter().filter_map(Weak::upgrade);
    there
        .inspect(|vcpu| {
            vcpu.clear_flags(VcpuFlags::THROTTLED);
        })
        .collect()
}
