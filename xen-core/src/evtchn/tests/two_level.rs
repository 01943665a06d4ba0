//! Delivery in the 2-level format, and waking.

use core::sync::atomic::Ordering;

use super::{World, domain, sleep, sleeps, take_upcall, vcpu};
use crate::domain::Domain;
use crate::num::{Port, VcpuId};
use crate::sim::world;

const PENDING: usize = 256;
const MASK: usize = 320;

fn word(hv: &World, guest: &Domain, first: usize, port: Port) -> u64 {
    use crate::machine::Frames;
    hv.machine.words(guest.shared_info)[first + port.0 as usize / 64].load(Ordering::SeqCst)
}

fn set_mask(hv: &World, guest: &Domain, port: Port) {
    use crate::machine::Frames;
    hv.machine.words(guest.shared_info)[MASK + port.0 as usize / 64]
        .fetch_or(1 << (port.0 % 64), Ordering::SeqCst);
}

fn selector(hv: &World, guest: &Domain, id: u32) -> u64 {
    vcpu(guest, id)
        .info()
        .expect("info")
        .pending_sel(&hv.machine)
        .load(Ordering::SeqCst)
}

/// A port whose events go to vCPU `id`, beyond the first word of bits.
fn high_port(hv: &World, guest: &std::sync::Arc<Domain>, id: u32) -> Port {
    for _ in 0..70 {
        hv.alloc_unbound(guest, guest.id).expect("port");
    }
    hv.bind_ipi(guest, VcpuId(id)).expect("port")
}

extern crate std;

#[test]
fn an_event_sets_the_bit_the_selector_and_the_upcall_and_wakes() {
    let hv = world();
    let guest = domain(&hv, 1);
    let port = high_port(&hv, &guest, 1);
    sleep(&guest, 1, &[]);
    sleep(&guest, 2, &[]);
    hv.send_event(&guest, port).expect("send");
    assert_eq!(word(&hv, &guest, PENDING, port), 1 << (port.0 % 64));
    assert_eq!(selector(&hv, &guest, 1), 2);
    assert_eq!(selector(&hv, &guest, 0), 0);
    assert!(!sleeps(&guest, 1));
    assert!(sleeps(&guest, 2));
    assert!(take_upcall(&hv, &guest, 1));
    assert!(!take_upcall(&hv, &guest, 0));
}

#[test]
fn a_pending_event_is_not_told_twice() {
    let hv = world();
    let guest = domain(&hv, 1);
    let port = high_port(&hv, &guest, 1);
    hv.send_event(&guest, port).expect("send");
    assert!(take_upcall(&hv, &guest, 1));
    hv.send_event(&guest, port).expect("send");
    assert!(!take_upcall(&hv, &guest, 1));
}

#[test]
fn a_masked_event_waits_and_unmasking_delivers_it_to_its_own_vcpu() {
    let hv = world();
    let guest = domain(&hv, 1);
    let port = high_port(&hv, &guest, 2);
    set_mask(&hv, &guest, port);
    sleep(&guest, 2, &[]);
    hv.send_event(&guest, port).expect("send");
    assert!(sleeps(&guest, 2));
    assert_eq!(selector(&hv, &guest, 2), 0);
    assert!(hv.event_masked(&guest, port));
    hv.unmask_event(&guest, port).expect("unmask");
    assert!(!hv.event_masked(&guest, port));
    assert!(!sleeps(&guest, 2));
    assert!(take_upcall(&hv, &guest, 2));
    // Not masked before: nothing happens.
    vcpu(&guest, 2)
        .info()
        .expect("info")
        .pending_sel(&hv.machine)
        .store(0, Ordering::SeqCst);
    hv.unmask_event(&guest, port).expect("unmask");
    assert_eq!(selector(&hv, &guest, 2), 0);
    assert!(!take_upcall(&hv, &guest, 2));
}

#[test]
fn pollers_wake_on_a_masked_port_of_theirs_and_no_other() {
    let hv = world();
    let guest = domain(&hv, 1);
    let port = hv.bind_ipi(&guest, VcpuId(0)).expect("port");
    let other = hv.bind_ipi(&guest, VcpuId(0)).expect("port");
    set_mask(&hv, &guest, port);
    sleep(&guest, 1, &[Port(77), port]);
    sleep(&guest, 2, &[other]);
    hv.send_event(&guest, port).expect("send");
    assert!(!sleeps(&guest, 1));
    assert!(sleeps(&guest, 2));
    assert!(hv.event_pending_for_poll(&guest, port));
    assert!(!hv.event_pending_for_poll(&guest, other));
}

#[test]
fn closing_forgets_what_is_pending() {
    let hv = world();
    let guest = domain(&hv, 1);
    let port = hv.bind_ipi(&guest, VcpuId(0)).expect("port");
    hv.send_event(&guest, port).expect("send");
    hv.close_port(&guest, port).expect("close");
    assert_eq!(word(&hv, &guest, PENDING, port), 0);
    let again = hv.bind_ipi(&guest, VcpuId(0)).expect("port");
    assert_eq!(again, port);
    assert!(!hv.event_pending_for_poll(&guest, port));
}
