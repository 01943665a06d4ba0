//! All interrupts of the machine and what domains call them.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use hypercall_abi::errno::Errno;
use hypercall_abi::xen::DomId;

use super::config::Configuration;
use super::desc::{Desc, Handler, Source, Subscriber};
use super::msi::{MsiSource, PciAddress};
use super::pci::{PciDevice, PciDevices};
use super::pirq::{DomainPirqs, Mapping, PirqOwner};
use super::{DEVICE_VECTORS, FIRST_DEVICE_VECTOR, LAST_DEVICE_VECTOR, NEVER_GIVEN_OUT};
use crate::machine::{Frames, Irqs, Pio, Polarity, Trigger};
use crate::num::{CpuId, Gsi, Mfn, Pirq, Vector};
use crate::sync::{Rank, RankedMutex};

/// What interrupts need of the machine.
pub trait Board: Irqs + Pio + Frames {}
impl<T: Irqs + Pio + Frames> Board for T {}

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

/// A message-signalled interrupt that PHYSDEVOP_map_pirq asks for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct MsiRequest {
    /// The function.
    pub device: PciAddress,
    /// Entry of the MSI-X table; `None` means plain MSI.
    pub entry: Option<u32>,
    /// How many messages MAP_PIRQ_TYPE_MULTI_MSI wants.
    pub messages: Option<i32>,
    /// An IRQ to use; negative means a new one.
    pub irq: i32,
}

/// All physical interrupts.
#[derive(Debug)]
pub struct IrqTable {
    pub(super) config: Configuration,
    pub(super) state: RankedMutex<State>,
}

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

impl Default for IrqTable {
    fn default() -> Self {
        Self::new(Configuration::default())
    }
}

impl IrqTable {
    /// All inputs masked and unbound.
    #[must_use]
    pub fn new(config: Configuration) -> Self {
        let descs = (0..config.nr_gsis)
            .map(|gsi| {
                let (trigger, polarity) = config.default_mode(Gsi(gsi));
                (gsi, Desc::gsi(Gsi(gsi), trigger, polarity))
            })
            .collect();
        let state = State {
            descs,
            vectors: [None; 256],
            domains: BTreeMap::new(),
            devices: PciDevices::default(),
            unknown: 0,
        };
        Self { config, state: RankedMutex::new(Rank::Irq, state) }
    }

    /// One past the highest GSI.
    #[must_use]
    pub const fn nr_gsis(&self) -> u32 {
        self.config.nr_gsis
    }

    /// One past the highest PIRQ of a domain.
    #[must_use]
    pub fn nr_pirqs(&self, owner: PirqOwner) -> u32 {
        self.with_pirqs(owner, |pirqs| pirqs.count())
    }

    fn with_pirqs<T>(&self, owner: PirqOwner, body: impl FnOnce(&mut DomainPirqs) -> T) -> T {
        let mut state = self.state.lock();
        body(state.pirqs(owner, self.config.nr_gsis))
    }

    /// Keeps a GSI for the hypervisor: domains cannot bind it. With a vector, its interrupts arrive as that one.
    ///
    /// # Errors
    /// There is no such GSI, or a domain has it.
    pub fn reserve_gsi(
        &self,
        board: &impl Board,
        gsi: Gsi,
        vector: Option<Vector>,
        cpu: CpuId,
    ) -> Result<(), Errno> {
        let mut state = self.state.lock();
        let desc = state.descs.get_mut(&gsi.0).ok_or(Errno::EINVAL)?;
        if desc.handler != Handler::None {
            return Err(Errno::EBUSY);
        }
        if let Some(vector) = vector {
            if !desc.route(board, vector, cpu) {
                return Err(Errno::EINVAL);
            }
            desc.set_masked(board, false);
        }
        desc.handler = Handler::Hypervisor;
        Ok(())
    }

    /// Says how a GSI triggers (PHYSDEVOP_setup_gsi) and programs its input, masked.
    ///
    /// # Errors
    /// `EINVAL`: no such GSI; `EEXIST`: it was set up before, or is in use; `ENOSPC`: no vector is left.
    pub fn setup_gsi(
        &self,
        board: &impl Board,
        gsi: Gsi,
        trigger: Trigger,
        polarity: Polarity,
        cpu: CpuId,
    ) -> Result<(), Errno> {
        let mut state = self.state.lock();
        let desc = state.descs.get_mut(&gsi.0).ok_or(Errno::EINVAL)?;
        if gsi.0 >= self.config.nr_gsis {
            return Err(Errno::EINVAL);
        }
        if desc.set_up || desc.handler != Handler::None || gsi.0 == 0 {
            return Err(Errno::EEXIST);
        }
        (desc.trigger, desc.polarity) = (trigger, polarity);
        state.start(board, gsi.0, cpu)?;
        if let Some(desc) = state.descs.get_mut(&gsi.0) {
            desc.set_up = true;
        }
        Ok(())
    }

    /// Maps a GSI into a domain's PIRQs on behalf of `caller`. `wanted` is a number, or negative for any. Mapped
    /// already in the same way is success.
    ///
    /// # Errors
    /// `EINVAL`, `EPERM`, `EEXIST`, `ENOSPC` as PHYSDEVOP_map_pirq documents them.
    pub fn map_gsi(
        &self,
        caller: PirqOwner,
        target: PirqOwner,
        index: i32,
        wanted: i32,
    ) -> Result<Pirq, Errno> {
        let nr_gsis = self.config.nr_gsis;
        let index = u32::try_from(index).ok().filter(|&i| i < nr_gsis).ok_or(Errno::EINVAL)?;
        let mut state = self.state.lock();
        let own = state.pirqs(caller, nr_gsis);
        // ABI: the index is the caller's own PIRQ where it has one with that number.
        let irq = match own.irq(Pirq(index)) {
            Some(irq) => irq,
            None if caller.hardware => index,
            None => return Err(Errno::EINVAL),
        };
        let permitted = own.may_use(irq);
        let pirqs = state.pirqs(target, nr_gsis);
        let pirq = pirqs.choose(wanted, Some(irq), None)?;
        if !permitted {
            return Err(Errno::EPERM);
        }
        state.enter(target, nr_gsis, pirq, irq)?;
        Ok(pirq)
    }

    /// Makes a message-signalled interrupt and maps it into a domain's PIRQs; the device is programmed to send it,
    /// masked. `is_ram` tells whether an address is memory rather than a device.
    ///
    /// # Errors
    /// `EINVAL`, `EDOM`, `EOPNOTSUPP`, `EEXIST`, `ENOSPC` as PHYSDEVOP_map_pirq documents them; `ENODEV` if the
    /// function was not announced or has no such capability; `ENXIO` if its table is nowhere.
    pub fn map_msi(
        &self,
        board: &impl Board,
        target: PirqOwner,
        request: MsiRequest,
        wanted: i32,
        cpu: CpuId,
        is_ram: &dyn Fn(u64) -> bool,
    ) -> Result<Pirq, Errno> {
        let nr_gsis = self.config.nr_gsis;
        let mut state = self.state.lock();
        let irq = match u32::try_from(request.irq) {
            Ok(irq) if irq < nr_gsis || irq >= nr_gsis.saturating_add(DEVICE_VECTORS) => {
                return Err(Errno::EINVAL);
            }
            Ok(irq) => irq,
            Err(_) if request.irq != -1 => return Err(Errno::EINVAL),
            Err(_) => state.free_msi_irq(nr_gsis).ok_or(Errno::EINVAL)?,
        };
        let pirq = state.pirqs(target, nr_gsis).choose(wanted, Some(irq), request.messages)?;
        if request.messages.is_some_and(|count| count > 1) {
            return Err(Errno::EOPNOTSUPP);
        }
        if state.pirqs(target, nr_gsis).irq(pirq).is_some() || state.descs.contains_key(&irq) {
            return Err(Errno::EEXIST);
        }
        if pirq.0 >= state.pirqs(target, nr_gsis).count() {
            return Err(Errno::EINVAL);
        }
        state.devices.get_mut(request.device)?;
        let source = match request.entry {
            Some(entry) => MsiSource::find_msix(board, request.device, entry, is_ram)?,
            None => MsiSource::find_msi(board, request.device)?,
        };
        if state.msi_sources().any(|(_, used)| {
            // MSI and MSI-X exclude each other; entries of a table do not.
            let plain = used.entry.is_none() || source.entry.is_none();
            used.device == source.device && (plain || used.entry == source.entry)
        }) {
            return Err(Errno::EEXIST);
        }
        state.descs.insert(irq, Desc::msi(source));
        if let Err(errno) = state.start(board, irq, cpu) {
            state.descs.remove(&irq);
            return Err(errno);
        }
        let pirqs = state.pirqs(target, nr_gsis);
        pirqs.permit(irq, true);
        pirqs.map(pirq, Mapping::Irq(irq));
        Ok(pirq)
    }

    /// Reserves a PIRQ that is free (PHYSDEVOP_get_free_pirq).
    ///
    /// # Errors
    /// `ENOSPC`: there is none.
    pub fn reserve_pirq(&self, owner: PirqOwner, for_gsi: bool) -> Result<Pirq, Errno> {
        self.with_pirqs(owner, |pirqs| {
            let pirq = pirqs.find_free(for_gsi)?;
            pirqs.map(pirq, Mapping::Reserved);
            Ok(pirq)
        })
    }

    /// Takes a PIRQ away from a domain, unbinding it if it is bound.
    ///
    /// # Errors
    /// `EINVAL`: there is no such PIRQ, or it is not mapped.
    pub fn unmap(&self, board: &impl Board, owner: PirqOwner, pirq: Pirq) -> Result<(), Errno> {
        let mut state = self.state.lock();
        let pirqs = state.pirqs(owner, self.config.nr_gsis);
        let Some(Mapping::Irq(irq)) = pirqs.mapping(pirq) else { return Err(Errno::EINVAL) };
        state.unsubscribe(board, owner, irq, pirq);
        state.forget_mapping(board, owner, self.config.nr_gsis, irq, pirq);
        Ok(())
    }

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
        let irq = pirqs.irq(pirq).filter(|&irq| pirqs.may_use(irq)).ok_or(Errno::EPERM)?;
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
        let Some(desc) = state.descs.get_mut(&irq) else { return Err(Errno::EINVAL) };
        desc.subscribers.push(Subscriber { domain: owner.id, pirq, in_service: false });
        let waits = desc.waits_for_eoi();
        if first {
            desc.handler = Handler::Domains { shared: share };
            desc.throttled = false;
            desc.set_masked(board, false);
        }
        state.pirqs(owner, self.config.nr_gsis).set_needs_eoi(board, pirq, waits);
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
        let Some(irq) = state.pirqs(owner, self.config.nr_gsis).irq(pirq) else { return };
        let Some(desc) = state.descs.get_mut(&irq) else { return };
        let Some(vector) = desc.vector.filter(|_| desc.cpu != cpu) else { return };
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
        let Some((irq, desc)) = known.and_then(|irq| Some((irq, state.descs.get_mut(&irq)?))) else {
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
        let Some(desc) = state.descs.get_mut(&irq) else { return };
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

    /// A domain unmasked the event channel of a PIRQ. If it cleared the bit that tells it to say EOI, this is all
    /// that will come from it.
    pub fn unmasked(&self, board: &impl Board, owner: PirqOwner, pirq: Pirq) {
        let mut state = self.state.lock();
        let pirqs = state.pirqs(owner, self.config.nr_gsis);
        if let Some(irq) = pirqs.irq(pirq).filter(|_| !pirqs.says_needs_eoi(board, pirq)) {
            state.end_of_interrupt(board, owner.id, irq, pirq);
        }
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

    /// Registers the page of EOI bits (PHYSDEVOP_pirq_eoi_gmfn), on which the caller holds a writable reference.
    ///
    /// # Errors
    /// `EBUSY`: there is one already; the reference stays the caller's.
    pub fn set_eoi_map(
        &self,
        board: &impl Board,
        owner: PirqOwner,
        mfn: Mfn,
        auto_unmask: bool,
    ) -> Result<(), Errno> {
        let mut state = self.state.lock();
        state.pirqs(owner, self.config.nr_gsis).set_eoi_map(mfn, auto_unmask)?;
        // What was bound before must not be missed.
        let state = &*state;
        let Some(pirqs) = state.domains.get(&owner.id.0) else { return Ok(()) };
        for desc in state.descs.values().filter(|desc| desc.waits_for_eoi() || desc.throttled) {
            for subscriber in desc.subscribers.iter().filter(|sub| sub.domain == owner.id) {
                pirqs.set_needs_eoi(board, subscriber.pirq, true);
            }
        }
        Ok(())
    }

    /// Allows or forbids a domain the use of an IRQ (XEN_DOMCTL_irq_permission).
    pub fn permit(&self, owner: PirqOwner, irq: u32, allowed: bool) {
        self.with_pirqs(owner, |pirqs| pirqs.permit(irq, allowed));
    }

    /// Gives up everything of a domain. Returns the page of EOI bits, whose reference the caller drops.
    pub fn release(&self, board: &impl Board, owner: PirqOwner) -> Option<Mfn> {
        let nr_gsis = self.config.nr_gsis;
        let mut state = self.state.lock();
        let mapped: Vec<_> = state.pirqs(owner, nr_gsis).mapped().collect();
        for (pirq, mapping) in mapped {
            if let Mapping::Irq(irq) = mapping {
                state.unsubscribe(board, owner, irq, pirq);
                state.forget_mapping(board, owner, nr_gsis, irq, pirq);
            }
        }
        let mut pirqs = state.domains.remove(&owner.id.0)?;
        pirqs.take_eoi_map()
    }

    /// Enters an announced PCI function.
    pub fn add_device(&self, address: PciAddress, device: PciDevice) {
        self.state.lock().devices.add(address, device);
    }

    /// Forgets an announced PCI function; its messages are turned off.
    ///
    /// # Errors
    /// `ENODEV`: it was not announced.
    pub fn remove_device(&self, board: &impl Board, address: PciAddress) -> Result<(), Errno> {
        let mut state = self.state.lock();
        state.devices.remove(address)?;
        for (_, source) in state.msi_sources().filter(|(_, source)| source.device == address) {
            source.set_masked(board, true);
            source.set_enabled(board, false);
        }
        Ok(())
    }

    /// Programs all messages of a function again, after it lost its state.
    ///
    /// # Errors
    /// `ENODEV`: it was not announced.
    pub fn restore_msi(&self, board: &impl Board, address: PciAddress) -> Result<(), Errno> {
        let mut state = self.state.lock();
        state.devices.get_mut(address)?;
        for desc in state.descs.values_mut() {
            let Source::Msi(source) = desc.source else { continue };
            let Some(vector) = desc.vector.filter(|_| source.device == address) else { continue };
            source.program(board, board.msi_message(vector, desc.cpu));
            let masked = desc.throttled || desc.subscribers.is_empty();
            desc.set_masked(board, masked);
        }
        Ok(())
    }

    /// Notes that a guest is going to drive the MSI-X table of a function, or not any more.
    ///
    /// # Errors
    /// `ENODEV`: it was not announced or has no MSI-X; `EBUSY`: messages of it are in use.
    pub fn prepare_msix(
        &self,
        board: &impl Board,
        address: PciAddress,
        prepared: bool,
    ) -> Result<(), Errno> {
        let mut state = self.state.lock();
        state.devices.get_mut(address)?;
        if !MsiSource::has_msix(board, address) {
            return Err(Errno::ENODEV);
        }
        if state.msi_sources().any(|(_, used)| used.device == address && used.entry.is_some()) {
            return Err(Errno::EBUSY);
        }
        state.devices.get_mut(address)?.msix_prepared = prepared;
        Ok(())
    }

    /// Whether the firmware's table has this configuration window.
    #[must_use]
    pub fn knows_mcfg(&self, base: u64, segment: u16, first_bus: u8, last_bus: u8) -> bool {
        self.config.mcfg.iter().any(|range| {
            (range.base, range.segment) == (base, segment)
                && range.first_bus == first_bus
                && range.last_bus >= last_bus
        })
    }

    /// The GSI of an input of the IO-APIC at `base`: outer `None` if there is no such IO-APIC, inner if no such input.
    #[must_use]
    pub fn ioapic_input(&self, base: u64, pin: u32) -> Option<Option<Gsi>> {
        self.config.ioapic_input(base, pin)
    }
}

impl State {
    pub(super) fn pirqs(&mut self, owner: PirqOwner, nr_gsis: u32) -> &mut DomainPirqs {
        self.domains.entry(owner.id.0).or_insert_with(|| DomainPirqs::new(owner, nr_gsis))
    }

    /// All messages in use.
    pub(super) fn msi_sources(&self) -> impl Iterator<Item = (u32, MsiSource)> + '_ {
        self.descs.iter().filter_map(|(&irq, desc)| match desc.source {
            Source::Msi(source) => Some((irq, source)),
            Source::Gsi(_) => None,
        })
    }

    fn free_msi_irq(&self, nr_gsis: u32) -> Option<u32> {
        (nr_gsis..nr_gsis.saturating_add(DEVICE_VECTORS)).find(|irq| !self.descs.contains_key(irq))
    }

    /// Gives an IRQ a vector if it has none, and programs its source, masked.
    fn start(&mut self, board: &impl Board, irq: u32, cpu: CpuId) -> Result<(), Errno> {
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
    fn enter(
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
    fn unsubscribe(&mut self, board: &impl Board, owner: PirqOwner, irq: u32, pirq: Pirq) {
        self.end_of_interrupt(board, owner.id, irq, pirq);
        let Some(desc) = self.descs.get_mut(&irq) else { return };
        let before = desc.subscribers.len();
        desc.subscribers.retain(|sub| sub.domain != owner.id || sub.pirq != pirq);
        if desc.subscribers.len() != before && desc.subscribers.is_empty() {
            desc.set_masked(board, true);
            desc.handler = Handler::None;
            desc.throttled = false;
        }
    }

    /// Removes a mapping; a message that nobody has any more ends.
    fn forget_mapping(
        &mut self,
        board: &impl Board,
        owner: PirqOwner,
        nr_gsis: u32,
        irq: u32,
        pirq: Pirq,
    ) {
        self.pirqs(owner, nr_gsis).unmap(pirq);
        self.pirqs(owner, nr_gsis).permit(irq, false);
        let still_mapped = self.domains.values().any(|pirqs| pirqs.pirq_of(irq).is_some());
        let Some(Desc { source: Source::Msi(source), vector, .. }) = self.descs.get(&irq) else {
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
        if !self.msi_sources().any(|(_, used)| used.device == source.device) {
            source.set_enabled(board, false);
        }
    }

    /// `domain` has dealt with `irq`: unmasks it when all have.
    fn end_of_interrupt(&mut self, board: &impl Board, domain: DomId, irq: u32, pirq: Pirq) {
        let Some(desc) = self.descs.get_mut(&irq) else { return };
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
