//! Event channels on behalf of other domains.
//!
//! Contract: public/event_channel.h.

use hypercall_abi::event_channel::{EvtchnAllocUnbound, EvtchnOp, EvtchnStat, EvtchnStatus};
use hypercall_abi::sched::{SchedOp, SchedRemoteShutdown, ShutdownReason};
use hypercall_abi::xen::{DomId, HypercallNr};
use zerocopy::{FromZeros, IntoBytes};

use super::{Arg, Xen, XenError};

impl dyn Xen + '_ {
    /// Allocates a port in `domain` that `remote` may bind.
    ///
    /// # Errors
    /// No ports are left.
    pub fn alloc_unbound(&self, domain: DomId, remote: DomId) -> Result<u32, XenError> {
        let mut argument = EvtchnAllocUnbound {
            dom: domain,
            remote_dom: remote,
            port: 0,
        };
        self.call(
            HypercallNr::EVENT_CHANNEL_OP,
            &mut [
                Arg::Number(EvtchnOp::ALLOC_UNBOUND.0.into()),
                Arg::Memory(argument.as_mut_bytes(), Vec::new()),
            ],
        )
        .map_err(|errno| XenError::new("event_channel_op alloc_unbound", Some(domain), errno))?;
        Ok(argument.port)
    }

    /// What `domain`'s `port` is bound to.
    ///
    /// # Errors
    /// No such port.
    pub fn port_status(&self, domain: DomId, port: u32) -> Result<EvtchnStat, XenError> {
        let mut argument = EvtchnStatus::new_zeroed();
        argument.dom = domain;
        argument.port = port;
        self.call(
            HypercallNr::EVENT_CHANNEL_OP,
            &mut [
                Arg::Number(EvtchnOp::STATUS.0.into()),
                Arg::Memory(argument.as_mut_bytes(), Vec::new()),
            ],
        )
        .map_err(|errno| XenError::new("event_channel_op status", Some(domain), errno))?;
        Ok(argument.status)
    }

    /// Ends a domain with a reason (`SHUTDOWN_*`), as if it had done so itself.
    ///
    /// # Errors
    /// No such domain.
    pub fn shut_down(&self, domain: DomId, reason: ShutdownReason) -> Result<(), XenError> {
        let mut argument = SchedRemoteShutdown::new_zeroed();
        argument.domain_id = domain;
        argument.reason = reason;
        self.call(
            HypercallNr::SCHED_OP,
            &mut [
                Arg::Number(SchedOp::REMOTE_SHUTDOWN.0.into()),
                Arg::Memory(argument.as_mut_bytes(), Vec::new()),
            ],
        )
        .map(|_| ())
        .map_err(|errno| XenError::new("sched_op remote_shutdown", Some(domain), errno))
    }
}
