//! Machine checks: the hardware says that something is broken (SDM 3B chapter 16).
// UNSAFETY: reads model-specific registers that the capability register names.

use xen_core::irq::KICK_VECTOR;

use crate::metal::cpu::{cpuid, msr};
use crate::metal::entry::HypervisorFrame;
use crate::metal::irq::lapic;
use crate::metal::mem::stacks::this_cpu;
use crate::metal::panic;

const BANKS_MAX: u64 = 32;
const REGISTERS_PER_BANK: u32 = 4;
const STATUS_VALID: u64 = 1 << 63;
const UNCORRECTED: u64 = 1 << 61;
const CONTEXT_CORRUPT: u64 = 1 << 57;
const ACTION_REQUIRED: u64 = 1 << 55;
/// The interrupted program can be gone on with.
const GLOBAL_RESTART_VALID: u64 = 1 << 0;
/// Banks tell what software may do about an error.
const CAP_SOFTWARE_RECOVERY: u64 = 1 << 24;

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

/// Deals with a machine check on the executing CPU. What the hardware could not repair, and what it destroyed without
/// telling where, ends in a panic with what the banks hold. Otherwise the banks keep it for the library, which looks at
/// them before it goes on with a guest.
pub fn handle(frame: &HypervisorFrame) {
    let status = msr::try_read(msr::MCG_STATUS).unwrap_or(0);
    if status & GLOBAL_RESTART_VALID != 0 && (0..banks()).all(|bank| is_survivable(bank, frame)) {
        // SAFETY: says that this machine check was dealt with; the next one does not shut the CPU down.
        unsafe { msr::try_write(msr::MCG_STATUS, 0) };
        this_cpu().note_machine_check();
        lapic::send_to_self(KICK_VECTOR.0);
        return;
    }
    panic::prepare();
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

/// Whether what a bank holds lets the hypervisor go on (SDM 3B 16.6.3).
fn is_survivable(bank: u32, frame: &HypervisorFrame) -> bool {
    let register = msr::MC0_CTL + bank * REGISTERS_PER_BANK;
    let status = msr::try_read(register + 1).unwrap_or(0);
    if status & STATUS_VALID == 0 {
        return true;
    }
    if status & CONTEXT_CORRUPT != 0 {
        return false;
    }
    if status & UNCORRECTED == 0 {
        return true;
    }
    let tells_more = msr::try_read(msr::MCG_CAP).unwrap_or(0) & CAP_SOFTWARE_RECOVERY != 0;
    // An error in what the hypervisor itself was working on has nobody to deal with it.
    tells_more && (status & ACTION_REQUIRED == 0 || frame.is_guest())
}
