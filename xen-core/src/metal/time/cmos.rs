//! The battery-backed clock in CMOS.
// UNSAFETY: port I/O.

use x86_64::instructions::port::Port;
use xen_core::boot::rtc::Registers;
use xen_core::machine::WallTime;

const INDEX: u16 = 0x70;
const DATA: u16 = 0x71;
const STATUS_A: u8 = 0x0a;
const STATUS_B: u8 = 0x0b;
const UPDATE_IN_PROGRESS: u8 = 1 << 7;
/// How often the clock is asked before it is given up. An update takes 2 ms, one port access about 1 µs.
const TRIES: u32 = 10_000;

fn register(index: u8) -> u8 {
    // SAFETY: reading the clock has no effect on memory. (Bit 7 of the index stays clear: it would mask NMIs.)
    unsafe {
        Port::new(INDEX).write(index);
        Port::new(DATA).read()
    }
}

fn registers() -> Registers {
    Registers {
        second: register(0),
        minute: register(2),
        hour: register(4),
        day: register(7),
        month: register(8),
        year: register(9),
        status_b: register(STATUS_B),
    }
}

/// The time, to the second; the epoch where the clock holds none.
pub fn read() -> WallTime {
    for _ in 0..TRIES {
        if register(STATUS_A) & UPDATE_IN_PROGRESS != 0 {
            continue;
        }
        // Twice the same: no update fell in between.
        let first = registers();
        if first == registers() {
            return WallTime {
                secs: first.unix_seconds().unwrap_or(0),
                nanos: 0,
            };
        }
    }
    WallTime::default()
}
