//! Memory of the guest that runs, by guest-virtual address.

mod access;

pub use access::{is_guest_address, is_guest_range, GuestAccess, HYPERVISOR_END, HYPERVISOR_START};
