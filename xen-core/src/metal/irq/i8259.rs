//! The PC's first interrupt controllers (Intel 8259A data sheet): moved out of the way and masked for good.
// UNSAFETY: port I/O.

use x86_64::instructions::port::Port;

const PRIMARY: u16 = 0x20;
const SECONDARY: u16 = 0xa0;
/// First of the sixteen vectors that a spurious interrupt of theirs would come as.
const FIRST_VECTOR: u8 = 0x20;
const INIT_WITH_WORD4: u8 = 0x11;
const MODE_8086: u8 = 0x01;
/// The secondary controller hangs on input 2 of the primary.
const CASCADE: u8 = 2;

/// Initialises both with vectors that are not exceptions', and masks all inputs.
pub fn disable() {
    let write = |port: u16, value: u8| {
        // SAFETY: the controllers have no effect on memory.
        unsafe { Port::new(port).write(value) };
    };
    for (base, first, wiring) in [
        (PRIMARY, FIRST_VECTOR, 1 << CASCADE),
        (SECONDARY, FIRST_VECTOR + 8, CASCADE),
    ] {
        write(base, INIT_WITH_WORD4);
        write(base + 1, first);
        write(base + 1, wiring);
        write(base + 1, MODE_8086);
        write(base + 1, 0xff);
    }
}
