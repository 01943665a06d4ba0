//! `sysctl.h`: what a toolstack asks of the hypervisor (`__HYPERVISOR_sysctl`). Some payloads are in submodules by subject and exported from here.

pub(crate) mod livepatch;
pub(crate) mod machine;
pub(crate) mod power;
pub(crate) mod scheduling;

pub use self::livepatch::*;
pub use self::machine::*;
pub use self::power::*;
pub use self::scheduling::*;

use crate::domctl::DomctlGetdomaininfo;
use crate::guest_handle::GuestHandle;
use crate::xen::{DomId, XenctlBitmap};

codes! {
    /// Operation of a [`Sysctl`].
    pub struct SysctlCmd(u32);
    prefix "XEN_SYSCTL_" {
        /// Reads the console ring.
        readconsole = 1,
        /// Trace buffers.
        tbuf_op = 2,
        /// Describes the machine.
        physinfo = 3,
        /// The default scheduler.
        sched_id = 4,
        /// Performance counters.
        perfc_op = 5,
        /// Describes domains.
        getdomaininfolist = 6,
        /// Presses debug keys.
        debug_keys = 7,
        /// Idle time of processors.
        getcpuinfo = 8,
        /// Free memory.
        availheap = 9,
        /// Power management statistics.
        get_pmstat = 10,
        /// Brings processors up and down.
        cpu_hotplug = 11,
        /// Frequency and idle state control.
        pm_op = 12,
        /// Takes frames out of use.
        page_offline_op = 14,
        /// Lock profile.
        lockprof_op = 15,
        /// Topology of processors.
        cputopoinfo = 16,
        /// NUMA nodes and distances.
        numainfo = 17,
        /// Pools of processors.
        cpupool_op = 18,
        /// Parameters of a scheduler.
        scheduler_op = 19,
        /// Coverage data.
        coverage_op = 20,
        /// Cache monitoring.
        psr_cmt_op = 21,
        /// Nodes of PCI devices.
        pcitopoinfo = 22,
        /// Cache and bandwidth allocation.
        psr_alloc = 23,
        /// What CPUID can hide.
        get_cpu_levelling_caps = 25,
        /// Features as a bitmap.
        get_cpu_featureset = 26,
        /// Live patches.
        livepatch_op = 27,
        /// A CPUID and MSR policy of the host.
        get_cpu_policy = 29,
    }
}

codes! {
    /// `xen_sysctl_tbuf_op.cmd`.
    pub struct TbufOpCmd(u32);
    prefix "XEN_SYSCTL_TBUFOP_" {
        get_info = 0,
        set_cpu_mask = 1,
        set_evt_mask = 2,
        set_size = 3,
        enable = 4,
        disable = 5,
    }
}

codes! {
    /// `xen_sysctl_perfc_op.cmd`.
    pub struct PerfcOpCmd(u32);
    prefix "XEN_SYSCTL_PERFCOP_" {
        reset = 1,
        query = 2,
    }
}

codes! {
    /// `xen_sysctl_lockprof_op.cmd`.
    pub struct LockprofCmd(u32);
    prefix "XEN_SYSCTL_LOCKPROF_" {
        reset = 1,
        query = 2,
    }
}

codes! {
    /// `xen_sysctl_lockprof_data.type`.
    pub struct LockprofType(i32);
    prefix "LOCKPROF_TYPE_" {
        /// The hypervisor's.
        GLOBAL = 0,
        /// A domain's.
        PERDOM = 1,
        /// Number of types.
        N = 2,
    }
}

codes! {
    /// `xen_sysctl_coverage_op.cmd`.
    pub struct CoverageOpCmd(u32);
    prefix "XEN_SYSCTL_COVERAGE_" {
        get_size = 0,
        read = 1,
        reset = 2,
    }
}

constants! {
    in CONSTANTS;
    prefix "XEN_" {
        /// `xen_sysctl.interface_version`; another value gives `EACCES`.
        SYSCTL_INTERFACE_VERSION: u32 = 21,
        /// First word of coverage data.
        GCOV_FORMAT_MAGIC: u32 = 0x5843_4f56,
    }
}

abi_unions! {
    in UNIONS;
    /// Argument by [`SysctlCmd`].
    pub union SysctlU = "xen_sysctl.u" [u64; 16] {
        readconsole: SysctlReadconsole,
        tbuf_op: SysctlTbufOp,
        physinfo: SysctlPhysinfo,
        cputopoinfo: SysctlCputopoinfo,
        pcitopoinfo: SysctlPcitopoinfo,
        numainfo: SysctlNumainfo,
        sched_id: SysctlSchedId,
        perfc_op: SysctlPerfcOp,
        getdomaininfolist: SysctlGetdomaininfolist,
        debug_keys: SysctlDebugKeys,
        getcpuinfo: SysctlGetcpuinfo,
        availheap: SysctlAvailheap,
        get_pmstat: SysctlGetPmstat,
        cpu_hotplug: SysctlCpuHotplug,
        pm_op: SysctlPmOp,
        page_offline: SysctlPageOfflineOp,
        lockprof_op: SysctlLockprofOp,
        cpupool_op: SysctlCpupoolOp,
        scheduler_op: SysctlSchedulerOp,
        coverage_op: SysctlCoverageOp,
        psr_cmt_op: SysctlPsrCmtOp,
        psr_alloc: SysctlPsrAlloc,
        cpu_levelling_caps: SysctlCpuLevellingCaps,
        cpu_featureset: SysctlCpuFeatureset,
        livepatch: SysctlLivepatchOp,
        cpu_policy: SysctlCpuPolicy,
        pad: [u8; 128],
    }
}

abi_structs! {
    in STRUCTS;
    /// Argument of `readconsole`.
    pub struct SysctlReadconsole = "xen_sysctl_readconsole" [24] {
        /// Boolean: empty the ring.
        pub clear: u8,
        /// Boolean: start at `index`.
        pub incremental: u8,
        pub pad0: u8,
        pub pad1: u8,
        /// In and out: position.
        pub index: u32,
        pub buffer: GuestHandle<u8>,
        /// In: room; out: bytes.
        pub count: u32,
        pub _pad: [u8; 4],
    }
    /// Argument of `tbuf_op`.
    pub struct SysctlTbufOp = "xen_sysctl_tbuf_op" [48] {
        /// [`TbufOpCmd`].
        pub cmd: u32,
        pub _pad0: [u8; 4],
        pub cpu_mask: XenctlBitmap,
        pub evt_mask: u32,
        pub _pad1: [u8; 4],
        /// Filled in.
        pub buffer_mfn: u64,
        /// Frames or bytes, by command.
        pub size: u32,
        pub _pad2: [u8; 4],
    }
    /// A counter.
    pub struct SysctlPerfcDesc = "xen_sysctl_perfc_desc" [84] {
        pub name: [u8; 80],
        pub nr_vals: u32,
    }
    /// Argument of `perfc_op`.
    pub struct SysctlPerfcOp = "xen_sysctl_perfc_op" [32] {
        /// [`PerfcOpCmd`].
        pub cmd: u32,
        pub nr_counters: u32,
        pub nr_vals: u32,
        pub _pad: [u8; 4],
        pub desc: GuestHandle<SysctlPerfcDesc>,
        pub val: GuestHandle<u32>,
    }
    /// Argument of `getdomaininfolist`.
    pub struct SysctlGetdomaininfolist = "xen_sysctl_getdomaininfolist" [24] {
        pub first_domain: DomId,
        pub _pad0: [u8; 2],
        /// Room.
        pub max_domains: u32,
        pub buffer: GuestHandle<DomctlGetdomaininfo>,
        /// Filled in.
        pub num_domains: u32,
        pub _pad1: [u8; 4],
    }
    /// Argument of `debug_keys`.
    pub struct SysctlDebugKeys = "xen_sysctl_debug_keys" [16] {
        pub keys: GuestHandle<u8>,
        pub nr_keys: u32,
        pub _pad: [u8; 4],
    }
    /// A lock; times in nanoseconds.
    pub struct SysctlLockprofData = "xen_sysctl_lockprof_data" [80] {
        pub name: [u8; 40],
        pub r#type: i32,
        pub idx: i32,
        pub lock_cnt: u64,
        pub block_cnt: u64,
        pub lock_time: u64,
        pub block_time: u64,
    }
    /// Argument of `lockprof_op`.
    pub struct SysctlLockprofOp = "xen_sysctl_lockprof_op" [32] {
        /// [`LockprofCmd`].
        pub cmd: u32,
        /// Room.
        pub max_elem: u32,
        /// Filled in.
        pub nr_elem: u32,
        pub _pad: [u8; 4],
        /// Nanoseconds of profiling.
        pub time: u64,
        pub data: GuestHandle<SysctlLockprofData>,
    }
    /// Argument of `coverage_op`.
    pub struct SysctlCoverageOp = "xen_sysctl_coverage_op" [16] {
        /// [`CoverageOpCmd`].
        pub cmd: u32,
        pub size: u32,
        pub buffer: GuestHandle<u8>,
    }
    /// Argument of `sysctl`.
    pub struct Sysctl = "xen_sysctl" [136] {
        pub cmd: SysctlCmd,
        /// [`SYSCTL_INTERFACE_VERSION`].
        pub interface_version: u32,
        pub u: SysctlU,
    }
}

layout_entries! { types: [STRUCTS, UNIONS], constants: [SysctlCmd::CODES, TbufOpCmd::CODES, PerfcOpCmd::CODES, LockprofCmd::CODES, LockprofType::CODES, CoverageOpCmd::CODES, CONSTANTS] }
