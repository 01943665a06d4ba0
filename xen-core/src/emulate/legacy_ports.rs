//! What a domain without rights to them sees of the PC's oldest ports: PIT channel 2 with its speaker gate (0x42, 0x43,
//! 0x61), the index of the CMOS (0x70), and the PCI configuration address (0xcf8).
//!
//! Contract: abi-requirements 5.5. Channel 2 counts the machine's clock; it drives no interrupt and no speaker.

/// Input clock of the PIT in Hz.
const PIT_HZ: u64 = 1_193_182;

/// Access mode bits of the control word: low byte, high byte, low then high.
const LOW: u8 = 1;
const HIGH: u8 = 2;
const BOTH: u8 = 3;

/// State of these ports.
#[derive(Clone, Debug)]
pub struct LegacyPorts {
    /// Last value written to 0xcf8.
    pub pci_address: u32,
    /// Last index written to 0x70.
    pub cmos_index: u8,
    channel: Channel,
    speaker_on: bool,
}

/// Channel 2.
#[derive(Clone, Debug)]
struct Channel {
    /// Reload value; 0 counts as 0x10000.
    reload: u32,
    mode: u8,
    access: u8,
    gate: bool,
    /// When counting began.
    since_ns: u64,
    /// Counts left when the gate stopped it.
    frozen: Option<u32>,
    /// The next write is the high byte, after this low one.
    written_low: Option<u8>,
    /// The next read is the high byte.
    read_high: bool,
    latched: Option<u16>,
    latched_status: Option<u8>,
    /// No count has been written since the mode was.
    null_count: bool,
}

impl Default for LegacyPorts {
    fn default() -> Self {
        Self {
            pci_address: 0,
            cmos_index: 0,
            channel: Channel {
                reload: 0x10000,
                mode: 0,
                access: BOTH,
                gate: false,
                since_ns: 0,
                frozen: None,
                written_low: None,
                read_high: false,
                latched: None,
                latched_status: None,
                null_count: true,
            },
            speaker_on: false,
        }
    }
}

impl LegacyPorts {
    /// Reads 0x42, 0x43 or 0x61.
    #[must_use]
    pub fn read_pit(&mut self, port: u16, now_ns: u64) -> u8 {
        match port {
            0x42 => self.channel.read(now_ns),
            0x61 => {
                // Bit 4 toggles with memory refresh, about every 15 µs.
                let refresh = ((now_ns / 15_085) & 1) as u8;
                u8::from(self.channel.gate)
                    | u8::from(self.speaker_on) << 1
                    | refresh << 4
                    | u8::from(self.channel.output(now_ns)) << 5
            }
            // The control word cannot be read.
            _ => 0,
        }
    }

    /// Writes 0x42, 0x43 or 0x61.
    pub fn write_pit(&mut self, port: u16, value: u8, now_ns: u64) {
        match port {
            0x42 => self.channel.write(value, now_ns),
            0x43 => self.control(value, now_ns),
            0x61 => {
                self.speaker_on = value & 2 != 0;
                self.channel.set_gate(value & 1 != 0, now_ns);
            }
            _ => {}
        }
    }

    fn control(&mut self, value: u8, now_ns: u64) {
        let channel = &mut self.channel;
        match value >> 6 {
            // Read-back: bit 3 selects channel 2, bits 5 and 4 clear ask for count and status.
            3 if value & 8 != 0 => {
                if value & 0x10 == 0 {
                    channel.latch_status(now_ns);
                }
                if value & 0x20 == 0 {
                    channel.latch(now_ns);
                }
            }
            2 => match (value >> 4) & 3 {
                0 => channel.latch(now_ns),
                access => {
                    channel.access = access;
                    // Modes 6 and 7 are 2 and 3.
                    let mode = (value >> 1) & 7;
                    channel.mode = if mode > 5 { mode & 3 } else { mode };
                    channel.written_low = None;
                    channel.read_high = false;
                    channel.latched = None;
                    channel.latched_status = None;
                    channel.null_count = true;
                }
            },
            _ => {}
        }
    }
}

impl Channel {
    /// Counts that passed since counting began.
    fn passed(&self, now_ns: u64) -> u64 {
        let ns = now_ns.saturating_sub(self.since_ns);
        (u128::from(ns) * u128::from(PIT_HZ) / 1_000_000_000) as u64
    }

    const fn is_periodic(&self) -> bool {
        matches!(self.mode, 2 | 3)
    }

    fn count(&self, now_ns: u64) -> u16 {
        if let Some(frozen) = self.frozen {
            return (frozen & 0xffff) as u16;
        }
        let reload = u64::from(self.reload);
        let passed = self.passed(now_ns);
        let left = match self.mode {
            2 => reload - passed % reload,
            // The square wave counts down by two.
            3 => reload - (passed * 2) % reload,
            // One-shot modes go on through zero.
            _ => reload.wrapping_sub(passed),
        };
        (left & 0xffff) as u16
    }

    fn output(&self, now_ns: u64) -> bool {
        if self.null_count {
            return self.mode != 0;
        }
        let reload = u64::from(self.reload);
        let passed = match self.frozen {
            Some(left) => reload.saturating_sub(u64::from(left)),
            None => self.passed(now_ns),
        };
        match self.mode {
            0 | 1 => passed >= reload,
            2 => passed % reload != reload - 1,
            3 => passed % reload < reload.div_ceil(2),
            _ => passed != reload,
        }
    }

    fn set_gate(&mut self, gate: bool, now_ns: u64) {
        if gate == self.gate {
            return;
        }
        self.gate = gate;
        match self.mode {
            // Level-sensitive: counting stops and goes on.
            0 | 4 => {
                if gate {
                    if let Some(left) = self.frozen.take() {
                        let done = u64::from(self.reload.saturating_sub(left));
                        let ns = u128::from(done) * 1_000_000_000 / u128::from(PIT_HZ);
                        self.since_ns = now_ns.saturating_sub(ns as u64);
                    }
                } else {
                    self.frozen = Some(u32::from(self.count(now_ns)));
                }
            }
            // A rising edge starts over.
            _ => {
                if gate {
                    self.since_ns = now_ns;
                    self.frozen = None;
                } else if self.is_periodic() {
                    self.frozen = Some(u32::from(self.count(now_ns)));
                }
            }
        }
    }

    fn load(&mut self, value: u16, now_ns: u64) {
        self.reload = if value == 0 {
            0x10000
        } else {
            u32::from(value)
        };
        self.since_ns = now_ns;
        self.null_count = false;
        let stopped = !self.gate && !matches!(self.mode, 1 | 5);
        self.frozen = stopped.then_some(self.reload);
    }

    fn write(&mut self, value: u8, now_ns: u64) {
        match (self.access, self.written_low.take()) {
            (LOW, _) => self.load(value.into(), now_ns),
            (HIGH, _) => self.load(u16::from(value) << 8, now_ns),
            (_, None) => self.written_low = Some(value),
            (_, Some(low)) => self.load(u16::from_le_bytes([low, value]), now_ns),
        }
    }

    fn read(&mut self, now_ns: u64) -> u8 {
        if let Some(status) = self.latched_status.take() {
            return status;
        }
        let count = self.latched.unwrap_or_else(|| self.count(now_ns));
        let [low, high] = count.to_le_bytes();
        let (value, done) = match self.access {
            LOW => (low, true),
            HIGH => (high, true),
            _ if self.read_high => {
                self.read_high = false;
                (high, true)
            }
            _ => {
                self.read_high = true;
                (low, false)
            }
        };
        if done {
            self.latched = None;
        }
        value
    }

    fn latch(&mut self, now_ns: u64) {
        if self.latched.is_none() {
            self.latched = Some(self.count(now_ns));
        }
    }

    fn latch_status(&mut self, now_ns: u64) {
        if self.latched_status.is_none() {
            self.latched_status = Some(
                u8::from(self.output(now_ns)) << 7
                    | u8::from(self.null_count) << 6
                    | self.access << 4
                    | self.mode << 1,
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MS: u64 = 1_000_000;

    #[test]
    fn the_calibration_of_a_pc_kernel_sees_the_counter_run_out() {
        let mut ports = LegacyPorts::default();
        ports.write_pit(0x61, 1, 0);
        // Mode 0, both bytes, 50 ms.
        ports.write_pit(0x43, 0xb0, 0);
        let latch = (PIT_HZ / 20) as u16;
        for byte in latch.to_le_bytes() {
            ports.write_pit(0x42, byte, 0);
        }
        assert_eq!(ports.read_pit(0x61, 49 * MS) & 0x20, 0);
        assert_eq!(ports.read_pit(0x61, 51 * MS) & 0x20, 0x20);
        assert_eq!(ports.read_pit(0x61, 51 * MS) & 3, 1);
    }

    #[test]
    fn reading_the_count_without_a_latch_alternates_low_and_high() {
        let mut ports = LegacyPorts::default();
        ports.write_pit(0x61, 1, 0);
        ports.write_pit(0x43, 0xb0, 0);
        ports.write_pit(0x42, 0xff, 0);
        ports.write_pit(0x42, 0xff, 0);
        assert_eq!(
            [ports.read_pit(0x42, 0), ports.read_pit(0x42, 0)],
            [0xff, 0xff]
        );
        let later = 1_000_000_000 * 0x100 / PIT_HZ + 1;
        assert_eq!(
            [ports.read_pit(0x42, later), ports.read_pit(0x42, later)],
            [0xff, 0xfe]
        );
        // A latch holds the count still until both bytes are read.
        ports.write_pit(0x43, 0x80, later);
        assert_eq!(
            [
                ports.read_pit(0x42, 2 * later),
                ports.read_pit(0x42, 2 * later)
            ],
            [0xff, 0xfe]
        );
    }

    #[test]
    fn a_closed_gate_stops_mode_0() {
        let mut ports = LegacyPorts::default();
        ports.write_pit(0x43, 0xb0, 0);
        ports.write_pit(0x42, 0, 0);
        ports.write_pit(0x42, 0x10, 0);
        assert_eq!(ports.read_pit(0x61, 100 * MS) & 0x20, 0);
        ports.write_pit(0x61, 1, 100 * MS);
        assert_eq!(ports.read_pit(0x61, 101 * MS) & 0x20, 0);
        assert_eq!(ports.read_pit(0x61, 110 * MS) & 0x20, 0x20);
    }

    proptest! {
        #[test]
        fn no_sequence_of_accesses_panics(
            steps in proptest::collection::vec((0usize..3, any::<bool>(), any::<u8>(), any::<u64>()), 0..64)
        ) {
            let mut ports = LegacyPorts::default();
            for (port, write, value, now) in steps {
                let port = [0x42, 0x43, 0x61][port];
                if write {
                    ports.write_pit(port, value, now);
                } else {
                    let _ = ports.read_pit(port, now);
                }
            }
        }
    }
}
