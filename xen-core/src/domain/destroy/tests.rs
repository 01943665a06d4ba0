//! Every page of a domain comes back, at whatever stage of its life it is destroyed and whoever still uses its pages.

extern crate std;

use std::sync::Arc;
use std::vec::Vec;

use hypercall_abi::event_channel::{EvtchnAllocUnbound, EvtchnBindInterdomain, EvtchnOp};
use hypercall_abi::vcpu::{VcpuOp, VcpuRegisterVcpuInfo};
use hypercall_abi::xen::{DomId, HypercallNr, MmuextCmd, Virq};
use zerocopy::FromZeros;

use crate::domain::{Domain, Ending, Privileges, VcpuFlags};
use crate::hypervisor::Hypervisor;
use crate::num::{Pfn, Port, VcpuId};
use crate::outcome::Stop;
use crate::sim::{PvGuest, SimMachine, audit, new_domain, world};

type Hv = Hypervisor<SimMachine>;

/// Destroys a domain as often as it takes, and says how often that was.
fn destroy(hv: &Hv, domain: &Arc<Domain>) -> u32 {
    let mut calls = 1;
    while let Err(stop) = hv.destroy(domain) {
        assert_eq!(stop, Stop::Preempted);
        calls += 1;
    }
    calls
}

fn exists(hv: &Hv, id: u16) -> bool {
    hv.forget_dead();
    hv.domains.get(DomId(id)).is_some()
}

#[test]
fn a_domain_that_has_done_nothing_leaves_nothing() {
    let hv = world();
    let free = hv.mem.free_pages();
    let domain = new_domain(&hv, DomId(3), Privileges::default());
    assert_eq!(destroy(&hv, &domain), 1);
    assert!(domain.ending.lock().dead);
    // Whoever looks at it keeps it.
    assert!(exists(&hv, 3));
    drop(domain);
    assert!(!exists(&hv, 3));
    assert_eq!(hv.mem.free_pages(), free);
    assert!(hv.mem.account(DomId(3)).is_none());
}

#[test]
fn all_that_a_guest_can_hold_comes_back_in_steps() {
    let hv = world();
    let free = hv.mem.free_pages();
    let mut guest = PvGuest::unprivileged(&hv, 3, 200);
    // Pinned tables, a descriptor table, a registered place for vcpu_info, timers, ports, a second vCPU.
    for pfn in (10..14).map(Pfn) {
        assert_eq!(guest.remap(&hv, pfn, false, true), 0);
        assert_eq!(
            guest.ext(&hv, MmuextCmd::PIN_L1_TABLE, guest.mfn(pfn).0, 0),
            0
        );
    }
    assert_eq!(guest.remap(&hv, Pfn(15), false, true), 0);
    let list = guest.put(&hv, Pfn(16), &guest.mfn(Pfn(15)).0);
    assert_eq!(
        guest.hypercall(&hv, HypercallNr::SET_GDT, [list, 16, 0, 0, 0, 0]),
        0
    );
    let second = hv.create_vcpu(&guest.domain, VcpuId(1));
    for id in 0..2u64 {
        let mut arg = VcpuRegisterVcpuInfo::new_zeroed();
        arg.mfn = guest.mfn(Pfn(20 + id)).0;
        let at = guest.put(&hv, Pfn(17), &arg);
        let call = [u64::from(VcpuOp::REGISTER_VCPU_INFO.0), id, at, 0, 0, 0];
        assert_eq!(guest.hypercall(&hv, HypercallNr::VCPU_OP, call), 0);
    }
    hv.set_singleshot(&second, u64::MAX / 4);
    hv.set_poll_timeout(&second, u64::MAX / 4);
    for _ in 0..300 {
        hv.alloc_unbound(&guest.domain, DomId(0)).unwrap();
    }
    let domain = guest.park(&hv);
    drop(second);
    hv.machine.yield_after(Some(3));
    let mut calls = 0;
    while hv.destroy(&domain).is_err() {
        calls += 1;
        hv.machine.yield_after(Some(3));
        assert!(calls < 10_000);
        assert!(!domain.ending.lock().dead);
    }
    assert!(calls > 2, "{calls}");
    hv.machine.yield_after(None);
    assert_eq!(domain.pages.total_pages(), 0);
    drop(domain);
    assert!(!exists(&hv, 3));
    assert_eq!(hv.mem.free_pages(), free);
    assert_eq!(hv.timers.armed_on(crate::num::CpuId(0)), 0);
    audit(&hv, &[]);
}

#[test]
fn a_half_set_context_is_waited_for() {
    let hv = world();
    let guest = PvGuest::unprivileged(&hv, 3, 64);
    let domain = guest.park(&hv);
    let vcpu = domain.vcpu(VcpuId(0)).unwrap().clone();
    let ctx = vcpu.parked.lock().take();
    assert_eq!(hv.destroy(&domain), Err(Stop::Preempted));
    assert!(!domain.ending.lock().dead);
    *vcpu.parked.lock() = ctx;
    assert_eq!(hv.destroy(&domain), Ok(()));
}

#[test]
fn a_running_domain_is_stopped_first() {
    let hv = world();
    let guest = PvGuest::unprivileged(&hv, 3, 64);
    let domain = guest.domain.clone();
    assert_eq!(hv.destroy(&domain), Err(Stop::Preempted));
    assert_eq!(*domain.ending.lock(), Ending::default());
    assert!(guest.vcpu.flags().contains(VcpuFlags::PAUSED));
    let _ = guest.park(&hv);
    assert_eq!(hv.destroy(&domain), Ok(()));
    // It does not come back to life.
    assert!(hv.unpause(&domain).is_err());
    assert!(!domain.vcpu(VcpuId(0)).unwrap().is_runnable());
}

#[test]
fn pages_that_others_use_keep_the_domain_and_nothing_else() {
    let hv = world();
    let mut dom0 = PvGuest::dom0(&hv, 64);
    let free = hv.mem.free_pages();
    let guest = PvGuest::unprivileged(&hv, 3, 64);
    let page = hv.mem.get_page(guest.mfn(Pfn(5)), DomId(3)).unwrap();
    let shared = hv.mem.get_page(guest.domain.shared_info, DomId(3)).unwrap();
    let domain = guest.park(&hv);
    destroy(&hv, &domain);
    drop(domain);
    assert!(exists(&hv, 3));
    assert_eq!(hv.mem.free_pages(), free - 2);
    let stopped = bind_dom_exc(&hv, &mut dom0);
    drop(page);
    assert!(exists(&hv, 3));
    assert!(!hv.event_pending_for_poll(&dom0.domain, stopped));
    drop(shared);
    assert!(!exists(&hv, 3));
    assert!(hv.event_pending_for_poll(&dom0.domain, stopped));
    assert_eq!(hv.mem.free_pages(), free);
}

fn bind_dom_exc(hv: &Hv, dom0: &mut PvGuest) -> Port {
    hv.bind_virq(&dom0.domain, Virq::DOM_EXC, VcpuId(0))
        .expect("free")
}

#[test]
fn the_other_end_of_a_channel_is_left_unbound() {
    let hv = world();
    let mut dom0 = PvGuest::dom0(&hv, 64);
    let mut guest = PvGuest::unprivileged(&hv, 3, 64);
    let mut arg = EvtchnAllocUnbound::new_zeroed();
    (arg.dom, arg.remote_dom) = (DomId::SELF, DomId(0));
    let at = guest.put(&hv, Pfn(1), &arg);
    let nr = HypercallNr::EVENT_CHANNEL_OP;
    let op = EvtchnOp::ALLOC_UNBOUND.0.into();
    assert_eq!(guest.hypercall(&hv, nr, [op, at, 0, 0, 0, 0]), 0);
    let mut arg = EvtchnBindInterdomain::new_zeroed();
    (arg.remote_dom, arg.remote_port) = (DomId(3), 1);
    let at = dom0.put(&hv, Pfn(1), &arg);
    let op = EvtchnOp::BIND_INTERDOMAIN.0.into();
    assert_eq!(dom0.hypercall(&hv, nr, [op, at, 0, 0, 0, 0]), 0);
    let domain = guest.park(&hv);
    destroy(&hv, &domain);
    drop(domain);
    assert!(!exists(&hv, 3));
    // Sending into the void is no error, and another domain of that number is not its heir.
    assert_eq!(hv.send_event(&dom0.domain, Port(1)), Ok(()));
    let _again = PvGuest::unprivileged(&hv, 3, 64);
    assert_eq!(hv.send_event(&dom0.domain, Port(1)), Ok(()));
}

#[test]
fn a_new_vcpu_of_a_paused_domain_is_paused() {
    let hv = world();
    let guest = PvGuest::unprivileged(&hv, 3, 64);
    let domain = guest.park(&hv);
    hv.pause(&domain).unwrap();
    let vcpu = hv.create_vcpu(&domain, VcpuId(1));
    assert!(vcpu.flags().contains(VcpuFlags::PAUSED));
    hv.unpause(&domain).unwrap();
    assert!(!vcpu.flags().contains(VcpuFlags::PAUSED));
    hv.shut_down(&domain, 1);
    let late = hv.create_vcpu(&domain, VcpuId(2));
    assert!(late.flags().contains(VcpuFlags::SHUTDOWN));
    hv.resume(&domain).unwrap();
    assert!(!late.flags().contains(VcpuFlags::SHUTDOWN));
    assert_eq!(domain.ending.lock().shutdown, None);
}

#[test]
fn numbers_are_not_given_out_again_at_once() {
    let hv = world();
    let table = &hv.domains;
    let ids: Vec<_> = (0..3).map(|_| table.next_id().unwrap().0).collect();
    assert_eq!(ids, [1, 2, 3]);
    let _guest = PvGuest::unprivileged(&hv, 4, 64);
    assert_eq!(table.next_id(), Some(DomId(5)));
    for id in 6..DomId::FIRST_RESERVED.0 {
        assert_eq!(table.next_id(), Some(DomId(id)));
    }
    assert_eq!(table.next_id(), Some(DomId(1)));
}
