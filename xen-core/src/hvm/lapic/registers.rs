//! Where the registers are and which of their bits can be written (SDM volume 3, table 11-1).

/// Local APIC id.
pub const ID: u32 = 0x20;
/// Version.
pub const VERSION: u32 = 0x30;
/// Task priority.
pub const TPR: u32 = 0x80;
/// Processor priority, computed.
pub const PPR: u32 = 0xa0;
/// End of interrupt, write-only.
pub const EOI: u32 = 0xb0;
/// Logical destination.
pub const LDR: u32 = 0xd0;
/// Destination format; not in x2APIC mode.
pub const DFR: u32 = 0xe0;
/// Spurious vector, software enable.
pub const SVR: u32 = 0xf0;
/// First of eight: in service.
pub const ISR: u32 = 0x100;
/// First of eight: level-triggered.
pub const TMR: u32 = 0x180;
/// First of eight: requested.
pub const IRR: u32 = 0x200;
/// Errors.
pub const ESR: u32 = 0x280;
/// Interrupt command, low half; in x2APIC mode all of it.
pub const ICR: u32 = 0x300;
/// Interrupt command, destination; not in x2APIC mode.
pub const ICR_HIGH: u32 = 0x310;
/// First of the local vectors: the timer's.
pub const LVT_TIMER: u32 = 0x320;
/// Initial count of the timer.
pub const TMICT: u32 = 0x380;
/// Current count, computed.
pub const TMCCT: u32 = 0x390;
/// Divisor of the timer.
pub const TDCR: u32 = 0x3e0;
/// Interrupt to oneself; only in x2APIC mode.
pub const SELF_IPI: u32 = 0x3f0;

/// What [`VERSION`] gives: version 0x14, six local vectors, no suppression of EOI broadcasts.
pub const VERSION_VALUE: u32 = 0x0005_0014;

/// [`SVR`]: the APIC is enabled by software.
pub const SVR_ENABLED: u32 = 1 << 8;
/// [`SVR`]: vector, enable, focus checking.
pub const SVR_MASK: u32 = 0x3ff;
/// [`SVR`] after reset.
pub const SVR_RESET: u32 = 0xff;
/// [`DFR`]: the bits below the model read as ones.
pub const DFR_ONES: u32 = 0x0fff_ffff;
/// [`TDCR`]: bits 0, 1 and 3.
pub const TDCR_MASK: u32 = 0xb;
/// [`ICR`]: the send is not done yet; always reads 0.
pub const ICR_BUSY: u32 = 1 << 12;
/// [`ICR`]: what x2APIC mode lets a guest write: vector, mode, logical, assert, level, shorthand.
pub const ICR_X2APIC_MASK: u32 = 0x000c_cfff;

/// A local vector is masked.
pub const LVT_MASKED: u32 = 1 << 16;
/// Delivery mode of a local vector and of a command.
pub const DELIVERY_MODE: u32 = 0x700;
/// Delivery as NMI.
pub const DELIVERY_NMI: u32 = 0x400;
/// Delivery as by an 8259.
pub const DELIVERY_EXTINT: u32 = 0x700;
/// [`LVT_TIMER`]: the mode's place.
pub const TIMER_MODE_SHIFT: u32 = 17;

/// Number of local vectors.
pub const LVTS: usize = 6;
/// Index of the local vectors: timer, thermal sensor, performance counters, two pins, errors.
pub const LVT_INDEX_LINT0: usize = 3;
/// Index of the second pin's.
pub const LVT_INDEX_LINT1: usize = 4;
/// Index of that of errors.
pub const LVT_INDEX_ERROR: usize = 5;
/// Bits of the local vectors that can be written.
pub const LVT_MASKS: [u32; LVTS] = [
    0x0007_10ff,
    0x0001_17ff,
    0x0001_17ff,
    0x0001_f7ff,
    0x0001_f7ff,
    0x0001_10ff,
];

/// [`ESR`]: a command had a vector below 16.
pub const ESR_SEND_ILLEGAL: u32 = 1 << 5;
/// [`ESR`]: an interrupt had a vector below 16.
pub const ESR_RECEIVE_ILLEGAL: u32 = 1 << 6;

/// The first 16 vectors are the processor's own.
pub const FIRST_VECTOR: u8 = 16;

/// The local vector at `offset`.
pub const fn lvt_index(offset: u32) -> Option<usize> {
    match offset {
        LVT_TIMER | 0x330 | 0x340 | 0x350 | 0x360 | 0x370 => {
            Some(((offset - LVT_TIMER) >> 4) as usize)
        }
        _ => None,
    }
}

/// The word of a set of vectors that starts at `base`.
pub const fn set_word(base: u32, offset: u32) -> usize {
    ((offset - base) >> 4) as usize
}
