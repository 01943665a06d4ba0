//! Binding: which port, which error.

use hypercall_abi::errno::Errno;
use hypercall_abi::xen::{DomId, Virq};

use super::{domain, limited_domain, take_upcall, vcpu};
use crate::evtchn::Binding;
use crate::num::{Port, VcpuId};
use crate::sim::world;

#[test]
fn the_lowest_free_port_is_given_and_port_0_never() {
    let hv = world();
    let guest = domain(&hv, 1);
    for expected in 1..=200 {
        assert_eq!(hv.alloc_unbound(&guest, DomId(2)), Ok(Port(expected)));
    }
    hv.close_port(&guest, Port(70)).expect("close");
    hv.close_port(&guest, Port(3)).expect("close");
    assert_eq!(hv.alloc_unbound(&guest, DomId(2)), Ok(Port(3)));
    assert_eq!(hv.alloc_unbound(&guest, DomId(2)), Ok(Port(70)));
    assert_eq!(hv.alloc_unbound(&guest, DomId(2)), Ok(Port(201)));
}

#[test]
fn the_limit_of_the_domain_is_inclusive() {
    let hv = world();
    let guest = limited_domain(&hv, 1, 5);
    for expected in 1..=5 {
        assert_eq!(hv.alloc_unbound(&guest, DomId(2)), Ok(Port(expected)));
    }
    assert_eq!(hv.alloc_unbound(&guest, DomId(2)), Err(Errno::ENOSPC));
}

#[test]
fn two_level_ends_at_4095() {
    let hv = world();
    let guest = limited_domain(&hv, 1, u32::MAX);
    for expected in 1..4096 {
        assert_eq!(hv.alloc_unbound(&guest, DomId(2)), Ok(Port(expected)));
    }
    assert_eq!(hv.alloc_unbound(&guest, DomId(2)), Err(Errno::ENOSPC));
}

#[test]
fn virqs_are_bound_once_per_vcpu_and_global_ones_on_vcpu_0() {
    let hv = world();
    let guest = domain(&hv, 1);
    assert_eq!(hv.bind_virq(&guest, Virq::TIMER, VcpuId(1)), Ok(Port(1)));
    assert_eq!(
        hv.bind_virq(&guest, Virq::TIMER, VcpuId(1)),
        Err(Errno::EEXIST)
    );
    assert_eq!(hv.bind_virq(&guest, Virq::TIMER, VcpuId(2)), Ok(Port(2)));
    assert_eq!(
        hv.bind_virq(&guest, Virq::CONSOLE, VcpuId(1)),
        Err(Errno::EINVAL)
    );
    assert_eq!(hv.bind_virq(&guest, Virq::CONSOLE, VcpuId(0)), Ok(Port(3)));
    assert_eq!(
        hv.bind_virq(&guest, Virq(24), VcpuId(0)),
        Err(Errno::EINVAL)
    );
    assert_eq!(
        hv.bind_virq(&guest, Virq(u32::MAX), VcpuId(0)),
        Err(Errno::EINVAL)
    );
    assert_eq!(
        hv.bind_virq(&guest, Virq::TIMER, VcpuId(3)),
        Err(Errno::ENOENT)
    );
    assert_eq!(
        hv.bind_virq(&guest, Virq::TIMER, VcpuId(u32::MAX)),
        Err(Errno::ENOENT)
    );
    hv.close_port(&guest, Port(1)).expect("close");
    assert_eq!(hv.bind_virq(&guest, Virq::TIMER, VcpuId(1)), Ok(Port(1)));
}

#[test]
fn a_virq_reaches_the_vcpu_it_is_of() {
    let hv = world();
    let guest = domain(&hv, 1);
    let port = hv.bind_virq(&guest, Virq::TIMER, VcpuId(2)).expect("port");
    hv.send_virq(vcpu(&guest, 1), Virq::TIMER);
    assert!(!hv.event_pending_for_poll(&guest, port));
    hv.send_virq(vcpu(&guest, 2), Virq::TIMER);
    assert!(hv.event_pending_for_poll(&guest, port));
    assert!(take_upcall(&hv, &guest, 2));
    assert!(!take_upcall(&hv, &guest, 1));
    assert_eq!(hv.send_event(&guest, port), Err(Errno::EINVAL));
}

#[test]
fn an_unbound_virq_is_dropped_and_not_remembered() {
    let hv = world();
    let guest = domain(&hv, 1);
    hv.send_virq(vcpu(&guest, 0), Virq::TIMER);
    let port = hv.bind_virq(&guest, Virq::TIMER, VcpuId(0)).expect("port");
    assert!(!hv.event_pending_for_poll(&guest, port));
}

#[test]
fn global_virqs_go_to_the_hardware_domain() {
    let hv = world();
    let dom0 = domain(&hv, 0);
    let guest = domain(&hv, 1);
    let port = hv.bind_virq(&dom0, Virq::DOM_EXC, VcpuId(0)).expect("port");
    let other = hv
        .bind_virq(&guest, Virq::DOM_EXC, VcpuId(0))
        .expect("port");
    hv.bind_vcpu(&dom0, port, VcpuId(1)).expect("move");
    hv.send_global_virq(Virq::DOM_EXC);
    assert!(hv.event_pending_for_poll(&dom0, port));
    assert!(!hv.event_pending_for_poll(&guest, other));
    assert!(take_upcall(&hv, &dom0, 1));
}

#[test]
fn only_ports_without_a_vcpu_of_their_own_can_be_moved() {
    let hv = world();
    let guest = domain(&hv, 1);
    let unbound = hv.alloc_unbound(&guest, DomId(2)).expect("port");
    let ipi = hv.bind_ipi(&guest, VcpuId(0)).expect("port");
    let timer = hv.bind_virq(&guest, Virq::TIMER, VcpuId(0)).expect("port");
    let console = hv
        .bind_virq(&guest, Virq::CONSOLE, VcpuId(0))
        .expect("port");
    assert_eq!(hv.bind_vcpu(&guest, unbound, VcpuId(2)), Ok(()));
    assert_eq!(hv.bind_vcpu(&guest, console, VcpuId(2)), Ok(()));
    assert_eq!(hv.bind_vcpu(&guest, ipi, VcpuId(2)), Err(Errno::EINVAL));
    assert_eq!(hv.bind_vcpu(&guest, timer, VcpuId(2)), Err(Errno::EINVAL));
    assert_eq!(hv.bind_vcpu(&guest, Port(9), VcpuId(2)), Err(Errno::EINVAL));
    assert_eq!(hv.bind_vcpu(&guest, Port(0), VcpuId(2)), Err(Errno::EINVAL));
    assert_eq!(
        hv.bind_vcpu(&guest, Port(u32::MAX), VcpuId(2)),
        Err(Errno::EINVAL)
    );
    assert_eq!(hv.bind_vcpu(&guest, unbound, VcpuId(3)), Err(Errno::ENOENT));
    assert_eq!(
        hv.port_status(&guest, unbound).expect("status").notify,
        VcpuId(2)
    );
}

#[test]
fn a_port_that_does_not_exist_is_refused_and_a_free_one_is_closed() {
    let hv = world();
    let guest = domain(&hv, 1);
    assert!(matches!(
        hv.port_status(&guest, Port(63)).expect("status").binding,
        Binding::Free
    ));
    assert_eq!(hv.port_status(&guest, Port(64)).err(), Some(Errno::EINVAL));
    for port in [Port(0), Port(5), Port(64), Port(u32::MAX)] {
        assert_eq!(hv.close_port(&guest, port), Err(Errno::EINVAL));
        assert_eq!(hv.send_event(&guest, port), Err(Errno::EINVAL));
    }
    assert!(hv.is_valid_port(&guest, Port(63)));
    assert!(!hv.is_valid_port(&guest, Port(64)));
    assert!(!hv.is_valid_port(&guest, Port(u32::MAX)));
}

#[test]
fn priority_is_a_matter_of_the_fifo_format() {
    let hv = world();
    let guest = domain(&hv, 1);
    let port = hv.alloc_unbound(&guest, DomId(2)).expect("port");
    assert_eq!(hv.set_port_priority(&guest, port, 0), Err(Errno::ENOSYS));
}
