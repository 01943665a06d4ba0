//! The local APIC of a vCPU (SDM volume 3, chapter 11): interrupt requests, priorities, timer, commands to others.
//!
//! It belongs to the processor that runs its vCPU: no lock, nothing atomic. What other processors need, to know whether
//! they mean it, is [`LapicIdentity`]; they leave interrupts elsewhere, and the owner hands them to [`Lapic::accept`].

mod access;
mod ipi;
mod registers;
mod save;
#[cfg(test)]
mod tests;
mod timer;
mod vector_set;

pub use self::ipi::{DeliveryMode, Ipi, LapicIdentity, Shorthand};
pub use self::timer::BUS_CYCLE_NS;
pub use self::vector_set::VectorSet;

use self::registers::{
    DELIVERY_EXTINT, DELIVERY_MODE, DELIVERY_NMI, ESR_RECEIVE_ILLEGAL, FIRST_VECTOR,
    LVT_INDEX_ERROR, LVT_INDEX_LINT0, LVT_INDEX_LINT1, LVT_MASKED, LVTS, SVR_ENABLED, SVR_RESET,
};
use self::timer::Timer;

/// Guest-physical address of the registers in xAPIC mode; they cannot be moved.
pub const LAPIC_BASE: u64 = 0xfee0_0000;
/// IA32_APIC_BASE: the processor that boots.
pub const APIC_BASE_BSP: u64 = 1 << 8;
/// IA32_APIC_BASE: x2APIC mode.
pub const APIC_BASE_EXTD: u64 = 1 << 10;
/// IA32_APIC_BASE: enabled.
pub const APIC_BASE_ENABLED: u64 = 1 << 11;
/// IA32_APIC_BASE: the address.
const APIC_BASE_ADDRESS: u64 = 0x000f_ffff_ffff_f000;

/// What the owner has to do after a write.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Effect {
    /// Nothing besides looking for a pending interrupt again.
    None,
    /// An interrupt was ended; if it was level-triggered the I/O APIC is told.
    Eoi {
        /// Which.
        vector: u8,
        /// Its TMR bit.
        level: bool,
    },
    /// Send it. One with a vector to oneself by shorthand is not reported but done.
    Ipi(Ipi),
    /// The timer has another deadline.
    Timer,
    /// [`Lapic::identity`] may have changed.
    Identity,
    /// Software enabled it, which changes the identity; an upcall vector that waited is to be asserted again.
    Enabled,
}

/// The local APIC of a vCPU.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Lapic {
    vcpu: u32,
    base: u64,
    /// In xAPIC mode; shifted as the register shows it.
    id: u32,
    tpr: u8,
    /// In xAPIC mode.
    ldr: u32,
    dfr: u32,
    svr: u32,
    esr: u32,
    icr: u32,
    icr_high: u32,
    lvt: [u32; LVTS],
    isr: VectorSet,
    tmr: VectorSet,
    irr: VectorSet,
    timer: Timer,
}

impl Lapic {
    /// The local APIC of vCPU `vcpu` after power-on; its id is twice the vCPU's.
    #[must_use]
    pub fn new(vcpu: u32) -> Self {
        let bsp = if vcpu == 0 { APIC_BASE_BSP } else { 0 };
        let id = vcpu.wrapping_mul(2) as u16;
        Self {
            vcpu,
            base: LAPIC_BASE | APIC_BASE_ENABLED | bsp,
            id: u32::from(id) << 24,
            tpr: 0,
            ldr: 0,
            dfr: u32::MAX,
            svr: SVR_RESET,
            esr: 0,
            icr: 0,
            icr_high: 0,
            lvt: [LVT_MASKED; LVTS],
            isr: VectorSet::default(),
            tmr: VectorSet::default(),
            irr: VectorSet::default(),
            timer: Timer::default(),
        }
    }

    /// Power-on reset: everything, the base MSR too.
    pub fn reset(&mut self) {
        *self = Self::new(self.vcpu);
    }

    /// INIT: as a reset, but the base MSR, and with it the mode, and the id stay (SDM volume 3, 11.4.7.3).
    pub fn init(&mut self) {
        *self = Self {
            base: self.base,
            id: self.id,
            ..Self::new(self.vcpu)
        };
    }

    /// IA32_APIC_BASE, MSR 0x1b.
    #[must_use]
    pub const fn apic_base(&self) -> u64 {
        self.base
    }

    /// Writes IA32_APIC_BASE. `x2apic_offered` is what CPUID tells the guest. None: #GP, nothing changed.
    pub fn set_apic_base(&mut self, value: u64, x2apic_offered: bool) -> Option<()> {
        if !base_is_valid(value) || (value & APIC_BASE_EXTD != 0 && !x2apic_offered) {
            return None;
        }
        let changes = self.base ^ value;
        let on = |bit| value & bit != 0;
        if changes & APIC_BASE_ENABLED != 0 {
            if on(APIC_BASE_EXTD) {
                return None;
            }
            if on(APIC_BASE_ENABLED) {
                self.reset();
            }
        } else if changes & APIC_BASE_EXTD != 0 && self.x2apic() {
            return None;
        }
        self.base = value;
        Some(())
    }

    /// The base MSR enables it. If not, CPUID shows no APIC, and an 8259 goes straight to the processor.
    #[must_use]
    pub const fn is_enabled_hw(&self) -> bool {
        self.base & APIC_BASE_ENABLED != 0
    }

    /// Takes vectors: enabled by software too.
    #[must_use]
    pub const fn is_enabled_sw(&self) -> bool {
        self.is_enabled_hw() && self.svr & SVR_ENABLED != 0
    }

    /// In x2APIC mode, where the registers are MSRs.
    #[must_use]
    pub const fn x2apic(&self) -> bool {
        const MODE: u64 = APIC_BASE_ENABLED | APIC_BASE_EXTD;
        self.base & MODE == MODE
    }

    /// In xAPIC mode, where the registers are in memory at [`LAPIC_BASE`].
    #[must_use]
    pub const fn in_memory(&self) -> bool {
        self.is_enabled_hw() && !self.x2apic()
    }

    const fn x2apic_id(&self) -> u16 {
        self.vcpu.wrapping_mul(2) as u16
    }

    /// An interrupt arrives. It is forgotten unless the APIC is enabled both ways; a vector below 16 is an error.
    /// Returns whether something new is requested.
    pub fn accept(&mut self, vector: u8, level: bool) -> bool {
        if !self.is_enabled_sw() {
            return false;
        }
        if vector < FIRST_VECTOR {
            return self.error(ESR_RECEIVE_ILLEGAL);
        }
        self.tmr.set(vector, level);
        self.irr.set(vector, true)
    }

    /// Notes an error and, the first time, requests the vector of errors. A vector of errors below 16 is no further
    /// error (XSA-462). Returns whether something new is requested.
    fn error(&mut self, bit: u32) -> bool {
        let new = self.esr & bit == 0;
        self.esr |= bit;
        let lvt = self.lvt[LVT_INDEX_ERROR];
        if !new || lvt & LVT_MASKED != 0 {
            return false;
        }
        let vector = lvt as u8;
        if vector < FIRST_VECTOR {
            self.esr |= ESR_RECEIVE_ILLEGAL;
            return false;
        }
        self.tmr.set(vector, false);
        self.irr.set(vector, true)
    }

    /// The highest vector requested, if its class is above the processor's priority.
    #[must_use]
    pub fn pending(&self) -> Option<u8> {
        let vector = self.requested()?;
        (vector >> 4 > self.ppr() >> 4).then_some(vector)
    }

    /// The highest vector requested whatever the priority, as the threshold of the task priority needs it.
    #[must_use]
    pub fn requested(&self) -> Option<u8> {
        self.is_enabled_sw().then(|| self.irr.highest()).flatten()
    }

    /// The processor takes `vector`: it is in service and no longer requested.
    pub fn acknowledge(&mut self, vector: u8) {
        if self.irr.set(vector, false) {
            self.isr.set(vector, true);
        }
    }

    /// Ends the interrupt with the highest priority in service; returns it, and whether it was level-triggered.
    pub fn eoi(&mut self) -> Option<(u8, bool)> {
        let vector = self.isr.highest()?;
        self.isr.set(vector, false);
        Some((vector, self.tmr.has(vector)))
    }

    /// Task priority: CR8 is its upper half.
    #[must_use]
    pub const fn tpr(&self) -> u8 {
        self.tpr
    }

    /// Sets the task priority.
    pub const fn set_tpr(&mut self, tpr: u8) {
        self.tpr = tpr;
    }

    /// Processor priority: the task's, or the class of what is in service if that is higher.
    #[must_use]
    pub fn ppr(&self) -> u8 {
        let serving = self.isr.highest().unwrap_or(0) & 0xf0;
        if self.tpr & 0xf0 >= serving {
            self.tpr
        } else {
            serving
        }
    }

    /// Interrupts of an 8259 reach the processor: its pin says so, or nothing is in the way.
    #[must_use]
    pub const fn accepts_extint(&self) -> bool {
        !self.is_enabled_hw()
            || self.lvt[LVT_INDEX_LINT0] & (LVT_MASKED | DELIVERY_MODE) == DELIVERY_EXTINT
    }

    /// The second pin gives NMIs.
    #[must_use]
    pub const fn lint1_is_nmi(&self) -> bool {
        !self.is_enabled_hw()
            || self.lvt[LVT_INDEX_LINT1] & (LVT_MASKED | DELIVERY_MODE) == DELIVERY_NMI
    }
}

/// Whether IA32_APIC_BASE can have this value at all.
const fn base_is_valid(value: u64) -> bool {
    const BITS: u64 = APIC_BASE_ADDRESS | APIC_BASE_BSP | APIC_BASE_EXTD | APIC_BASE_ENABLED;
    let enabled = value & APIC_BASE_ENABLED != 0;
    let extended = value & APIC_BASE_EXTD != 0;
    let elsewhere = value & APIC_BASE_ADDRESS != LAPIC_BASE;
    value & !BITS == 0 && (enabled || !extended) && !(enabled && !extended && elsewhere)
}
