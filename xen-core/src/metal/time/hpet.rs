//! High-precision event timer: its main counter as a reference (IA-PC HPET Specification 1.0a, 2.3).
// UNSAFETY: device registers.

use xen_core::acpi::hpet::Hpet as HpetTable;

use crate::metal::mem::vmap;

const CAPABILITIES: u64 = 0x00;
const CONFIGURATION: u64 = 0x10;
const COUNTER: u64 = 0xf0;
const ENABLE: u64 = 1;
/// The counter is at least as fast as this period allows: 100 ns, in femtoseconds.
const MAX_PERIOD_FS: u64 = 100_000_000;

/// A running counter.
pub struct Hpet {
    base: u64,
    period_fs: u64,
}

impl Hpet {
    /// Maps the timer and starts its counter. `None` if it does not behave like one.
    pub fn start(table: &HpetTable) -> Option<Self> {
        let base = vmap::map_device(table.address, 1024);
        let mut hpet = Self { base, period_fs: 0 };
        hpet.period_fs = u64::from((hpet.read(CAPABILITIES) >> 32) as u32);
        if hpet.period_fs == 0 || hpet.period_fs > MAX_PERIOD_FS {
            return None;
        }
        hpet.write(CONFIGURATION, hpet.read(CONFIGURATION) | ENABLE);
        Some(hpet)
    }

    /// Ticks per second.
    pub fn hz(&self) -> u64 {
        1_000_000_000_000_000 / self.period_fs
    }

    /// The counter's low half: the high one may not exist.
    pub fn count(&self) -> u32 {
        self.read(COUNTER) as u32
    }

    fn read(&self, register: u64) -> u64 {
        // SAFETY: the registers are mapped for ever and are 64 bits wide.
        unsafe { ((self.base + register) as *const u64).read_volatile() }
    }

    fn write(&self, register: u64, value: u64) {
        // SAFETY: as in `read`; the timer has no effect on memory.
        unsafe { ((self.base + register) as *mut u64).write_volatile(value) }
    }
}
