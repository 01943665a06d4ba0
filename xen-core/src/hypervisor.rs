//! The hypervisor as one value: no globals in the library.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

use hypercall_abi::xen::DomId;

use crate::boot::e820::E820Entry;
use crate::boot::firmware::FirmwareInfo;
use crate::boot::options::Options;
use crate::console::Console;
use crate::cpu_policy::CpuPolicies;
use crate::domain::{Domain, DomainTable, Vcpu, VcpuCtx};
use crate::irq::IrqTable;
use crate::machine::{Machine, WallTime};
use crate::mce::Telemetry;
use crate::mm::Memory;
use crate::num::CpuId;
use crate::pm::PowerStates;
use crate::sched::Scheduler;
use crate::sync::RankedMutex;
use crate::time::Timers;

/// Everything there is once.
#[derive(Debug)]
pub struct Hypervisor<M> {
    /// The computer.
    pub machine: M,
    /// Frames: who owns them, what type they have, which are free.
    pub mem: Memory,
    /// Domains.
    pub domains: DomainTable,
    /// Who runs next.
    pub sched: Scheduler,
    /// Deadlines.
    pub timers: Timers,
    /// Physical interrupts.
    pub irqs: IrqTable,
    /// Machine checks that the control domain has not dealt with.
    pub machine_checks: Telemetry,
    /// Idle and performance states of the processors.
    pub power: PowerStates,
    /// Audits that are wanted or under way.
    pub audits: crate::domain::audit::AuditRequests,
    /// Log ring, console line, debug keys.
    pub console: Console,
    /// UTC at system time 0.
    pub wallclock: RankedMutex<WallTime>,
    /// What guests may see of the processor.
    pub policies: CpuPolicies,
    /// The machine's memory map, as the hardware domain gets it.
    pub e820: Vec<E820Entry>,
    /// What the firmware told the boot code.
    pub firmware: FirmwareInfo,
    /// Options from the command line.
    pub options: Options,
    /// Hash of the image (XENVER_build_id); empty if there is none.
    pub build_id: Vec<u8>,
    /// The command line as it was given (XENVER_commandline).
    pub command_line: String,
}

/// What one processor owns: passed as `&mut` from its entry code down to whoever needs it.
#[derive(Debug)]
pub struct CpuLocal {
    /// Which processor.
    pub id: CpuId,
    /// What it runs; `None` = idle.
    pub current: Option<Running>,
    /// The root loaded right now belongs to this vCPU's current mode (false: idle root).
    pub guest_root_loaded: bool,
}

impl CpuLocal {
    /// An idle processor.
    #[must_use]
    pub const fn new(id: CpuId) -> Self {
        Self {
            id,
            current: None,
            guest_root_loaded: false,
        }
    }
}

/// A vCPU on a processor.
#[derive(Debug)]
pub struct Running {
    /// Its domain.
    pub domain: Arc<Domain>,
    /// Its shared half.
    pub vcpu: Arc<Vcpu>,
    /// Its private half.
    pub ctx: Box<VcpuCtx>,
}

impl<M: Machine> Hypervisor<M> {
    /// The domain that `id` names for a caller in domain `caller`: DOMID_SELF is the caller itself.
    #[must_use]
    pub fn domain(&self, caller: &Arc<Domain>, id: DomId) -> Option<Arc<Domain>> {
        if id == DomId::SELF || id == caller.id {
            return Some(caller.clone());
        }
        self.domains.get(id)
    }
}
