//! Ports of the other domain.

use pv_guest_shim::events;
use pv_guest_shim::hypercall_abi::errno::Errno;
use pv_guest_shim::hypercall_abi::event_channel::{
    EvtchnAllocUnbound, EvtchnOp, EvtchnReset, EvtchnStat,
};
use pv_guest_shim::hypercall_abi::xen::{DomId, HypercallNr};
use zerocopy::FromZeros;

use super::domain::Domain;
use crate::call::call;
use crate::report::{error, number, same};

/// The checks.
pub fn run(domain: &Domain) {
    let alloc = |of: DomId, remote: DomId| {
        let mut arg = EvtchnAllocUnbound::new_zeroed();
        (arg.dom, arg.remote_dom) = (of, remote);
        let result = call(
            HypercallNr::EVENT_CHANNEL_OP,
            [EvtchnOp::ALLOC_UNBOUND.0.into(), (&raw mut arg) as u64],
        );
        (result, arg.port)
    };
    let status =
        |port: u32| events::status(domain.id, port).map(|op| (op.status, op.u.as_unbound().dom));
    same(
        "alloc_unbound for another",
        alloc(domain.id, DomId(0)),
        (0, 1),
    );
    same(
        "alloc_unbound for another, of itself",
        alloc(domain.id, domain.id),
        (0, 2),
    );
    same(
        "alloc_unbound for another, of nobody",
        alloc(domain.id, DomId(77)),
        (0, 3),
    );
    same(
        "alloc_unbound for another, of the caller",
        alloc(domain.id, DomId::SELF),
        (0, 4),
    );
    same("status", status(1), Ok((EvtchnStat::UNBOUND, DomId(0))));
    same(
        "status of the caller's",
        status(4),
        Ok((EvtchnStat::UNBOUND, DomId(0))),
    );
    error(
        "alloc_unbound for nobody",
        alloc(DomId(77), DomId(0)).0,
        Errno::ESRCH,
    );
    let port = events::bind_interdomain(domain.id, 1);
    same("bind_interdomain", port.is_ok(), true);
    let port = port.unwrap_or(0);
    same(
        "bind_interdomain again",
        events::bind_interdomain(domain.id, 1),
        Err(Errno::EINVAL),
    );
    same(
        "bind to what waits for another",
        events::bind_interdomain(domain.id, 2),
        Err(Errno::EINVAL),
    );
    same(
        "bind to port 0",
        events::bind_interdomain(domain.id, 0),
        Err(Errno::EINVAL),
    );
    same(
        "bind to nobody",
        events::bind_interdomain(DomId(77), 1),
        Err(Errno::ESRCH),
    );
    let far = events::status(domain.id, 1).map(|op| {
        let end = op.u.as_interdomain();
        (op.status, end.dom, end.port)
    });
    same(
        "status of the other end",
        far,
        Ok((EvtchnStat::INTERDOMAIN, DomId(0), port)),
    );
    same("send", events::send(port), Ok(()));
    let reset = |of: DomId| {
        let mut arg = EvtchnReset { dom: of };
        call(
            HypercallNr::EVENT_CHANNEL_OP,
            [EvtchnOp::RESET.0.into(), (&raw mut arg) as u64],
        )
    };
    number("reset of another that is paused", reset(domain.id), 0);
    same(
        "its ports are closed",
        status(1).map(|(stat, _)| stat),
        Ok(EvtchnStat::CLOSED),
    );
    let own = events::status(DomId::SELF, port).map(|op| (op.status, op.u.as_unbound().dom));
    same(
        "the own end is unbound",
        own,
        Ok((EvtchnStat::UNBOUND, domain.id)),
    );
    same("send to nowhere", events::send(port), Ok(()));
    same("close", events::close(port), Ok(()));
    same("alloc_unbound anew", alloc(domain.id, DomId(0)), (0, 1));
    let port = events::bind_interdomain(domain.id, 1).unwrap_or(0);
    same("close of the own end", events::close(port), Ok(()));
    same(
        "the other waits again",
        status(1),
        Ok((EvtchnStat::UNBOUND, DomId(0))),
    );
    error("reset of nobody", reset(DomId(77)), Errno::ESRCH);
}
