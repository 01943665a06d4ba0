//! The harness that boots Xenolith in QEMU.
