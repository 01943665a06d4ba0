//! The shared half of a vCPU: what any processor may look at or poke.

use alloc::boxed::Box;
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

use bitflags::bitflags;

use super::{Domain, VcpuCtx, VcpuInfo};
use crate::num::{CpuId, Port, VcpuId};
use crate::sched::VcpuSched;
use crate::sync::{Rank, RankedMutex};

bitflags! {
    /// Reasons why a vCPU does not run, and marks on it.
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    pub struct VcpuFlags: u32 {
        /// Not up (VCPUOP_up has not happened, or VCPUOP_down has).
        const DOWN = 1;
        /// Waiting for an event (SCHEDOP_block, SCHEDOP_poll).
        const BLOCKED = 2;
        /// In SCHEDOP_poll: any port of its list wakes it.
        const POLLING = 4;
        /// Its domain was paused by the toolstack.
        const PAUSED = 8;
        /// Its domain has shut down.
        const SHUTDOWN = 16;
        /// Its context was set (VCPUOP_initialise or setvcpucontext).
        const INITIALISED = 32;
        /// An NMI waits for it.
        const NMI_PENDING = 64;
        /// A machine check waits for it.
        const MCE_PENDING = 128;
        /// It should give way to others at the next occasion (SCHEDOP_yield).
        const YIELDING = 256;
        /// It waits in a run queue.
        const QUEUED = 512;
        /// Its domain has used up what its cap allows; the next refill lets it go on.
        const THROTTLED = 1024;
    }
}

impl VcpuFlags {
    /// Any of these keeps a vCPU off the processor.
    pub const NOT_RUNNABLE: Self = Self::DOWN
        .union(Self::BLOCKED)
        .union(Self::PAUSED)
        .union(Self::SHUTDOWN)
        .union(Self::THROTTLED);
}

/// The ports that a polling vCPU waits for.
#[derive(Debug, Default)]
pub struct PollState {
    /// Ports; any of them pending ends the poll.
    pub ports: Vec<Port>,
}

/// Time accounting by state, as the guest may read it (struct vcpu_runstate_info).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Runstate {
    /// RUNSTATE_*: 0 running, 1 runnable, 2 blocked, 3 offline.
    pub state: u32,
    /// When it entered that state.
    pub entry_time_ns: u64,
    /// Time spent in each state.
    pub time_ns: [u64; 4],
}

/// The shared half of a vCPU.
#[derive(Debug)]
pub struct Vcpu {
    /// Its number.
    pub id: VcpuId,
    /// Its domain.
    pub domain: Weak<Domain>,
    flags: AtomicU32,
    info: AtomicU64,
    /// The processor it runs on or ran on last.
    pub cpu: AtomicU32,
    /// The processor it is on, plus one; 0 = none.
    running: AtomicU32,
    /// Its context while nobody runs it.
    pub parked: RankedMutex<Option<Box<VcpuCtx>>>,
    /// What it polls for.
    pub poll: RankedMutex<PollState>,
    /// Time by state.
    pub runstate: RankedMutex<Runstate>,
    /// Absolute deadline of the one-shot timer in ns; 0 = not armed.
    pub singleshot_ns: AtomicU64,
    /// Period of the periodic timer in ns; 0 = stopped.
    pub period_ns: AtomicU64,
    /// Next expiry of the periodic timer.
    pub period_next_ns: AtomicU64,
    /// End of the current SCHEDOP_poll in ns; 0 = none.
    pub poll_deadline_ns: AtomicU64,
    /// What the scheduler knows of it.
    pub sched: VcpuSched,
    /// VCPUOP_register_vcpu_info was called; its page holds a writable reference.
    pub info_registered: AtomicBool,
    /// Guest address of the runstate area; 0 = none.
    pub runstate_area: AtomicU64,
    /// Guest address of the secondary time area; 0 = none.
    pub time_area: AtomicU64,
    /// The areas differ from what they should show; they can be written only in guest kernel mode.
    pub areas_stale: AtomicBool,
    /// What others may put into it, if it runs in hardware.
    pub hvm: Option<Box<crate::hvm::HvmMailbox>>,
}

/// Xen's default tick of a vCPU that has not stopped its periodic timer.
pub const DEFAULT_PERIOD_NS: u64 = 10_000_000;

impl Vcpu {
    /// A vCPU that is down and uninitialised, its `vcpu_info` at `info`.
    #[must_use]
    pub fn new(
        domain: &Arc<Domain>,
        id: VcpuId,
        info: Option<VcpuInfo>,
        ctx: Box<VcpuCtx>,
        now_ns: u64,
    ) -> Arc<Self> {
        Arc::new(Self {
            id,
            domain: Arc::downgrade(domain),
            flags: AtomicU32::new(VcpuFlags::DOWN.bits()),
            info: AtomicU64::new(info.map_or(u64::MAX, VcpuInfo::pack)),
            cpu: AtomicU32::new(0),
            running: AtomicU32::new(0),
            parked: RankedMutex::new(Rank::VcpuContext, Some(ctx)),
            poll: RankedMutex::new(Rank::EventQueue, PollState::default()),
            runstate: RankedMutex::new(
                Rank::Machine,
                Runstate {
                    state: 3,
                    entry_time_ns: now_ns,
                    time_ns: [0; 4],
                },
            ),
            singleshot_ns: AtomicU64::new(0),
            period_ns: AtomicU64::new(DEFAULT_PERIOD_NS),
            period_next_ns: AtomicU64::new(0),
            poll_deadline_ns: AtomicU64::new(0),
            sched: VcpuSched::new(&domain.sched),
            info_registered: AtomicBool::new(false),
            runstate_area: AtomicU64::new(0),
            time_area: AtomicU64::new(0),
            areas_stale: AtomicBool::new(false),
            hvm: domain.is_translated().then(Box::default),
        })
    }

    /// Its flags.
    #[must_use]
    pub fn flags(&self) -> VcpuFlags {
        VcpuFlags::from_bits_truncate(self.flags.load(Ordering::SeqCst))
    }

    /// Sets flags; returns those before.
    pub fn set_flags(&self, flags: VcpuFlags) -> VcpuFlags {
        VcpuFlags::from_bits_truncate(self.flags.fetch_or(flags.bits(), Ordering::SeqCst))
    }

    /// Clears flags; returns those before.
    pub fn clear_flags(&self, flags: VcpuFlags) -> VcpuFlags {
        VcpuFlags::from_bits_truncate(self.flags.fetch_and(!flags.bits(), Ordering::SeqCst))
    }

    /// Whether nothing keeps it from running.
    #[must_use]
    pub fn is_runnable(&self) -> bool {
        !self.flags().intersects(VcpuFlags::NOT_RUNNABLE)
    }

    /// Where its `vcpu_info` is.
    #[must_use]
    pub fn info(&self) -> Option<VcpuInfo> {
        VcpuInfo::unpack(self.info.load(Ordering::Acquire))
    }

    /// Moves its `vcpu_info` (after the old contents were copied).
    pub fn set_info(&self, info: VcpuInfo) {
        self.info.store(info.pack(), Ordering::Release);
    }

    /// Moves its `vcpu_info` to where it was at first, or nowhere.
    pub fn reset_info(&self, info: Option<VcpuInfo>) {
        self.info
            .store(info.map_or(u64::MAX, VcpuInfo::pack), Ordering::Release);
    }

    /// Whether it is on a processor right now, or on its way there.
    #[must_use]
    pub fn is_running(&self) -> bool {
        self.running_on().is_some()
    }

    /// The processor it is on right now, or on its way to.
    #[must_use]
    pub fn running_on(&self) -> Option<CpuId> {
        self.running
            .load(Ordering::SeqCst)
            .checked_sub(1)
            .map(CpuId)
    }

    /// Notes that it is on `cpu`, or off.
    pub fn set_running(&self, cpu: Option<CpuId>) {
        if let Some(cpu) = cpu {
            self.cpu.store(cpu.0, Ordering::SeqCst);
            self.running
                .store(cpu.0.saturating_add(1), Ordering::SeqCst);
        } else {
            self.running.store(0, Ordering::SeqCst);
        }
    }

    /// Reserves it for `cpu`, which is about to run it: true for one processor at most until
    /// [`set_running`](Self::set_running) gives it back.
    #[must_use]
    pub fn claim(&self, cpu: CpuId) -> bool {
        let mine = cpu.0.saturating_add(1);
        let claimed = self
            .running
            .compare_exchange(0, mine, Ordering::SeqCst, Ordering::SeqCst);
        if claimed.is_ok() {
            self.cpu.store(cpu.0, Ordering::SeqCst);
        }
        claimed.is_ok()
    }

    /// Changes the accounted state.
    pub fn enter_runstate(&self, state: u32, now_ns: u64) {
        let mut runstate = self.runstate.lock();
        let spent = now_ns.saturating_sub(runstate.entry_time_ns);
        let old = runstate.state as usize & 3;
        runstate.time_ns[old] = runstate.time_ns[old].saturating_add(spent);
        runstate.state = state;
        runstate.entry_time_ns = now_ns;
        self.areas_stale.store(true, Ordering::Relaxed);
    }
}
