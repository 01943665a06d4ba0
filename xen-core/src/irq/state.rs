//! What the lock guards, and the steps that several operations share.

use alloc::collections::BTreeMap;

use arrayvec::ArrayVec;
use hypercall_abi::errno::Errno;
use hypercall_abi::xen::DomId;

use super::config::Configuration;
use super::desc::{Desc, Handler, Source};
use super::hold::Hold;
use super::msi::MsiSource;
use super::msix_table::MsixTables;
use super::news::News;
use super::pci::PciDevices;
use super::pirq::{DomainPirqs, Mapping, PirqOwner};
use super::vectors::Vectors;
use crate::machine::{Frames, Irqs, Pio};
use crate::num::{CpuId, Pirq};

/// What interrupts need of the machine.
pub trait Board: Irqs + Pio + Frames {}
impl<T: Irqs + Pio + Frames> Board for T {}

#[derive(Debug)]
pub(super) struct State {
    /// By IRQ. GSIs are always there.
    pub descs: BTreeMap<u32, Desc>,
    pub vectors: Vectors,
    pub domains: BTreeMap<u16, DomainPirqs>,
    pub devices: PciDevices,
    pub msix: MsixTables,
    /// Interrupts with a device vector that nobody was given.
    pub unknown: u64,
    /// What the log has not been told yet; more than fits is not told.
    pub news: ArrayVec<News, 8>,
}

impl State {
    pub(super) fn pirqs(&mut self, owner: PirqOwner, config: &Configuration) -> &mut DomainPirqs {
        self.domains
            .entry(owner.id.0)
            .or_insert_with(|| DomainPirqs::new(owner, config))
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

    pub(super) fn free_msi_irq(&self, config: &Configuration) -> Option<u32> {
        (config.nr_gsis..config.nr_irqs()).find(|irq| !self.descs.contains_key(irq))
    }

    /// Gives an IRQ a vector if it has none, of `cpu` if there is one, and programs its source, masked.
    pub(super) fn start(&mut self, board: &impl Board, irq: u32, cpu: CpuId) -> Result<(), Errno> {
        let desc = self.descs.get_mut(&irq).ok_or(Errno::EINVAL)?;
        let old = desc.place;
        let place = match old {
            Some(place) => place,
            None => {
                let reachable = board.interrupt_cpus();
                let own = reachable.contains(cpu).then_some(cpu);
                let mut cpus = own.into_iter().chain(reachable.iter());
                cpus.find_map(|cpu| self.vectors.claim(cpu, irq))
                    .ok_or(Errno::ENOSPC)?
            }
        };
        if !desc.route(board, place) {
            if old.is_none() {
                self.vectors.release(place);
            }
            return Err(Errno::EINVAL);
        }
        Ok(())
    }

    /// Maps `pirq` of `target` to `irq`. Differently mapped already is success without effect, as on Xen.
    pub(super) fn enter(
        &mut self,
        target: PirqOwner,
        config: &Configuration,
        pirq: Pirq,
        irq: u32,
    ) -> Result<(), Errno> {
        let pirqs = self.pirqs(target, config);
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
            desc.handler = Handler::None;
            desc.hold = Hold::default();
            desc.update_mask(board);
        }
    }

    /// Removes a mapping; a message that nobody has any more ends.
    pub(super) fn forget_mapping(
        &mut self,
        board: &impl Board,
        owner: PirqOwner,
        config: &Configuration,
        irq: u32,
        pirq: Pirq,
    ) {
        self.pirqs(owner, config).unmap(pirq);
        self.pirqs(owner, config).permit(irq, false);
        let still_mapped = self
            .domains
            .values()
            .any(|pirqs| pirqs.pirq_of(irq).is_some());
        let Some(Desc {
            source: Source::Msi(source),
            ..
        }) = self.descs.get(&irq)
        else {
            return;
        };
        if still_mapped {
            return;
        }
        let source = *source;
        source.set_masked(board, true);
        self.give_up_places(irq);
        self.descs.remove(&irq);
        // Other entries of the table share the switch.
        if !self
            .msi_sources()
            .any(|(_, used)| used.device == source.device)
        {
            source.set_enabled(board, false);
        }
        self.update_msix_protection(board, source.device);
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
        let abandoned = core::mem::take(&mut desc.hold.abandoned);
        desc.hold.answered();
        if desc.hold.throttled {
            self.end_throttle(board, irq);
            return;
        }
        let own = desc
            .subscribers
            .iter_mut()
            .find(|sub| sub.domain == domain && sub.pirq == pirq && sub.in_service);
        let owed = own.is_some();
        if let Some(own) = own {
            own.in_service = false;
        }
        if owed || abandoned {
            desc.update_mask(board);
        }
    }

    /// Lets a source go on whose events were all pending.
    pub(super) fn end_throttle(&mut self, board: &impl Board, irq: u32) {
        let Some(desc) = self.descs.get_mut(&irq) else {
            return;
        };
        desc.hold.throttled = false;
        for subscriber in &desc.subscribers {
            if let Some(pirqs) = self.domains.get(&subscriber.domain.0) {
                pirqs.set_needs_eoi(board, subscriber.pirq, false);
            }
        }
        desc.update_mask(board);
    }
}
