//! What the boot finds out about interrupts: IO-APICs and overrides (ACPI MADT), configuration windows (ACPI MCFG).

use alloc::vec::Vec;

use crate::machine::{Polarity, Trigger};
use crate::num::Gsi;

/// Trigger mode and polarity of a GSI that the MADT tells (interrupt source override).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct GsiDefault {
    /// Which input.
    pub gsi: Gsi,
    /// Trigger mode.
    pub trigger: Trigger,
    /// Polarity.
    pub polarity: Polarity,
}

/// The inputs of one IO-APIC.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct IoApicRange {
    /// Physical address.
    pub base: u64,
    /// Its first GSI.
    pub first_gsi: Gsi,
    /// How many inputs.
    pub inputs: u32,
}

/// A memory-mapped configuration window of PCI Express.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct McfgRange {
    /// Physical address of bus 0 of the segment.
    pub base: u64,
    /// Segment.
    pub segment: u16,
    /// First bus.
    pub first_bus: u8,
    /// Last bus.
    pub last_bus: u8,
}

/// All of it.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Configuration {
    /// One past the highest input of any IO-APIC.
    pub nr_gsis: u32,
    /// IO-APICs.
    pub ioapics: Vec<IoApicRange>,
    /// Overrides.
    pub overrides: Vec<GsiDefault>,
    /// Configuration windows.
    pub mcfg: Vec<McfgRange>,
    /// Processors that the machine has, those that are not up included.
    pub cpus: u32,
    /// Interrupts of one source within 10 ms that are too many (`irq_ratelimit=`); 0 = none are.
    pub rate_limit: u32,
}

/// GSIs that stand for the interrupts of the ISA bus, where nothing else is told.
pub(super) const ISA_IRQS: u32 = 16;

/// Vectors that Xen counts for each processor when it decides how many interrupts there can be.
const XEN_VECTORS_PER_CPU: u32 = 200;

impl Configuration {
    /// One past the highest IRQ, as Xen has it: message-signalled interrupts are numbered from `nr_gsis` to here.
    /// Domains see it as the number of their PIRQs.
    #[must_use]
    pub fn nr_irqs(&self) -> u32 {
        let by_cpus = XEN_VECTORS_PER_CPU.saturating_mul(self.cpus.max(1));
        let least = self.nr_gsis.saturating_mul(8);
        by_cpus.saturating_add(ISA_IRQS).max(least)
    }

    /// Trigger mode and polarity of `gsi` until PHYSDEVOP_setup_gsi says otherwise: ISA interrupts are edge triggered
    /// and active high, PCI ones level triggered and active low.
    pub(super) fn default_mode(&self, gsi: Gsi) -> (Trigger, Polarity) {
        match self.overrides.iter().find(|known| known.gsi == gsi) {
            Some(known) => (known.trigger, known.polarity),
            None if gsi.0 < ISA_IRQS => (Trigger::Edge, Polarity::High),
            None => (Trigger::Level, Polarity::Low),
        }
    }

    /// The GSI of input `pin` of the IO-APIC at `base`; `None` for the inner option if it has no such input.
    pub(super) fn ioapic_input(&self, base: u64, pin: u32) -> Option<Option<Gsi>> {
        let ioapic = self.ioapics.iter().find(|ioapic| ioapic.base == base)?;
        Some((pin < ioapic.inputs).then(|| Gsi(ioapic.first_gsi.0.saturating_add(pin))))
    }
}
