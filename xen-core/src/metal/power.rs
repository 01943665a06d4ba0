//! Restarting, halting and switching off the machine.
// UNSAFETY: port I/O, an empty interrupt table, halting.

use core::sync::atomic::{AtomicBool, Ordering};

use spin::Once;
use x86_64::instructions::port::Port;
use xen_core::acpi::AcpiFacts;
use xen_core::acpi::dsdt::SleepType;
use xen_core::acpi::fadt::{Fadt, Register};
use xen_core::boot::options::{Options, RebootMethod};
use xen_core::machine::Width;

use crate::metal::cpu::percpu;
use crate::metal::irq::{ioapic, lapic};
use crate::metal::mem::vmap;
use crate::metal::pio;

/// What restarting needs to know.
struct Facts {
    fadt: Option<Fadt>,
    soft_off: Option<SleepType>,
    method: Option<RebootMethod>,
}

static FACTS: Once<Facts> = Once::new();
/// The machine must not restart by itself.
static NO_REBOOT: AtomicBool = AtomicBool::new(false);

/// Sleep enable bit of the power management control registers (ACPI 6.5, 4.8.3.2.1).
const SLEEP_ENABLE: u16 = 1 << 13;
const SLEEP_TYPE_SHIFT: u32 = 10;
const SLEEP_TYPE_MASK: u16 = 7 << SLEEP_TYPE_SHIFT;
const KEYBOARD_COMMAND: u16 = 0x64;
const KEYBOARD_RESET: u8 = 0xfe;
const KEYBOARD_BUSY: u8 = 0x02;
const RESET_CONTROL: u16 = 0xcf9;
/// Reset control: reset the system, then do it (Intel chipset data sheets, RST_CNT).
const RESET_PREPARE: u8 = 0x02;
const RESET_NOW: u8 = 0x06;
/// Port accesses to wait for one method to take effect: about a tenth of a second.
const WAIT: u32 = 100_000;

/// Keeps what the options say about restarting: as early as they are known.
pub fn set_policy(options: &Options) {
    let no_reboot = options.noreboot || options.reboot == Some(RebootMethod::No);
    NO_REBOOT.store(no_reboot, Ordering::Relaxed);
}

/// Keeps the facts.
pub fn set_up(acpi: &AcpiFacts, options: &Options) {
    FACTS.call_once(|| Facts {
        fadt: acpi.fadt,
        soft_off: acpi.soft_off,
        method: options.reboot,
    });
}

/// True if the machine must not restart by itself (`noreboot`).
pub fn must_not_reboot() -> bool {
    NO_REBOOT.load(Ordering::Relaxed)
}

/// Whether `port` belongs to the ACPI timer, by which the hypervisor keeps time.
pub fn owns_port(port: u16) -> bool {
    let timer = FACTS
        .get()
        .and_then(|facts| facts.fadt.as_ref()?.pm_timer?.port());
    timer.is_some_and(|first| (first..first.saturating_add(4)).contains(&port))
}

/// Some microseconds: accesses to a port that nothing uses.
fn wait() {
    for _ in 0..WAIT {
        // SAFETY: the diagnostic port has no effect.
        unsafe { Port::<u8>::new(0x80).read() };
    }
}

fn write_byte(port: u16, value: u8) {
    // SAFETY: restarting is the purpose; nothing of the state is needed after.
    unsafe { Port::new(port).write(value) };
}

fn try_method(method: RebootMethod) {
    match method {
        RebootMethod::Acpi => {
            let fadt = FACTS.get().and_then(|facts| facts.fadt);
            if let Some((register, value)) =
                fadt.and_then(|fadt| Some((fadt.reset?, fadt.reset_value)))
            {
                write_register(&register, u16::from(value), Width::Byte);
                wait();
            }
        }
        RebootMethod::Pci => {
            write_byte(RESET_CONTROL, RESET_PREPARE);
            write_byte(RESET_CONTROL, RESET_NOW);
            wait();
        }
        RebootMethod::Keyboard => {
            for _ in 0..WAIT {
                // SAFETY: reading the controller's status.
                if unsafe { Port::<u8>::new(KEYBOARD_COMMAND).read() } & KEYBOARD_BUSY == 0 {
                    break;
                }
            }
            write_byte(KEYBOARD_COMMAND, KEYBOARD_RESET);
            wait();
        }
        RebootMethod::Triple => {
            let none = x86_64::structures::DescriptorTablePointer {
                limit: 0,
                base: x86_64::VirtAddr::zero(),
            };
            // SAFETY: an exception without a table makes the processor shut down, which the board takes for a reset.
            unsafe {
                x86_64::instructions::tables::lidt(&none);
                core::arch::asm!("ud2", options(noreturn));
            }
        }
        RebootMethod::No => {}
    }
}

/// The other CPUs are to stop: the next non-maskable interrupt they get tells them so.
static STOPPING: AtomicBool = AtomicBool::new(false);

/// Stops all other CPUs, wherever they are, for good.
pub fn stop_others() {
    if !STOPPING.swap(true, Ordering::SeqCst) && percpu::online().iter().count() > 1 {
        lapic::send_nmi_to_others();
        wait();
    }
}

/// Stops the executing CPU if that is what it got a non-maskable interrupt for.
pub fn stop_if_told() {
    if STOPPING.load(Ordering::SeqCst) {
        halt_this_cpu()
    }
}

/// Restarts the machine: the method asked for first, then one after the other.
pub fn reset() -> ! {
    x86_64::instructions::interrupts::disable();
    stop_others();
    ioapic::mask_all();
    if let Some(method) = FACTS.get().and_then(|facts| facts.method) {
        try_method(method);
    }
    for method in [
        RebootMethod::Acpi,
        RebootMethod::Pci,
        RebootMethod::Keyboard,
        RebootMethod::Triple,
    ] {
        try_method(method);
    }
    halt()
}

/// Stops all CPUs for good.
pub fn halt() -> ! {
    stop_others();
    halt_this_cpu()
}

/// Stops the executing CPU for good.
pub fn halt_this_cpu() -> ! {
    x86_64::instructions::interrupts::disable();
    loop {
        x86_64::instructions::hlt();
    }
}

/// Enters a sleep state: the control registers get these values, with "sleep enable" set.
pub fn enter_sleep(pm1a: u16, pm1b: u16) {
    let Some(fadt) = FACTS.get().and_then(|facts| facts.fadt.as_ref()) else {
        return;
    };
    let Some(a) = &fadt.pm1a_control else { return };
    write_register(a, pm1a | SLEEP_ENABLE, Width::Word);
    if let Some(b) = &fadt.pm1b_control {
        write_register(b, pm1b | SLEEP_ENABLE, Width::Word);
    }
    wait();
}

/// Switches the machine off; returns if it does not know how, or the machine stays on.
pub fn off() {
    let Some(facts) = FACTS.get() else { return };
    let (Some(fadt), Some(sleep)) = (&facts.fadt, facts.soft_off) else {
        return;
    };
    let Some(a) = &fadt.pm1a_control else { return };
    let value = |register: &Register, sleep_type: u8| {
        read_register(register) & !SLEEP_TYPE_MASK | u16::from(sleep_type) << SLEEP_TYPE_SHIFT
    };
    let pm1a = value(a, sleep.a);
    let pm1b = fadt.pm1b_control.as_ref().map_or(0, |b| value(b, sleep.b));
    enter_sleep(pm1a, pm1b);
}

fn read_register(register: &Register) -> u16 {
    match (register.space, register.port()) {
        (Register::PORT, Some(port)) => pio::read_port(port, Width::Word) as u16,
        (Register::MEMORY, _) => {
            (vmap::read_register(register.address) >> (register.address % 4 * 8)) as u16
        }
        _ => 0,
    }
}

fn write_register(register: &Register, value: u16, width: Width) {
    match (register.space, register.port()) {
        (Register::PORT, Some(port)) => pio::write_port(port, width, u32::from(value)),
        (Register::MEMORY, _) => {
            let shift = register.address % 4 * 8;
            let mask = if width == Width::Byte { 0xff } else { 0xffff } << shift;
            let old = vmap::read_register(register.address);
            vmap::write_register(register.address, old & !mask | u32::from(value) << shift);
        }
        (Register::PCI, _) => {
            // Bus 0 (ACPI 6.5, table 5.1): device, function and offset in 16 bits each.
            let (device, function) = (
                (register.address >> 32) as u8,
                (register.address >> 16) as u8,
            );
            let devfn = device << 3 | function & 7;
            pio::write_pci(
                0,
                0,
                devfn,
                register.address as u16,
                width,
                u32::from(value),
            );
        }
        _ => {}
    }
}
