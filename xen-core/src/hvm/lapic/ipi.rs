//! Interrupts between processors: the command register, and which local APICs it means (SDM volume 3, 11.6).

use super::registers;

/// How an interrupt arrives.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DeliveryMode {
    /// As a vector.
    Fixed,
    /// As a vector, at one of the processors meant.
    LowestPriority,
    /// System management; there is none.
    Smi,
    /// Reserved.
    Reserved,
    /// As NMI.
    Nmi,
    /// The processor goes back to where it waits for a start-up.
    Init,
    /// Start at the page with the vector's number.
    StartUp,
    /// By an 8259; not between processors.
    ExtInt,
}

impl DeliveryMode {
    /// The mode in bits 8 to 10 of `bits`, as commands, local vectors, redirection entries and messages have it.
    #[must_use]
    pub const fn of(bits: u32) -> Self {
        match (bits >> 8) & 7 {
            0 => Self::Fixed,
            1 => Self::LowestPriority,
            2 => Self::Smi,
            4 => Self::Nmi,
            5 => Self::Init,
            6 => Self::StartUp,
            7 => Self::ExtInt,
            _ => Self::Reserved,
        }
    }
}

/// Whom a command means without a destination.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Shorthand {
    /// The destination counts.
    None,
    /// The sender.
    OnlySelf,
    /// Everybody.
    All,
    /// Everybody but the sender.
    AllButSelf,
}

/// A command.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Ipi {
    /// How it arrives.
    pub mode: DeliveryMode,
    /// Vector, or page of a start-up.
    pub vector: u8,
    /// Asserted; only INIT can be deasserted, which does nothing on processors of this century.
    pub assert: bool,
    /// Level-triggered.
    pub level: bool,
    /// Whom it means.
    pub shorthand: Shorthand,
    /// Destination: 8 bits from a sender in xAPIC mode, 32 in x2APIC mode.
    pub dest: u32,
    /// The destination is logical.
    pub logical: bool,
}

impl Ipi {
    pub(super) const fn decode(icr: u32, dest: u32) -> Self {
        Self {
            mode: DeliveryMode::of(icr),
            vector: icr as u8,
            assert: icr & 1 << 14 != 0,
            level: icr & 1 << 15 != 0,
            shorthand: match (icr >> 18) & 3 {
                1 => Shorthand::OnlySelf,
                2 => Shorthand::All,
                3 => Shorthand::AllButSelf,
                _ => Shorthand::None,
            },
            dest,
            logical: icr & 1 << 11 != 0,
        }
    }

    /// An INIT that is taken back: nothing to do.
    #[must_use]
    pub const fn is_init_deassert(&self) -> bool {
        matches!(self.mode, DeliveryMode::Init) && self.level && !self.assert
    }

    /// Whether the local APIC `target` is meant; `is_sender` if it is the sender's own.
    #[must_use]
    pub const fn means(&self, target: LapicIdentity, is_sender: bool) -> bool {
        match self.shorthand {
            Shorthand::None => target.matches(self.dest, self.logical),
            Shorthand::OnlySelf => is_sender,
            Shorthand::All => true,
            Shorthand::AllButSelf => !is_sender,
        }
    }
}

/// What decides whether an interrupt is for a local APIC: small enough to be published in one atomic word.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LapicIdentity {
    /// Physical id.
    pub id: u16,
    /// Logical id in xAPIC mode: bits 24 to 31 of LDR.
    pub logical_id: u8,
    /// Bits 28 to 31 of DFR: 15 flat, 0 clusters.
    pub model: u8,
    /// In x2APIC mode.
    pub x2apic: bool,
    /// Enabled by the base MSR.
    pub hw_enabled: bool,
    /// Enabled by SVR.
    pub sw_enabled: bool,
}

impl LapicIdentity {
    /// Takes vectors: enabled both ways.
    #[must_use]
    pub const fn takes_vectors(self) -> bool {
        self.hw_enabled && self.sw_enabled
    }

    /// As a word.
    #[must_use]
    pub const fn pack(self) -> u64 {
        self.id as u64
            | (self.logical_id as u64) << 16
            | ((self.model & 0xf) as u64) << 24
            | (self.x2apic as u64) << 28
            | (self.hw_enabled as u64) << 29
            | (self.sw_enabled as u64) << 30
    }

    /// From a word of [`pack`](Self::pack).
    #[must_use]
    pub const fn unpack(word: u64) -> Self {
        Self {
            id: word as u16,
            logical_id: (word >> 16) as u8,
            model: (word >> 24) as u8 & 0xf,
            x2apic: word & 1 << 28 != 0,
            hw_enabled: word & 1 << 29 != 0,
            sw_enabled: word & 1 << 30 != 0,
        }
    }

    /// LDR in x2APIC mode, which follows from the id: the cluster, and one bit in it.
    #[must_use]
    pub const fn x2apic_ldr(id: u16) -> u32 {
        ((id as u32 >> 4) << 16) | 1 << (id & 15)
    }

    /// Whether a destination means this local APIC. `dest` is 8 bits wide from the I/O APIC, from messages and from
    /// senders in xAPIC mode, else 32.
    #[must_use]
    pub const fn matches(self, dest: u32, logical: bool) -> bool {
        match (logical, self.x2apic) {
            (_, true) if dest == u32::MAX => true,
            (false, true) => dest == self.id as u32,
            (false, false) => dest & 0xff == 0xff || dest == self.id as u32,
            (true, true) => {
                let ldr = Self::x2apic_ldr(self.id);
                dest >> 16 == ldr >> 16 && dest & ldr & 0xffff != 0
            }
            (true, false) => self.matches_logical(dest as u8),
        }
    }

    const fn matches_logical(self, dest: u8) -> bool {
        match self.model {
            0xf => self.logical_id & dest != 0,
            0 if dest == 0xff => true,
            0 => self.logical_id >> 4 == dest >> 4 && self.logical_id & dest & 0xf != 0,
            _ => false,
        }
    }
}

impl super::Lapic {
    /// What other processors need to know to send here.
    #[must_use]
    pub const fn identity(&self) -> LapicIdentity {
        LapicIdentity {
            id: match self.x2apic() {
                true => self.x2apic_id(),
                false => (self.id >> 24) as u16,
            },
            logical_id: (self.ldr >> 24) as u8,
            model: (self.dfr >> 28) as u8,
            x2apic: self.x2apic(),
            hw_enabled: self.is_enabled_hw(),
            sw_enabled: self.svr & registers::SVR_ENABLED != 0,
        }
    }
}
