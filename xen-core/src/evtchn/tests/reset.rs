//! EVTCHNOP_reset.

use hypercall_abi::errno::Errno;
use hypercall_abi::xen::{DomId, Virq};

use super::fifo_guest::FifoGuest;
use super::{VCPUS, domain};
use crate::evtchn::Binding;
use crate::num::{Port, VcpuId};
use crate::outcome::Stop;
use crate::sim::world;

#[test]
fn a_reset_closes_everything_and_returns_to_two_level() {
    let hv = world();
    let guest = domain(&hv, 1);
    let mut fifo = FifoGuest::new(&hv, guest.clone(), VCPUS);
    fifo.expand(&hv);
    hv.bind_virq(&guest, Virq::TIMER, VcpuId(0)).expect("port");
    hv.alloc_unbound(&guest, DomId(2)).expect("port");
    let ipi = hv.bind_ipi(&guest, VcpuId(1)).expect("port");
    fifo.unmask(&hv, ipi);
    hv.send_event(&guest, ipi).expect("send");
    hv.reset_events(&guest, false).expect("reset");
    for port in 1..guest.events.valid_ports() {
        assert!(matches!(
            hv.port_status(&guest, Port(port)).expect("status").binding,
            Binding::Free
        ));
    }
    assert_eq!(
        hv.expand_array(&guest, fifo.array[0]),
        Err(Errno::EOPNOTSUPP)
    );
    assert_eq!(hv.bind_virq(&guest, Virq::TIMER, VcpuId(0)), Ok(Port(1)));
    assert_eq!(hv.set_port_priority(&guest, Port(1), 0), Err(Errno::ENOSYS));
    // The pages are the guest's again, and a second life of the format works.
    let mut again = FifoGuest::new(&hv, guest.clone(), VCPUS);
    again.expand(&hv);
    let port = hv.bind_ipi(&guest, VcpuId(2)).expect("port");
    again.unmask(&hv, port);
    hv.send_event(&guest, port).expect("send");
    assert_eq!(again.consume(&hv, 2), [port]);
}

#[test]
fn a_preempted_reset_goes_on_where_it_stopped_and_is_the_only_one() {
    let hv = world();
    let guest = domain(&hv, 1);
    for _ in 0..300 {
        hv.alloc_unbound(&guest, DomId(2)).expect("port");
    }
    assert_eq!(hv.reset_events(&guest, true), Err(Stop::Fail(Errno::EBUSY)));
    hv.machine.yield_after(Some(1));
    assert_eq!(hv.reset_events(&guest, false), Err(Stop::Preempted));
    assert_eq!(
        hv.reset_events(&guest, false),
        Err(Stop::Fail(Errno::EBUSY))
    );
    assert!(matches!(
        hv.port_status(&guest, Port(10)).expect("status").binding,
        Binding::Free
    ));
    assert!(matches!(
        hv.port_status(&guest, Port(290)).expect("status").binding,
        Binding::Unbound { .. }
    ));
    hv.machine.yield_after(None);
    assert_eq!(hv.reset_events(&guest, true), Ok(()));
    assert_eq!(guest.events.lock().active(), 0);
    assert_eq!(hv.reset_events(&guest, false), Ok(()));
}

#[test]
fn ports_bound_during_a_reset_are_reported() {
    let hv = world();
    let guest = domain(&hv, 1);
    for _ in 0..300 {
        hv.alloc_unbound(&guest, DomId(2)).expect("port");
    }
    hv.machine.yield_after(Some(1));
    assert_eq!(hv.reset_events(&guest, false), Err(Stop::Preempted));
    hv.machine.yield_after(None);
    assert_eq!(hv.bind_ipi(&guest, VcpuId(0)), Ok(Port(1)));
    assert_eq!(
        hv.reset_events(&guest, true),
        Err(Stop::Fail(Errno::EAGAIN))
    );
    assert_eq!(hv.reset_events(&guest, false), Ok(()));
}

#[test]
fn the_end_of_a_domain_closes_what_was_bound_behind_a_reset_that_never_ended() {
    let hv = world();
    let back = domain(&hv, 0);
    let guest = domain(&hv, 1);
    for _ in 0..300 {
        hv.alloc_unbound(&guest, DomId(2)).expect("port");
    }
    hv.machine.yield_after(Some(1));
    assert_eq!(hv.reset_events(&guest, false), Err(Stop::Preempted));
    hv.machine.yield_after(None);
    let offer = hv.alloc_unbound(&back, guest.id).expect("port");
    let behind = hv
        .bind_interdomain(&guest, &back, offer)
        .expect("connection");
    assert_eq!(behind, Port(1));
    hv.destroy_events(&guest).expect("end");
    assert_eq!(guest.events.lock().active(), 0);
    let left = hv.port_status(&back, offer).expect("status").binding;
    assert!(matches!(left, Binding::Unbound { remote } if remote == guest.id));
}
