//! System time: nanoseconds since the host's boot, from the TSC and the parameters in the shared page.
//!
//! Contract: public/xen.h, `vcpu_time_info`.
// UNSAFETY: reads the TSC.
#![expect(unsafe_code, reason = "an instruction")]

use core::sync::atomic::{Ordering, fence};

use hypercall_abi::vcpu::{VcpuOp, VcpuSetSingleshotTimer};
use hypercall_abi::xen::VcpuTimeInfo;

use crate::{hypercall, shared};

/// The TSC.
#[must_use]
pub fn tsc() -> u64 {
    // SAFETY: changes nothing.
    unsafe { core::arch::x86_64::_rdtsc() }
}

/// The system time at a value of the TSC.
#[must_use]
pub fn at(info: &VcpuTimeInfo, tsc: u64) -> u64 {
    let ticks = tsc.wrapping_sub(info.tsc_timestamp);
    let shifted = if info.tsc_shift < 0 {
        ticks >> u32::from(info.tsc_shift.unsigned_abs())
    } else {
        ticks << u32::from(info.tsc_shift.unsigned_abs())
    };
    let scaled = (u128::from(shifted) * u128::from(info.tsc_to_system_mul)) >> 32;
    info.system_time.wrapping_add(scaled as u64)
}

/// The system time in nanoseconds.
#[must_use]
pub fn now() -> u64 {
    loop {
        let before = shared::time_info();
        fence(Ordering::Acquire);
        let now = at(&before, tsc());
        if before.version & 1 == 0 && shared::time_info().version == before.version {
            return now;
        }
    }
}

/// Arms vCPU 0's timer for a system time. 0, or a negative errno.
pub fn set_timer(deadline: u64, flags: u32) -> i64 {
    let mut arg = VcpuSetSingleshotTimer {
        timeout_abs_ns: deadline,
        flags,
        _pad: [0; 4],
    };
    hypercall::vcpu_op(VcpuOp::SET_SINGLESHOT_TIMER, 0, &mut arg)
}
