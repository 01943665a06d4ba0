//! Event channels on the simulated machine.

extern crate std;

mod fifo_guest;
mod fifo_hostile;
mod fifo_model;
mod interdomain;
mod ports;
mod reset;
mod two_level;

use std::sync::Arc;

use hypercall_abi::xen::DomId;

use crate::domain::{Domain, DomainConfig, Privileges, Vcpu, VcpuFlags};
use crate::hypervisor::Hypervisor;
use crate::num::{CpuId, Port, VcpuId};
use crate::sim::{SimMachine, world};

/// Highest port of the domains here.
const MAX_PORT: u32 = 2047;
const VCPUS: u32 = 3;

type World = Hypervisor<SimMachine>;

fn domain(hv: &World, id: u16) -> Arc<Domain> {
    limited_domain(hv, id, MAX_PORT)
}

fn limited_domain(hv: &World, id: u16, max_evtchn_port: u32) -> Arc<Domain> {
    let domain = hv
        .create_domain(DomainConfig {
            id: DomId(id),
            privileges: Privileges {
                control: id == 0,
                hardware: id == 0,
                xenstore: false,
            },
            max_vcpus: VCPUS + 1,
            max_evtchn_port,
            max_grant_frames: 1,
            max_maptrack_frames: 1,
            cpu_policy: hv.policies.hardware_domain(),
            handle: [0; 16],
            ssidref: 0,
            paused: false,
            hvm: None,
        })
        .expect("new domain");
    for vcpu in 0..VCPUS {
        hv.create_vcpu(&domain, VcpuId(vcpu));
    }
    domain
}

fn vcpu(domain: &Domain, id: u32) -> &Arc<Vcpu> {
    domain.vcpu(VcpuId(id)).expect("vCPU")
}

/// Whether the vCPU was told of events; clears that, as a guest does.
fn take_upcall(hv: &World, domain: &Domain, id: u32) -> bool {
    let info = vcpu(domain, id).info().expect("vcpu_info");
    let pending = info.upcall_pending(&hv.machine);
    let [word, ..] = info.all_words(&hv.machine);
    word.fetch_and(!0xff, core::sync::atomic::Ordering::SeqCst);
    pending
}

/// Lets a vCPU wait as SCHEDOP_block or, with ports, SCHEDOP_poll does.
fn sleep(domain: &Domain, id: u32, ports: &[Port]) {
    let vcpu = vcpu(domain, id);
    vcpu.clear_flags(VcpuFlags::DOWN);
    vcpu.poll.lock().ports = ports.to_vec();
    let polling = if ports.is_empty() {
        VcpuFlags::empty()
    } else {
        VcpuFlags::POLLING
    };
    vcpu.set_flags(VcpuFlags::BLOCKED | polling);
}

fn sleeps(domain: &Domain, id: u32) -> bool {
    vcpu(domain, id).flags().contains(VcpuFlags::BLOCKED)
}

#[test]
fn a_running_vcpu_on_another_processor_is_kicked() {
    let hv = crate::sim::world_with(crate::sim::SimConfig {
        cpus: 2,
        ..Default::default()
    });
    let guest = domain(&hv, 1);
    let port = hv.bind_ipi(&guest, VcpuId(1)).expect("port");
    vcpu(&guest, 1).clear_flags(VcpuFlags::DOWN);
    vcpu(&guest, 1).set_running(Some(CpuId(1)));
    hv.machine.take_kicked();
    hv.send_event(&guest, port).expect("send");
    assert!(hv.machine.take_kicked().contains(CpuId(1)));
}

#[test]
fn a_world_has_no_events_of_its_own() {
    let hv = world();
    let guest = domain(&hv, 1);
    assert!(!take_upcall(&hv, &guest, 0));
}
