//! The PCI functions that the hardware domain has announced (PHYSDEVOP_pci_device_add and its ancestors).

use alloc::collections::BTreeMap;

use hypercall_abi::errno::Errno;

use super::msi::PciAddress;

/// What is known of a function.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct PciDevice {
    /// An extended function (ARI).
    pub extended: bool,
    /// A virtual function, of this physical function.
    pub virtual_of: Option<PciAddress>,
    /// Proximity domain.
    pub proximity: Option<u32>,
    /// PHYSDEVOP_prepare_msix was called: a guest is going to drive the MSI-X table.
    pub msix_prepared: bool,
}

/// All announced functions.
#[derive(Debug, Default)]
pub(super) struct PciDevices {
    devices: BTreeMap<PciAddress, PciDevice>,
}

impl PciDevices {
    /// Enters a function, or replaces what was known of it. The physical function of a virtual one is entered too.
    pub(super) fn add(&mut self, address: PciAddress, device: PciDevice) {
        if let Some(physical) = device.virtual_of {
            self.devices.entry(physical).or_default();
        }
        let prepared = self
            .devices
            .get(&address)
            .is_some_and(|known| known.msix_prepared);
        self.devices.insert(
            address,
            PciDevice {
                msix_prepared: prepared,
                ..device
            },
        );
    }

    /// Forgets a function.
    pub(super) fn remove(&mut self, address: PciAddress) -> Result<(), Errno> {
        self.devices
            .remove(&address)
            .map(|_| ())
            .ok_or(Errno::ENODEV)
    }

    /// What is known of a function.
    pub(super) fn get_mut(&mut self, address: PciAddress) -> Result<&mut PciDevice, Errno> {
        self.devices.get_mut(&address).ok_or(Errno::ENODEV)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&PciAddress, &PciDevice)> {
        self.devices.iter()
    }
}
