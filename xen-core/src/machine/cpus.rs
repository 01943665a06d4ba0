//! Processors: who am I, wake another one, flush translations.

use crate::num::{CpuId, Vector};

/// Set of processors, by [`CpuId`], for machines of up to 256.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct CpuMask([u64; 4]);

impl CpuMask {
    /// The most processors a mask can name.
    pub const CAPACITY: u32 = 256;
    /// No processor.
    pub const EMPTY: Self = Self([0; 4]);
    /// Every processor.
    pub const ALL: Self = Self([u64::MAX; 4]);

    /// Just `cpu`.
    #[must_use]
    pub fn single(cpu: CpuId) -> Self {
        let mut mask = Self::EMPTY;
        mask.insert(cpu);
        mask
    }

    /// Adds `cpu`; ids beyond the capacity are ignored.
    pub fn insert(&mut self, cpu: CpuId) {
        if let Some(word) = self.0.get_mut(cpu.0 as usize / 64) {
            *word |= 1 << (cpu.0 % 64);
        }
    }

    /// Takes `cpu` out.
    pub fn remove(&mut self, cpu: CpuId) {
        if let Some(word) = self.0.get_mut(cpu.0 as usize / 64) {
            *word &= !(1 << (cpu.0 % 64));
        }
    }

    /// Whether `cpu` is in the set.
    #[must_use]
    pub fn contains(&self, cpu: CpuId) -> bool {
        self.0
            .get(cpu.0 as usize / 64)
            .is_some_and(|word| word & (1 << (cpu.0 % 64)) != 0)
    }

    /// Whether the set is empty.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0 == [0; 4]
    }

    /// The processors of both sets.
    #[must_use]
    pub fn and(&self, other: &Self) -> Self {
        let mut out = *self;
        for (word, other) in out.0.iter_mut().zip(other.0) {
            *word &= other;
        }
        out
    }

    /// The processors of either set.
    #[must_use]
    pub fn or(&self, other: &Self) -> Self {
        let mut out = *self;
        for (word, other) in out.0.iter_mut().zip(other.0) {
            *word |= other;
        }
        out
    }

    /// The words of the bitmap, lowest processor first.
    #[must_use]
    pub fn words(&self) -> &[u64; 4] {
        &self.0
    }

    /// A mask from the words of a bitmap.
    #[must_use]
    pub const fn from_words(words: [u64; 4]) -> Self {
        Self(words)
    }

    /// The processors in ascending order.
    pub fn iter(&self) -> impl Iterator<Item = CpuId> + '_ {
        (0u32..).zip(self.0).flat_map(|(i, word)| {
            let mut left = word;
            core::iter::from_fn(move || {
                let bit = left.trailing_zeros();
                // Only the lowest bit goes.
                left &= left.wrapping_sub(1);
                (bit < u64::BITS).then(|| CpuId(i * u64::BITS + bit))
            })
        })
    }
}

/// Which cached translations must go.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Flush {
    /// All of them, global ones included.
    All,
    /// Those of one (canonical) linear address, and paging-structure caches.
    Page(u64),
}

/// Processors and what one may ask of another.
pub trait Cpus {
    /// The processor that executes this.
    fn this_cpu(&self) -> CpuId;

    /// Processors that take part.
    fn online(&self) -> CpuMask;

    /// Makes `cpu` pass through the hypervisor soon: it will look at its pending work before it goes on.
    fn kick(&self, cpu: CpuId);

    /// Drops translations on every processor in `mask`, this one included if named; synchronous: when it returns no
    /// processor of `mask` uses a dropped translation.
    fn flush_tlb(&self, mask: &CpuMask, what: Flush);

    /// Whether something more urgent waits on this processor (a timer that is due, an interrupt, a kick). Long
    /// operations ask between items, holding no lock.
    fn must_yield(&self) -> bool;

    /// Takes one interrupt vector that arrived while in the hypervisor, if any (acknowledged later by `Irqs::eoi`).
    fn take_interrupt(&self) -> Option<Vector>;

    /// Takes the non-maskable interrupt that arrived since the last call, if one did.
    fn take_nmi(&self) -> bool;

    /// Takes the machine check (#MC) that arrived since the last call, if one did: its error is in the banks.
    fn take_machine_check(&self) -> bool;

    /// Waits, halted, with interrupts open, until one arrives; returns at once if one is already recorded.
    fn idle(&self);
}
