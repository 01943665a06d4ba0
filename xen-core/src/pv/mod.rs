//! Paravirtual guests.
