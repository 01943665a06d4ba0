//! Giving interrupts to domains: what a PIRQ stands for.

use hypercall_abi::errno::Errno;

use super::desc::Desc;
use super::msi::{MsiSource, PciAddress};
use super::pirq::{Mapping, PirqOwner};
use super::state::Board;
use super::table::IrqTable;
use crate::num::{CpuId, Pirq};

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

impl IrqTable {
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
        let index = u32::try_from(index)
            .ok()
            .filter(|&i| i < nr_gsis)
            .ok_or(Errno::EINVAL)?;
        let mut state = self.state.lock();
        let own = state.pirqs(caller, &self.config);
        // ABI: the index is the caller's own PIRQ where it has one with that number.
        let irq = match own.irq(Pirq(index)) {
            Some(irq) => irq,
            None if caller.hardware => index,
            None => return Err(Errno::EINVAL),
        };
        let permitted = own.may_use(irq);
        let pirqs = state.pirqs(target, &self.config);
        let pirq = pirqs.choose(wanted, Some(irq), None)?;
        if !permitted {
            return Err(Errno::EPERM);
        }
        state.enter(target, &self.config, pirq, irq)?;
        Ok(pirq)
    }

    /// Makes a message-signalled interrupt and maps it into a domain's PIRQs; the device is programmed to send it,
    /// masked. `is_device` tells whether a physical address is a device's.
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
        is_device: &dyn Fn(u64) -> bool,
    ) -> Result<Pirq, Errno> {
        let nr_gsis = self.config.nr_gsis;
        let mut state = self.state.lock();
        let irq = match u32::try_from(request.irq) {
            Ok(irq) if irq < nr_gsis || irq >= self.config.nr_irqs() => {
                return Err(Errno::EINVAL);
            }
            Ok(irq) => irq,
            Err(_) if request.irq != -1 => return Err(Errno::EINVAL),
            Err(_) => state.free_msi_irq(&self.config).ok_or(Errno::EINVAL)?,
        };
        let pirq = state
            .pirqs(target, &self.config)
            .choose(wanted, Some(irq), request.messages)?;
        if request.messages.is_some_and(|count| count > 1) {
            return Err(Errno::EOPNOTSUPP);
        }
        if state.pirqs(target, &self.config).irq(pirq).is_some() || state.descs.contains_key(&irq) {
            return Err(Errno::EEXIST);
        }
        if pirq.0 >= state.pirqs(target, &self.config).count() {
            return Err(Errno::EINVAL);
        }
        state.devices.get_mut(request.device)?;
        let source = match request.entry {
            Some(entry) => MsiSource::find_msix(board, request.device, entry, is_device)?,
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
        let pirqs = state.pirqs(target, &self.config);
        pirqs.permit(irq, true);
        pirqs.map(pirq, Mapping::Irq(irq));
        state.update_msix_protection(board, source.device);
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
        let pirqs = state.pirqs(owner, &self.config);
        let Some(Mapping::Irq(irq)) = pirqs.mapping(pirq) else {
            return Err(Errno::EINVAL);
        };
        state.unsubscribe(board, owner, irq, pirq);
        state.forget_mapping(board, owner, &self.config, irq, pirq);
        Ok(())
    }
}
