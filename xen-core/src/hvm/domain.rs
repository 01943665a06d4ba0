//! What a domain has because its guest runs in hardware.

use core::sync::atomic::AtomicBool;

use hypercall_abi::arch_x86::X86EmulationFlags;

use super::p2m::P2m;
use super::params::{HvmParams, ParamFacts};
use crate::sync::{Rank, RankedMutex};

/// Tables of the map that a domain may have before its toolstack says how many.
pub const DEFAULT_TABLES: u64 = 256;

/// The part of a domain that a PV domain does not have.
#[derive(Debug)]
pub struct HvmDomain {
    /// Its frames.
    pub p2m: P2m,
    /// Its parameters.
    pub params: RankedMutex<HvmParams>,
    /// Devices that the hypervisor emulates for it.
    pub emulation: X86EmulationFlags,
    /// Its `shared_info` has the layout for 64-bit code; follows the mode of who last registered for events.
    pub wide_shared_info: AtomicBool,
}

impl HvmDomain {
    /// A domain with an empty map.
    #[must_use]
    pub fn new(p2m: P2m, emulation: X86EmulationFlags) -> Self {
        Self {
            p2m,
            params: RankedMutex::new(
                Rank::Machine,
                HvmParams::new(emulation.contains(X86EmulationFlags::HPET)),
            ),
            emulation,
            wide_shared_info: AtomicBool::new(true),
        }
    }

    /// What parameters depend on.
    #[must_use]
    pub const fn facts(&self) -> ParamFacts {
        ParamFacts {
            pm_timer: self.emulation.contains(X86EmulationFlags::PM),
            interrupt_lines: self.emulation.contains(X86EmulationFlags::IOAPIC)
                || self.emulation.contains(X86EmulationFlags::PIC),
        }
    }
}
