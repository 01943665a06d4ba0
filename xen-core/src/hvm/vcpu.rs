//! The private half of a vCPU that runs in hardware.

use super::lapic::Lapic;
use super::mtrr::MemoryTypes;
use crate::machine::{HvmEvent, HvmState, Segment, TableRegister};

/// PAT at reset (SDM volume 3, 11.12.4).
pub const PAT_RESET: u64 = 0x0007_0406_0007_0406;
/// CR0.ET.
const CR0_ET: u64 = 1 << 4;
/// DR6 at reset.
const DR6_RESET: u64 = 0xffff_0ff0;
/// DR7 at reset.
const DR7_RESET: u64 = 0x400;

/// State that only the processor that runs the vCPU, or whoever holds its context, touches.
#[derive(Debug)]
pub struct HvmVcpu {
    /// The guest's processor.
    pub state: HvmState,
    /// Its local APIC.
    pub lapic: Lapic,
    /// Its memory types.
    pub mtrr: MemoryTypes,
    /// An event that goes in at the next entry.
    pub event: Option<HvmEvent>,
    /// A non-maskable interrupt is being handled.
    pub nmi_masked: bool,
    /// Leave the guest as soon as it takes interrupts.
    pub interrupt_window: bool,
    /// It executed HLT, and waits for an interrupt.
    pub halted: bool,
    /// MSR_IA32_TSC_ADJUST.
    pub tsc_adjust: u64,
    /// MSR_IA32_MISC_FEATURES_ENABLES.
    pub misc_features: u64,
}

impl HvmVcpu {
    /// The vCPU at reset.
    #[must_use]
    pub fn new(id: u32, address_bits: u32) -> Self {
        Self {
            state: reset_state(),
            lapic: Lapic::new(id),
            mtrr: MemoryTypes::new(address_bits),
            event: None,
            nmi_masked: false,
            interrupt_window: false,
            halted: false,
            tsc_adjust: 0,
            misc_features: 0,
        }
    }

    /// What SIPI with this vector starts: real mode at the vector's page (SDM volume 3, 8.4).
    pub fn start_at(&mut self, vector: u8) {
        let tsc_offset = self.state.tsc_offset;
        self.state = reset_state();
        self.state.tsc_offset = tsc_offset;
        self.state.cs.selector = u16::from(vector) << 8;
        self.state.cs.base = u64::from(vector) << 12;
        self.event = None;
        self.nmi_masked = false;
        self.halted = false;
    }
}

/// The processor at reset, in real mode.
#[must_use]
pub fn reset_state() -> HvmState {
    let segment = |attributes| Segment {
        attributes,
        limit: 0xffff,
        ..Segment::default()
    };
    let table = TableRegister {
        base: 0,
        limit: 0xffff,
    };
    let data = segment(0x93);
    HvmState {
        cr0: CR0_ET,
        dr6: DR6_RESET,
        dr7: DR7_RESET,
        cs: segment(0x9b),
        ss: data,
        ds: data,
        es: data,
        fs: data,
        gs: data,
        tr: segment(0x8b),
        ldtr: segment(0x82),
        gdtr: table,
        idtr: table,
        pat: PAT_RESET,
        ..HvmState::default()
    }
}
