//! Event channels: `event_channel_op`, delivery by two-level bitmaps and by queues, `SCHEDOP_poll` and `SCHEDOP_block`.

mod fifo;
mod ports;
mod two_level;

use pv_guest_shim::hypercall_abi::event_channel::EvtchnOp;
use pv_guest_shim::hypercall_abi::xen::{HypercallNr, StartInfo};

use crate::call::call;

/// The area.
pub fn run(_: &'static StartInfo) {
    ports::run();
    two_level::run();
    fifo::run();
}

/// An operation whose argument is at an address.
fn op(op: EvtchnOp, argument: u64) -> i64 {
    call(HypercallNr::EVENT_CHANNEL_OP, [op.0.into(), argument])
}
