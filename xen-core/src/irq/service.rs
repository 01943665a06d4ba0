//! Binding an interrupt, its arrival, and its end.

use hypercall_abi::errno::Errno;
use hypercall_abi::xen::DomId;

use super::desc::{Handler, Source, Subscriber};
use super::hold::{Forced, Hold};
use super::pirq::PirqOwner;
use super::state::Board;
use super::table::IrqTable;
use super::vectors::Place;
use crate::num::{CpuId, Pirq, Vector};

/// Domains that may share one interrupt (Xen's default of `irq-max-guests=`).
pub const MAX_SUBSCRIBERS: usize = 32;

/// Interrupts with a vector that means nothing that are told in the log.
const MAX_UNKNOWN_TOLD: u64 = 10;

/// A domain to notify.
pub type Notify = (DomId, Pirq);

/// An interrupt arrived: whom to notify.
#[derive(Clone, Copy, Debug)]
pub struct Arrival {
    /// The source.
    pub irq: u32,
    /// If all events are pending already, [`IrqTable::throttle`] keeps the source from storming.
    pub may_throttle: bool,
    /// When [`IrqTable::expire`] is to be called.
    pub due_ns: Option<u64>,
    /// A processor that should pass through [`IrqTable::settle`] soon.
    pub clean_on: Option<CpuId>,
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
        let pirqs = state.pirqs(owner, &self.config);
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
        if first && desc.place.is_none() {
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
            desc.hold = Hold::default();
            desc.update_mask(board);
        }
        state
            .pirqs(owner, &self.config)
            .set_needs_eoi(board, pirq, waits);
        Ok(())
    }

    /// Undoes [`IrqTable::bind`].
    pub fn unbind(&self, board: &impl Board, owner: PirqOwner, pirq: Pirq) {
        let mut state = self.state.lock();
        if let Some(irq) = state.pirqs(owner, &self.config).irq(pirq) {
            state.unsubscribe(board, owner, irq, pirq);
        }
    }

    /// An interrupt with a device vector arrived on `cpu`, which executes this. Acknowledges it and says whom to
    /// notify.
    pub fn arrive(
        &self,
        board: &impl Board,
        cpu: CpuId,
        vector: Vector,
        now_ns: u64,
    ) -> Option<Arrival> {
        let mut state = self.state.lock();
        let state = &mut *state;
        let here = Place { cpu, vector };
        let known = state.vectors.irq_at(cpu, vector);
        let Some((irq, desc)) = known.and_then(|irq| Some((irq, state.descs.get_mut(&irq)?)))
        else {
            board.eoi(vector);
            state.unknown = state.unknown.saturating_add(1);
            if state.unknown <= MAX_UNKNOWN_TOLD {
                state.tell(format_args!(
                    "CPU{}: No irq handler for vector {:02x}",
                    cpu.0, vector.0
                ));
            }
            return None;
        };
        desc.count = desc.count.saturating_add(1);
        if desc.subscribers.is_empty() {
            // Nobody would ever quiet the device.
            desc.strays = desc.strays.saturating_add(1);
            desc.set_masked(board, true);
            board.eoi(vector);
            let (first, source) = (desc.strays == 1, desc.source);
            if first {
                state.tell(format_args!(
                    "IRQ{irq} ({source}): nobody handles it, masked"
                ));
            }
            return None;
        }
        let waits = desc.waits_for_eoi();
        let limited = desc.hold.count(now_ns, self.config.rate_limit);
        if waits || limited {
            desc.set_masked(board, true);
        }
        board.eoi(vector);
        if waits {
            desc.hold.wait(now_ns);
        }
        let mut arrival = Arrival {
            irq,
            may_throttle: matches!(desc.source, Source::Msi(source) if source.is_maskable()),
            due_ns: (waits || limited).then_some(desc.hold.due_ns),
            clean_on: None,
            targets: [None; MAX_SUBSCRIBERS],
        };
        for (target, subscriber) in arrival.targets.iter_mut().zip(&mut desc.subscribers) {
            subscriber.in_service |= waits;
            *target = Some((subscriber.domain, subscriber.pirq));
        }
        if let Some(leaving) = &mut desc.leaving {
            if leaving.place == here {
                state.try_to_settle(board, irq, cpu);
            } else if desc.place == Some(here) && !leaving.settled {
                leaving.settled = true;
                arrival.clean_on = Some(leaving.place.cpu);
                self.ask_to_settle(leaving.place.cpu);
            }
        }
        Some(arrival)
    }

    /// All events that `irq` raises are pending already: masks it until a domain says EOI, so that a device gone wild
    /// cannot keep the processor busy. Only for messages with a mask bit, which remember what came meanwhile. Returns
    /// when [`IrqTable::expire`] is to be called.
    pub fn throttle(&self, board: &impl Board, irq: u32, now_ns: u64) -> Option<u64> {
        let mut state = self.state.lock();
        let state = &mut *state;
        let desc = state.descs.get_mut(&irq)?;
        desc.hold.throttled = true;
        desc.hold.wait(now_ns);
        desc.set_masked(board, true);
        for subscriber in &desc.subscribers {
            if let Some(pirqs) = state.domains.get(&subscriber.domain.0) {
                pirqs.set_needs_eoi(board, subscriber.pirq, true);
            }
        }
        Some(desc.hold.due_ns)
    }

    /// Time has passed since `irq` arrived: what domains still owe is taken as given, so that none of them can keep
    /// the others from the interrupt. Returns when to call this again, if the time is not over.
    pub fn expire(&self, board: &impl Board, irq: u32, now_ns: u64) -> Option<u64> {
        let mut state = self.state.lock();
        let desc = state.descs.get_mut(&irq)?;
        let (owed, source) = (desc.in_service(), desc.source);
        match desc.hold.force(now_ns, owed) {
            Forced::NotYet => return Some(desc.hold.due_ns).filter(|&due| due != 0),
            Forced::Abandoned => {
                state.tell(format_args!(
                    "IRQ{irq} ({source}): nobody handles it, masked"
                ));
            }
            Forced::End => {
                for subscriber in &mut desc.subscribers {
                    subscriber.in_service = false;
                }
                if desc.hold.throttled {
                    state.end_throttle(board, irq);
                } else {
                    desc.update_mask(board);
                }
            }
        }
        None
    }

    /// A domain has dealt with an interrupt (PHYSDEVOP_eoi). True if its event channel is to be unmasked too.
    ///
    /// # Errors
    /// `EINVAL`: the PIRQ is out of range or unknown.
    pub fn eoi(&self, board: &impl Board, owner: PirqOwner, pirq: Pirq) -> Result<bool, Errno> {
        let mut state = self.state.lock();
        let pirqs = state.pirqs(owner, &self.config);
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
        let pirqs = state.pirqs(owner, &self.config);
        if pirq.0 >= pirqs.count() {
            return None;
        }
        let irq = pirqs.irq(pirq);
        let desc = irq.and_then(|irq| state.descs.get(&irq));
        Some(desc.is_some_and(|desc| desc.subscribers.len() > 1))
    }
}
