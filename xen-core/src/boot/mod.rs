//! What the boot loader hands over.
pub mod e820;
pub mod options;
