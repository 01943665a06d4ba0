//! A set of processors that any processor may look at and change without a lock.

use core::sync::atomic::{AtomicU64, Ordering};

use super::CpuMask;
use crate::num::CpuId;

/// A [`CpuMask`] of atomic words. Each processor's bit is exact; a whole mask that is read while it is being stored
/// may be a mixture of old and new, so that whoever decides by it looks again after acting.
#[derive(Debug, Default)]
pub struct AtomicCpuMask([AtomicU64; 4]);

impl AtomicCpuMask {
    /// A set with the contents of `mask`.
    #[must_use]
    pub fn new(mask: &CpuMask) -> Self {
        Self(mask.words().map(AtomicU64::new))
    }

    /// The set as it is now.
    #[must_use]
    pub fn load(&self) -> CpuMask {
        CpuMask::from_words([0, 1, 2, 3].map(|i: usize| self.0[i].load(Ordering::SeqCst)))
    }

    /// Replaces the set.
    pub fn store(&self, mask: &CpuMask) {
        for (word, value) in self.0.iter().zip(mask.words()) {
            word.store(*value, Ordering::SeqCst);
        }
    }

    /// Whether `cpu` is in the set.
    #[must_use]
    pub fn contains(&self, cpu: CpuId) -> bool {
        self.0
            .get(cpu.0 as usize / 64)
            .is_some_and(|word| word.load(Ordering::SeqCst) & (1 << (cpu.0 % 64)) != 0)
    }

    /// Adds `cpu`; ids beyond the capacity are ignored.
    pub fn insert(&self, cpu: CpuId) {
        if let Some(word) = self.0.get(cpu.0 as usize / 64) {
            word.fetch_or(1 << (cpu.0 % 64), Ordering::SeqCst);
        }
    }

    /// Takes `cpu` out; whether it was in.
    pub fn remove(&self, cpu: CpuId) -> bool {
        let bit = 1 << (cpu.0 % 64);
        self.0
            .get(cpu.0 as usize / 64)
            .is_some_and(|word| word.fetch_and(!bit, Ordering::SeqCst) & bit != 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_come_and_go_one_by_one() {
        let set = AtomicCpuMask::new(&CpuMask::single(CpuId(70)));
        set.insert(CpuId(3));
        set.insert(CpuId(300));
        assert!(set.contains(CpuId(70)) && set.contains(CpuId(3)));
        assert!(!set.contains(CpuId(4)) && !set.contains(CpuId(300)));
        assert!(set.remove(CpuId(70)) && !set.remove(CpuId(70)));
        assert_eq!(set.load(), CpuMask::single(CpuId(3)));
        set.store(&CpuMask::ALL);
        assert!(set.contains(CpuId(255)));
    }
}
