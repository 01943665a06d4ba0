//! The store's daemon, with a Xen that is made of plain memory.

mod fake;
mod journal;
mod model;
mod rings;
mod transcript;
