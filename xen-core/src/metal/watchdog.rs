//! A watchdog for the hypervisor (`watchdog`, `watchdog_timeout=`): a CPU that does not come out of it is reported with
//! its registers, and the machine restarts.
//!
//! The hypervisor runs with interrupts off, so only a non-maskable interrupt sees it hang. The interval timer, which
//! nothing else uses, raises one on all CPUs 18 times a second, through its IO-APIC input. Each CPU looks where it was
//! interrupted: in a guest, or where interrupts are open, all is well. Otherwise it must have gone on with a guest or
//! printed something since the last look, or the time runs.
//!
//! While this is on, an NMI of the board cannot be told from the timer's and is taken for one.
// UNSAFETY: port I/O.

use core::sync::atomic::{AtomicU64, Ordering};

use x86_64::instructions::port::Port;
use xen_core::machine::CpuMask;
use xen_core::num::Gsi;

use crate::metal::cpu::percpu;
use crate::metal::entry::HypervisorFrame;
use crate::metal::irq::ioapic;
use crate::metal::panic;
use crate::metal::time::clock;

const CHANNEL_0: u16 = 0x40;
const COMMAND: u16 = 0x43;
/// Channel 0, low then high byte, mode 2 (rate generator), binary.
const RATE: u8 = 0x34;
/// RFLAGS.IF.
const INTERRUPTS_OPEN: u64 = 1 << 9;
const NS_PER_SECOND: u64 = 1_000_000_000;

/// What is known of one CPU.
#[repr(align(64))]
struct Beat {
    /// Times that it went on with a guest, or printed.
    passes: AtomicU64,
    /// The number at the last look.
    seen: AtomicU64,
    /// Since when nothing has changed.
    since_ns: AtomicU64,
}

static BEATS: [Beat; CpuMask::CAPACITY as usize] = [const {
    Beat {
        passes: AtomicU64::new(0),
        seen: AtomicU64::new(0),
        since_ns: AtomicU64::new(0),
    }
}; CpuMask::CAPACITY as usize];

/// How long nothing may change; 0 = the watchdog is off.
static TIMEOUT_NS: AtomicU64 = AtomicU64::new(0);

/// Starts the watchdog, with the timer at input `gsi`. False: there is no such input.
pub fn start(gsi: Gsi, timeout_secs: u32) -> bool {
    let now = clock::now_ns();
    for beat in &BEATS {
        beat.since_ns.store(now, Ordering::Relaxed);
    }
    TIMEOUT_NS.store(
        u64::from(timeout_secs.max(1)) * NS_PER_SECOND,
        Ordering::SeqCst,
    );
    // SAFETY: the ports are the timer's and have no effect on memory.
    unsafe {
        Port::<u8>::new(COMMAND).write(RATE);
        let mut channel = Port::<u8>::new(CHANNEL_0);
        // The longest period.
        channel.write(0);
        channel.write(0);
    }
    let routed = ioapic::route_nmi_to_all(gsi);
    if !routed {
        stop();
    }
    routed
}

/// From now on nothing is looked at: the hypervisor is at its end anyway.
pub fn stop() {
    TIMEOUT_NS.store(0, Ordering::SeqCst);
}

/// The executing CPU gets on.
pub fn note_progress() {
    if let Some(beat) = BEATS.get(percpu::current_number() as usize) {
        // Only the CPU itself writes.
        let passes = beat.passes.load(Ordering::Relaxed);
        beat.passes.store(passes.wrapping_add(1), Ordering::Relaxed);
    }
}

/// A non-maskable interrupt came on the executing CPU. True if it was for the watchdog. Does not return if the CPU
/// hangs.
pub fn look(frame: &HypervisorFrame) -> bool {
    let timeout = TIMEOUT_NS.load(Ordering::SeqCst);
    if timeout == 0 {
        return false;
    }
    let number = percpu::current_number();
    let Some(beat) = BEATS.get(number as usize) else {
        return true;
    };
    let now = clock::now_ns();
    let passes = beat.passes.load(Ordering::Relaxed);
    let open = frame.is_guest() || frame.rflags & INTERRUPTS_OPEN != 0;
    if open || passes != beat.seen.load(Ordering::Relaxed) {
        beat.seen.store(passes, Ordering::Relaxed);
        beat.since_ns.store(now, Ordering::Relaxed);
    } else if now.saturating_sub(beat.since_ns.load(Ordering::Relaxed)) > timeout {
        panic::stuck(frame);
    }
    true
}
