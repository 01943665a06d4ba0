//! Ports: binding, closing, status, and every refusal.

use pv_guest_shim::events::{
    alloc_unbound, bind_interdomain, bind_ipi, bind_virq, close, send, status, unmask,
};
use pv_guest_shim::hypercall_abi::errno::Errno;
use pv_guest_shim::hypercall_abi::event_channel::{EvtchnBindVcpu, EvtchnOp, EvtchnStat};
use pv_guest_shim::hypercall_abi::xen::{DomId, Virq};

use super::op;
use crate::call::BAD_POINTERS;
use crate::pages;
use crate::report::{error, number, same};

/// The checks.
pub fn run() {
    arguments();
    virqs();
    ipis();
    pairs();
    vcpus();
    others();
    numbers();
}

fn arguments() {
    let page = pages::take();
    for number in 0..=14 {
        for (kind, pointer) in BAD_POINTERS {
            let result = op(EvtchnOp(number), pointer);
            error(
                format_args!("event op {number} at {kind} pointer"),
                result,
                Errno::EFAULT,
            );
        }
    }
    for number in [15, 16, 255, 0xffff_ffff] {
        error(
            format_args!("event op {number:#x}"),
            op(EvtchnOp(number), page),
            Errno::ENOSYS,
        );
    }
}

fn state(port: u32) -> Result<EvtchnStat, Errno> {
    status(DomId::SELF, port).map(|status| status.status)
}

fn virqs() {
    let port = bind_virq(Virq::TIMER, 0);
    same("bind timer", port, Ok(1));
    same(
        "bind timer twice",
        bind_virq(Virq::TIMER, 0),
        Err(Errno::EEXIST),
    );
    same(
        "bind timer of no vcpu",
        bind_virq(Virq::TIMER, 1),
        Err(Errno::ENOENT),
    );
    same(
        "bind timer of vcpu 9999",
        bind_virq(Virq::TIMER, 9999),
        Err(Errno::ENOENT),
    );
    same(
        "bind a global virq to vcpu 1",
        bind_virq(Virq::CONSOLE, 1),
        Err(Errno::EINVAL),
    );
    same("bind virq 24", bind_virq(Virq(24), 0), Err(Errno::EINVAL));
    same(
        "bind virq 0xffffffff",
        bind_virq(Virq(u32::MAX), 0),
        Err(Errno::EINVAL),
    );
    same("bind debug", bind_virq(Virq::DEBUG, 0), Ok(2));
    let found = status(DomId::SELF, 2);
    same(
        "status of debug",
        found.map(|found| (found.status, found.vcpu, found.u.0[0])),
        Ok((EvtchnStat::VIRQ, 0, 1)),
    );
    same("send to a virq", send(1), Err(Errno::EINVAL));
    same("bind console", bind_virq(Virq::CONSOLE, 0), Ok(3));
    same(
        "bind console twice",
        bind_virq(Virq::CONSOLE, 0),
        Err(Errno::EEXIST),
    );
    for port in 1..=3 {
        same(format_args!("close {port}"), close(port), Ok(()));
        same(
            format_args!("close {port} twice"),
            close(port),
            Err(Errno::EINVAL),
        );
        same(
            format_args!("status of closed {port}"),
            state(port),
            Ok(EvtchnStat::CLOSED),
        );
        same(
            format_args!("send to closed {port}"),
            send(port),
            Err(Errno::EINVAL),
        );
    }
    same("bind timer again", bind_virq(Virq::TIMER, 0), Ok(1));
    same("close timer", close(1), Ok(()));
}

fn ipis() {
    same("bind ipi", bind_ipi(0), Ok(1));
    same("bind another ipi", bind_ipi(0), Ok(2));
    same("bind ipi of no vcpu", bind_ipi(1), Err(Errno::ENOENT));
    same(
        "bind ipi of vcpu 0xffffffff",
        bind_ipi(u32::MAX),
        Err(Errno::ENOENT),
    );
    let found = status(DomId::SELF, 1);
    same(
        "status of ipi",
        found.map(|found| (found.status, found.vcpu)),
        Ok((EvtchnStat::IPI, 0)),
    );
    same(
        "lowest port is used again",
        close(1).and_then(|()| bind_ipi(0)),
        Ok(1),
    );
    same("close ipi", close(1), Ok(()));
    same("close another ipi", close(2), Ok(()));
}

fn pairs() {
    let listening = alloc_unbound(DomId::SELF);
    same("alloc_unbound", listening, Ok(1));
    let found = status(DomId::SELF, 1);
    same(
        "status of unbound",
        found.map(|found| (found.status, found.vcpu, found.u.as_unbound().dom)),
        Ok((EvtchnStat::UNBOUND, 0, DomId(0))),
    );
    same("send to unbound is dropped", send(1), Ok(()));
    let connected = bind_interdomain(DomId::SELF, 1);
    same("bind_interdomain", connected, Ok(2));
    let found = status(DomId::SELF, 2).map(|found| (found.status, found.u.as_interdomain()));
    same(
        "status of connected",
        found.map(|(status, other)| (status, other.dom, other.port)),
        Ok((EvtchnStat::INTERDOMAIN, DomId(0), 1)),
    );
    let found = status(DomId(0), 1).map(|found| (found.status, found.u.as_interdomain()));
    same(
        "status by the own number",
        found.map(|(status, other)| (status, other.dom, other.port)),
        Ok((EvtchnStat::INTERDOMAIN, DomId(0), 2)),
    );
    same(
        "bind_interdomain to a connected port",
        bind_interdomain(DomId::SELF, 1),
        Err(Errno::EINVAL),
    );
    same(
        "bind_interdomain to oneself",
        bind_interdomain(DomId::SELF, 2),
        Err(Errno::EINVAL),
    );
    same("close one end", close(2), Ok(()));
    same("other end is unbound", state(1), Ok(EvtchnStat::UNBOUND));
    same("connect again", bind_interdomain(DomId(0), 1), Ok(2));
    same("close the first end", close(1), Ok(()));
    same("second end is unbound", state(2), Ok(EvtchnStat::UNBOUND));
    same("close the second end", close(2), Ok(()));
    for (name, domain, errno) in [
        ("nobody", 77, Errno::ESRCH),
        ("device owner", 0x7ff1, Errno::ESRCH),
        ("no domain", 0x7ff4, Errno::ESRCH),
    ] {
        same(
            format_args!("bind_interdomain to {name}"),
            bind_interdomain(DomId(domain), 1),
            Err(errno),
        );
        same(
            format_args!("status of {name}"),
            status(DomId(domain), 1).map(|found| found.status),
            Err(errno),
        );
    }
    same("alloc_unbound for nobody", alloc_unbound(DomId(77)), Ok(1));
    same(
        "bind_interdomain to somebody else's port",
        bind_interdomain(DomId::SELF, 1),
        Err(Errno::EINVAL),
    );
    same("close somebody else's port", close(1), Ok(()));
    for port in [0, 1, 4095, 4096, 0xffff_ffff] {
        same(
            format_args!("bind_interdomain to port {port:#x}"),
            bind_interdomain(DomId::SELF, port),
            Err(Errno::EINVAL),
        );
    }
    // On behalf of another domain.
    let page = pages::take();
    for (name, domain, errno) in [
        ("nobody", 77_u16, Errno::ESRCH),
        ("no domain", 0x7ff4, Errno::ESRCH),
    ] {
        pages::write(page, u64::from(domain) | 0x7ff0 << 16);
        error(
            format_args!("alloc_unbound in {name}"),
            op(EvtchnOp::ALLOC_UNBOUND, page),
            errno,
        );
        pages::write(page, domain);
        error(
            format_args!("reset of {name}"),
            op(EvtchnOp::RESET, page),
            errno,
        );
    }
}

fn vcpus() {
    let page = pages::take();
    let bind = |port: u32, vcpu: u32| {
        pages::write(page, EvtchnBindVcpu { port, vcpu });
        op(EvtchnOp::BIND_VCPU, page)
    };
    same(
        "ports for bind_vcpu",
        (
            alloc_unbound(DomId::SELF),
            bind_ipi(0),
            bind_virq(Virq::TIMER, 0),
            bind_virq(Virq::CONSOLE, 0),
        ),
        (Ok(1), Ok(2), Ok(3), Ok(4)),
    );
    number("bind_vcpu of unbound", bind(1, 0), 0);
    error("bind_vcpu of ipi", bind(2, 0), Errno::EINVAL);
    error("bind_vcpu of a vcpu's virq", bind(3, 0), Errno::EINVAL);
    number("bind_vcpu of a global virq", bind(4, 0), 0);
    error("bind_vcpu of closed", bind(5, 0), Errno::EINVAL);
    error("bind_vcpu of port 0", bind(0, 0), Errno::EINVAL);
    error("bind_vcpu to no vcpu", bind(1, 1), Errno::ENOENT);
    error("bind_vcpu of no port", bind(4096, 0), Errno::EINVAL);
    error(
        "bind_vcpu of no port to no vcpu",
        bind(4096, 1),
        Errno::ENOENT,
    );
    for port in 1..=4 {
        same(
            format_args!("close {port} behind bind_vcpu"),
            close(port),
            Ok(()),
        );
    }
}

fn others() {
    for port in [0, 1, 4095, 4096, 0xffff_ffff] {
        same(
            format_args!("close of {port:#x}"),
            close(port),
            Err(Errno::EINVAL),
        );
        same(
            format_args!("send to {port:#x}"),
            send(port),
            Err(Errno::EINVAL),
        );
    }
    same("status of port 0", state(0), Ok(EvtchnStat::CLOSED));
    same("status of port 4096", state(4096), Err(Errno::EINVAL));
    same(
        "status of port 0xffffffff",
        state(u32::MAX),
        Err(Errno::EINVAL),
    );
    same("unmask of 4096", unmask(4096), Err(Errno::EINVAL));
    let page = pages::take();
    pages::write(page, 0_u64);
    pages::write(page + 8, 0_u64);
    error(
        "expand_array without queues",
        op(EvtchnOp::EXPAND_ARRAY, page),
        Errno::EOPNOTSUPP,
    );
    let port = bind_ipi(0).unwrap_or(0);
    pages::write(page, u64::from(port) | 3 << 32);
    error(
        "set_priority without queues",
        op(EvtchnOp::SET_PRIORITY, page),
        Errno::ENOSYS,
    );
    pages::write(page, u64::from(port) | 16 << 32);
    error(
        "set_priority 16 without queues",
        op(EvtchnOp::SET_PRIORITY, page),
        Errno::ENOSYS,
    );
    same("close the ipi", close(port), Ok(()));
    for pirq in [0x1_0000_u32, u32::MAX] {
        pages::write(page, u64::from(pirq));
        error(
            format_args!("bind_pirq {pirq:#x}"),
            op(EvtchnOp::BIND_PIRQ, page),
            Errno::EINVAL,
        );
    }
}

/// Ports are handed out from the lowest, and all are closed by a reset.
fn numbers() {
    let wrong = (1..200).filter(|&port| bind_ipi(0) != Ok(port)).count();
    same("199 ports in order", wrong, 0);
    let page = pages::take();
    pages::write(page, 0x7ff0_u16);
    number("reset", op(EvtchnOp::RESET, page), 0);
    let open = (1..200)
        .filter(|&port| state(port) != Ok(EvtchnStat::CLOSED))
        .count();
    same("reset closes all", open, 0);
    pages::write(page, 0_u16);
    number("reset by the own number", op(EvtchnOp::RESET, page), 0);
    same("first port again", bind_ipi(0), Ok(1));
    same("close it", close(1), Ok(()));
}
