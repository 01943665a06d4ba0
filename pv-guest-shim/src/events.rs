//! Event channels: binding ports, sending, closing. Where the bits are is the business of `shared`.
//!
//! Contract: public/event_channel.h.

use hypercall_abi::errno::Errno;
use hypercall_abi::event_channel::{
    EvtchnAllocUnbound, EvtchnBindInterdomain, EvtchnBindIpi, EvtchnBindVirq, EvtchnClose,
    EvtchnOp, EvtchnSend, EvtchnStatus, EvtchnUnmask,
};
use hypercall_abi::xen::{DomId, HypercallNr, Virq};
use zerocopy::{FromBytes, FromZeros, IntoBytes};

use crate::hypercall::{self, checked};

/// A port's number.
pub type Port = u32;

fn op<T: FromBytes + IntoBytes>(op: EvtchnOp, arg: &mut T) -> Result<(), Errno> {
    checked(hypercall::command(
        HypercallNr::EVENT_CHANNEL_OP,
        op.0.into(),
        arg,
    ))
    .map(drop)
}

/// Binds a virtual interrupt of a vCPU.
pub fn bind_virq(virq: Virq, vcpu: u32) -> Result<Port, Errno> {
    let mut arg = EvtchnBindVirq {
        virq,
        vcpu,
        port: 0,
    };
    op(EvtchnOp::BIND_VIRQ, &mut arg)?;
    Ok(arg.port)
}

/// Binds an inter-processor interrupt.
pub fn bind_ipi(vcpu: u32) -> Result<Port, Errno> {
    let mut arg = EvtchnBindIpi { vcpu, port: 0 };
    op(EvtchnOp::BIND_IPI, &mut arg)?;
    Ok(arg.port)
}

/// Makes a port that a domain may connect to.
pub fn alloc_unbound(remote: DomId) -> Result<Port, Errno> {
    let mut arg = EvtchnAllocUnbound {
        dom: DomId::SELF,
        remote_dom: remote,
        port: 0,
    };
    op(EvtchnOp::ALLOC_UNBOUND, &mut arg)?;
    Ok(arg.port)
}

/// Connects to a port that another domain made for this one.
pub fn bind_interdomain(remote: DomId, remote_port: Port) -> Result<Port, Errno> {
    let mut arg = EvtchnBindInterdomain {
        remote_dom: remote,
        _pad: [0; 2],
        remote_port,
        local_port: 0,
    };
    op(EvtchnOp::BIND_INTERDOMAIN, &mut arg)?;
    Ok(arg.local_port)
}

/// Closes a port.
pub fn close(port: Port) -> Result<(), Errno> {
    op(EvtchnOp::CLOSE, &mut EvtchnClose { port })
}

/// Sends an event to the other end of a port.
pub fn send(port: Port) -> Result<(), Errno> {
    op(EvtchnOp::SEND, &mut EvtchnSend { port })
}

/// Clears a port's mask bit, and raises the event if it is pending.
pub fn unmask(port: Port) -> Result<(), Errno> {
    op(EvtchnOp::UNMASK, &mut EvtchnUnmask { port })
}

/// What a port is bound to.
pub fn status(domain: DomId, port: Port) -> Result<EvtchnStatus, Errno> {
    let mut arg = EvtchnStatus::new_zeroed();
    arg.dom = domain;
    arg.port = port;
    op(EvtchnOp::STATUS, &mut arg)?;
    Ok(arg)
}
