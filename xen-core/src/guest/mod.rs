//! Memory of the guest that runs, by guest-virtual address.

mod access;

pub use access::{GuestAccess, HYPERVISOR_END, HYPERVISOR_START, is_guest_address, is_guest_range};
