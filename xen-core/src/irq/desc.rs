//! One source of interrupts.

use alloc::vec::Vec;

use hypercall_abi::xen::DomId;

use super::hold::Hold;
use super::msi::MsiSource;
use super::vectors::Place;
use crate::machine::{Irqs, Pio, Polarity, Trigger};
use crate::num::{Gsi, Pirq};

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

/// The place that a moved interrupt comes from: what was under way may still arrive there.
#[derive(Clone, Copy, Debug)]
pub(super) struct Leaving {
    pub place: Place,
    /// When it was moved.
    pub since_ns: u64,
    /// An interrupt has come to the new place: nothing is sent to the old one any more.
    pub settled: bool,
}

/// A source of interrupts.
#[derive(Debug)]
pub(super) struct Desc {
    pub source: Source,
    pub trigger: Trigger,
    pub polarity: Polarity,
    /// PHYSDEVOP_setup_gsi has said how it triggers; said again, that is `EEXIST`.
    pub set_up: bool,
    /// Where it arrives, once it has a vector.
    pub place: Option<Place>,
    /// Where it arrived before.
    pub leaving: Option<Leaving>,
    /// When it last followed its vCPU.
    pub moved_ns: u64,
    pub handler: Handler,
    pub subscribers: Vec<Subscriber>,
    /// Why it is held back, beyond what domains owe.
    pub hold: Hold,
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
            place: None,
            leaving: None,
            moved_ns: 0,
            handler: Handler::None,
            subscribers: Vec::new(),
            hold: Hold::default(),
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

    /// Whether anything keeps its interrupts back.
    pub(super) fn is_held(&self) -> bool {
        let unused = self.subscribers.is_empty() && self.handler != Handler::Hypervisor;
        unused || self.hold.any() || self.in_service()
    }

    /// Masks the source if anything keeps its interrupts back, and unmasks it otherwise.
    pub(super) fn update_mask(&self, machine: &(impl Irqs + Pio)) {
        self.set_masked(machine, self.is_held());
    }

    /// What Xen calls its kind.
    pub(super) fn kind(&self) -> &'static str {
        match (self.source, self.trigger) {
            (Source::Gsi(_), Trigger::Edge) => "IO-APIC-edge",
            (Source::Gsi(_), Trigger::Level) => "IO-APIC-level",
            (Source::Msi(source), _) if source.is_maskable() => "PCI-MSI/-X",
            (Source::Msi(_), _) => "PCI-MSI",
        }
    }

    /// Sends the source's interrupts to `place`, masked. False if the machine has no such input.
    pub(super) fn route(&mut self, machine: &(impl Irqs + Pio), place: Place) -> bool {
        let Place { cpu, vector } = place;
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
        self.place = Some(place);
        true
    }

    /// Whether a domain still owes an EOI.
    pub(super) fn in_service(&self) -> bool {
        self.subscribers
            .iter()
            .any(|subscriber| subscriber.in_service)
    }
}

impl core::fmt::Display for Source {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Gsi(gsi) => write!(f, "GSI {}", gsi.0),
            Self::Msi(MsiSource {
                device,
                entry: Some(entry),
                ..
            }) => write!(f, "MSI-X entry {entry} of {device}"),
            Self::Msi(MsiSource { device, .. }) => write!(f, "MSI of {device}"),
        }
    }
}
