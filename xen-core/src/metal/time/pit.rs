//! The PC's programmable interval timer as a reference: channel 2, whose gate and output are visible at port 0x61
//! (Intel 8254 data sheet).
// UNSAFETY: port I/O.

use x86_64::instructions::port::Port;

/// Ticks per second.
pub const HZ: u64 = 1_193_182;
const CHANNEL_2: u16 = 0x42;
const COMMAND: u16 = 0x43;
const GATE: u16 = 0x61;
const GATE_ON: u8 = 0x01;
const SPEAKER_ON: u8 = 0x02;
/// Channel 2, low then high byte, mode 0 (count once), binary.
const COUNT_ONCE: u8 = 0xb0;
/// Latch channel 2's count.
const LATCH: u8 = 0x80;

/// Channel 2, counting down from 65536 without interrupts.
pub struct Pit(());

impl Pit {
    /// Starts the count.
    pub fn start() -> Self {
        // SAFETY: the ports are the timer's and have no effect on memory.
        unsafe {
            let mut gate = Port::<u8>::new(GATE);
            let value = gate.read();
            gate.write(value & !SPEAKER_ON | GATE_ON);
            Port::<u8>::new(COMMAND).write(COUNT_ONCE);
            let mut channel = Port::<u8>::new(CHANNEL_2);
            channel.write(0);
            channel.write(0);
        }
        Self(())
    }

    /// Ticks since the start, modulo 65536.
    pub fn count(&self) -> u32 {
        // SAFETY: as in `start`.
        let left = unsafe {
            Port::<u8>::new(COMMAND).write(LATCH);
            let mut channel = Port::<u8>::new(CHANNEL_2);
            u16::from(channel.read()) | u16::from(channel.read()) << 8
        };
        u32::from(0u16.wrapping_sub(left))
    }
}
