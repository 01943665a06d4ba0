//! Linux's Xen devices: the only unsafe code of the toolstack.

pub mod store_host;
pub mod store_page;
