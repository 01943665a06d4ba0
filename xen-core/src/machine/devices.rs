//! Interrupts, ports, the console line and the power switch.

use super::CpuMask;
use crate::num::{CpuId, Gsi, Vector};

/// Interrupt trigger mode.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Trigger {
    /// Edge triggered.
    Edge,
    /// Level triggered.
    Level,
}

/// Interrupt polarity.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Polarity {
    /// Active high.
    High,
    /// Active low.
    Low,
}

/// Address and data of a message-signalled interrupt.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct MsiMessage {
    /// Address to write.
    pub address: u64,
    /// Data to write.
    pub data: u32,
}

/// Width of a port access.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Width {
    /// One byte.
    Byte,
    /// Two bytes.
    Word,
    /// Four bytes.
    Dword,
}

impl Width {
    /// Bytes moved.
    #[must_use]
    pub const fn bytes(self) -> u32 {
        match self {
            Self::Byte => 1,
            Self::Word => 2,
            Self::Dword => 4,
        }
    }
}

/// Interrupt controllers.
pub trait Irqs {
    /// Number of GSIs: one past the highest input of any IO-APIC.
    fn nr_gsis(&self) -> u32;

    /// Programs the IO-APIC input of `gsi` to send `vector` to `cpu`, masked.
    ///
    /// # Errors
    /// No IO-APIC has that input.
    #[expect(clippy::result_unit_err, reason = "there is exactly one way to fail")]
    fn route_gsi(
        &self,
        gsi: Gsi,
        vector: Vector,
        cpu: CpuId,
        trigger: Trigger,
        polarity: Polarity,
    ) -> Result<(), ()>;

    /// Processors that interrupts of devices can be sent to.
    fn interrupt_cpus(&self) -> CpuMask;

    /// Sends the interrupts of `gsi` to another processor, where they have the same vector. Nothing else changes, and
    /// none gets lost.
    ///
    /// # Errors
    /// No IO-APIC has that input, or there is no such processor.
    #[expect(clippy::result_unit_err, reason = "there is exactly one way to fail")]
    fn redirect_gsi(&self, gsi: Gsi, cpu: CpuId) -> Result<(), ()>;

    /// Whether a level-triggered interrupt of `gsi` was sent and waits for the local APIC's EOI (remote IRR).
    fn gsi_in_flight(&self, gsi: Gsi) -> bool;

    /// Whether this processor's local APIC has `vector` requested and not yet delivered (IRR).
    fn is_requested(&self, vector: Vector) -> bool;

    /// Masks or unmasks the input of `gsi`.
    fn mask_gsi(&self, gsi: Gsi, masked: bool);

    /// Signals the end of the interrupt in service with this vector to the local APIC.
    fn eoi(&self, vector: Vector);

    /// Message that delivers `vector` to `cpu`.
    fn msi_message(&self, vector: Vector, cpu: CpuId) -> MsiMessage;

    /// Reads an IO-APIC register on behalf of the hardware domain (PHYSDEVOP_apic_read).
    ///
    /// # Errors
    /// No IO-APIC at that address.
    #[expect(clippy::result_unit_err, reason = "there is exactly one way to fail")]
    fn ioapic_read(&self, base: u64, register: u32) -> Result<u32, ()>;
}

/// Port I/O and device configuration on behalf of the hardware domain.
pub trait Pio {
    /// Whether the hypervisor itself uses this port (its serial console, its power-management timer): nobody else may.
    fn is_own_port(&self, port: u16) -> bool {
        let _ = port;
        false
    }

    /// Reads a port.
    fn port_in(&self, port: u16, width: Width) -> u32;

    /// Writes a port.
    fn port_out(&self, port: u16, width: Width, value: u32);

    /// Reads `width` at `offset` of a PCI function's configuration space.
    fn pci_read(&self, segment: u16, bus: u8, devfn: u8, offset: u16, width: Width) -> u32;

    /// Writes configuration space.
    fn pci_write(&self, segment: u16, bus: u8, devfn: u8, offset: u16, width: Width, value: u32);

    /// Reads a naturally aligned 32-bit device register of the physical address `addr` (MSI-X tables).
    fn mmio_read32(&self, addr: u64) -> u32;

    /// Writes a naturally aligned 32-bit device register.
    fn mmio_write32(&self, addr: u64, value: u32);
}

/// The hypervisor's own console line.
pub trait ConsoleIo {
    /// Writes bytes, waiting as long as the line needs.
    fn write_console(&self, bytes: &[u8]);

    /// Takes one byte that was typed, if any.
    fn read_console(&self) -> Option<u8>;
}

/// How to restart.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ResetKind {
    /// As configured (`reboot=`), trying one method after the other.
    Default,
}

/// The power switch.
pub trait Power {
    /// Restarts the machine.
    fn reset(&self, kind: ResetKind) -> !;

    /// Stops every processor for good.
    fn halt(&self) -> !;

    /// Enters an ACPI sleep state: writes PM1a and PM1b control with the given values (XENPF_enter_acpi_sleep).
    /// Returns only for states that come back, or if the machine did not go to sleep.
    fn enter_acpi_sleep(&self, state: u32, pm1a: u16, pm1b: u16);

    /// Turns the machine off by ACPI S5 found in the DSDT; returns if there is no such thing.
    fn power_off(&self);
}
