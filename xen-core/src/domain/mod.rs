//! A domain: the aggregate that owns memory, vCPUs, ports and grants.

pub mod access;
pub mod audit;
mod create;
mod destroy;
mod heap;
mod info;
mod info_page;
mod lifecycle;
mod pair;
mod pause;
mod rights;
mod table;
mod vcpu;
mod vcpu_ctx;

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

use hypercall_abi::errno::Errno;
use hypercall_abi::xen::DomId;
use spin::Once;

pub use create::DomainConfig;
pub use info_page::VcpuInfo;
pub use rights::{IoRights, Ranges};
pub use table::DomainTable;
pub use vcpu::{PollState, Runstate, Vcpu, VcpuFlags};
pub use vcpu_ctx::{
    Callback, Callbacks, DescriptorTable, Fatal, GDT_GUEST_FRAMES, LdtState, MAX_GDT_ENTRIES,
    PendingException, Segments, VcpuCtx,
};

use crate::cpu_policy::CpuPolicy;
use crate::evtchn::EventChannels;
use crate::grant::GrantTable;
use crate::mm::OwnedPages;
use crate::num::{Mfn, VcpuId};
use crate::sync::{Rank, RankedMutex};

/// vCPUs whose `vcpu_info` is in the shared page from the start (XEN_LEGACY_MAX_VCPUS).
const LEGACY_VCPUS: u32 = 32;

/// What a domain may do beyond the ordinary.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Privileges {
    /// May call domctl, sysctl and the like on every domain ("control domain").
    pub control: bool,
    /// Owns the machine's devices ("hardware domain").
    pub hardware: bool,
    /// Serves xenstore (XEN_DOMCTL_CDF_xs_domain): may ask who exists.
    pub xenstore: bool,
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
    /// Security label given by the toolstack; nothing depends on it.
    pub ssidref: u32,
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
    /// Operations of the hypervisor that keep it from running.
    holds: AtomicU32,
    /// It has been unpaused for the first time: its policy is fixed from then on.
    has_run: AtomicBool,
    /// A processor is taking it apart.
    teardown: AtomicBool,
    /// Ports and device frames it was given.
    pub rights: RankedMutex<IoRights>,
    /// How it wants the time-stamp counter (XEN_CPUID_TSC_MODE_*).
    pub tsc_mode: AtomicU32,
    /// How often its time was set, on all hosts it has been on.
    pub tsc_incarnation: AtomicU32,
    /// Port that is notified when it has suspended, in place of VIRQ_DOM_EXC (XEN_DOMCTL_subscribe); 0 = none.
    pub suspend_port: AtomicU32,
    /// A debugger is attached (XEN_DOMCTL_setdebugging).
    pub debugged: AtomicBool,
    /// Processors whose TLBs may hold translations of this domain.
    pub dirty_cpus: RankedMutex<crate::machine::CpuMask>,
    /// Wall-clock offset of the domain in seconds (XEN_DOMCTL_settimeoffset).
    pub time_offset_s: AtomicU64,
    /// What CPUID and MSRs show.
    cpu_policy: RankedMutex<Arc<CpuPolicy>>,
    /// The PC's oldest ports, as a domain without rights to them sees them.
    pub legacy_ports: RankedMutex<crate::emulate::legacy_ports::LegacyPorts>,
    /// Its share of the processors.
    pub sched: Arc<crate::sched::DomainSched>,
    /// Watchdog timers (SCHEDOP_watchdog): absolute expiry in ns, 0 = not armed.
    pub watchdogs: [AtomicU64; 2],
    /// What it has because its guest runs in hardware; `None` for a paravirtual guest.
    pub hvm: Option<crate::hvm::HvmDomain>,
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
            handle: RankedMutex::new(Rank::Machine, parts.handle),
            ssidref: parts.ssidref,
            pages: parts.pages,
            shared_info: parts.shared_info,
            vcpus: vcpus.into_boxed_slice(),
            events: parts.events,
            grants: parts.grants,
            vm_assist: AtomicU64::new(0),
            ending: RankedMutex::new(Rank::DomainLife, Ending::default()),
            pause_count: AtomicU32::new(u32::from(parts.paused)),
            holds: AtomicU32::new(0),
            has_run: AtomicBool::new(!parts.paused),
            teardown: AtomicBool::new(false),
            rights: RankedMutex::new(Rank::Machine, IoRights::default()),
            tsc_mode: AtomicU32::new(0),
            tsc_incarnation: AtomicU32::new(0),
            suspend_port: AtomicU32::new(0),
            debugged: AtomicBool::new(false),
            dirty_cpus: RankedMutex::new(Rank::Machine, crate::machine::CpuMask::EMPTY),
            time_offset_s: AtomicU64::new(0),
            cpu_policy: RankedMutex::new(Rank::Machine, parts.cpu_policy),
            legacy_ports: RankedMutex::new(
                Rank::Machine,
                crate::emulate::legacy_ports::LegacyPorts::default(),
            ),
            sched: Arc::default(),
            watchdogs: [AtomicU64::new(0), AtomicU64::new(0)],
            hvm: parts.hvm,
        })
    }

    /// What CPUID and MSRs show.
    #[must_use]
    pub fn cpu_policy(&self) -> Arc<CpuPolicy> {
        self.cpu_policy.lock().clone()
    }

    /// Replaces what CPUID and MSRs show.
    ///
    /// # Errors
    /// `EEXIST` once the domain has run.
    pub fn set_cpu_policy(&self, policy: CpuPolicy) -> Result<(), Errno> {
        if self.has_run() {
            return Err(Errno::EEXIST);
        }
        *self.cpu_policy.lock() = Arc::new(policy);
        Ok(())
    }

    /// Whether it has been unpaused for the first time.
    #[must_use]
    pub fn has_run(&self) -> bool {
        self.has_run.load(Ordering::SeqCst)
    }

    /// Whether the hypervisor translates its frame numbers.
    #[must_use]
    pub const fn is_translated(&self) -> bool {
        self.hvm.is_some()
    }

    /// The frame that the domain means by a frame number: a PV domain says it itself, for others it is looked up. `None`
    /// where there is no memory of its own.
    #[must_use]
    pub fn frame(&self, frames: &impl crate::machine::Frames, number: u64) -> Option<Mfn> {
        match &self.hvm {
            None => Some(Mfn(number)),
            Some(hvm) => hvm
                .p2m
                .get(frames, crate::num::Pfn(number))
                .filter(|mapped| mapped.kind.is_ram())
                .map(|mapped| mapped.mfn),
        }
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

    /// Where the `vcpu_info` of a vCPU is before it registers a place; `None` beyond what the shared page holds.
    #[must_use]
    pub fn first_vcpu_info(&self, id: VcpuId) -> Option<VcpuInfo> {
        (id.0 < LEGACY_VCPUS).then(|| VcpuInfo {
            mfn: self.shared_info,
            first_word: id.0 as usize * VcpuInfo::WORDS,
        })
    }

    /// Whether the toolstack or an operation under way keeps it from running. The lock of `ending` keeps the answer true.
    #[must_use]
    pub fn is_paused(&self) -> bool {
        self.pause_count.load(Ordering::SeqCst) != 0 || self.holds.load(Ordering::SeqCst) != 0
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
    pub cpu_policy: Arc<CpuPolicy>,
    /// Its UUID.
    pub handle: [u8; 16],
    /// Its security label.
    pub ssidref: u32,
    /// It starts with one pause of the toolstack's.
    pub paused: bool,
    /// Its frames and devices, if its guest runs in hardware.
    pub hvm: Option<crate::hvm::HvmDomain>,
}
