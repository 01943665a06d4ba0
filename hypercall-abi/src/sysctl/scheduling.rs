//! `sysctl.h`: schedulers and pools of processors.

use crate::domctl::SchedulerId;
use crate::guest_handle::GuestHandle;
use crate::xen::{DomainHandle, XenctlBitmap};

codes! {
    /// `xen_sysctl_cpupool_op.op`.
    pub struct CpupoolOpCmd(u32);
    prefix "XEN_SYSCTL_CPUPOOL_OP_" {
        /// Creates a pool.
        CREATE = 1,
        /// Destroys it.
        DESTROY = 2,
        /// Describes it or the next.
        INFO = 3,
        /// Adds a processor.
        ADDCPU = 4,
        /// Removes one.
        RMCPU = 5,
        /// Moves a domain.
        MOVEDOMAIN = 6,
        /// Processors in no pool.
        FREEINFO = 7,
    }
}

codes! {
    /// `xen_sysctl_scheduler_op.cmd`.
    pub struct SysctlSchedulerOpCmd(u32);
    prefix "XEN_SYSCTL_SCHEDOP_" {
        /// Sets parameters.
        putinfo = 0,
        /// Reads them.
        getinfo = 1,
    }
}

constants! {
    in CONSTANTS;
    prefix "XEN_" {
        /// Any pool or processor.
        SYSCTL_CPUPOOL_PAR_ANY: u32 = 0xffff_ffff,
        /// Microseconds.
        SYSCTL_SCHED_RATELIMIT_MAX: u32 = 0x7_a120,
        /// Microseconds.
        SYSCTL_SCHED_RATELIMIT_MIN: u32 = 100,
        /// Milliseconds.
        SYSCTL_CSCHED_TSLICE_MAX: u32 = 1000,
        /// Milliseconds.
        SYSCTL_CSCHED_TSLICE_MIN: u32 = 1,
        /// Microseconds.
        SYSCTL_CSCHED_MGR_DLY_MAX_US: u32 = 0x1_86a0,
    }
    prefix "" {
        /// Entries of a schedule.
        ARINC653_MAX_DOMAINS_PER_SCHEDULE: usize = 64,
    }
}

abi_unions! {
    in UNIONS;
    /// By scheduler.
    pub union SysctlSchedulerOpU = "xen_sysctl_scheduler_op.u" [u64; 2] {
        sched_arinc653: SysctlSchedArinc653,
        sched_credit: SysctlCreditSchedule,
        sched_credit2: SysctlCredit2Schedule,
    }
}

abi_structs! {
    in STRUCTS;
    /// Result of `sched_id`.
    pub struct SysctlSchedId = "xen_sysctl_sched_id" [4] {
        pub sched_id: SchedulerId,
    }
    /// Argument of `cpupool_op`.
    pub struct SysctlCpupoolOp = "xen_sysctl_cpupool_op" [40] {
        pub op: CpupoolOpCmd,
        pub cpupool_id: u32,
        pub sched_id: u32,
        pub domid: u32,
        pub cpu: u32,
        pub n_dom: u32,
        pub cpumap: XenctlBitmap,
    }
    /// One vCPU.
    pub struct SysctlArinc653ScheduleSchedEntries = "xen_sysctl_arinc653_schedule.sched_entries" [32] {
        pub dom_handle: DomainHandle,
        pub vcpu_id: u32,
        pub _pad: [u8; 4],
        pub runtime: u64,
    }
    /// A schedule, in nanoseconds.
    pub struct SysctlArinc653Schedule = "xen_sysctl_arinc653_schedule" [2064] {
        pub major_frame: u64,
        pub num_sched_entries: u8,
        pub _pad: [u8; 7],
        pub sched_entries: [SysctlArinc653ScheduleSchedEntries; 64],
    }
    /// Credit scheduler.
    pub struct SysctlCreditSchedule = "xen_sysctl_credit_schedule" [12] {
        pub tslice_ms: u32,
        pub ratelimit_us: u32,
        pub vcpu_migr_delay_us: u32,
    }
    /// Credit2 scheduler.
    pub struct SysctlCredit2Schedule = "xen_sysctl_credit2_schedule" [4] {
        pub ratelimit_us: u32,
    }
    /// ARINC 653 scheduler.
    pub struct SysctlSchedArinc653 = "xen_sysctl_sched_arinc653" [8] {
        pub schedule: GuestHandle<SysctlArinc653Schedule>,
    }
    /// Argument of `scheduler_op`.
    pub struct SysctlSchedulerOp = "xen_sysctl_scheduler_op" [32] {
        pub cpupool_id: u32,
        /// A [`SchedulerId`].
        pub sched_id: u32,
        /// [`SysctlSchedulerOpCmd`].
        pub cmd: u32,
        pub _pad: [u8; 4],
        pub u: SysctlSchedulerOpU,
    }
}

layout_entries! { types: [STRUCTS, UNIONS], constants: [CpupoolOpCmd::CODES, SysctlSchedulerOpCmd::CODES, CONSTANTS] }
