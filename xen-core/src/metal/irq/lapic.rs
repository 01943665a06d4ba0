//! Local APIC of each CPU, as xAPIC (memory-mapped) or x2APIC (registers), SDM 3A chapter 11.
// UNSAFETY: device registers and model-specific registers.

use core::hint::spin_loop;
use core::sync::atomic::{AtomicU32, Ordering};

use spin::Once;
use xen_core::irq::{SPURIOUS_VECTOR, TIMER_VECTOR};

use crate::metal::cpu::{cpuid, msr};
use crate::metal::mem::vmap;

/// Vector of the APIC's own errors; above all device vectors.
const ERROR_VECTOR: u8 = 0xfe;

/// Register offsets of the memory-mapped form; the x2APIC number is the offset divided by 16.
mod register {
    pub const ID: u32 = 0x20;
    pub const TASK_PRIORITY: u32 = 0x80;
    pub const EOI: u32 = 0xb0;
    pub const LOGICAL_DESTINATION: u32 = 0xd0;
    pub const DESTINATION_FORMAT: u32 = 0xe0;
    pub const SPURIOUS: u32 = 0xf0;
    pub const REQUEST: u32 = 0x200;
    pub const ERROR_STATUS: u32 = 0x280;
    pub const COMMAND_LOW: u32 = 0x300;
    pub const COMMAND_HIGH: u32 = 0x310;
    pub const LVT_TIMER: u32 = 0x320;
    pub const LVT_THERMAL: u32 = 0x330;
    pub const LVT_PERFORMANCE: u32 = 0x340;
    pub const LVT_LINT0: u32 = 0x350;
    pub const LVT_LINT1: u32 = 0x360;
    pub const LVT_ERROR: u32 = 0x370;
    pub const VERSION: u32 = 0x30;
    pub const TIMER_INITIAL: u32 = 0x380;
    pub const TIMER_CURRENT: u32 = 0x390;
    pub const TIMER_DIVIDE: u32 = 0x3e0;
}

const BASE_ENABLE: u64 = 1 << 11;
const BASE_X2APIC: u64 = 1 << 10;
const BASE_ADDRESS: u64 = 0x000f_ffff_ffff_f000;
const SPURIOUS_ENABLE: u32 = 1 << 8;
const LVT_MASKED: u32 = 1 << 16;
const LVT_NMI: u32 = 4 << 8;
const TIMER_TSC_DEADLINE: u32 = 2 << 17;
const DIVIDE_BY_16: u32 = 0x3;
const COMMAND_PENDING: u32 = 1 << 12;
const COMMAND_TO_SELF: u32 = 1 << 18;
const COMMAND_ASSERT: u32 = 1 << 14;
const COMMAND_TO_OTHERS: u32 = 3 << 18;
const DELIVER_NMI: u32 = 4 << 8;
const DELIVER_INIT: u32 = 5 << 8;
const DELIVER_STARTUP: u32 = 6 << 8;

/// How the APIC is reached.
enum Access {
    /// Registers in memory, at this virtual address.
    Memory(u64),
    /// Model-specific registers.
    X2,
}

/// How the timer is programmed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TimerMode {
    /// By the absolute value of the time-stamp counter.
    TscDeadline,
    /// By a count of this many ticks per millisecond.
    OneShot {
        /// Ticks per millisecond.
        khz: u64,
    },
}

static ACCESS: Once<Access> = Once::new();
static TIMER_MODE: Once<TimerMode> = Once::new();
/// Errors that the APIC reported.
static ERRORS: AtomicU32 = AtomicU32::new(0);

fn read(register: u32) -> u32 {
    match ACCESS.get() {
        // SAFETY: the register page is mapped for ever; registers are 32 bits wide and aligned to 16.
        Some(Access::Memory(base)) => unsafe {
            ((base + u64::from(register)) as *const u32).read_volatile()
        },
        // SAFETY: x2APIC mode is on, and the registers used exist in it.
        Some(Access::X2) => unsafe { msr::read(msr::X2APIC_FIRST + register / 16) as u32 },
        None => 0,
    }
}

fn write(register: u32, value: u32) {
    match ACCESS.get() {
        // SAFETY: as in `read`; the values written have no effect on memory other than interrupts.
        Some(Access::Memory(base)) => unsafe {
            ((base + u64::from(register)) as *mut u32).write_volatile(value)
        },
        // SAFETY: as in `read`.
        Some(Access::X2) => unsafe {
            msr::write(msr::X2APIC_FIRST + register / 16, u64::from(value))
        },
        None => {}
    }
}

/// Switches on the APIC of the executing CPU. The first CPU decides which form all use, and is the one that the board's
/// non-maskable interrupts go to.
pub fn set_up(allow_x2apic: bool, first: bool) {
    // SAFETY: the register exists on all 64-bit processors with an APIC.
    let base = unsafe { msr::read(msr::APIC_BASE) };
    let access = ACCESS.call_once(|| {
        // Once the firmware has switched x2APIC on there is no way back but a reset.
        if cpuid::has_x2apic() && (allow_x2apic || base & BASE_X2APIC != 0) {
            Access::X2
        } else {
            Access::Memory(vmap::map_device(base & BASE_ADDRESS, 4096))
        }
    });
    let mode = match access {
        Access::X2 => BASE_ENABLE | BASE_X2APIC,
        Access::Memory(_) => BASE_ENABLE,
    };
    // SAFETY: the mode bits that the CPU has; the address stays. From off to x2APIC the way leads over xAPIC
    // (SDM 3A 11.12.5).
    unsafe {
        msr::write(msr::APIC_BASE, base | BASE_ENABLE);
        msr::write(msr::APIC_BASE, base | mode);
    }

    if matches!(access, Access::Memory(_)) {
        write(register::DESTINATION_FORMAT, u32::MAX);
        write(register::LOGICAL_DESTINATION, 0);
    }
    let entries = read(register::VERSION) >> 16 & 0xff;
    write(register::TASK_PRIORITY, 0);
    write(register::LVT_TIMER, LVT_MASKED | u32::from(TIMER_VECTOR.0));
    if entries >= 4 {
        write(register::LVT_PERFORMANCE, LVT_MASKED);
    }
    if entries >= 5 {
        write(register::LVT_THERMAL, LVT_MASKED);
    }
    // The 8259 pair is not used; the board's NMI button and errors come in by LINT1.
    write(register::LVT_LINT0, LVT_MASKED);
    let lint1 = if first { LVT_NMI } else { LVT_NMI | LVT_MASKED };
    write(register::LVT_LINT1, lint1);
    write(
        register::SPURIOUS,
        SPURIOUS_ENABLE | u32::from(SPURIOUS_VECTOR.0),
    );
    write(register::ERROR_STATUS, 0);
    write(register::LVT_ERROR, u32::from(ERROR_VECTOR));
    // What the firmware left in service would hold back everything of lower priority.
    for _ in 0..256 {
        write(register::EOI, 0);
    }
}

/// True in x2APIC mode.
pub fn is_x2apic() -> bool {
    matches!(ACCESS.get(), Some(Access::X2))
}

/// The APIC's id.
pub fn id() -> u32 {
    let id = read(register::ID);
    if is_x2apic() { id } else { id >> 24 }
}

/// Whether `vector` was accepted and waits to be delivered to the executing CPU.
pub fn is_requested(vector: u8) -> bool {
    let vector = u32::from(vector);
    // Eight registers of 32 bits, 16 bytes apart.
    read(register::REQUEST + vector / 32 * 16) & 1 << (vector % 32) != 0
}

/// Ends the interrupt in service.
pub fn end_of_interrupt() {
    write(register::EOI, 0);
}

/// Sends `vector` to the executing CPU.
pub fn send_to_self(vector: u8) {
    send(0, u32::from(vector) | COMMAND_TO_SELF | COMMAND_ASSERT);
}

/// Sends `vector` to the CPU with this APIC id.
pub fn send_to(apic_id: u32, vector: u8) {
    send(apic_id, u32::from(vector) | COMMAND_ASSERT);
}

/// Resets the CPU with this APIC id: it waits for [`send_startup`] then (SDM 3A 8.4).
pub fn send_init(apic_id: u32) {
    send(apic_id, DELIVER_INIT | COMMAND_ASSERT);
}

/// Starts the CPU with this APIC id in real mode at the page at physical address `page`, below 1 MiB.
pub fn send_startup(apic_id: u32, page: u64) {
    send(
        apic_id,
        DELIVER_STARTUP | COMMAND_ASSERT | (page >> 12) as u32 & 0xff,
    );
}

/// Sends a non-maskable interrupt to all CPUs but this one.
pub fn send_nmi_to_others() {
    send(0, DELIVER_NMI | COMMAND_TO_OTHERS | COMMAND_ASSERT);
}

/// The largest APIC id that can be sent to.
pub fn max_id() -> u32 {
    if is_x2apic() { u32::MAX - 1 } else { 0xfe }
}

fn send(apic_id: u32, command: u32) {
    if is_x2apic() {
        // SAFETY: the command register exists in x2APIC mode.
        unsafe {
            msr::write(
                msr::X2APIC_FIRST + register::COMMAND_LOW / 16,
                u64::from(apic_id) << 32 | u64::from(command),
            );
        }
        return;
    }
    while read(register::COMMAND_LOW) & COMMAND_PENDING != 0 {
        spin_loop();
    }
    if command & COMMAND_TO_OTHERS == 0 {
        write(register::COMMAND_HIGH, apic_id << 24);
    }
    write(register::COMMAND_LOW, command);
}

/// True for vectors that concern nobody but this file.
pub fn is_own_vector(vector: u32) -> bool {
    vector == u32::from(SPURIOUS_VECTOR.0) || vector == u32::from(ERROR_VECTOR)
}

/// Handles such a vector. A spurious interrupt gets no end-of-interrupt.
pub fn handle_own_vector(vector: u8) {
    if vector == ERROR_VECTOR {
        write(register::ERROR_STATUS, 0);
        let status = read(register::ERROR_STATUS);
        end_of_interrupt();
        if ERRORS.fetch_add(1, Ordering::Relaxed) < 10 {
            log::warn!("Local APIC error {status:#x}");
        }
    }
}

/// Starts the timer counting down from the largest value, masked, for calibration.
pub fn start_free_running_timer() {
    write(register::TIMER_DIVIDE, DIVIDE_BY_16);
    write(register::LVT_TIMER, LVT_MASKED | u32::from(TIMER_VECTOR.0));
    write(register::TIMER_INITIAL, u32::MAX);
}

/// What is left of the count.
pub fn timer_count() -> u32 {
    read(register::TIMER_CURRENT)
}

/// Chooses how the timer is programmed on all CPUs, and makes it so on the executing one.
pub fn set_timer_mode(mode: TimerMode) {
    TIMER_MODE.call_once(|| mode);
    set_up_timer();
}

/// Makes the executing CPU's timer work in the mode that was chosen.
pub fn set_up_timer() {
    let Some(mode) = TIMER_MODE.get() else {
        panic!("no timer mode was chosen")
    };
    let bits = match mode {
        TimerMode::TscDeadline => TIMER_TSC_DEADLINE,
        TimerMode::OneShot { .. } => 0,
    };
    write(register::TIMER_INITIAL, 0);
    write(register::TIMER_DIVIDE, DIVIDE_BY_16);
    write(register::LVT_TIMER, bits | u32::from(TIMER_VECTOR.0));
    // The mode change must have happened before the first deadline is written (SDM 3A 11.5.4.1).
    core::sync::atomic::fence(Ordering::SeqCst);
}

/// Programs the timer: `tsc` is the deadline as a counter value, `remaining_ns` how far away it is.
pub fn arm_timer(tsc: u64, remaining_ns: u64) {
    match TIMER_MODE.get() {
        // SAFETY: the mode is used only on processors that have the register. Zero would disarm.
        Some(TimerMode::TscDeadline) => unsafe { msr::write(msr::TSC_DEADLINE, tsc.max(1)) },
        Some(TimerMode::OneShot { khz }) => {
            // A deadline further away than the counter reaches fires early: whoever asked looks at the time again.
            let ticks = u128::from(remaining_ns) * u128::from(*khz) / 1_000_000 + 1;
            write(
                register::TIMER_INITIAL,
                u32::try_from(ticks).unwrap_or(u32::MAX),
            );
        }
        None => {}
    }
}

/// Disarms the timer.
pub fn disarm_timer() {
    match TIMER_MODE.get() {
        // SAFETY: as in `arm_timer`.
        Some(TimerMode::TscDeadline) => unsafe { msr::write(msr::TSC_DEADLINE, 0) },
        _ => write(register::TIMER_INITIAL, 0),
    }
}
