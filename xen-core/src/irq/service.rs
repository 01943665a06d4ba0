//! Binding an interrupt, its arrival, and its end.

use hypercall_abi::errno::Errno;
use hypercall_abi::xen::DomId;

use super::desc::{Handler, Source, Subscriber};
use super::pirq::PirqOwner;
use super::state::Board;
use super::table::IrqTable;
use crate::num::{CpuId, Pirq, Vector};

/// Domains that may share one interrupt (Xen's default of `irq-max-guests=`).
pub const MAX_SUBSCRIBERS: usize = 32;

/// A domain to notify.
pub type Notify = (DomId, Pirq);

/// An interrupt arrived: whom to notify.
#[derive(Clone, Copy, Debug)]
pub struct Arrival {
    /// The source.
    pub irq: u32,
    /// If all events are pending already, [`IrqTable::throttle`] keeps the source from storming.
    pub may_throttle: bool,
    targets: [Option<Notify>; MAX_SUBSCRIBERS],
}

impl Arrival {
    /// Domains to notify.
    pub fn targets(&self) -> impl Iterator<Item = Notify> + '_ {
        self.targets.iter().map_while(|&target| target)
    }
}

impl IrqTable {
    /// Binds a PIRQ: from now on the domain is notified. This starts the interrupt.
    ///
    /// # Errors
    /// `EINVAL`: no such PIRQ; `EPERM`: not mapped, or the domain may not use the interrupt; `EBUSY`: the hypervisor
    /// or another domain has it, and not both are willing to share; `ENOSPC`: no vector is left.
    pub fn bind(
        &self,
        board: &impl Board,
        owner: PirqOwner,
        pirq: Pirq,
        share: bool,
        cpu: CpuId,
    ) -> Result<(), Errno> {
        let mut state = self.state.lock();
        let pirqs = state.pirqs(owner, self.config.nr_gsis);
        if pirq.0 >= pirqs.count() {
            return Err(Errno::EINVAL);
        }
        let irq = pirqs
            .irq(pirq)
            .filter(|&irq| pirqs.may_use(irq))
            .ok_or(Errno::EPERM)?;
        let desc = state.descs.get_mut(&irq).ok_or(Errno::EINVAL)?;
        match desc.handler {
            Handler::Hypervisor => return Err(Errno::EBUSY),
            Handler::Domains { shared } => {
                if !shared || !share || desc.subscribers.len() >= MAX_SUBSCRIBERS {
                    return Err(Errno::EBUSY);
                }
            }
            Handler::None => {}
        }
        let first = desc.handler == Handler::None;
        if first && desc.vector.is_none() {
            state.start(board, irq, cpu)?;
        }
        let Some(desc) = state.descs.get_mut(&irq) else {
            return Err(Errno::EINVAL);
        };
        desc.subscribers.push(Subscriber {
            domain: owner.id,
            pirq,
            in_service: false,
        });
        let waits = desc.waits_for_eoi();
        if first {
            desc.handler = Handler::Domains { shared: share };
            desc.throttled = false;
            desc.set_masked(board, false);
        }
        state
            .pirqs(owner, self.config.nr_gsis)
            .set_needs_eoi(board, pirq, waits);
        Ok(())
    }

    /// Undoes [`IrqTable::bind`].
    pub fn unbind(&self, board: &impl Board, owner: PirqOwner, pirq: Pirq) {
        let mut state = self.state.lock();
        if let Some(irq) = state.pirqs(owner, self.config.nr_gsis).irq(pirq) {
            state.unsubscribe(board, owner, irq, pirq);
        }
    }

    /// Sends the interrupt behind a bound PIRQ to `cpu`, unless it is shared or in service.
    pub fn retarget(&self, board: &impl Board, owner: PirqOwner, pirq: Pirq, cpu: CpuId) {
        let mut state = self.state.lock();
        let Some(irq) = state.pirqs(owner, self.config.nr_gsis).irq(pirq) else {
            return;
        };
        let Some(desc) = state.descs.get_mut(&irq) else {
            return;
        };
        let Some(vector) = desc.vector.filter(|_| desc.cpu != cpu) else {
            return;
        };
        let bound = matches!(desc.handler, Handler::Domains { .. });
        if bound && desc.subscribers.len() == 1 && desc.route(board, vector, cpu) {
            let masked = desc.throttled || desc.in_service();
            desc.set_masked(board, masked);
        }
    }

    /// An interrupt with a device vector arrived. Acknowledges it and says whom to notify.
    pub fn arrive(&self, board: &impl Board, vector: Vector) -> Option<Arrival> {
        let mut state = self.state.lock();
        let state = &mut *state;
        let known = state.vectors[usize::from(vector.0)];
        let Some((irq, desc)) = known.and_then(|irq| Some((irq, state.descs.get_mut(&irq)?)))
        else {
            state.unknown = state.unknown.saturating_add(1);
            board.eoi(vector);
            return None;
        };
        desc.count = desc.count.saturating_add(1);
        let waits = desc.waits_for_eoi();
        if desc.subscribers.is_empty() {
            // Nobody would ever quiet the device.
            desc.strays = desc.strays.saturating_add(1);
            desc.set_masked(board, true);
            board.eoi(vector);
            return None;
        }
        if waits {
            desc.set_masked(board, true);
        }
        board.eoi(vector);
        let mut arrival = Arrival {
            irq,
            may_throttle: matches!(desc.source, Source::Msi(source) if source.is_maskable()),
            targets: [None; MAX_SUBSCRIBERS],
        };
        for (target, subscriber) in arrival.targets.iter_mut().zip(&mut desc.subscribers) {
            subscriber.in_service |= waits;
            *target = Some((subscriber.domain, subscriber.pirq));
        }
        Some(arrival)
    }

    /// All events that `irq` raises are pending already: masks it until a domain says EOI, so that a device gone wild
    /// cannot keep the processor busy. Only for messages with a mask bit, which remember what came meanwhile.
    pub fn throttle(&self, board: &impl Board, irq: u32) {
        let mut state = self.state.lock();
        let state = &mut *state;
        let Some(desc) = state.descs.get_mut(&irq) else {
            return;
        };
        desc.throttled = true;
        desc.set_masked(board, true);
        for subscriber in &desc.subscribers {
            if let Some(pirqs) = state.domains.get(&subscriber.domain.0) {
                pirqs.set_needs_eoi(board, subscriber.pirq, true);
            }
        }
    }

    /// A domain has dealt with an interrupt (PHYSDEVOP_eoi). True if its event channel is to be unmasked too.
    ///
    /// # Errors
    /// `EINVAL`: the PIRQ is out of range or unknown.
    pub fn eoi(&self, board: &impl Board, owner: PirqOwner, pirq: Pirq) -> Result<bool, Errno> {
        let mut state = self.state.lock();
        let pirqs = state.pirqs(owner, self.config.nr_gsis);
        if pirq.0 >= pirqs.count() || pirqs.mapping(pirq).is_none() {
            return Err(Errno::EINVAL);
        }
        let auto_unmask = pirqs.auto_unmask;
        if let Some(irq) = pirqs.irq(pirq) {
            state.end_of_interrupt(board, owner.id, irq, pirq);
        }
        Ok(auto_unmask)
    }

    /// Whether several domains have the interrupt behind a PIRQ; `None` if the PIRQ is out of range.
    #[must_use]
    pub fn is_shared(&self, owner: PirqOwner, pirq: Pirq) -> Option<bool> {
        let mut state = self.state.lock();
        let pirqs = state.pirqs(owner, self.config.nr_gsis);
        if pirq.0 >= pirqs.count() {
            return None;
        }
        let irq = pirqs.irq(pirq);
        let desc = irq.and_then(|irq| state.descs.get(&irq));
        Some(desc.is_some_and(|desc| desc.subscribers.len() > 1))
    }
}
