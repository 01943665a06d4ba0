//! The FIFO format against a naive model: a set of ports with an event that nobody has handled.

extern crate std;

use std::collections::BTreeSet;
use std::vec::Vec;

use hypercall_abi::errno::Errno;
use proptest::prelude::*;

use super::fifo_guest::{CONTROL_OFFSET, FifoGuest, page};
use super::{VCPUS, domain, sleep, sleeps};
use crate::mm::audit::Holders;
use crate::num::{Port, VcpuId};
use crate::sim::world;

#[derive(Clone, Debug)]
enum Step {
    Send(usize),
    Mask(usize),
    Unmask(usize),
    Consume(u32),
    Move(usize, u32),
    Priority(usize, u32),
    Rebind(usize),
}

fn step(ports: usize) -> impl Strategy<Value = Step> {
    let port = 0..ports;
    prop_oneof![
        6 => port.clone().prop_map(Step::Send),
        2 => port.clone().prop_map(Step::Mask),
        3 => port.clone().prop_map(Step::Unmask),
        4 => (0..VCPUS).prop_map(Step::Consume),
        1 => (port.clone(), 0..VCPUS).prop_map(|(port, vcpu)| Step::Move(port, vcpu)),
        1 => (port.clone(), 0..16u32).prop_map(|(port, priority)| Step::Priority(port, priority)),
        1 => port.prop_map(Step::Rebind),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: crate::sim::cases(200), ..ProptestConfig::default() })]

    #[test]
    fn no_event_is_lost_and_none_invented(steps in proptest::collection::vec(step(6), 1..150)) {
        let hv = world();
        let (sender, receiver) = (domain(&hv, 1), domain(&hv, 2));
        let mut guest = FifoGuest::new(&hv, receiver.clone(), VCPUS);
        guest.expand(&hv);
        let bind = |guest: &FifoGuest| {
            let port = hv.alloc_unbound(&receiver, sender.id).expect("port");
            let far = hv.bind_interdomain(&sender, &receiver, port).expect("bind");
            guest.unmask(&hv, port);
            (port, far)
        };
        let mut ports: Vec<(Port, Port)> = (0..6).map(|_| bind(&guest)).collect();
        let mut waiting = BTreeSet::new();
        for step in steps {
            match step {
                Step::Send(i) => {
                    hv.send_event(&sender, ports[i].1).expect("send");
                    waiting.insert(ports[i].0);
                }
                Step::Mask(i) => guest.mask(&hv, ports[i].0),
                Step::Unmask(i) => guest.unmask(&hv, ports[i].0),
                Step::Move(i, vcpu) => hv.bind_vcpu(&receiver, ports[i].0, VcpuId(vcpu)).expect("move"),
                Step::Priority(i, priority) => {
                    hv.set_port_priority(&receiver, ports[i].0, priority).expect("priority");
                }
                Step::Rebind(i) => {
                    hv.close_port(&receiver, ports[i].0).expect("close");
                    hv.close_port(&sender, ports[i].1).expect("close");
                    waiting.remove(&ports[i].0);
                    ports[i] = bind(&guest);
                    prop_assert!(!waiting.contains(&ports[i].0));
                }
                Step::Consume(vcpu) => {
                    for port in guest.consume(&hv, vcpu) {
                        prop_assert!(waiting.remove(&port), "{port:?} was handled without an event");
                    }
                }
            }
        }
        for (port, _) in &ports {
            guest.unmask(&hv, *port);
        }
        for vcpu in 0..VCPUS {
            for port in guest.consume(&hv, vcpu) {
                prop_assert!(waiting.remove(&port), "{port:?} was handled without an event");
            }
        }
        prop_assert!(waiting.is_empty(), "lost: {waiting:?}");
    }
}

#[test]
fn higher_priorities_are_handled_first() {
    let hv = world();
    let receiver = domain(&hv, 1);
    let mut guest = FifoGuest::new(&hv, receiver.clone(), 1);
    guest.expand(&hv);
    let ports: Vec<Port> = (0..3)
        .map(|_| hv.bind_ipi(&receiver, VcpuId(0)).expect("port"))
        .collect();
    for (port, priority) in ports.iter().zip([15, 7, 0]) {
        guest.unmask(&hv, *port);
        hv.set_port_priority(&receiver, *port, priority)
            .expect("priority");
        hv.send_event(&receiver, *port).expect("send");
    }
    let handled = guest.consume(&hv, 0);
    assert_eq!(handled, [ports[2], ports[1], ports[0]]);
    assert_eq!(
        hv.set_port_priority(&receiver, ports[0], 16),
        Err(Errno::EINVAL)
    );
    assert_eq!(
        hv.set_port_priority(&receiver, Port(9), 1),
        Err(Errno::EACCES)
    );
    assert_eq!(
        hv.set_port_priority(&receiver, Port(999), 1),
        Err(Errno::EINVAL)
    );
}

#[test]
fn what_is_pending_in_the_two_level_format_is_carried_over() {
    let hv = world();
    let receiver = domain(&hv, 1);
    let pending = hv.bind_ipi(&receiver, VcpuId(1)).expect("port");
    let quiet = hv.bind_ipi(&receiver, VcpuId(1)).expect("port");
    let later = hv.bind_ipi(&receiver, VcpuId(1)).expect("port");
    hv.send_event(&receiver, pending).expect("send");
    super::take_upcall(&hv, &receiver, 1);
    let mut guest = FifoGuest::new(&hv, receiver.clone(), 2);
    assert!(hv.event_pending_for_poll(&receiver, pending));
    // No word yet: kept, and pollers wake.
    sleep(&receiver, 0, &[later]);
    hv.send_event(&receiver, later).expect("send");
    assert!(!sleeps(&receiver, 0));
    guest.expand(&hv);
    for port in [pending, quiet, later] {
        guest.unmask(&hv, port);
    }
    assert_eq!(guest.consume(&hv, 1), [pending, later]);
}

#[test]
fn an_unmasked_page_raises_what_is_owed_at_once() {
    let hv = world();
    let receiver = domain(&hv, 1);
    let mut guest = FifoGuest::new(&hv, receiver.clone(), 1);
    let port = hv.bind_ipi(&receiver, VcpuId(0)).expect("port");
    hv.send_event(&receiver, port).expect("send");
    assert!(!super::take_upcall(&hv, &receiver, 0));
    // A page of zeroes: nothing is masked.
    let frame = page(&hv, &receiver);
    guest.array.push(frame);
    hv.expand_array(&receiver, frame).expect("array page");
    assert_eq!(guest.consume(&hv, 0), [port]);
}

#[test]
fn an_event_for_a_vcpu_without_control_block_stays_pending() {
    let hv = world();
    let receiver = domain(&hv, 1);
    let mut guest = FifoGuest::new(&hv, receiver.clone(), 1);
    guest.expand(&hv);
    let port = hv.bind_ipi(&receiver, VcpuId(2)).expect("port");
    guest.unmask(&hv, port);
    hv.send_event(&receiver, port).expect("send");
    assert!(hv.event_pending_for_poll(&receiver, port));
    assert!(!super::take_upcall(&hv, &receiver, 2));
    let frame = page(&hv, &receiver);
    hv.init_control(&receiver, VcpuId(2), frame, CONTROL_OFFSET)
        .expect("control block");
    guest.control.insert(2, frame);
    hv.unmask_event(&receiver, port).expect("unmask");
    assert_eq!(guest.consume(&hv, 2), [port]);
}

#[test]
fn bad_control_blocks_and_pages_are_refused() {
    let hv = world();
    let receiver = domain(&hv, 1);
    let other = domain(&hv, 2);
    for domain in [&receiver, &other] {
        domain.pages.set_max_pages(400);
    }
    let (own, foreign) = (page(&hv, &receiver), page(&hv, &other));
    let init = |vcpu, frame, offset| hv.init_control(&receiver, VcpuId(vcpu), frame, offset);
    assert_eq!(hv.expand_array(&receiver, own), Err(Errno::EOPNOTSUPP));
    assert_eq!(init(VCPUS, own, 0), Err(Errno::ENOENT));
    assert_eq!(init(0, own, 4096 - 64), Err(Errno::EINVAL));
    assert_eq!(init(0, own, u32::MAX - 7), Err(Errno::EINVAL));
    assert_eq!(init(0, own, 4), Err(Errno::EINVAL));
    assert_eq!(init(0, foreign, 0), Err(Errno::EINVAL));
    assert_eq!(init(0, crate::num::Mfn(u64::MAX), 0), Err(Errno::EINVAL));
    // Still in the 2-level format.
    assert_eq!(hv.expand_array(&receiver, own), Err(Errno::EOPNOTSUPP));
    assert_eq!(init(0, own, 4096 - 72), Ok(()));
    assert_eq!(init(0, own, 0), Err(Errno::EINVAL));
    assert_eq!(init(1, own, 0), Ok(()));
    assert_eq!(hv.expand_array(&receiver, foreign), Err(Errno::EINVAL));
    for _ in 0..128 {
        assert_eq!(hv.expand_array(&receiver, page(&hv, &receiver)), Ok(()));
    }
    assert_eq!(hv.expand_array(&receiver, own), Err(Errno::ENOSPC));
    hv.destroy_events(&receiver).expect("end");
    // Every page is free of the format's references: one can be taken as a table again.
    let faults = hv.mem.audit(&hv.machine, &Holders::default()).faults;
    assert!(faults.is_empty(), "{faults:#?}");
}
