//! ACPI tables: bytes to facts.
