//! How long processors had nothing to do.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU64, Ordering};

use crate::machine::CpuMask;
use crate::num::CpuId;

/// Idle time of one processor.
#[derive(Debug, Default)]
struct Account {
    /// Of the halts that are over.
    total_ns: AtomicU64,
    /// When the halt began that is under way; 0 = it is busy.
    since_ns: AtomicU64,
}

/// Idle time by processor. Each processor writes its own account only.
#[derive(Debug)]
pub struct IdleTimes(Box<[Account]>);

impl Default for IdleTimes {
    fn default() -> Self {
        let mut accounts = Vec::new();
        accounts.resize_with(CpuMask::CAPACITY as usize, Account::default);
        Self(accounts.into_boxed_slice())
    }
}

impl IdleTimes {
    /// A processor is about to halt.
    pub fn begin(&self, cpu: CpuId, now_ns: u64) {
        if let Some(account) = self.0.get(cpu.0 as usize) {
            account.since_ns.store(now_ns.max(1), Ordering::Relaxed);
        }
    }

    /// It woke up.
    pub fn end(&self, cpu: CpuId, now_ns: u64) {
        if let Some(account) = self.0.get(cpu.0 as usize) {
            let since = account.since_ns.swap(0, Ordering::Relaxed);
            if since != 0 {
                let spent = now_ns.saturating_sub(since);
                account.total_ns.fetch_add(spent, Ordering::Relaxed);
            }
        }
    }

    /// Whether `cpu` has nothing to do at this moment.
    #[must_use]
    pub fn is_idle(&self, cpu: CpuId) -> bool {
        self.0
            .get(cpu.0 as usize)
            .is_some_and(|account| account.since_ns.load(Ordering::Relaxed) != 0)
    }

    /// Nanoseconds that `cpu` was idle, the halt under way included.
    #[must_use]
    pub fn of(&self, cpu: CpuId, now_ns: u64) -> u64 {
        let Some(account) = self.0.get(cpu.0 as usize) else {
            return 0;
        };
        let current = match account.since_ns.load(Ordering::Relaxed) {
            0 => 0,
            since => now_ns.saturating_sub(since),
        };
        account
            .total_ns
            .load(Ordering::Relaxed)
            .saturating_add(current)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn halts_add_up_and_the_one_under_way_counts() {
        let idle = IdleTimes::default();
        idle.begin(CpuId(1), 100);
        assert_eq!(idle.of(CpuId(1), 130), 30);
        idle.end(CpuId(1), 150);
        assert_eq!(idle.of(CpuId(1), 900), 50);
        idle.begin(CpuId(1), 1000);
        assert_eq!(idle.of(CpuId(1), 1001), 51);
        assert_eq!(idle.of(CpuId(0), 1001), 0);
        assert_eq!(idle.of(CpuId(100_000), 1001), 0);
    }
}
