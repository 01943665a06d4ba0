//! All interrupts of the machine and what domains call them.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::sync::atomic::AtomicU64;

use arrayvec::ArrayVec;
use hypercall_abi::errno::Errno;

use super::config::Configuration;
use super::desc::{Desc, Handler, Source};
use super::msi::{MsiSource, PciAddress};
use super::msix_table::MsixTables;
use super::pci::{PciDevice, PciDevices};
use super::pirq::{DomainPirqs, Mapping, PirqOwner};
use super::state::{Board, State};
use super::vectors::{Place, Vectors};
use crate::machine::{Polarity, Trigger};
use crate::num::{CpuId, Gsi, Mfn, Pirq, Vector};
use crate::sync::{Rank, RankedMutex};

/// All physical interrupts.
#[derive(Debug)]
pub struct IrqTable {
    pub(super) config: Configuration,
    pub(super) state: RankedMutex<State>,
    /// Bit per processor: it has places to give up that interrupts were moved away from.
    pub(super) unsettled: [AtomicU64; 4],
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
            vectors: Vectors::default(),
            domains: BTreeMap::new(),
            devices: PciDevices::default(),
            msix: MsixTables::default(),
            unknown: 0,
            news: ArrayVec::new(),
        };
        Self {
            config,
            state: RankedMutex::new(Rank::Irq, state),
            unsettled: [const { AtomicU64::new(0) }; 4],
        }
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

    pub(super) fn with_pirqs<T>(
        &self,
        owner: PirqOwner,
        body: impl FnOnce(&mut DomainPirqs) -> T,
    ) -> T {
        let mut state = self.state.lock();
        body(state.pirqs(owner, &self.config))
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
        if let Some(vector) = vector
            && !desc.route(board, Place { cpu, vector })
        {
            return Err(Errno::EINVAL);
        }
        desc.handler = Handler::Hypervisor;
        if vector.is_some() {
            desc.update_mask(board);
        }
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

    /// The page of EOI bits of a domain, on which a writable reference is held.
    #[must_use]
    pub fn eoi_map(&self, owner: PirqOwner) -> Option<Mfn> {
        self.state.lock().domains.get(&owner.id.0)?.eoi_map()
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
        state
            .pirqs(owner, &self.config)
            .set_eoi_map(mfn, auto_unmask)?;
        // What was bound before must not be missed.
        let state = &*state;
        let Some(pirqs) = state.domains.get(&owner.id.0) else {
            return Ok(());
        };
        for desc in state
            .descs
            .values()
            .filter(|desc| desc.waits_for_eoi() || desc.hold.throttled)
        {
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

    /// The IRQ behind a PIRQ, if the domain may use it.
    #[must_use]
    pub fn usable_irq(&self, owner: PirqOwner, pirq: Pirq) -> Option<u32> {
        self.with_pirqs(owner, |pirqs| {
            pirqs.irq(pirq).filter(|&irq| pirqs.may_use(irq))
        })
    }

    /// Gives up everything of a domain. Returns the page of EOI bits, whose reference the caller drops.
    pub fn release(&self, board: &impl Board, owner: PirqOwner) -> Option<Mfn> {
        let config = &self.config;
        let mut state = self.state.lock();
        let mapped: Vec<_> = state.pirqs(owner, config).mapped().collect();
        for (pirq, mapping) in mapped {
            if let Mapping::Irq(irq) = mapping {
                state.unsubscribe(board, owner, irq, pirq);
                state.forget_mapping(board, owner, config, irq, pirq);
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
        for (_, source) in state
            .msi_sources()
            .filter(|(_, source)| source.device == address)
        {
            source.set_masked(board, true);
            source.set_enabled(board, false);
        }
        state.update_msix_protection(board, address);
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
            let Source::Msi(source) = desc.source else {
                continue;
            };
            let Some(place) = desc.place.filter(|_| source.device == address) else {
                continue;
            };
            source.program(board, board.msi_message(place.vector, place.cpu));
            desc.update_mask(board);
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
        if state
            .msi_sources()
            .any(|(_, used)| used.device == address && used.entry.is_some())
        {
            return Err(Errno::EBUSY);
        }
        state.devices.get_mut(address)?.msix_prepared = prepared;
        state.update_msix_protection(board, address);
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
