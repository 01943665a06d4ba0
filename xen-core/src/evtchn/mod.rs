//! Event channels: ports, what they are bound to, and how an event reaches a vCPU.
//!
//! Contract: public header event_channel.h, 2-level and FIFO format. Operations on two domains are in
//! `domain::pair`; arguments are decoded in `hypercall::event_channel_op`.

mod bind;
mod close;
mod control;
mod deliver;
mod event_word;
mod fifo;
mod pirq;
pub mod port;
pub mod table;
#[cfg(test)]
mod tests;
mod two_level;
mod virq;

pub use port::{Binding, Peer};
pub use table::EventChannels;
pub use virq::is_global;

/// What raising an event changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Raised {
    /// The port was not pending before: pollers end their wait.
    pub newly_pending: bool,
    /// The vCPU has something new to look at.
    pub upcall: bool,
}
