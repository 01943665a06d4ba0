//! IO-APICs: inputs for the interrupts of devices (Intel 82093AA data sheet).
// UNSAFETY: device registers.

use alloc::vec::Vec;

use spin::{Mutex, Once};
use xen_core::acpi::madt::Madt;
use xen_core::irq::IoApicRange;
use xen_core::machine::{Polarity, Trigger};
use xen_core::num::{Gsi, Vector};

use crate::metal::mem::vmap;

const SELECT: u64 = 0x00;
const WINDOW: u64 = 0x10;
const REGISTER_VERSION: u32 = 1;
const REGISTER_ENTRIES: u32 = 0x10;
const ENTRY_NMI: u32 = 4 << 8;
const ENTRY_ACTIVE_LOW: u32 = 1 << 13;
const ENTRY_REMOTE_IRR: u32 = 1 << 14;
const ENTRY_LEVEL: u32 = 1 << 15;
const ENTRY_MASKED: u32 = 1 << 16;

struct IoApic {
    /// Physical address, as ACPI gives it.
    address: u64,
    /// First input's number among all.
    gsi_base: u32,
    /// Inputs.
    inputs: u32,
    /// Registers, one access at a time: select, then read or write.
    registers: Mutex<Registers>,
}

struct Registers(u64);

impl Registers {
    fn read(&mut self, register: u32) -> u32 {
        // SAFETY: the two registers are mapped for ever.
        unsafe {
            ((self.0 + SELECT) as *mut u32).write_volatile(register);
            ((self.0 + WINDOW) as *const u32).read_volatile()
        }
    }

    fn write(&mut self, register: u32, value: u32) {
        // SAFETY: as in `read`; an entry can only make interrupts arrive.
        unsafe {
            ((self.0 + SELECT) as *mut u32).write_volatile(register);
            ((self.0 + WINDOW) as *mut u32).write_volatile(value);
        }
    }
}

static IO_APICS: Once<Vec<IoApic>> = Once::new();

/// Maps all IO-APICs and masks all their inputs.
pub fn set_up(madt: &Madt) {
    IO_APICS.call_once(|| {
        let mut all = Vec::new();
        for entry in &madt.io_apics {
            let address = u64::from(entry.address);
            let mut registers = Registers(vmap::map_device(address, 32));
            let inputs = (registers.read(REGISTER_VERSION) >> 16 & 0xff) + 1;
            for input in 0..inputs {
                registers.write(REGISTER_ENTRIES + 2 * input, ENTRY_MASKED);
                registers.write(REGISTER_ENTRIES + 2 * input + 1, 0);
            }
            let (first, last) = (entry.gsi_base, entry.gsi_base + inputs - 1);
            log::info!(
                "IO-APIC {} at {address:#x}, inputs {first} to {last}",
                entry.id
            );
            all.push(IoApic {
                address,
                gsi_base: entry.gsi_base,
                inputs,
                registers: Mutex::new(registers),
            });
        }
        all
    });
}

fn all() -> &'static [IoApic] {
    IO_APICS.get().map_or(&[], Vec::as_slice)
}

/// The IO-APIC and its input for `gsi`.
fn find(gsi: Gsi) -> Option<(&'static IoApic, u32)> {
    all().iter().find_map(|apic| {
        let input = gsi.0.checked_sub(apic.gsi_base)?;
        (input < apic.inputs).then_some((apic, input))
    })
}

/// Addresses and inputs of all.
pub fn ranges() -> Vec<IoApicRange> {
    let range = |apic: &IoApic| IoApicRange {
        base: apic.address,
        first_gsi: Gsi(apic.gsi_base),
        inputs: apic.inputs,
    };
    all().iter().map(range).collect()
}

/// One past the highest input of any.
pub fn gsi_end() -> u32 {
    all()
        .iter()
        .map(|apic| apic.gsi_base + apic.inputs)
        .max()
        .unwrap_or(0)
}

/// Programs an input, masked. False if there is no such input.
pub fn route(gsi: Gsi, vector: Vector, apic_id: u32, trigger: Trigger, polarity: Polarity) -> bool {
    let Some((apic, input)) = find(gsi) else {
        return false;
    };
    let mut low = u32::from(vector.0) | ENTRY_MASKED;
    if trigger == Trigger::Level {
        low |= ENTRY_LEVEL;
    }
    if polarity == Polarity::Low {
        low |= ENTRY_ACTIVE_LOW;
    }
    let mut registers = apic.registers.lock();
    // Masked before the destination changes: no interrupt with half of the old and half of the new.
    registers.write(REGISTER_ENTRIES + 2 * input, ENTRY_MASKED);
    registers.write(REGISTER_ENTRIES + 2 * input + 1, apic_id << 24);
    registers.write(REGISTER_ENTRIES + 2 * input, low);
    true
}

/// Sends an input's interrupts to another APIC. One write: the entry is never half old and half new.
pub fn redirect(gsi: Gsi, apic_id: u32) -> bool {
    let Some((apic, input)) = find(gsi) else {
        return false;
    };
    apic.registers
        .lock()
        .write(REGISTER_ENTRIES + 2 * input + 1, apic_id << 24);
    true
}

/// Makes an input raise a non-maskable interrupt on all CPUs, at each edge. False if there is no such input.
pub fn route_nmi_to_all(gsi: Gsi) -> bool {
    const EVERYBODY: u32 = 0xff << 24;
    let Some((apic, input)) = find(gsi) else {
        return false;
    };
    let mut registers = apic.registers.lock();
    registers.write(REGISTER_ENTRIES + 2 * input, ENTRY_MASKED);
    registers.write(REGISTER_ENTRIES + 2 * input + 1, EVERYBODY);
    registers.write(REGISTER_ENTRIES + 2 * input, ENTRY_NMI);
    true
}

/// Whether a level-triggered interrupt of an input was accepted by a local APIC that has not ended it.
pub fn in_flight(gsi: Gsi) -> bool {
    find(gsi).is_some_and(|(apic, input)| {
        apic.registers.lock().read(REGISTER_ENTRIES + 2 * input) & ENTRY_REMOTE_IRR != 0
    })
}

/// Masks or unmasks an input; one that does not exist is ignored.
pub fn mask(gsi: Gsi, masked: bool) {
    let Some((apic, input)) = find(gsi) else {
        return;
    };
    let mut registers = apic.registers.lock();
    let low = registers.read(REGISTER_ENTRIES + 2 * input);
    let new = if masked {
        low | ENTRY_MASKED
    } else {
        low & !ENTRY_MASKED
    };
    if new != low {
        registers.write(REGISTER_ENTRIES + 2 * input, new);
    }
}

/// Reads a register of the IO-APIC at physical address `base`.
pub fn read(base: u64, register: u32) -> Option<u32> {
    let apic = all().iter().find(|apic| apic.address == base)?;
    Some(apic.registers.lock().read(register & 0xff))
}

/// Masks everything: before the machine is restarted.
pub fn mask_all() {
    for apic in all() {
        for input in 0..apic.inputs {
            mask(Gsi(apic.gsi_base + input), true);
        }
    }
}
