//! Interrupt controllers: local APIC, IO-APICs, the old 8259 pair, message-signalled interrupts.

pub mod i8259;
pub mod ioapic;
pub mod lapic;
pub mod msi;
