//! A hypervisor on a simulated machine.

use std::boxed::Box;
use std::string::String;
use std::sync::Arc;
use std::vec::Vec;

use hypercall_abi::xen::DomId;

use super::{SimConfig, SimMachine};
use crate::boot::e820::E820Entry;
use crate::boot::firmware::FirmwareInfo;
use crate::boot::options::Options;
use crate::console::Console;
use crate::cpu_policy::CpuPolicies;
use crate::domain::{Domain, DomainConfig, DomainTable, Privileges, Vcpu};
use crate::hypervisor::Hypervisor;
use crate::irq::{self, IrqTable};
use crate::machine::{Cpus, Irqs, WallTime};
use crate::mce::Telemetry;
use crate::mm::{Memory, PageInfo};
use crate::num::{Mfn, VcpuId};
use crate::pm::PowerStates;
use crate::sched::{Scheduler, Settings};
use crate::sync::{Rank, RankedMutex};
use crate::time::Timers;

/// A hypervisor on the default machine.
#[must_use]
pub fn world() -> Hypervisor<SimMachine> {
    world_with(SimConfig::default())
}

/// The books of a simulated machine's memory, its allocatable frames handed over.
pub(super) fn memory(config: SimConfig) -> Memory {
    let mut frames = Vec::new();
    frames.resize_with(
        usize::try_from(config.frames).unwrap_or(0),
        PageInfo::default,
    );
    let mem = Memory::new(Box::leak(frames.into_boxed_slice()), 40);
    mem.add_range(Mfn(config.reserved), config.frames - config.reserved);
    mem.deny_iomem(Mfn(0xfee00), 1);
    mem.deny_iomem(Mfn(0xfec00), 1);
    mem
}

/// A hypervisor on a machine of this shape.
#[must_use]
pub fn world_with(config: SimConfig) -> Hypervisor<SimMachine> {
    let machine = SimMachine::new(config);
    let policies = CpuPolicies::detect(&machine);
    let mem = memory(config);
    mem.set_m2p(machine.m2p);
    let sched = Scheduler::new(Settings::default(), config.cpus);
    for cpu in machine.online().iter() {
        sched.cpu_online(cpu);
    }
    Hypervisor {
        mem,
        domains: DomainTable::new(),
        sched,
        timers: Timers::new(config.cpus),
        irqs: IrqTable::new(irq::Configuration {
            nr_gsis: machine.nr_gsis(),
            cpus: config.cpus,
            ..irq::Configuration::default()
        }),
        machine_checks: Telemetry::default(),
        power: PowerStates::default(),
        audits: crate::domain::audit::AuditRequests::default(),
        console: Console::default(),
        wallclock: RankedMutex::new(Rank::Machine, WallTime::default()),
        policies,
        e820: Vec::<E820Entry>::new(),
        firmware: FirmwareInfo::default(),
        options: Options::default(),
        command_line: String::new(),
        build_id: Vec::new(),
        machine,
    }
}

/// A domain without memory.
///
/// # Panics
/// When the simulated machine is too small.
#[must_use]
pub fn new_domain(hv: &Hypervisor<SimMachine>, id: DomId, privileges: Privileges) -> Arc<Domain> {
    hv.create_domain(DomainConfig {
        id,
        privileges,
        max_vcpus: 4,
        max_evtchn_port: 1023,
        max_grant_frames: 32,
        max_maptrack_frames: 32,
        cpu_policy: hv.policies.hardware_domain(),
        handle: [0; 16],
        ssidref: 0,
        paused: false,
        hvm: None,
    })
    .expect("sim: new domain")
}

/// A vCPU that is down.
pub(super) fn new_vcpu(hv: &Hypervisor<SimMachine>, domain: &Arc<Domain>, id: VcpuId) -> Arc<Vcpu> {
    hv.create_vcpu(domain, id)
}
