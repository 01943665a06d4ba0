//! The local APIC against the manual.

mod interrupts;
mod modes;
mod registers;
mod timer;

use super::Lapic;

/// A local APIC that software has enabled, with spurious vector 0xff.
fn enabled(vcpu: u32) -> Lapic {
    let mut lapic = Lapic::new(vcpu);
    lapic.write_mmio(0xf0, 4, 0x1ff, 0);
    lapic
}

/// The same in x2APIC mode.
fn x2apic(vcpu: u32) -> Lapic {
    let mut lapic = enabled(vcpu);
    let base = lapic.apic_base() | 1 << 10;
    lapic.set_apic_base(base, true).unwrap();
    lapic
}

fn read(lapic: &Lapic, offset: u32) -> u32 {
    lapic.read_mmio(offset, 4, 0)
}
