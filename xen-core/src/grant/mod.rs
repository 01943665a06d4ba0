//! TRUSTED: grants: pages that a domain lets another map or copy.
//!
//! Contract: public header grant_table.h, version 1 of the table; version 2 is refused (XSA-255, 379, 382, 486, 501).
//! What a mapping holds is what its handle recorded, never what a caller says (XSA-224). Page-table entries are
//! written by `pv::mm::grant_map`.

mod active;
mod copy;
mod entry;
mod map;
mod maptrack;
mod release;
mod setup;
mod swap;
mod table;
#[cfg(test)]
mod tests;
mod unmap;

pub use active::{Active, Pins, Use};
pub use copy::CopyBatch;
pub use table::GrantTable;
pub use unmap::{Unmap, UnmapBatch};
