//! Time: the counters of the machine, their rates, and the system time made of them.

pub mod calibrate;
pub mod clock;
pub mod cmos;
mod hpet;
mod pit;
mod pm_timer;
pub mod tsc;

/// Five seconds for a reader of the console, before a panic restarts the machine; none where there is no clock yet.
pub fn wait_after_panic() {
    const WAIT_NS: u64 = 5_000_000_000;
    if !clock::is_running() {
        return;
    }
    let end = clock::now_ns() + WAIT_NS;
    while clock::now_ns() < end {
        core::hint::spin_loop();
    }
}
