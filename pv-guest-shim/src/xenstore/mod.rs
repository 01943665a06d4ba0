//! A client of the store: requests and answers over the ring of the domain's store page.
//!
//! [`Client`] knows the protocol and nothing of the machine: what it waits and notifies with is a [`Link`], so that it runs
//! against a model on the host. Whatever the other end writes is checked: indices, lengths, request numbers and types.
//!
//! Contract: public/io/xs_wire.h; the protocol's description, docs/misc/xenstore.txt of Xen.

mod client;
#[cfg(test)]
mod model;

pub use client::{Client, Error, Link};
