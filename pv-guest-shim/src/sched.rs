//! Giving up the processor, for a while or for good.

use hypercall_abi::guest_handle::GuestHandle;
use hypercall_abi::sched::{SchedOp, SchedPoll, SchedShutdown, ShutdownReason};
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

/// Unmasks events and waits until one is pending. 0, or a negative errno.
pub fn block() -> i64 {
    let mut none = 0u64;
    hypercall::command(HypercallNr::SCHED_OP, SchedOp::BLOCK.0.into(), &mut none)
}

/// Waits until one of the ports is pending, masked or not, or until a system time (0: for ever). 0, or a negative errno.
pub fn poll(ports: &[u32], timeout: u64) -> i64 {
    let mut arg = SchedPoll {
        ports: GuestHandle::from_addr(ports.as_ptr() as u64),
        nr_ports: ports.len() as u32,
        _pad: [0; 4],
        timeout,
    };
    hypercall::command(HypercallNr::SCHED_OP, SchedOp::POLL.0.into(), &mut arg)
}
