//! `domctl.h`: creating, describing and configuring a domain as a whole.

use crate::arch_x86::{ArchDomainconfig, CpuidLeaf, MsrEntry};
use crate::guest_handle::GuestHandle;
use crate::xen::{DomId, DomainHandle, Virq, XenctlBitmap};

flags! {
    /// `xen_domctl_createdomain.flags`.
    pub struct DomctlCdf(u32);
    prefix "XEN_DOMCTL_CDF_" {
        /// Hardware-assisted guest.
        hvm = 1 << 0,
        /// With nested paging.
        hap = 1 << 1,
        /// Memory is checked over ACPI S3.
        s3_integrity = 1 << 2,
        /// No out-of-sync shadow pages.
        oos_off = 1 << 3,
        /// Hosts xenstore.
        xs_domain = 1 << 4,
        /// May have devices.
        iommu = 1 << 5,
        /// May use virtualization itself.
        nested_virt = 1 << 6,
        /// Has a virtual PMU.
        vpmu = 1 << 7,
    }
}

flags! {
    /// `xen_domctl_createdomain.iommu_opts`.
    pub struct DomctlIommuOpts(u32);
    prefix "XEN_DOMCTL_IOMMU_" {
        /// The IOMMU does not share the page tables.
        no_sharept = 1 << 0,
    }
}

flags! {
    /// `xen_domctl_getdomaininfo.flags`; the shutdown reason is in bits 16 to 23.
    pub struct Dominf(u32);
    prefix "XEN_DOMINF_" {
        /// Being destroyed.
        dying = 1 << 0,
        /// Hardware-assisted guest.
        hvm_guest = 1 << 1,
        /// Shut down.
        shutdown = 1 << 2,
        /// Paused by a toolstack.
        paused = 1 << 3,
        /// All vCPUs wait for events.
        blocked = 1 << 4,
        /// A vCPU is on a processor.
        running = 1 << 5,
        /// A debugger is attached.
        debugged = 1 << 6,
        /// Hosts xenstore.
        xs_domain = 1 << 7,
        /// Nested paging.
        hap = 1 << 8,
    }
}

codes! {
    /// A scheduler.
    pub struct SchedulerId(u32);
    prefix "XEN_SCHEDULER_" {
        /// Credit.
        CREDIT = 5,
        /// Credit2.
        CREDIT2 = 6,
        /// ARINC 653.
        ARINC653 = 7,
        /// Real-time deferrable server.
        RTDS = 8,
        /// One vCPU per processor.
        NULL = 9,
    }
}

codes! {
    /// `xen_domctl_scheduler_op.cmd`.
    pub struct DomctlSchedulerOpCmd(u32);
    prefix "XEN_DOMCTL_SCHEDOP_" {
        /// Sets the domain's parameters.
        putinfo = 0,
        /// Reads them.
        getinfo = 1,
        /// Sets vCPUs' parameters.
        putvcpuinfo = 2,
        /// Reads them.
        getvcpuinfo = 3,
    }
}

flags! {
    /// `xen_domctl_sched_rtds.flags`.
    pub struct DomctlSchedrt(u32);
    prefix "XEN_DOMCTL_SCHEDRT_" {
        /// May use idle time beyond the budget.
        extra = 1 << 0,
    }
}

constants! {
    in CONSTANTS;
    prefix "XEN_" {
        /// Highest of [`DomctlCdf`].
        DOMCTL_CDF_MAX: u32 = 128,
        /// Highest of [`DomctlIommuOpts`].
        DOMCTL_IOMMU_MAX: u32 = 1,
        /// Highest grant table version in `grant_opts`.
        DOMCTL_GRANT_version_mask: u32 = 15,
        /// Mask of the shutdown reason after the shift.
        DOMINF_shutdownmask: u32 = 255,
        /// First bit of the shutdown reason.
        DOMINF_shutdownshift: u32 = 16,
        /// `max_vcpu_id` of a domain without vCPUs.
        INVALID_MAX_VCPU_ID: u32 = 0xffff_ffff,
        /// Sub-leaf of a leaf without sub-leaves.
        CPUID_INPUT_UNUSED: u32 = 0xffff_ffff,
    }
}

abi_unions! {
    in UNIONS;
    /// By scheduler.
    pub union DomctlSchedparamVcpuU = "xen_domctl_schedparam_vcpu.u" [u32; 3] {
        credit: DomctlSchedCredit,
        credit2: DomctlSchedCredit2,
        rtds: DomctlSchedRtds,
    }
    /// By scheduler, or a list of vCPUs.
    pub union DomctlSchedulerOpU = "xen_domctl_scheduler_op.u" [u64; 2] {
        credit: DomctlSchedCredit,
        credit2: DomctlSchedCredit2,
        rtds: DomctlSchedRtds,
        v: DomctlSchedulerOpV,
    }
}

abi_structs! {
    in STRUCTS;
    /// Argument of `createdomain`.
    pub struct DomctlCreatedomain = "xen_domctl_createdomain" [64] {
        /// Security label.
        pub ssidref: u32,
        pub handle: DomainHandle,
        /// [`DomctlCdf`].
        pub flags: u32,
        /// [`DomctlIommuOpts`].
        pub iommu_opts: u32,
        pub max_vcpus: u32,
        /// Highest port it may allocate.
        pub max_evtchn_port: u32,
        /// Negative: the default.
        pub max_grant_frames: i32,
        /// Negative: the default.
        pub max_maptrack_frames: i32,
        /// Highest version of its grant table.
        pub grant_opts: u32,
        /// Bytes of a trace buffer per vCPU, or zero.
        pub vmtrace_size: u32,
        pub cpupool_id: u32,
        pub arch: ArchDomainconfig,
    }
    /// Result of `getdomaininfo`; memory in frames.
    pub struct DomctlGetdomaininfo = "xen_domctl_getdomaininfo" [112] {
        /// The domain found.
        pub domain: DomId,
        pub pad1: u16,
        /// [`Dominf`] and the shutdown reason.
        pub flags: u32,
        pub tot_pages: u64,
        pub max_pages: u64,
        /// Claimed, not yet allocated.
        pub outstanding_pages: u64,
        /// Shared with other domains.
        pub shr_pages: u64,
        /// Paged out.
        pub paged_pages: u64,
        /// Guest frame of the shared page.
        pub shared_info_frame: u64,
        /// Nanoseconds.
        pub cpu_time: u64,
        pub nr_online_vcpus: u32,
        pub max_vcpu_id: u32,
        pub ssidref: u32,
        pub handle: DomainHandle,
        pub cpupool: u32,
        /// Width of guest-physical addresses.
        pub gpaddr_bits: u8,
        pub pad2: [u8; 7],
        pub arch_config: ArchDomainconfig,
    }
    /// Argument of `setnodeaffinity` and `getnodeaffinity`.
    pub struct DomctlNodeaffinity = "xen_domctl_nodeaffinity" [16] {
        pub nodemap: XenctlBitmap,
    }
    /// Parameters of the credit scheduler.
    pub struct DomctlSchedCredit = "xen_domctl_sched_credit" [4] {
        pub weight: u16,
        /// Percent of a processor; zero: none.
        pub cap: u16,
    }
    /// Parameters of the credit2 scheduler.
    pub struct DomctlSchedCredit2 = "xen_domctl_sched_credit2" [4] {
        pub weight: u16,
        /// Percent of a processor; zero: none.
        pub cap: u16,
    }
    /// Parameters of the real-time scheduler, in microseconds.
    pub struct DomctlSchedRtds = "xen_domctl_sched_rtds" [12] {
        pub period: u32,
        pub budget: u32,
        /// [`DomctlSchedrt`].
        pub flags: u32,
    }
    /// Parameters of one vCPU.
    pub struct DomctlSchedparamVcpu = "xen_domctl_schedparam_vcpu" [16] {
        pub u: DomctlSchedparamVcpuU,
        pub vcpuid: u32,
    }
    /// Some vCPUs.
    pub struct DomctlSchedulerOpV = "xen_domctl_scheduler_op.u.v" [16] {
        pub vcpus: GuestHandle<DomctlSchedparamVcpu>,
        pub nr_vcpus: u32,
        pub padding: u32,
    }
    /// Argument of `scheduler_op`.
    pub struct DomctlSchedulerOp = "xen_domctl_scheduler_op" [24] {
        /// [`SchedulerId`].
        pub sched_id: u32,
        /// [`DomctlSchedulerOpCmd`].
        pub cmd: u32,
        pub u: DomctlSchedulerOpU,
    }
    /// Argument of `setdomainhandle`.
    pub struct DomctlSetdomainhandle = "xen_domctl_setdomainhandle" [16] {
        pub handle: DomainHandle,
    }
    /// Argument of `setdebugging`.
    pub struct DomctlSetdebugging = "xen_domctl_setdebugging" [1] {
        /// Boolean.
        pub enable: u8,
    }
    /// Argument of `hypercall_init`.
    pub struct DomctlHypercallInit = "xen_domctl_hypercall_init" [8] {
        /// Frame to fill.
        pub gmfn: u64,
    }
    /// Argument of `settimeoffset`.
    pub struct DomctlSettimeoffset = "xen_domctl_settimeoffset" [8] {
        pub time_offset_seconds: i64,
    }
    /// Argument of `gethvmcontext` and `sethvmcontext`.
    pub struct DomctlHvmcontext = "xen_domctl_hvmcontext" [16] {
        /// Bytes.
        pub size: u32,
        pub _pad: [u8; 4],
        /// Null asks for the size.
        pub buffer: GuestHandle<u8>,
    }
    /// Argument of `set_address_size` and `get_address_size`.
    pub struct DomctlAddressSize = "xen_domctl_address_size" [4] {
        /// Bits.
        pub size: u32,
    }
    /// Argument of `set_target`.
    pub struct DomctlSetTarget = "xen_domctl_set_target" [2] {
        pub target: DomId,
    }
    /// Argument of `get_cpu_policy` and `set_cpu_policy`.
    pub struct DomctlCpuPolicy = "xen_domctl_cpu_policy" [40] {
        pub nr_leaves: u32,
        pub nr_msrs: u32,
        pub leaves: GuestHandle<CpuidLeaf>,
        pub msrs: GuestHandle<MsrEntry>,
        /// Filled in: the leaf refused.
        pub err_leaf: u32,
        /// Filled in: its sub-leaf.
        pub err_subleaf: u32,
        /// Filled in: the MSR refused.
        pub err_msr: u32,
        pub _pad: [u8; 4],
    }
    /// Argument of `subscribe`.
    pub struct DomctlSubscribe = "xen_domctl_subscribe" [4] {
        pub port: u32,
    }
    /// Argument of `gethvmcontext_partial`.
    pub struct DomctlHvmcontextPartial = "xen_domctl_hvmcontext_partial" [24] {
        /// Which record.
        pub r#type: u32,
        /// Of which vCPU or device.
        pub instance: u32,
        /// Bytes.
        pub bufsz: u64,
        pub buffer: GuestHandle<u8>,
    }
    /// Argument of `gettscinfo` and `settscinfo`.
    pub struct DomctlTscInfo = "xen_domctl_tsc_info" [24] {
        /// 0 default, 1 always emulate, 2 never.
        pub tsc_mode: u32,
        /// Frequency the domain sees.
        pub gtsc_khz: u32,
        /// Counts migrations.
        pub incarnation: u32,
        pub pad: u32,
        /// Since its start.
        pub elapsed_nsec: u64,
    }
    /// Argument of `set_virq_handler`.
    pub struct DomctlSetVirqHandler = "xen_domctl_set_virq_handler" [4] {
        pub virq: Virq,
    }
}

layout_entries! { types: [STRUCTS, UNIONS], constants: [DomctlCdf::CODES, DomctlIommuOpts::CODES, Dominf::CODES, SchedulerId::CODES, DomctlSchedulerOpCmd::CODES, DomctlSchedrt::CODES, CONSTANTS] }
