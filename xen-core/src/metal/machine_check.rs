//! Machine checks: the hardware says that it is broken (SDM 3B chapter 16). Say what it reports, and stop.
// UNSAFETY: reads model-specific registers that the capability register names.

use crate::metal::cpu::{cpuid, msr};
use crate::metal::entry::HypervisorFrame;
use crate::metal::panic;

const BANKS_MAX: u64 = 32;
const REGISTERS_PER_BANK: u32 = 4;
const STATUS_VALID: u64 = 1 << 63;

/// Lets errors be reported on the executing CPU.
pub fn set_up() {
    if !cpuid::has_mca() {
        return;
    }
    for bank in 0..banks() {
        // SAFETY: control and status of a bank that exists; clearing the status forgets what the firmware saw.
        unsafe {
            msr::try_write(msr::MC0_CTL + bank * REGISTERS_PER_BANK, u64::MAX);
            msr::try_write(msr::MC0_CTL + bank * REGISTERS_PER_BANK + 1, 0);
        }
    }
}

fn banks() -> u32 {
    (msr::try_read(msr::MCG_CAP).unwrap_or(0) & 0xff).min(BANKS_MAX) as u32
}

/// Reports what the banks hold and panics: what the error destroyed cannot be told.
pub fn handle(frame: &HypervisorFrame) -> ! {
    panic::prepare();
    let status = msr::try_read(msr::MCG_STATUS).unwrap_or(0);
    for bank in 0..banks() {
        let register = msr::MC0_CTL + bank * REGISTERS_PER_BANK;
        let bank_status = msr::try_read(register + 1).unwrap_or(0);
        if bank_status & STATUS_VALID != 0 {
            let address = msr::try_read(register + 2).unwrap_or(0);
            log::error!(
                "Machine check bank {bank}: status {bank_status:#018x}, address {address:#x}"
            );
        }
    }
    panic!("machine check, status {status:#x}, at {:#x}", frame.rip);
}
