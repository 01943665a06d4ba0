//! The registers in which a processor reports errors.

use alloc::vec::Vec;
use core::fmt;

use crate::machine::{Machine, PvCpu};

const MSR_MCG_CAP: u32 = 0x179;
const MSR_MCG_STATUS: u32 = 0x17a;
const MSR_MC0_STATUS: u32 = 0x401;
const MSRS_PER_BANK: u32 = 4;
const MCG_CAP_COUNT: u64 = 0xff;
/// More than any processor has; bounds what is believed.
const MAX_BANKS: u32 = 32;

const VALID: u64 = 1 << 63;
const UNCORRECTED: u64 = 1 << 61;
const MISC_VALID: u64 = 1 << 59;
const ADDRESS_VALID: u64 = 1 << 58;
const SIGNALED: u64 = 1 << 56;
const ACTION_REQUIRED: u64 = 1 << 55;

/// An error that a bank held.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Bank {
    /// Number of the bank.
    pub number: u16,
    /// IA32_MCi_STATUS.
    pub status: u64,
    /// IA32_MCi_ADDR; 0 if the error has none.
    pub address: u64,
    /// IA32_MCi_MISC; 0 if the error has none.
    pub misc: u64,
}

impl Bank {
    /// Whether the hardware could not repair it.
    #[must_use]
    pub const fn is_uncorrected(&self) -> bool {
        self.status & UNCORRECTED != 0
    }

    /// Whether the program that ran must not go on as if nothing had happened (software recoverable, action required:
    /// SDM volume 3, table 16-9).
    #[must_use]
    pub const fn action_required(&self) -> bool {
        const ALL: u64 = UNCORRECTED | SIGNALED | ACTION_REQUIRED;
        self.status & ALL == ALL
    }
}

impl fmt::Display for Bank {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = if self.is_uncorrected() {
            "uncorrected"
        } else {
            "corrected"
        };
        let (number, status) = (self.number, self.status);
        write!(f, "{kind}: bank {number}: {status:016x}")?;
        if self.status & ADDRESS_VALID != 0 {
            write!(f, " at {:016x}", self.address)?;
        }
        Ok(())
    }
}

/// Banks that the executing processor has.
pub(super) fn count(machine: &impl PvCpu) -> u32 {
    let banks = machine.read_msr(MSR_MCG_CAP).unwrap_or(0) & MCG_CAP_COUNT;
    u32::try_from(banks).unwrap_or(0).min(MAX_BANKS)
}

/// IA32_MCG_STATUS of the executing processor.
pub(super) fn global_status(machine: &impl PvCpu) -> u64 {
    machine.read_msr(MSR_MCG_STATUS).unwrap_or(0)
}

/// Takes what the banks of the executing processor hold.
pub(super) fn take(machine: &impl Machine) -> Vec<Bank> {
    let mut found = Vec::new();
    for number in 0..count(machine) {
        let register = MSR_MC0_STATUS + number * MSRS_PER_BANK;
        let Some(status) = machine.read_msr(register).filter(|s| s & VALID != 0) else {
            continue;
        };
        let detail = |present: u64, offset: u32| {
            let value = (status & present != 0).then(|| machine.read_msr(register + offset));
            value.flatten().unwrap_or(0)
        };
        found.push(Bank {
            number: u16::try_from(number).unwrap_or(u16::MAX),
            status,
            address: detail(ADDRESS_VALID, 1),
            misc: detail(MISC_VALID, 2),
        });
        // A bank that cannot be emptied is reported again: there is nobody else to tell.
        let _ = machine.write_msr(register, 0);
    }
    found
}
