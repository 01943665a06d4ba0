//! xenstore: the protocol between the store and its clients, and the client side of it.
//!
//! Contract: `io/xs_wire.h` and Xen 4.17's `docs/misc/xenstore.txt`. The daemon itself is [`crate::xenstored`].

pub mod path;
pub mod permission;
pub mod wire;
