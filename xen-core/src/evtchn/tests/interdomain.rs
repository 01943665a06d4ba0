//! Channels between two domains.

use hypercall_abi::errno::Errno;
use hypercall_abi::xen::DomId;

use super::{domain, take_upcall};
use crate::evtchn::Binding;
use crate::num::{Port, VcpuId};
use crate::sim::world;

#[test]
fn both_ends_hear_each_other_and_the_new_end_hears_at_once() {
    let hv = world();
    let (back, front) = (domain(&hv, 0), domain(&hv, 1));
    let front_port = hv.alloc_unbound(&front, back.id).expect("port");
    hv.alloc_unbound(&back, DomId(9)).expect("port");
    let back_port = hv
        .bind_interdomain(&back, &front, front_port)
        .expect("bind");
    assert_eq!(back_port, Port(2));
    assert!(hv.event_pending_for_poll(&back, back_port));
    assert!(take_upcall(&hv, &back, 0));
    assert!(!take_upcall(&hv, &front, 0));
    hv.send_event(&back, back_port).expect("send");
    assert!(hv.event_pending_for_poll(&front, front_port));
    assert!(take_upcall(&hv, &front, 0));
    hv.close_port(&back, back_port).expect("close");
    // The other end waits for the same domain again, and swallows events.
    let status = hv.port_status(&front, front_port).expect("status");
    assert!(matches!(status.binding, Binding::Unbound { remote } if remote == back.id));
    assert_eq!(hv.send_event(&front, front_port), Ok(()));
    assert!(!hv.event_pending_for_poll(&back, back_port));
    let again = hv
        .bind_interdomain(&back, &front, front_port)
        .expect("bind");
    hv.close_port(&front, front_port).expect("close");
    let status = hv.port_status(&back, again).expect("status");
    assert!(matches!(status.binding, Binding::Unbound { remote } if remote == front.id));
}

#[test]
fn a_domain_can_connect_to_itself() {
    let hv = world();
    let dom0 = domain(&hv, 0);
    let one = hv.alloc_unbound(&dom0, dom0.id).expect("port");
    let two = hv.bind_interdomain(&dom0, &dom0, one).expect("bind");
    assert_ne!(one, two);
    hv.bind_vcpu(&dom0, one, VcpuId(1)).expect("move");
    hv.send_event(&dom0, two).expect("send");
    assert!(hv.event_pending_for_poll(&dom0, one));
    assert!(take_upcall(&hv, &dom0, 1));
    hv.close_port(&dom0, one).expect("close");
    let status = hv.port_status(&dom0, two).expect("status");
    assert!(matches!(status.binding, Binding::Unbound { remote } if remote == dom0.id));
    hv.close_port(&dom0, two).expect("close");
}

#[test]
fn only_who_is_waited_for_can_connect() {
    let hv = world();
    let (a, b, c) = (domain(&hv, 1), domain(&hv, 2), domain(&hv, 3));
    let port = hv.alloc_unbound(&a, b.id).expect("port");
    let ipi = hv.bind_ipi(&a, VcpuId(0)).expect("port");
    for remote in [port, ipi, Port(0), Port(9), Port(64), Port(u32::MAX)] {
        assert_eq!(hv.bind_interdomain(&c, &a, remote), Err(Errno::EINVAL));
    }
    // Nothing was left behind by the refusals.
    assert_eq!(hv.bind_ipi(&c, VcpuId(0)), Ok(Port(1)));
    hv.bind_interdomain(&b, &a, port).expect("bind");
    assert_eq!(hv.bind_interdomain(&b, &a, port), Err(Errno::EINVAL));
}

#[test]
fn a_domain_that_ends_leaves_its_peers_unbound() {
    let hv = world();
    let (a, b) = (domain(&hv, 1), domain(&hv, 2));
    let mut ports = std::vec::Vec::new();
    for _ in 0..200 {
        let port = hv.alloc_unbound(&a, b.id).expect("port");
        ports.push((port, hv.bind_interdomain(&b, &a, port).expect("bind")));
    }
    hv.machine.yield_after(Some(1));
    assert!(hv.destroy_events(&a).is_err());
    assert_eq!(hv.alloc_unbound(&a, b.id), Err(Errno::EINVAL));
    hv.machine.yield_after(None);
    hv.destroy_events(&a).expect("end");
    for (_, port) in ports {
        let status = hv.port_status(&b, port).expect("status");
        assert!(matches!(status.binding, Binding::Unbound { remote } if remote == a.id));
        assert_eq!(hv.send_event(&b, port), Ok(()));
    }
}

#[test]
fn opposite_operations_on_two_processors_end() {
    let hv = std::sync::Arc::new(world());
    let (a, b) = (domain(&hv, 1), domain(&hv, 2));
    std::thread::scope(|scope| {
        for (own, other) in [(&a, &b), (&b, &a)] {
            let hv = hv.clone();
            scope.spawn(move || {
                for _ in 0..2000 {
                    let port = hv.alloc_unbound(own, other.id).expect("port");
                    let _ = hv.bind_interdomain(own, other, Port(1 + port.0 % 4));
                    let _ = hv.send_event(own, port);
                    let _ = hv.close_port(own, Port(1 + port.0 % 5));
                    let _ = hv.close_port(own, port);
                }
            });
        }
    });
    for (own, other) in [(&a, &b), (&b, &a)] {
        for port in 1..own.events.valid_ports() {
            let Ok(status) = hv.port_status(own, Port(port)) else {
                continue;
            };
            if let Binding::Interdomain(peer) = status.binding {
                let far = hv.port_status(other, peer.port).expect("peer");
                assert!(far.binding.is_connected_to(own.id, Port(port)));
            }
        }
    }
}

extern crate std;
