//! The 8254 timer of an HVM guest, and port 0x61 (Intel's data sheet of the 82C54; counting in BCD is not there).

use hypercall_abi::arch_x86::hvm::save::{HvmHwPit, HvmHwPitChannel};

/// Counts in a second.
const HZ: u128 = 1_193_181;
const NS: u128 = 1_000_000_000;
/// The control word.
const CONTROL: u16 = 0x43;
/// Speaker, gate of channel 2 and what can be seen of it.
const PORT_B: u16 = 0x61;
/// Port B: gate of channel 2.
const PORT_B_GATE: u8 = 1 << 0;
/// Port B: the speaker hears channel 2.
const PORT_B_SPEAKER: u8 = 1 << 1;
/// Port B: memory refresh, which toggles.
const PORT_B_REFRESH: u8 = 1 << 4;
/// Port B: output of channel 2.
const PORT_B_OUT: u8 = 1 << 5;
/// System time, in ns: the bit that stands for the refresh.
const REFRESH_BIT: u32 = 14;

/// Bytes of a count that are accessed.
const LOW: u8 = 1;
const HIGH: u8 = 2;
const BOTH: u8 = 3;

/// A channel.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Channel {
    /// Count loaded, 1 to 65536; 0 before the first.
    count: u32,
    loaded_ns: u64,
    /// Count to be read, and the bytes that are left of it.
    latched: Option<(u16, u8)>,
    status: Option<u8>,
    /// The high byte is next.
    read_high: bool,
    /// The low byte that waits for the high one.
    write_low: Option<u8>,
    access: u8,
    mode: u8,
    bcd: bool,
    gate: bool,
}

impl Channel {
    const fn new(gate: bool) -> Self {
        Self {
            count: 0x1_0000,
            loaded_ns: 0,
            latched: None,
            status: None,
            read_high: false,
            write_low: None,
            access: BOTH,
            mode: 3,
            bcd: false,
            gate,
        }
    }

    /// Counts since the load.
    fn elapsed(&self, now_ns: u64) -> u64 {
        let elapsed = u128::from(now_ns.saturating_sub(self.loaded_ns));
        u64::try_from(elapsed * HZ / NS).unwrap_or(u64::MAX)
    }

    /// System time at which `counts` have passed since the load.
    fn time_of(&self, counts: u64) -> Option<u64> {
        let elapsed = (u128::from(counts) * NS).div_ceil(HZ);
        self.loaded_ns.checked_add(u64::try_from(elapsed).ok()?)
    }

    fn current(&self, now_ns: u64) -> u16 {
        let count = u64::from(self.count.max(1));
        let elapsed = self.elapsed(now_ns);
        let left = match self.mode {
            2 => count - elapsed % count,
            // Two at a time, twice in each period.
            3 => count - (2 * (elapsed % count)) % count,
            _ => count.wrapping_sub(elapsed),
        };
        left as u16
    }

    fn output(&self, now_ns: u64) -> bool {
        let count = u64::from(self.count.max(1));
        let elapsed = self.elapsed(now_ns);
        match self.mode {
            0 => elapsed >= count,
            1 => elapsed >= count,
            // Low for the last count.
            2 => elapsed % count != count - 1,
            3 => elapsed % count < count.div_ceil(2),
            // Low for one count when it is over.
            _ => elapsed != count,
        }
    }

    const fn is_periodic(&self) -> bool {
        matches!(self.mode, 2 | 3)
    }

    fn load(&mut self, value: u16, now_ns: u64) {
        self.count = match value {
            0 => 0x1_0000,
            _ => value.into(),
        };
        self.loaded_ns = now_ns;
    }

    /// Whether that was a load.
    fn write(&mut self, value: u8, now_ns: u64) -> bool {
        let count = match (self.access, self.write_low) {
            (LOW, _) => value.into(),
            (HIGH, _) => u16::from(value) << 8,
            (_, None) => {
                self.write_low = Some(value);
                return false;
            }
            (_, Some(low)) => {
                self.write_low = None;
                u16::from_le_bytes([low, value])
            }
        };
        self.load(count, now_ns);
        true
    }

    fn read(&mut self, now_ns: u64) -> u8 {
        if let Some(status) = self.status.take() {
            return status;
        }
        if let Some((count, bytes)) = self.latched {
            let [low, high] = count.to_le_bytes();
            self.latched = match bytes {
                BOTH => Some((count, HIGH)),
                _ => None,
            };
            return if bytes == HIGH { high } else { low };
        }
        let [low, high] = self.current(now_ns).to_le_bytes();
        let is_high = match self.access {
            LOW => false,
            HIGH => true,
            _ => {
                self.read_high = !self.read_high;
                !self.read_high
            }
        };
        if is_high { high } else { low }
    }

    fn latch_count(&mut self, now_ns: u64) {
        if self.latched.is_none() {
            self.latched = Some((self.current(now_ns), self.access));
        }
    }

    fn latch_status(&mut self, now_ns: u64) {
        if self.status.is_none() {
            let output = u8::from(self.output(now_ns)) << 7;
            let shown = self.access << 4 | self.mode << 1 | u8::from(self.bcd);
            self.status = Some(output | shown);
        }
    }

    /// A control word with the bits of a mode.
    fn set_mode(&mut self, word: u8) {
        self.access = word >> 4 & 3;
        self.mode = match word >> 1 & 7 {
            mode @ 0..=5 => mode,
            mode => mode & 3,
        };
        self.bcd = word & 1 != 0;
        self.read_high = false;
        self.write_low = None;
        self.latched = None;
        self.status = None;
    }

    fn save(&self) -> HvmHwPitChannel {
        let (latched_count, count_latched) = self.latched.unwrap_or((0, 0));
        // While both bytes are accessed: 3 low byte next, 4 high byte next.
        let state = |high: bool| match self.access {
            BOTH => BOTH + u8::from(high),
            access => access,
        };
        HvmHwPitChannel {
            count: self.count,
            latched_count,
            count_latched,
            status_latched: self.status.is_some().into(),
            status: self.status.unwrap_or(0),
            read_state: state(self.read_high),
            write_state: state(self.write_low.is_some()),
            write_latch: self.write_low.unwrap_or(0),
            rw_mode: self.access,
            mode: self.mode,
            bcd: self.bcd.into(),
            gate: self.gate.into(),
        }
    }

    fn restore(record: &HvmHwPitChannel, now_ns: u64) -> Self {
        let bytes = record.count_latched & 3;
        Self {
            count: match record.count {
                count @ 1..=0x1_0000 => count,
                _ => 0x1_0000,
            },
            loaded_ns: now_ns,
            latched: (bytes != 0).then_some((record.latched_count, bytes)),
            status: (record.status_latched != 0).then_some(record.status),
            read_high: record.read_state > BOTH,
            write_low: (record.write_state > BOTH).then_some(record.write_latch),
            access: match record.rw_mode & 3 {
                0 => BOTH,
                access => access,
            },
            mode: record.mode.min(5),
            bcd: record.bcd != 0,
            gate: record.gate != 0,
        }
    }
}

/// The timer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Pit {
    channels: [Channel; 3],
    speaker: bool,
    /// Counts after the load of channel 0 at which its output rises next.
    rises_at: Option<u64>,
    /// The HPET has taken over interrupt 0.
    replaced: bool,
}

impl Default for Pit {
    fn default() -> Self {
        Self {
            channels: [Channel::new(true), Channel::new(true), Channel::new(false)],
            speaker: false,
            rises_at: None,
            replaced: false,
        }
    }
}

impl Pit {
    /// Whether it is at `port`.
    #[must_use]
    pub const fn is_at(port: u16) -> bool {
        matches!(port, 0x40..=CONTROL | PORT_B)
    }

    /// When interrupt 0 comes next.
    #[must_use]
    pub fn deadline(&self) -> Option<u64> {
        if self.replaced {
            return None;
        }
        self.channels[0].time_of(self.rises_at?)
    }

    /// Whether interrupt 0 is due; then the next one is set up. Those that were missed are one.
    pub fn expired(&mut self, now_ns: u64) -> bool {
        if self.deadline().is_none_or(|due| due > now_ns) {
            return false;
        }
        let channel = &self.channels[0];
        let count = u64::from(channel.count.max(1));
        self.rises_at = channel
            .is_periodic()
            .then(|| (channel.elapsed(now_ns) / count + 1).saturating_mul(count));
        true
    }

    /// The HPET takes interrupt 0 over, or gives it back (its legacy replacement mode).
    pub fn set_replaced(&mut self, replaced: bool, now_ns: u64) {
        if self.replaced && !replaced {
            self.channels[0].loaded_ns = now_ns;
            self.arm();
        }
        self.replaced = replaced;
    }

    fn arm(&mut self) {
        let channel = &self.channels[0];
        // Modes 1 and 5 wait for an edge of the gate, which is wired.
        self.rises_at = (!matches!(channel.mode, 1 | 5)).then_some(channel.count.into());
    }

    /// Reads a byte from a port of [`is_at`](Self::is_at).
    pub fn read(&mut self, port: u16, now_ns: u64) -> u8 {
        match port {
            PORT_B => {
                let channel = &self.channels[2];
                let bit = |on, bit| if on { bit } else { 0 };
                bit(channel.gate, PORT_B_GATE)
                    | bit(self.speaker, PORT_B_SPEAKER)
                    | bit(now_ns >> REFRESH_BIT & 1 != 0, PORT_B_REFRESH)
                    | bit(channel.output(now_ns), PORT_B_OUT)
            }
            CONTROL => 0,
            _ => self
                .channel(port)
                .map_or(0xff, |channel| channel.read(now_ns)),
        }
    }

    /// Writes a byte to a port of [`is_at`](Self::is_at). [`deadline`](Self::deadline) may change.
    pub fn write(&mut self, port: u16, value: u8, now_ns: u64) {
        match port {
            PORT_B => {
                self.speaker = value & PORT_B_SPEAKER != 0;
                let gate = value & PORT_B_GATE != 0;
                let channel = &mut self.channels[2];
                // A rising gate starts the count in these modes.
                if gate && !channel.gate && matches!(channel.mode, 1 | 2 | 3 | 5) {
                    channel.loaded_ns = now_ns;
                }
                channel.gate = gate;
            }
            CONTROL => self.control(value, now_ns),
            _ => {
                let loaded = self
                    .channel(port)
                    .is_some_and(|channel| channel.write(value, now_ns));
                if loaded && port & 3 == 0 {
                    self.arm();
                }
            }
        }
    }

    fn channel(&mut self, port: u16) -> Option<&mut Channel> {
        self.channels.get_mut(usize::from(port & 3))
    }

    fn control(&mut self, word: u8, now_ns: u64) {
        let index = usize::from(word >> 6);
        if let Some(channel) = self.channels.get_mut(index) {
            if word >> 4 & 3 == 0 {
                channel.latch_count(now_ns);
                return;
            }
            channel.set_mode(word);
            // It counts again when a count is loaded.
            if index == 0 {
                self.rises_at = None;
            }
            return;
        }
        // Read-back: of every channel named, what is not excluded.
        for (index, channel) in self.channels.iter_mut().enumerate() {
            if word & 2 << index == 0 {
                continue;
            }
            if word & 1 << 5 == 0 {
                channel.latch_count(now_ns);
            }
            if word & 1 << 4 == 0 {
                channel.latch_status(now_ns);
            }
        }
    }

    /// The record PIT.
    #[must_use]
    pub fn save(&self) -> HvmHwPit {
        HvmHwPit {
            channels: self.channels.each_ref().map(Channel::save),
            speaker_data_on: self.speaker.into(),
            pad0: 0,
        }
    }

    /// Takes the record PIT; the counts start anew.
    pub fn load(&mut self, record: &HvmHwPit, now_ns: u64) {
        self.channels = record
            .channels
            .each_ref()
            .map(|channel| Channel::restore(channel, now_ns));
        self.speaker = record.speaker_data_on != 0;
        self.arm();
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECOND: u64 = 1_000_000_000;

    /// A time at which exactly `counts` have passed.
    fn after(counts: u64) -> u64 {
        (counts * SECOND).div_ceil(1_193_181)
    }

    fn start(pit: &mut Pit, channel: u16, mode: u8, count: u16, now: u64) {
        pit.write(0x43, (channel as u8) << 6 | 0x30 | mode << 1, now);
        let [low, high] = count.to_le_bytes();
        pit.write(0x40 + channel, low, now);
        pit.write(0x40 + channel, high, now);
    }

    fn word(pit: &mut Pit, port: u16, now: u64) -> u16 {
        u16::from_le_bytes([pit.read(port, now), pit.read(port, now)])
    }

    #[test]
    fn a_rate_generator_ticks() {
        let mut pit = Pit::default();
        assert_eq!(pit.deadline(), None);
        start(&mut pit, 0, 2, 11_932, 0);
        for tick in 1..100u64 {
            let due = pit.deadline().unwrap();
            assert_eq!(due, after(tick * 11_932));
            assert!(!pit.expired(due - 1));
            assert!(pit.expired(due));
        }
        // Late: one interrupt, and back in step.
        assert!(pit.expired(after(150 * 11_932) + 5));
        assert_eq!(pit.deadline(), Some(after(151 * 11_932)));
    }

    #[test]
    fn a_count_interrupts_once() {
        let mut pit = Pit::default();
        start(&mut pit, 0, 0, 0, 10);
        let due = pit.deadline().unwrap();
        assert_eq!(due, 10 + after(65_536));
        assert!(pit.expired(due) && pit.deadline().is_none());
        start(&mut pit, 0, 2, 100, 0);
        pit.write(0x43, 0x30, 0);
        assert_eq!(pit.deadline(), None, "a mode without a count");
    }

    #[test]
    fn the_hpet_can_replace_it() {
        let mut pit = Pit::default();
        start(&mut pit, 0, 2, 1000, 0);
        pit.set_replaced(true, 5);
        assert!(pit.deadline().is_none() && !pit.expired(u64::MAX));
        pit.set_replaced(false, 7);
        assert_eq!(pit.deadline(), Some(7 + after(1000)));
    }

    #[test]
    fn counts_can_be_latched() {
        let mut pit = Pit::default();
        start(&mut pit, 0, 2, 1000, 0);
        pit.write(0x43, 0x00, after(300));
        // Latching again changes nothing before it was read.
        pit.write(0x43, 0x00, after(400));
        assert_eq!(word(&mut pit, 0x40, after(500)), 700);
        assert_eq!(word(&mut pit, 0x40, after(500)), 500);
        pit.write(0x43, 0x14, 0);
        pit.write(0x40, 200, 0);
        assert_eq!(pit.read(0x40, after(50)), 150, "the low byte only");
    }

    #[test]
    fn read_back_gives_status_then_count() {
        let mut pit = Pit::default();
        start(&mut pit, 0, 3, 1000, 0);
        start(&mut pit, 2, 0, 500, 0);
        pit.write(0x43, 0xc0 | 0x2 | 0x8, after(600));
        assert_eq!(pit.read(0x40, 0), 0x36, "low in the second half");
        assert_eq!(word(&mut pit, 0x40, 0), 1000 - 200);
        assert_eq!(pit.read(0x42, 0), 0xb0);
        assert_eq!(word(&mut pit, 0x42, 0), 500u16.wrapping_sub(600));
        assert_eq!(pit.read(0x43, 0), 0);
    }

    #[test]
    fn channel_2_is_seen_at_port_61() {
        let mut pit = Pit::default();
        pit.write(0x61, 0x01, 0);
        start(&mut pit, 2, 0, 59_659, 0);
        let done = after(59_659);
        assert_eq!(pit.read(0x61, done - 1000) & 0x2f, 0x01);
        assert_eq!(pit.read(0x61, done) & 0x2f, 0x21);
        pit.write(0x61, 0xff, 0);
        assert_eq!(pit.read(0x61, 0) & 0x0f, 0x03);
        assert_eq!(pit.read(0x61, 0) & 0x10, 0);
        assert_eq!(pit.read(0x61, 1 << 14) & 0x10, 0x10);
        // A rising gate starts a square wave anew.
        start(&mut pit, 2, 3, 1000, 0);
        pit.write(0x61, 0, after(300));
        pit.write(0x61, 1, after(600));
        assert_eq!(pit.read(0x61, after(600)) & 0x20, 0x20);
    }

    proptest! {
        #[test]
        fn modes_against_a_counter(mode in 0u8..6, count in 2u16..2000, ticks in 0u64..6000) {
            let mut pit = Pit::default();
            pit.write(0x61, 1, 0);
            start(&mut pit, 2, mode, count, 0);
            let (mut value, mut output) = (u32::from(count), mode != 0 && mode != 1);
            let mut half = count.div_ceil(2);
            for tick in 1..=ticks {
                match mode {
                    0 | 1 => {
                        value = value.wrapping_sub(1);
                        output |= value == 0;
                    }
                    2 => {
                        value = if value == 1 { count.into() } else { value - 1 };
                        output = value != 1;
                    }
                    3 => {
                        half -= 1;
                        if half == 0 {
                            output = !output;
                            half = if output { count.div_ceil(2) } else { count / 2 };
                        }
                    }
                    _ => {
                        value = value.wrapping_sub(1);
                        output = tick != u64::from(count);
                    }
                }
            }
            let now = after(ticks);
            prop_assert_eq!(pit.read(0x61, now) & 0x20 != 0, output);
            if mode != 3 {
                pit.write(0x43, 0x80, now);
                prop_assert_eq!(word(&mut pit, 0x42, now), value as u16);
            }
        }

        #[test]
        fn records_hold_everything(writes in prop::collection::vec((0u16..5, any::<u8>()), 0..40)) {
            let mut pit = Pit::default();
            for (port, value) in writes {
                let port = if port == 4 { 0x61 } else { 0x40 + port };
                pit.write(port, value, 0);
            }
            let mut other = Pit::default();
            other.load(&pit.save(), 0);
            prop_assert_eq!(other.save(), pit.save());
            let pair = [0x40, 0x41, 0x42, 0x61, 0x40, 0x41, 0x42];
            for port in pair {
                prop_assert_eq!(other.read(port, 0), pit.read(port, 0), "{:#x}", port);
            }
        }
    }
}
