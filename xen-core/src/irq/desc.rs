//! One source of interrupts.

use alloc::vec::Vec;

use hypercall_abi::xen::DomId;

use super::msi::MsiSource;
use crate::machine::{Irqs, Pio, Polarity, Trigger};
use crate::num::{CpuId, Gsi, Pirq, Vector};

/// What raises the interrupt.
#[derive(Clone, Copy, Debug)]
pub(super) enum Source {
    /// An input of an IO-APIC.
    Gsi(Gsi),
    /// A message.
    Msi(MsiSource),
}

/// Who handles it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Handler {
    /// Nobody.
    None,
    /// The hypervisor itself: no domain gets it.
    Hypervisor,
    /// Domains, all of which agreed to share or of which there is one.
    Domains { shared: bool },
}

/// A domain that gets it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Subscriber {
    /// Which domain.
    pub domain: DomId,
    /// Its number for the interrupt.
    pub pirq: Pirq,
    /// Notified, EOI not yet given.
    pub in_service: bool,
}

/// A source of interrupts.
#[derive(Debug)]
pub(super) struct Desc {
    pub source: Source,
    pub trigger: Trigger,
    pub polarity: Polarity,
    /// PHYSDEVOP_setup_gsi has said how it triggers; said again, that is `EEXIST`.
    pub set_up: bool,
    pub vector: Option<Vector>,
    pub cpu: CpuId,
    pub handler: Handler,
    pub subscribers: Vec<Subscriber>,
    /// Masked because the events it would raise are all pending already; the next EOI unmasks.
    pub throttled: bool,
    /// Interrupts seen.
    pub count: u64,
    /// Interrupts that came while nobody handled them.
    pub strays: u64,
}

impl Desc {
    pub(super) fn gsi(gsi: Gsi, trigger: Trigger, polarity: Polarity) -> Self {
        Self::new(Source::Gsi(gsi), trigger, polarity)
    }

    pub(super) fn msi(source: MsiSource) -> Self {
        Self::new(Source::Msi(source), Trigger::Edge, Polarity::High)
    }

    fn new(source: Source, trigger: Trigger, polarity: Polarity) -> Self {
        Self {
            source,
            trigger,
            polarity,
            set_up: false,
            vector: None,
            cpu: CpuId(0),
            handler: Handler::None,
            subscribers: Vec::new(),
            throttled: false,
            count: 0,
            strays: 0,
        }
    }

    /// Whether it stays masked from its arrival until the EOI of those notified.
    pub(super) fn waits_for_eoi(&self) -> bool {
        matches!(self.source, Source::Gsi(_)) && self.trigger == Trigger::Level
    }

    /// Masks or unmasks the source; a message without mask bit cannot be masked.
    pub(super) fn set_masked(&self, machine: &(impl Irqs + Pio), masked: bool) {
        match self.source {
            Source::Gsi(gsi) => machine.mask_gsi(gsi, masked),
            Source::Msi(source) => source.set_masked(machine, masked),
        }
    }

    /// Sends the source's interrupts as `vector` to `cpu`, masked. False if the machine has no such input.
    pub(super) fn route(
        &mut self,
        machine: &(impl Irqs + Pio),
        vector: Vector,
        cpu: CpuId,
    ) -> bool {
        match self.source {
            Source::Gsi(gsi) => {
                if machine
                    .route_gsi(gsi, vector, cpu, self.trigger, self.polarity)
                    .is_err()
                {
                    return false;
                }
            }
            Source::Msi(source) => source.program(machine, machine.msi_message(vector, cpu)),
        }
        self.vector = Some(vector);
        self.cpu = cpu;
        true
    }

    /// Whether a domain still owes an EOI.
    pub(super) fn in_service(&self) -> bool {
        self.subscribers
            .iter()
            .any(|subscriber| subscriber.in_service)
    }
}
