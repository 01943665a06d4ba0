//! `physdev_op`: interrupts, I/O privileges and PCI devices (public header physdev.h).

use hypercall_abi::errno::Errno;
use hypercall_abi::guest_handle::GuestHandle;
use hypercall_abi::physdev::{
    IrqStatFlags, MapPirqType, PciDevFlags, PhysdevApic, PhysdevDbgpOp, PhysdevEoi,
    PhysdevGetFreePirq, PhysdevIrq, PhysdevIrqStatusQuery, PhysdevManagePci, PhysdevManagePciExt,
    PhysdevMapPirq, PhysdevOp, PhysdevPciDevice, PhysdevPciDeviceAdd, PhysdevPciMmcfgReserved,
    PhysdevPirqEoiGmfn, PhysdevRestoreMsi, PhysdevSetIobitmap, PhysdevSetIopl, PhysdevSetupGsi,
    PhysdevUnmapPirq,
};

use super::Call;
use crate::guest::{GuestAccess, is_guest_address};
use crate::irq::{MsiRequest, PciAddress, PciDevice, PirqOwner};
use crate::machine::{Machine, Polarity, Trigger};
use crate::num::{Gsi, Mfn, Pirq};
use crate::outcome::{HypercallResult, Outcome};

/// I/O ports of the machine, and so bits of the largest permission bitmap.
const IO_PORTS: u32 = 65536;

/// First redirection entry among the registers of an IO-APIC.
const IOAPIC_FIRST_ENTRY: u32 = 0x10;
const ENTRY_DELIVERY_MODE: u32 = 7 << 8;
const ENTRY_LOWEST_PRIORITY: u32 = 1 << 8;
const ENTRY_ACTIVE_LOW: u32 = 1 << 13;
const ENTRY_LEVEL: u32 = 1 << 15;

impl<M: Machine> Call<'_, M> {
    pub(super) fn physdev_op(&mut self, cmd: u32, arg: GuestHandle<u8>) -> HypercallResult {
        match PhysdevOp(cmd) {
            PhysdevOp::EOI => self.pirq_eoi(arg.cast()),
            PhysdevOp::PIRQ_EOI_GMFN_V1 => self.pirq_eoi_gmfn(arg.cast(), true),
            PhysdevOp::PIRQ_EOI_GMFN_V2 => self.pirq_eoi_gmfn(arg.cast(), false),
            PhysdevOp::IRQ_STATUS_QUERY => self.irq_status_query(arg.cast()),
            PhysdevOp::MAP_PIRQ => self.map_pirq(arg.cast()),
            PhysdevOp::UNMAP_PIRQ => self.unmap_pirq(arg.cast()),
            PhysdevOp::GET_FREE_PIRQ => self.get_free_pirq(arg.cast()),
            PhysdevOp::SETUP_GSI => self.setup_gsi(arg.cast()),
            PhysdevOp::APIC_READ => self.apic_read(arg.cast()),
            PhysdevOp::APIC_WRITE => self.apic_write(arg.cast()),
            PhysdevOp::ALLOC_IRQ_VECTOR => self.alloc_irq_vector(arg.cast()),
            PhysdevOp::SET_IOPL => self.set_iopl(arg.cast()),
            PhysdevOp::SET_IOBITMAP => self.set_iobitmap(arg.cast()),
            PhysdevOp::MANAGE_PCI_ADD => self.manage_pci_add(arg.cast()),
            PhysdevOp::MANAGE_PCI_REMOVE => self.manage_pci_remove(arg.cast()),
            PhysdevOp::MANAGE_PCI_ADD_EXT => self.manage_pci_add_ext(arg.cast()),
            PhysdevOp::PCI_DEVICE_ADD => self.pci_device_add(arg.cast()),
            PhysdevOp::PCI_DEVICE_REMOVE => self.pci_device_remove(arg.cast()),
            PhysdevOp::PCI_MMCFG_RESERVED => self.pci_mmcfg_reserved(arg.cast()),
            PhysdevOp::RESTORE_MSI => self.restore_msi(arg.cast()),
            PhysdevOp::RESTORE_MSI_EXT => self.restore_msi_ext(arg.cast()),
            PhysdevOp::PREPARE_MSIX => self.prepare_msix(arg.cast(), true),
            PhysdevOp::RELEASE_MSIX => self.prepare_msix(arg.cast(), false),
            PhysdevOp::DBGP_OP => self.dbgp_op(arg.cast()),
            // ABI: the notification of old means nothing any more and succeeds.
            PhysdevOp::IRQ_UNMASK_NOTIFY => Ok(Outcome::Done(0)),
            // Includes PHYSDEVOP_free_irq_vector, which Xen does not know any more either.
            _ => Err(Errno::ENOSYS.into()),
        }
    }

    fn owner(&self) -> PirqOwner {
        PirqOwner::of(self.domain)
    }

    /// The calls that act on the machine are the control domain's.
    fn only_control(&self) -> Result<(), Errno> {
        if self.domain.privileges.control {
            Ok(())
        } else {
            Err(Errno::EPERM)
        }
    }

    fn pirq_eoi(&mut self, arg: GuestHandle<PhysdevEoi>) -> HypercallResult {
        let arg: PhysdevEoi = self.hv.machine.read(arg)?;
        let pirq = Pirq(arg.irq);
        if self.hv.pirq_eoi(self.domain, pirq)? {
            self.hv.unmask_pirq_event(self.domain, pirq);
        }
        Ok(Outcome::Done(0))
    }

    fn pirq_eoi_gmfn(
        &mut self,
        arg: GuestHandle<PhysdevPirqEoiGmfn>,
        auto_unmask: bool,
    ) -> HypercallResult {
        let arg: PhysdevPirqEoiGmfn = self.hv.machine.read(arg)?;
        let page = self.hv.mem.get_writable(Mfn(arg.gmfn), self.domain.id);
        let mfn = page.map_err(|_| Errno::EINVAL)?.into_raw();
        let entered = self
            .hv
            .irqs
            .set_eoi_map(&self.hv.machine, self.owner(), mfn, auto_unmask);
        if let Err(errno) = entered {
            drop(self.hv.mem.adopt_writable(mfn));
            return Err(errno.into());
        }
        Ok(Outcome::Done(0))
    }

    fn irq_status_query(&mut self, arg: GuestHandle<PhysdevIrqStatusQuery>) -> HypercallResult {
        let mut query: PhysdevIrqStatusQuery = self.hv.machine.read(arg)?;
        let shared = self
            .hv
            .irqs
            .is_shared(self.owner(), Pirq(query.irq))
            .ok_or(Errno::EINVAL)?;
        // ABI: set also for edges. A domain that does not look at the page must always say EOI.
        query.flags = IrqStatFlags::NEEDS_EOI.bits();
        if shared {
            query.flags |= IrqStatFlags::SHARED.bits();
        }
        self.hv.machine.write(arg, &query)?;
        Ok(Outcome::Done(0))
    }

    fn map_pirq(&mut self, handle: GuestHandle<PhysdevMapPirq>) -> HypercallResult {
        let mut arg: PhysdevMapPirq = self.hv.machine.read(handle)?;
        let multi = arg.r#type == MapPirqType::MULTI_MSI;
        if multi && arg.table_base != 0 {
            return Err(Errno::EINVAL.into());
        }
        let target = self.hv.domain(self.domain, arg.domid).ok_or(Errno::ESRCH)?;
        let target = PirqOwner::of(&target);
        let result = self.map_pirq_of(target, &mut arg);
        // ABI: written back also when it failed.
        self.hv.machine.write(handle, &arg)?;
        result?;
        Ok(Outcome::Done(0))
    }

    fn map_pirq_of(&self, target: PirqOwner, arg: &mut PhysdevMapPirq) -> Result<(), Errno> {
        self.only_control()?;
        let hv = self.hv;
        let pirq = match arg.r#type {
            MapPirqType::GSI => hv.irqs.map_gsi(self.owner(), target, arg.index, arg.pirq)?,
            MapPirqType::MSI | MapPirqType::MSI_SEG | MapPirqType::MULTI_MSI => {
                let multi = arg.r#type == MapPirqType::MULTI_MSI;
                let request = MsiRequest {
                    device: msi_device(arg),
                    entry: msix_entry(arg)?,
                    messages: multi.then_some(arg.entry_nr),
                    irq: if multi { -1 } else { arg.index },
                };
                let is_device = |addr: u64| {
                    let mfn = Mfn::from_addr(addr);
                    let beyond_memory = mfn.0 >= hv.mem.max_page();
                    (hv.mem.is_device(mfn) || beyond_memory) && hv.mem.iomem_is_free(mfn)
                };
                hv.irqs
                    .map_msi(&hv.machine, target, request, arg.pirq, self.cpu, &is_device)?
            }
            _ => return Err(Errno::EINVAL),
        };
        arg.pirq = i32::try_from(pirq.0).map_err(|_| Errno::EINVAL)?;
        Ok(())
    }

    fn unmap_pirq(&mut self, arg: GuestHandle<PhysdevUnmapPirq>) -> HypercallResult {
        let arg: PhysdevUnmapPirq = self.hv.machine.read(arg)?;
        let target = self.hv.domain(self.domain, arg.domid).ok_or(Errno::ESRCH)?;
        self.only_control()?;
        let pirq = u32::try_from(arg.pirq).map_err(|_| Errno::EINVAL)?;
        self.hv
            .irqs
            .unmap(&self.hv.machine, PirqOwner::of(&target), Pirq(pirq))?;
        Ok(Outcome::Done(0))
    }

    fn get_free_pirq(&mut self, handle: GuestHandle<PhysdevGetFreePirq>) -> HypercallResult {
        let mut arg: PhysdevGetFreePirq = self.hv.machine.read(handle)?;
        let for_gsi = arg.r#type == MapPirqType::GSI;
        arg.pirq = self.hv.irqs.reserve_pirq(self.owner(), for_gsi)?.0;
        self.hv.machine.write(handle, &arg)?;
        Ok(Outcome::Done(0))
    }

    fn setup_gsi(&mut self, arg: GuestHandle<PhysdevSetupGsi>) -> HypercallResult {
        let arg: PhysdevSetupGsi = self.hv.machine.read(arg)?;
        let gsi = u32::try_from(arg.gsi).map_err(|_| Errno::EINVAL)?;
        if gsi >= self.hv.irqs.nr_gsis() {
            return Err(Errno::EINVAL.into());
        }
        self.only_control()?;
        let trigger = if arg.triggering == 0 {
            Trigger::Edge
        } else {
            Trigger::Level
        };
        let polarity = if arg.polarity == 0 {
            Polarity::High
        } else {
            Polarity::Low
        };
        self.hv
            .irqs
            .setup_gsi(&self.hv.machine, Gsi(gsi), trigger, polarity, self.cpu)?;
        Ok(Outcome::Done(0))
    }

    fn apic_read(&mut self, handle: GuestHandle<PhysdevApic>) -> HypercallResult {
        let mut arg: PhysdevApic = self.hv.machine.read(handle)?;
        self.only_control()?;
        let value = self.hv.machine.ioapic_read(arg.apic_physbase, arg.reg);
        if let Ok(value) = value {
            arg.value = value;
        }
        self.hv.machine.write(handle, &arg)?;
        value.map_err(|()| Errno::EINVAL)?;
        Ok(Outcome::Done(0))
    }

    /// Writes of an IO-APIC are not passed on: a redirection entry tells trigger mode and polarity, as
    /// PHYSDEVOP_setup_gsi does, and all else is the hypervisor's business and ignored.
    fn apic_write(&mut self, arg: GuestHandle<PhysdevApic>) -> HypercallResult {
        let arg: PhysdevApic = self.hv.machine.read(arg)?;
        self.only_control()?;
        let pin = arg.reg.saturating_sub(IOAPIC_FIRST_ENTRY) / 2;
        let input = self
            .hv
            .irqs
            .ioapic_input(arg.apic_physbase, pin)
            .ok_or(Errno::EINVAL)?;
        if arg.reg < IOAPIC_FIRST_ENTRY || !arg.reg.is_multiple_of(2) {
            return Ok(Outcome::Done(0));
        }
        let gsi = input.ok_or(Errno::EINVAL)?;
        if !matches!(arg.value & ENTRY_DELIVERY_MODE, 0 | ENTRY_LOWEST_PRIORITY) {
            return Err(Errno::EINVAL.into());
        }
        let level = arg.value & ENTRY_LEVEL != 0;
        let trigger = if level { Trigger::Level } else { Trigger::Edge };
        let low = arg.value & ENTRY_ACTIVE_LOW != 0;
        let polarity = if low { Polarity::Low } else { Polarity::High };
        match self
            .hv
            .irqs
            .setup_gsi(&self.hv.machine, gsi, trigger, polarity, self.cpu)
        {
            // In use as it is.
            Ok(()) | Err(Errno::EEXIST) => Ok(Outcome::Done(0)),
            Err(errno) => Err(errno.into()),
        }
    }

    fn alloc_irq_vector(&mut self, handle: GuestHandle<PhysdevIrq>) -> HypercallResult {
        let mut arg: PhysdevIrq = self.hv.machine.read(handle)?;
        self.only_control()?;
        // ABI: real vectors are the hypervisor's; the domain gets a number to work with.
        arg.vector = arg.irq;
        self.hv.machine.write(handle, &arg)?;
        Ok(Outcome::Done(0))
    }

    fn set_iopl(&mut self, arg: GuestHandle<PhysdevSetIopl>) -> HypercallResult {
        let arg: PhysdevSetIopl = self.hv.machine.read(arg)?;
        let iopl = u8::try_from(arg.iopl)
            .ok()
            .filter(|&iopl| iopl <= 3)
            .ok_or(Errno::EINVAL)?;
        self.ctx.iopl = iopl;
        Ok(Outcome::Done(0))
    }

    fn set_iobitmap(&mut self, arg: GuestHandle<PhysdevSetIobitmap>) -> HypercallResult {
        let arg: PhysdevSetIobitmap = self.hv.machine.read(arg)?;
        let start = arg.bitmap.addr();
        let last = start.checked_add(u64::from(IO_PORTS / 8 - 1));
        let readable = is_guest_address(start) && last.is_some_and(is_guest_address);
        if !readable || arg.nr_ports > IO_PORTS {
            return Err(Errno::EINVAL.into());
        }
        self.ctx.io_bitmap = start;
        self.ctx.io_bitmap_ports = arg.nr_ports;
        Ok(Outcome::Done(0))
    }

    fn manage_pci_add(&mut self, arg: GuestHandle<PhysdevManagePci>) -> HypercallResult {
        let arg: PhysdevManagePci = self.hv.machine.read(arg)?;
        self.add_device(address(0, arg.bus, arg.devfn), PciDevice::default())
    }

    fn manage_pci_remove(&mut self, arg: GuestHandle<PhysdevManagePci>) -> HypercallResult {
        let arg: PhysdevManagePci = self.hv.machine.read(arg)?;
        self.remove_device(address(0, arg.bus, arg.devfn))
    }

    fn manage_pci_add_ext(&mut self, arg: GuestHandle<PhysdevManagePciExt>) -> HypercallResult {
        let arg: PhysdevManagePciExt = self.hv.machine.read(arg)?;
        if arg.is_extfn > 1 || arg.is_virtfn > 1 {
            return Err(Errno::EINVAL.into());
        }
        let physical = address(0, arg.physfn.bus, arg.physfn.devfn);
        let device = PciDevice {
            extended: arg.is_extfn != 0,
            virtual_of: (arg.is_virtfn != 0).then_some(physical),
            ..PciDevice::default()
        };
        self.add_device(address(0, arg.bus, arg.devfn), device)
    }

    fn pci_device_add(&mut self, handle: GuestHandle<PhysdevPciDeviceAdd>) -> HypercallResult {
        let arg: PhysdevPciDeviceAdd = self.hv.machine.read(handle)?;
        let flags = PciDevFlags::from_bits_retain(arg.flags);
        let proximity = if flags.contains(PciDevFlags::PXM) {
            let after = size_of::<PhysdevPciDeviceAdd>() as u64;
            let at = handle.addr().checked_add(after).ok_or(Errno::EFAULT)?;
            Some(self.hv.machine.read(GuestHandle::<u32>::from_addr(at))?)
        } else {
            None
        };
        let physical = address(arg.seg, arg.physfn.bus, arg.physfn.devfn);
        let device = PciDevice {
            extended: flags.contains(PciDevFlags::EXTFN),
            virtual_of: flags.contains(PciDevFlags::VIRTFN).then_some(physical),
            proximity,
            ..PciDevice::default()
        };
        self.add_device(address(arg.seg, arg.bus, arg.devfn), device)
    }

    fn pci_device_remove(&mut self, arg: GuestHandle<PhysdevPciDevice>) -> HypercallResult {
        let arg: PhysdevPciDevice = self.hv.machine.read(arg)?;
        self.remove_device(address(arg.seg, arg.bus, arg.devfn))
    }

    fn add_device(&self, address: PciAddress, device: PciDevice) -> HypercallResult {
        self.only_control()?;
        self.hv.irqs.add_device(address, device);
        Ok(Outcome::Done(0))
    }

    fn remove_device(&self, address: PciAddress) -> HypercallResult {
        self.only_control()?;
        self.hv.irqs.remove_device(&self.hv.machine, address)?;
        Ok(Outcome::Done(0))
    }

    fn pci_mmcfg_reserved(&mut self, arg: GuestHandle<PhysdevPciMmcfgReserved>) -> HypercallResult {
        self.only_control()?;
        let arg: PhysdevPciMmcfgReserved = self.hv.machine.read(arg)?;
        let known = self
            .hv
            .irqs
            .knows_mcfg(arg.address, arg.segment, arg.start_bus, arg.end_bus);
        if known {
            Ok(Outcome::Done(0))
        } else {
            Err(Errno::ENODEV.into())
        }
    }

    fn restore_msi(&mut self, arg: GuestHandle<PhysdevRestoreMsi>) -> HypercallResult {
        let arg: PhysdevRestoreMsi = self.hv.machine.read(arg)?;
        self.restore_msi_of(address(0, arg.bus, arg.devfn))
    }

    fn restore_msi_ext(&mut self, arg: GuestHandle<PhysdevPciDevice>) -> HypercallResult {
        let arg: PhysdevPciDevice = self.hv.machine.read(arg)?;
        self.restore_msi_of(address(arg.seg, arg.bus, arg.devfn))
    }

    fn restore_msi_of(&self, device: PciAddress) -> HypercallResult {
        self.only_control()?;
        self.hv.irqs.restore_msi(&self.hv.machine, device)?;
        Ok(Outcome::Done(0))
    }

    fn prepare_msix(
        &mut self,
        arg: GuestHandle<PhysdevPciDevice>,
        prepared: bool,
    ) -> HypercallResult {
        let arg: PhysdevPciDevice = self.hv.machine.read(arg)?;
        self.only_control()?;
        let device = address(arg.seg, arg.bus, arg.devfn);
        self.hv
            .irqs
            .prepare_msix(&self.hv.machine, device, prepared)?;
        Ok(Outcome::Done(0))
    }

    fn dbgp_op(&mut self, arg: GuestHandle<PhysdevDbgpOp>) -> HypercallResult {
        if !self.domain.privileges.hardware {
            return Err(Errno::EPERM.into());
        }
        let _: PhysdevDbgpOp = self.hv.machine.read(arg)?;
        // ABI: the answer of a hypervisor whose console is not on a USB debug port.
        Err(Errno::ENOSYS.into())
    }
}

const fn address(segment: u16, bus: u8, devfn: u8) -> PciAddress {
    PciAddress {
        segment,
        bus,
        devfn,
    }
}

/// The function that a map_pirq names: MSI_SEG and MULTI_MSI carry the segment above the bus.
fn msi_device(arg: &PhysdevMapPirq) -> PciAddress {
    let [bus, _, low, high] = arg.bus.to_le_bytes();
    let with_segment = arg.r#type != MapPirqType::MSI;
    let segment = if with_segment {
        u16::from_le_bytes([low, high])
    } else {
        0
    };
    address(segment, bus, arg.devfn.to_le_bytes()[0])
}

/// The entry of the MSI-X table that a map_pirq names; without a table it wants plain MSI.
fn msix_entry(arg: &PhysdevMapPirq) -> Result<Option<u32>, Errno> {
    if arg.table_base == 0 {
        return Ok(None);
    }
    u32::try_from(arg.entry_nr)
        .map(Some)
        .map_err(|_| Errno::EINVAL)
}

#[cfg(test)]
mod tests;
