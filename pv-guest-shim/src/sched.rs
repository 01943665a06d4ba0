//! Giving up the processor, for a while or for good.

use hypercall_abi::sched::{SchedOp, SchedShutdown, ShutdownReason};
use hypercall_abi::xen::HypercallNr;

use crate::hypercall;

/// Shuts the domain down; for the first domain this acts on the machine.
pub fn shutdown(reason: ShutdownReason) -> ! {
    loop {
        let mut arg = SchedShutdown { reason };
        hypercall::command(HypercallNr::SCHED_OP, SchedOp::SHUTDOWN.0.into(), &mut arg);
    }
}

/// Lets others run.
pub fn yield_now() {
    let mut none = 0u64;
    hypercall::command(HypercallNr::SCHED_OP, SchedOp::YIELD.0.into(), &mut none);
}
