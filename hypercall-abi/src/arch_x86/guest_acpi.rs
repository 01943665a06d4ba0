//! `arch-x86/guest-acpi.h`: ACPI registers of HVM guests.

constants! {
    in CONSTANTS;
    prefix "XEN_" {
        /// First I/O port of the bitmap of vCPUs.
        ACPI_CPU_MAP: u16 = 0xaf00,
        /// Bit of GPE0 that tells of a change.
        ACPI_GPE0_CPUHP_BIT: u16 = 2,
    }
}

layout_entries! { types: [], constants: [CONSTANTS] }
