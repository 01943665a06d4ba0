//! A domain's own numbers for interrupts.

use alloc::collections::{BTreeMap, BTreeSet};
use core::sync::atomic::Ordering;

use hypercall_abi::errno::Errno;
use hypercall_abi::xen::DomId;

use super::config::{Configuration, ISA_IRQS};
use crate::domain::Domain;
use crate::machine::Frames;
use crate::num::{Mfn, Pirq};

/// Bits of the page that PHYSDEVOP_pirq_eoi_gmfn registers: one per PIRQ.
pub(super) const EOI_MAP_BITS: u32 = 4096 * 8;
/// PIRQs of a domain without hardware beyond the GSIs, as Xen's `extra_guest_irqs` has it.
const EXTRA_GUEST_PIRQS: u32 = 32;
/// Most messages that one device can be given by MSI.
const MAX_MSI_VECTORS: i32 = 32;

/// Whose PIRQs are meant.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PirqOwner {
    /// The domain.
    pub id: DomId,
    /// It owns the machine's devices.
    pub hardware: bool,
}

impl PirqOwner {
    /// The owner that `domain` is.
    #[must_use]
    pub fn of(domain: &Domain) -> Self {
        Self {
            id: domain.id,
            hardware: domain.privileges.hardware,
        }
    }
}

/// What a PIRQ stands for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Mapping {
    /// Given out by PHYSDEVOP_get_free_pirq, not mapped yet.
    Reserved,
    /// This IRQ.
    Irq(u32),
}

/// The PIRQs of one domain.
#[derive(Debug)]
pub(super) struct DomainPirqs {
    nr_gsis: u32,
    nr_pirqs: u32,
    mappings: BTreeMap<u32, Mapping>,
    permitted: BTreeSet<u32>,
    /// The hardware domain may use every IRQ but the timer's.
    permitted_all: bool,
    /// Page of "needs EOI" bits; holds a writable reference.
    eoi_map: Option<Mfn>,
    /// EOI also unmasks the event channel (PHYSDEVOP_pirq_eoi_gmfn_v1).
    pub(super) auto_unmask: bool,
}

impl DomainPirqs {
    pub(super) fn new(owner: PirqOwner, config: &Configuration) -> Self {
        let nr_gsis = config.nr_gsis;
        let nr_pirqs = if owner.hardware {
            config.nr_irqs()
        } else {
            nr_gsis.saturating_add(EXTRA_GUEST_PIRQS)
        };
        Self {
            nr_gsis,
            nr_pirqs: nr_pirqs.min(EOI_MAP_BITS),
            mappings: BTreeMap::new(),
            permitted: BTreeSet::new(),
            permitted_all: owner.hardware,
            eoi_map: None,
            auto_unmask: false,
        }
    }

    /// One past the highest PIRQ.
    pub(super) const fn count(&self) -> u32 {
        self.nr_pirqs
    }

    /// Whether the domain may use `irq`. IRQ 0 is the hypervisor's timer.
    pub(super) fn may_use(&self, irq: u32) -> bool {
        irq != 0 && (self.permitted_all || self.permitted.contains(&irq))
    }

    pub(super) fn permit(&mut self, irq: u32, allowed: bool) {
        if allowed {
            self.permitted.insert(irq);
        } else {
            self.permitted.remove(&irq);
        }
    }

    /// What `pirq` stands for.
    pub(super) fn mapping(&self, pirq: Pirq) -> Option<Mapping> {
        self.mappings.get(&pirq.0).copied()
    }

    /// The IRQ that `pirq` is mapped to.
    pub(super) fn irq(&self, pirq: Pirq) -> Option<u32> {
        match self.mapping(pirq)? {
            Mapping::Irq(irq) => Some(irq),
            Mapping::Reserved => None,
        }
    }

    /// The PIRQ that stands for `irq`.
    pub(super) fn pirq_of(&self, irq: u32) -> Option<Pirq> {
        let found = self
            .mappings
            .iter()
            .find(|&(_, &mapping)| mapping == Mapping::Irq(irq));
        found.map(|(&pirq, _)| Pirq(pirq))
    }

    pub(super) fn map(&mut self, pirq: Pirq, mapping: Mapping) {
        self.mappings.insert(pirq.0, mapping);
    }

    pub(super) fn unmap(&mut self, pirq: Pirq) {
        self.mappings.remove(&pirq.0);
    }

    /// All mapped PIRQs.
    pub(super) fn mapped(&self) -> impl Iterator<Item = (Pirq, Mapping)> {
        self.mappings
            .iter()
            .map(|(&pirq, &mapping)| (Pirq(pirq), mapping))
    }

    /// A PIRQ that is free: for a GSI from 16 upwards and then the ISA numbers, for a message from the top down.
    pub(super) fn find_free(&self, for_gsi: bool) -> Result<Pirq, Errno> {
        let free = |pirq: &u32| !self.mappings.contains_key(pirq);
        let found = if for_gsi {
            let isa = ISA_IRQS.min(self.nr_gsis);
            (isa..self.nr_gsis)
                .find(free)
                .or_else(|| (1..isa).find(free))
        } else {
            (self.nr_gsis..self.nr_pirqs).rev().find(free)
        };
        found.map(Pirq).ok_or(Errno::ENOSPC)
    }

    /// The PIRQ for `irq`, given what the caller wants (negative: any). `messages` is the wanted count of a
    /// MAP_PIRQ_TYPE_MULTI_MSI.
    pub(super) fn choose(
        &self,
        wanted: i32,
        irq: Option<u32>,
        messages: Option<i32>,
    ) -> Result<Pirq, Errno> {
        let current = irq.and_then(|irq| self.pirq_of(irq));
        match (u32::try_from(wanted), current) {
            (Ok(wanted), Some(current)) if current.0 != wanted => Err(Errno::EEXIST),
            (Ok(wanted), _) => Ok(Pirq(wanted)),
            (Err(_), Some(current)) => Ok(current),
            (Err(_), None) => match messages {
                Some(count) if !(1..=MAX_MSI_VECTORS).contains(&count) => Err(Errno::EDOM),
                // More than one message needs interrupt remapping to be steerable.
                Some(count) if count != 1 => Err(Errno::EOPNOTSUPP),
                _ => self.find_free(irq.is_some_and(|irq| irq < self.nr_gsis)),
            },
        }
    }

    /// Registers the page of EOI bits, on which the caller holds a writable reference.
    pub(super) fn set_eoi_map(&mut self, mfn: Mfn, auto_unmask: bool) -> Result<(), Errno> {
        if self.eoi_map.is_some() {
            return Err(Errno::EBUSY);
        }
        self.eoi_map = Some(mfn);
        self.auto_unmask = auto_unmask;
        Ok(())
    }

    /// The page of EOI bits.
    pub(super) const fn eoi_map(&self) -> Option<Mfn> {
        self.eoi_map
    }

    /// Gives the page of EOI bits back to whoever drops the reference.
    pub(super) fn take_eoi_map(&mut self) -> Option<Mfn> {
        self.eoi_map.take()
    }

    /// Tells the domain whether `pirq` needs an EOI.
    pub(super) fn set_needs_eoi(&self, frames: &impl Frames, pirq: Pirq, needed: bool) {
        let Some(mfn) = self.eoi_map else { return };
        let Some(word) = frames.words(mfn).get(pirq.0 as usize / 64) else {
            return;
        };
        let bit = 1u64 << (pirq.0 % 64);
        if needed {
            word.fetch_or(bit, Ordering::SeqCst);
        } else {
            word.fetch_and(!bit, Ordering::SeqCst);
        }
    }
}
