//! What the lock guards, and the steps that several operations share.

use alloc::collections::BTreeMap;

use hypercall_abi::errno::Errno;
use hypercall_abi::xen::DomId;

use super::desc::{Desc, Handler, Source};
use super::msi::MsiSource;
use super::pci::PciDevices;
use super::pirq::{DomainPirqs, Mapping, PirqOwner};
use super::{DEVICE_VECTORS, FIRST_DEVICE_VECTOR, LAST_DEVICE_VECTOR, NEVER_GIVEN_OUT};
use crate::machine::{Frames, Irqs, Pio};
use crate::num::{CpuId, Pirq, Vector};

/// What interrupts need of the machine.
pub trait Board: Irqs + Pio + Frames {}
impl<T: Irqs + Pio + Frames> Board for T {}

#[derive(Debug)]
pub(super) struct State {
    /// By IRQ. GSIs are always there.
    pub descs: BTreeMap<u32, Desc>,
    pub vectors: [Option<u32>; 256],
    pub domains: BTreeMap<u16, DomainPirqs>,
    pub devices: PciDevices,
    /// Interrupts with a device vector that nobody was given.
    pub unknown: u64,
}

impl State {
    pub(super) fn pirqs(&mut self, owner: PirqOwner, nr_gsis: u32) -> &mut DomainPirqs {
        self.domains
            .entry(owner.id.0)
            .or_insert_with(|| DomainPirqs::new(owner, nr_gsis))
    }

    /// All messages in use.
    pub(super) fn msi_sources(&self) -> impl Iterator<Item = (u32, MsiSource)> + '_ {
        self.descs
            .iter()
            .filter_map(|(&irq, desc)| match desc.source {
                Source::Msi(source) => Some((irq, source)),
                Source::Gsi(_) => None,
            })
    }

    pub(super) fn free_msi_irq(&self, nr_gsis: u32) -> Option<u32> {
        (nr_gsis..nr_gsis.saturating_add(DEVICE_VECTORS)).find(|irq| !self.descs.contains_key(irq))
    }

    /// Gives an IRQ a vector if it has none, and programs its source, masked.
    pub(super) fn start(&mut self, board: &impl Board, irq: u32, cpu: CpuId) -> Result<(), Errno> {
        let desc = self.descs.get_mut(&irq).ok_or(Errno::EINVAL)?;
        let vector = match desc.vector {
            Some(vector) => vector,
            None => {
                let free = (FIRST_DEVICE_VECTOR.0..=LAST_DEVICE_VECTOR.0).find(|vector| {
                    !NEVER_GIVEN_OUT.contains(vector)
                        && self.vectors[usize::from(*vector)].is_none()
                });
                Vector(free.ok_or(Errno::ENOSPC)?)
            }
        };
        if !desc.route(board, vector, cpu) {
            return Err(Errno::EINVAL);
        }
        self.vectors[usize::from(vector.0)] = Some(irq);
        Ok(())
    }

    /// Maps `pirq` of `target` to `irq`. Differently mapped already is success without effect, as on Xen.
    pub(super) fn enter(
        &mut self,
        target: PirqOwner,
        nr_gsis: u32,
        pirq: Pirq,
        irq: u32,
    ) -> Result<(), Errno> {
        let pirqs = self.pirqs(target, nr_gsis);
        if pirq.0 >= pirqs.count() || irq == 0 {
            return Err(Errno::EINVAL);
        }
        if pirqs.irq(pirq).is_some_and(|old| old != irq) {
            return Ok(());
        }
        pirqs.permit(irq, true);
        pirqs.map(pirq, Mapping::Irq(irq));
        Ok(())
    }

    /// A domain stops listening to `irq`.
    pub(super) fn unsubscribe(
        &mut self,
        board: &impl Board,
        owner: PirqOwner,
        irq: u32,
        pirq: Pirq,
    ) {
        self.end_of_interrupt(board, owner.id, irq, pirq);
        let Some(desc) = self.descs.get_mut(&irq) else {
            return;
        };
        let before = desc.subscribers.len();
        desc.subscribers
            .retain(|sub| sub.domain != owner.id || sub.pirq != pirq);
        if desc.subscribers.len() != before && desc.subscribers.is_empty() {
            desc.set_masked(board, true);
            desc.handler = Handler::None;
            desc.throttled = false;
        }
    }

    /// Removes a mapping; a message that nobody has any more ends.
    pub(super) fn forget_mapping(
        &mut self,
        board: &impl Board,
        owner: PirqOwner,
        nr_gsis: u32,
        irq: u32,
        pirq: Pirq,
    ) {
        self.pirqs(owner, nr_gsis).unmap(pirq);
        self.pirqs(owner, nr_gsis).permit(irq, false);
        let still_mapped = self
            .domains
            .values()
            .any(|pirqs| pirqs.pirq_of(irq).is_some());
        let Some(Desc {
            source: Source::Msi(source),
            vector,
            ..
        }) = self.descs.get(&irq)
        else {
            return;
        };
        if still_mapped {
            return;
        }
        let (source, vector) = (*source, *vector);
        source.set_masked(board, true);
        self.descs.remove(&irq);
        if let Some(vector) = vector {
            self.vectors[usize::from(vector.0)] = None;
        }
        // Other entries of the table share the switch.
        if !self
            .msi_sources()
            .any(|(_, used)| used.device == source.device)
        {
            source.set_enabled(board, false);
        }
    }

    /// `domain` has dealt with `irq`: unmasks it when all have.
    pub(super) fn end_of_interrupt(
        &mut self,
        board: &impl Board,
        domain: DomId,
        irq: u32,
        pirq: Pirq,
    ) {
        let Some(desc) = self.descs.get_mut(&irq) else {
            return;
        };
        if desc.throttled {
            desc.throttled = false;
            for subscriber in &desc.subscribers {
                if let Some(pirqs) = self.domains.get(&subscriber.domain.0) {
                    pirqs.set_needs_eoi(board, subscriber.pirq, false);
                }
            }
            desc.set_masked(board, false);
            return;
        }
        let own = desc
            .subscribers
            .iter_mut()
            .find(|sub| sub.domain == domain && sub.pirq == pirq && sub.in_service);
        let Some(own) = own else { return };
        own.in_service = false;
        if !desc.in_service() {
            desc.set_masked(board, false);
        }
    }
}
