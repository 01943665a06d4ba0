//! What the scheduler knows of a vCPU.

use alloc::sync::Arc;
use core::sync::atomic::{AtomicI64, AtomicU32, AtomicU64, Ordering};

use super::share::{DEFAULT_WEIGHT, DomainSched};
use crate::machine::{AtomicCpuMask, CpuMask};
use crate::num::CpuId;

/// A vCPU as the scheduler sees it.
///
/// The accounts (virtual time, rest, quota) have one writer at a time: the processor that runs the vCPU, or whoever
/// enters it in a queue, under that queue's lock.
#[derive(Debug)]
pub struct VcpuSched {
    /// The share of its domain.
    pub domain: Arc<DomainSched>,
    /// Time it has run, in nanoseconds of a vCPU of default weight.
    vtime: AtomicI64,
    /// What of that was too little to count.
    rest: AtomicU64,
    /// Budget that it holds and has not used.
    quota_ns: AtomicI64,
    /// The processor in whose queue it is, while it is in one.
    pub(super) queue: AtomicU32,
    /// Its place there.
    pub(super) place: (AtomicI64, AtomicU64),
    /// The processor that it owns under `sched=null`, plus one; 0 = none.
    pub(super) home: AtomicU32,
    hard: AtomicCpuMask,
    soft: AtomicCpuMask,
    /// Processor that SCHEDOP_pin_override chose, plus one; 0 = none.
    pin_override: AtomicU32,
}

impl VcpuSched {
    /// A vCPU of a domain with this share, which has not run yet and may run anywhere.
    #[must_use]
    pub fn new(domain: &Arc<DomainSched>) -> Self {
        domain.add_vcpu();
        Self {
            domain: domain.clone(),
            vtime: AtomicI64::new(0),
            rest: AtomicU64::new(0),
            quota_ns: AtomicI64::new(0),
            queue: AtomicU32::new(0),
            place: (AtomicI64::new(0), AtomicU64::new(0)),
            home: AtomicU32::new(0),
            hard: AtomicCpuMask::new(&CpuMask::ALL),
            soft: AtomicCpuMask::new(&CpuMask::ALL),
            pin_override: AtomicU32::new(0),
        }
    }

    /// Its virtual time.
    pub(super) fn vtime(&self) -> i64 {
        self.vtime.load(Ordering::Relaxed)
    }

    /// Sets its virtual time.
    pub(super) fn set_vtime(&self, vtime: i64) {
        self.vtime.store(vtime, Ordering::Relaxed);
    }

    /// Adds `ran_ns` of running to its virtual time. Nothing is lost to rounding, however short the runs are.
    pub(super) fn charge(&self, ran_ns: u64) {
        let weight = u64::from(self.domain.weight().max(1));
        let ran = ran_ns
            .saturating_mul(DEFAULT_WEIGHT.into())
            .saturating_add(self.rest.load(Ordering::Relaxed));
        self.rest.store(ran % weight, Ordering::Relaxed);
        let passed = i64::try_from(ran / weight).unwrap_or(i64::MAX);
        self.set_vtime(self.vtime().saturating_add(passed));
    }

    /// So much of its virtual time passes in `ns` of running.
    pub(super) fn virtual_ns(&self, ns: u64) -> i64 {
        let passed =
            u128::from(ns) * u128::from(DEFAULT_WEIGHT) / u128::from(self.domain.weight().max(1));
        i64::try_from(passed).unwrap_or(i64::MAX)
    }

    /// So long it has to run for `vtime` of its virtual time to pass.
    pub(super) fn real_ns(&self, vtime: i64) -> u64 {
        let vtime = u128::from(u64::try_from(vtime).unwrap_or(0));
        let ns = vtime * u128::from(self.domain.weight().max(1)) / u128::from(DEFAULT_WEIGHT);
        u64::try_from(ns).unwrap_or(u64::MAX)
    }

    /// Budget that it holds.
    pub(super) fn quota(&self) -> i64 {
        self.quota_ns.load(Ordering::Relaxed)
    }

    /// Sets the budget that it holds.
    pub(super) fn set_quota(&self, ns: i64) {
        self.quota_ns.store(ns, Ordering::Relaxed);
    }

    /// The processors it may run on, by its hard affinity (a temporary override not looked at).
    #[must_use]
    pub fn hard_affinity(&self) -> CpuMask {
        self.hard.load()
    }

    /// The processors it had better run on.
    #[must_use]
    pub fn soft_affinity(&self) -> CpuMask {
        self.soft.load()
    }

    /// Sets the hard affinity. [`Hypervisor::affinity_changed`](crate::hypervisor::Hypervisor::affinity_changed) puts
    /// it into effect.
    pub fn set_hard_affinity(&self, mask: &CpuMask) {
        self.hard.store(mask);
    }

    /// Sets the soft affinity.
    pub fn set_soft_affinity(&self, mask: &CpuMask) {
        self.soft.store(mask);
    }

    /// The processor that SCHEDOP_pin_override chose.
    #[must_use]
    pub fn pin_override(&self) -> Option<CpuId> {
        self.pin_override
            .load(Ordering::SeqCst)
            .checked_sub(1)
            .map(CpuId)
    }

    /// Pins it to `cpu` whatever its affinity. False if it is pinned already.
    #[must_use]
    pub fn pin(&self, cpu: CpuId) -> bool {
        let wish = cpu.0.saturating_add(1);
        self.pin_override
            .compare_exchange(0, wish, Ordering::SeqCst, Ordering::SeqCst)
            .is_ok()
    }

    /// Ends the pinning. False if there was none.
    #[must_use]
    pub fn unpin(&self) -> bool {
        self.pin_override.swap(0, Ordering::SeqCst) != 0
    }

    /// The processors it may run on now, whether they are online or not.
    #[must_use]
    pub fn allowed(&self) -> CpuMask {
        self.pin_override()
            .map_or_else(|| self.hard.load(), CpuMask::single)
    }

    /// Whether it would rather run on `cpu` than elsewhere.
    pub(super) fn prefers(&self, cpu: CpuId) -> bool {
        self.soft.contains(cpu)
    }
}
