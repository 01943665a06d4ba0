//! Memory: the virtual layout, page tables, direct map, heap, stacks, guest access.

pub mod early;
pub mod heap;
pub mod layout;
pub mod paging;
pub mod ram;
pub mod stacks;
pub mod vmap;
