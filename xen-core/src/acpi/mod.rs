//! ACPI tables: bytes in, facts out (ACPI 6.5, chapter 5).
