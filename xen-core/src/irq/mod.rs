//! Physical interrupts: vectors, who handles them, acknowledgement.
use crate::num::Vector;
/// Vector of the deadline timer.
pub const TIMER_VECTOR: Vector = Vector(0xfa);
/// Vector with which one processor makes another pass through the hypervisor.
pub const KICK_VECTOR: Vector = Vector(0xfb);
/// Vector of the local APIC's spurious interrupt.
pub const SPURIOUS_VECTOR: Vector = Vector(0xff);
/// Vector of the console's serial line.
pub const SERIAL_VECTOR: Vector = Vector(0xf0);
/// First vector for device interrupts; 0x80 and 0x82 are never given out.
pub const FIRST_DEVICE_VECTOR: Vector = Vector(0x30);
/// Last vector for device interrupts.
pub const LAST_DEVICE_VECTOR: Vector = Vector(0xdf);
/// All physical interrupts.
#[derive(Debug)]
pub struct IrqTable;
