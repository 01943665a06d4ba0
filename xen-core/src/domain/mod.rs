//! A domain: the aggregate that owns memory, vCPUs, ports and grants.

pub mod access;
mod create;
mod info;
mod info_page;
mod lifecycle;
mod pair;
mod pause;
mod table;
mod vcpu;
mod vcpu_ctx;

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use hypercall_abi::xen::DomId;
use spin::Once;

pub use create::DomainConfig;
pub use info_page::VcpuInfo;
pub use table::DomainTable;
pub use vcpu::{PollState, Runstate, Vcpu, VcpuFlags};
pub use vcpu_ctx::{
    Callback, Callbacks, DescriptorTable, Fatal, GDT_GUEST_FRAMES, LdtState, MAX_GDT_ENTRIES,
    PendingException, Segments, VcpuCtx,
};

use crate::evtchn::EventChannels;
use crate::grant::GrantTable;
use crate::mm::OwnedPages;
use crate::num::{Mfn, VcpuId};
use crate::sync::{Rank, RankedMutex};

/// What a domain may do beyond the ordinary.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Privileges {
    /// May call domctl, sysctl and the like on every domain ("control domain").
    pub control: bool,
    /// Owns the machine's devices ("hardware domain").
    pub hardware: bool,
}

/// State of [`Domain`] that changes together: how it ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Ending {
    /// The reason given with the first SCHEDOP_shutdown, if there was one.
    pub shutdown: Option<u32>,
    /// The code recorded with SCHEDOP_shutdown_code.
    pub shutdown_code: Option<u32>,
    /// All vCPUs have stopped after the shutdown and VIRQ_DOM_EXC was raised.
    pub stopped: bool,
    /// Destruction has begun.
    pub dying: bool,
    /// Destruction has relinquished everything: what `getdomaininfo` calls dying.
    pub dead: bool,
}

/// A domain.
#[derive(Debug)]
pub struct Domain {
    /// Its number.
    pub id: DomId,
    /// Its rights.
    pub privileges: Privileges,
    /// UUID given by the toolstack; zeroes for dom0.
    pub handle: RankedMutex<[u8; 16]>,
    /// Frames it owns.
    pub pages: Arc<OwnedPages>,
    /// The shared_info frame (owned by the domain, allocated by the hypervisor).
    pub shared_info: Mfn,
    /// vCPUs, by id; empty slots have not been created.
    vcpus: Box<[Once<Arc<Vcpu>>]>,
    /// Event channels.
    pub events: EventChannels,
    /// Grant table and the table of what it has mapped.
    pub grants: GrantTable,
    /// VMASST bits in force (bit number = `VMASST_TYPE_*`).
    pub vm_assist: AtomicU64,
    /// How it ends.
    pub ending: RankedMutex<Ending>,
    /// Times the toolstack paused it.
    pub pause_count: AtomicU32,
    /// Processors whose TLBs may hold translations of this domain.
    pub dirty_cpus: RankedMutex<crate::machine::CpuMask>,
    /// Wall-clock offset of the domain in seconds (XEN_DOMCTL_settimeoffset).
    pub time_offset_s: AtomicU64,
    /// What CPUID and MSRs show.
    pub cpu_policy: Arc<crate::cpu_policy::CpuPolicy>,
    /// The PC's oldest ports, as a domain without rights to them sees them.
    pub legacy_ports: RankedMutex<crate::emulate::legacy_ports::LegacyPorts>,
    /// Its share of the processors.
    pub sched: Arc<crate::sched::DomainSched>,
    /// Watchdog timers (SCHEDOP_watchdog): absolute expiry in ns, 0 = not armed.
    pub watchdogs: [AtomicU64; 2],
}

impl Domain {
    /// A domain without vCPUs yet, with room for `max_vcpus`.
    #[must_use]
    pub fn new(parts: DomainParts) -> Arc<Self> {
        let mut vcpus = Vec::with_capacity(parts.max_vcpus as usize);
        vcpus.resize_with(parts.max_vcpus as usize, Once::new);
        Arc::new(Self {
            id: parts.id,
            privileges: parts.privileges,
            handle: RankedMutex::new(Rank::Machine, [0; 16]),
            pages: parts.pages,
            shared_info: parts.shared_info,
            vcpus: vcpus.into_boxed_slice(),
            events: parts.events,
            grants: parts.grants,
            vm_assist: AtomicU64::new(0),
            ending: RankedMutex::new(Rank::DomainLife, Ending::default()),
            pause_count: AtomicU32::new(0),
            dirty_cpus: RankedMutex::new(Rank::Machine, crate::machine::CpuMask::EMPTY),
            time_offset_s: AtomicU64::new(0),
            cpu_policy: parts.cpu_policy,
            legacy_ports: RankedMutex::new(
                Rank::Machine,
                crate::emulate::legacy_ports::LegacyPorts::default(),
            ),
            sched: Arc::default(),
            watchdogs: [AtomicU64::new(0), AtomicU64::new(0)],
        })
    }

    /// The most vCPUs this domain can have.
    #[must_use]
    pub fn max_vcpus(&self) -> u32 {
        u32::try_from(self.vcpus.len()).unwrap_or(u32::MAX)
    }

    /// The vCPU with this id, if it was created.
    #[must_use]
    pub fn vcpu(&self, id: VcpuId) -> Option<&Arc<Vcpu>> {
        self.vcpus.get(id.0 as usize)?.get()
    }

    /// Puts a new vCPU in its slot.
    pub fn add_vcpu(&self, vcpu: Arc<Vcpu>) {
        if let Some(slot) = self.vcpus.get(vcpu.id.0 as usize) {
            slot.call_once(|| vcpu);
        }
    }

    /// The vCPUs that exist, in order of their ids.
    pub fn vcpus(&self) -> impl Iterator<Item = &Arc<Vcpu>> {
        self.vcpus.iter().filter_map(Once::get)
    }

    /// Whether VMASST `bit` is on.
    #[must_use]
    pub fn assists(&self, bit: u32) -> bool {
        self.vm_assist.load(Ordering::Relaxed) & (1u64 << (bit & 63)) != 0
    }
}

/// What a [`Domain`] is made of.
#[derive(Debug)]
pub struct DomainParts {
    /// Its number.
    pub id: DomId,
    /// Its rights.
    pub privileges: Privileges,
    /// Accounting of its frames.
    pub pages: Arc<OwnedPages>,
    /// The shared_info frame.
    pub shared_info: Mfn,
    /// Room for vCPUs.
    pub max_vcpus: u32,
    /// Its event channels.
    pub events: EventChannels,
    /// Its grant table.
    pub grants: GrantTable,
    /// Its view of the processor.
    pub cpu_policy: Arc<crate::cpu_policy::CpuPolicy>,
}
