//! What the machine calls when a guest traps.
