//! `sysctl.h`: processors, memory and features of the machine.

use crate::arch_x86::{CpuidLeaf, MsrEntry};
use crate::guest_handle::GuestHandle;
use crate::physdev::PhysdevPciDevice;

flags! {
    /// `xen_sysctl_physinfo.capabilities`.
    pub struct Physcap(u32);
    prefix "XEN_SYSCTL_PHYSCAP_" {
        /// HVM guests.
        hvm = 1 << 0,
        /// PV guests.
        pv = 1 << 1,
        /// Devices may be assigned.
        directio = 1 << 2,
        /// Nested paging.
        hap = 1 << 3,
        /// Shadow paging.
        shadow = 1 << 4,
        /// The IOMMU shares the nested page tables.
        iommu_hap_pt_share = 1 << 5,
        /// Processor tracing.
        vmtrace = 1 << 6,
        /// Virtual PMU.
        vpmu = 1 << 7,
        /// Grant tables version 1.
        gnttab_v1 = 1 << 8,
        /// Grant tables version 2.
        gnttab_v2 = 1 << 9,
    }
}

codes! {
    /// `xen_sysctl_cpu_hotplug.op`.
    pub struct CpuHotplugOp(u32);
    prefix "XEN_SYSCTL_CPU_HOTPLUG_" {
        /// Up.
        ONLINE = 0,
        /// Down.
        OFFLINE = 1,
        /// All threads up.
        SMT_ENABLE = 2,
        /// One thread per core.
        SMT_DISABLE = 3,
    }
}

codes! {
    /// `xen_sysctl_page_offline_op.cmd`.
    pub struct PageOfflineCmd(u32);
    prefix "sysctl_" {
        /// Out of use.
        page_offline = 1,
        /// Back in use.
        page_online = 2,
        /// State.
        query_page_offline = 3,
    }
}

flags! {
    /// `xen_sysctl_cpu_levelling_caps.caps`.
    pub struct CpuLevelcap(u32);
    prefix "XEN_SYSCTL_CPU_LEVELCAP_" {
        /// CPUID can fault.
        faulting = 1 << 0,
        /// Leaf 1 ECX.
        ecx = 1 << 1,
        /// Leaf 1 EDX.
        edx = 1 << 2,
        /// Leaf 0x80000001 ECX.
        extd_ecx = 1 << 3,
        /// Leaf 0x80000001 EDX.
        extd_edx = 1 << 4,
        /// Leaf 0xd EAX.
        xsave_eax = 1 << 5,
        /// Leaf 6 ECX.
        thermal_ecx = 1 << 6,
        /// Leaf 7 EAX.
        l7s0_eax = 1 << 7,
        /// Leaf 7 EBX.
        l7s0_ebx = 1 << 8,
    }
}

codes! {
    /// `xen_sysctl_cpu_featureset.index`.
    pub struct FeaturesetIndex(u32);
    prefix "XEN_SYSCTL_cpu_featureset_" {
        /// As the processor has them.
        raw = 0,
        /// As the hypervisor uses them.
        host = 1,
        /// Default of PV guests.
        pv = 2,
        /// Default of HVM guests.
        hvm = 3,
        /// Maximum of PV guests.
        pv_max = 4,
        /// Maximum of HVM guests.
        hvm_max = 5,
    }
}

codes! {
    /// `xen_sysctl_cpu_policy.index`.
    pub struct CpuPolicyIndex(u32);
    prefix "XEN_SYSCTL_cpu_policy_" {
        /// As the processor has it.
        raw = 0,
        /// As the hypervisor uses it.
        host = 1,
        /// Maximum of PV guests.
        pv_max = 2,
        /// Maximum of HVM guests.
        hvm_max = 3,
        /// Default of PV guests.
        pv_default = 4,
        /// Default of HVM guests.
        hvm_default = 5,
    }
}

codes! {
    /// `xen_sysctl_psr_cmt_op.cmd`.
    pub struct PsrCmtCmd(u32);
    prefix "XEN_SYSCTL_PSR_CMT_" {
        get_total_rmid = 0,
        get_l3_upscaling_factor = 1,
        get_l3_cache_size = 2,
        enabled = 3,
        get_l3_event_mask = 4,
    }
}

codes! {
    /// `xen_sysctl_psr_alloc.cmd`.
    pub struct SysctlPsrAllocCmd(u32);
    prefix "XEN_SYSCTL_PSR_" {
        get_l3_info = 0,
        get_l2_info = 1,
        get_mba_info = 2,
    }
}

constants! {
    in CONSTANTS;
    prefix "PG_" {
        /// Bits of a frame in the result of `page_offline_op`.
        OFFLINE_STATUS_MASK: u32 = 255,
        /// Bits of a frame in the result of `page_offline_op`.
        OFFLINE_INVALID: u32 = 1,
        /// Bits of a frame in the result of `page_offline_op`.
        OFFLINE_OFFLINED: u32 = 2,
        /// Bits of a frame in the result of `page_offline_op`.
        OFFLINE_PENDING: u32 = 4,
        /// Bits of a frame in the result of `page_offline_op`.
        OFFLINE_FAILED: u32 = 8,
        /// Bits of a frame in the result of `page_offline_op`.
        OFFLINE_AGAIN: u32 = 16,
        /// Bits of a frame in the result of `page_offline_op`.
        ONLINE_FAILED: u32 = 8,
        /// Bits of a frame in the result of `page_offline_op`.
        ONLINE_ONLINED: u32 = 2,
        /// Bits of a frame in the result of `page_offline_op`.
        OFFLINE_STATUS_OFFLINED: u32 = 2,
        /// Bits of a frame in the result of `page_offline_op`.
        OFFLINE_STATUS_ONLINE: u32 = 4,
        /// Bits of a frame in the result of `page_offline_op`.
        OFFLINE_STATUS_OFFLINE_PENDING: u32 = 8,
        /// Bits of a frame in the result of `page_offline_op`.
        OFFLINE_STATUS_BROKEN: u32 = 16,
        /// Bits of a frame in the result of `page_offline_op`.
        OFFLINE_MISC_MASK: u32 = 0xff0,
        /// Bits of a frame in the result of `page_offline_op`.
        OFFLINE_XENPAGE: u32 = 0x100,
        /// Bits of a frame in the result of `page_offline_op`.
        OFFLINE_DOM0PAGE: u32 = 0x200,
        /// Bits of a frame in the result of `page_offline_op`.
        OFFLINE_ANONYMOUS: u32 = 0x400,
        /// Bits of a frame in the result of `page_offline_op`.
        OFFLINE_NOT_CONV_RAM: u32 = 0x800,
        /// Bits of a frame in the result of `page_offline_op`.
        OFFLINE_OWNED: u32 = 0x1000,
        /// Bits of a frame in the result of `page_offline_op`.
        OFFLINE_BROKEN: u32 = 0x2000,
        /// Bits of a frame in the result of `page_offline_op`.
        ONLINE_BROKEN: u32 = 0x2000,
        /// Bits of a frame in the result of `page_offline_op`.
        OFFLINE_OWNER_SHIFT: u32 = 16,
    }
    prefix "XEN_" {
        /// Highest of [`Physcap`].
        SYSCTL_PHYSCAP_MAX: u32 = 0x200,
        /// No core.
        INVALID_CORE_ID: u32 = 0xffff_ffff,
        /// No socket.
        INVALID_SOCKET_ID: u32 = 0xffff_ffff,
        /// No node.
        INVALID_NODE_ID: u32 = 0xffff_ffff,
        /// No memory.
        INVALID_MEM_SZ: u32 = 0xffff_ffff,
        /// No distance.
        INVALID_NODE_DIST: u32 = 0xffff_ffff,
        /// No device.
        INVALID_DEV: u32 = 0xffff_fffe,
        /// `cat_info.flags`: code and data are separate.
        SYSCTL_PSR_CAT_L3_CDP: u32 = 1,
        /// `mba_info.flags`: throttling is linear.
        SYSCTL_PSR_MBA_LINEAR: u32 = 1,
    }
}

abi_unions! {
    in UNIONS;
    /// Result, or which processor.
    pub union SysctlPsrCmtOpU = "xen_sysctl_psr_cmt_op.u" [u64; 1] {
        data: u64,
        l3_cache: SysctlPsrCmtOpL3Cache,
    }
    /// Result by command.
    pub union SysctlPsrAllocU = "xen_sysctl_psr_alloc.u" [u32; 3] {
        cat_info: SysctlPsrAllocCatInfo,
        mba_info: SysctlPsrAllocMbaInfo,
    }
}

abi_structs! {
    in STRUCTS;
    /// Result of `physinfo`; memory in frames.
    pub struct SysctlPhysinfo = "xen_sysctl_physinfo" [112] {
        pub threads_per_core: u32,
        pub cores_per_socket: u32,
        pub nr_cpus: u32,
        pub max_cpu_id: u32,
        pub nr_nodes: u32,
        pub max_node_id: u32,
        pub cpu_khz: u32,
        /// [`Physcap`].
        pub capabilities: u32,
        pub arch_capabilities: u32,
        pub pad: u32,
        pub total_pages: u64,
        pub free_pages: u64,
        pub scrub_pages: u64,
        pub outstanding_pages: u64,
        pub max_mfn: u64,
        /// Words of the feature bitmap.
        pub hw_cap: [u32; 8],
    }
    /// One processor.
    pub struct SysctlCpuinfo = "xen_sysctl_cpuinfo" [8] {
        /// Nanoseconds.
        pub idletime: u64,
    }
    /// Argument of `getcpuinfo`.
    pub struct SysctlGetcpuinfo = "xen_sysctl_getcpuinfo" [24] {
        /// Room.
        pub max_cpus: u32,
        pub _pad0: [u8; 4],
        pub info: GuestHandle<SysctlCpuinfo>,
        /// Filled in.
        pub nr_cpus: u32,
        pub _pad1: [u8; 4],
    }
    /// Argument of `availheap`.
    pub struct SysctlAvailheap = "xen_sysctl_availheap" [24] {
        /// Only memory above; zero: any.
        pub min_bitwidth: u32,
        /// Only memory below; zero: any.
        pub max_bitwidth: u32,
        /// Negative: all.
        pub node: i32,
        pub _pad: [u8; 4],
        /// Filled in.
        pub avail_bytes: u64,
    }
    /// Argument of `cpu_hotplug`.
    pub struct SysctlCpuHotplug = "xen_sysctl_cpu_hotplug" [8] {
        pub cpu: u32,
        /// [`CpuHotplugOp`].
        pub op: u32,
    }
    /// Argument of `page_offline_op`.
    pub struct SysctlPageOfflineOp = "xen_sysctl_page_offline_op" [24] {
        /// [`PageOfflineCmd`].
        pub cmd: u32,
        /// First frame.
        pub start: u32,
        /// Last frame.
        pub end: u32,
        pub _pad: [u8; 4],
        /// Result of each.
        pub status: GuestHandle<u32>,
    }
    /// One processor.
    pub struct SysctlCputopo = "xen_sysctl_cputopo" [12] {
        pub core: u32,
        pub socket: u32,
        pub node: u32,
    }
    /// Argument of `cputopoinfo`.
    pub struct SysctlCputopoinfo = "xen_sysctl_cputopoinfo" [16] {
        /// Room; filled in.
        pub num_cpus: u32,
        pub _pad: [u8; 4],
        pub cputopo: GuestHandle<SysctlCputopo>,
    }
    /// One node, in bytes.
    pub struct SysctlMeminfo = "xen_sysctl_meminfo" [16] {
        pub memsize: u64,
        pub memfree: u64,
    }
    /// Argument of `numainfo`.
    pub struct SysctlNumainfo = "xen_sysctl_numainfo" [24] {
        /// Room; filled in.
        pub num_nodes: u32,
        pub _pad: [u8; 4],
        pub meminfo: GuestHandle<SysctlMeminfo>,
        /// `num_nodes` squared.
        pub distance: GuestHandle<u32>,
    }
    /// Which processor.
    pub struct SysctlPsrCmtOpL3Cache = "xen_sysctl_psr_cmt_op.u.l3_cache" [8] {
        pub cpu: u32,
        pub rsvd: u32,
    }
    /// Argument of `psr_cmt_op`.
    pub struct SysctlPsrCmtOp = "xen_sysctl_psr_cmt_op" [16] {
        /// [`PsrCmtCmd`].
        pub cmd: u32,
        pub flags: u32,
        pub u: SysctlPsrCmtOpU,
    }
    /// Argument of `pcitopoinfo`.
    pub struct SysctlPcitopoinfo = "xen_sysctl_pcitopoinfo" [24] {
        /// In: devices; out: those done.
        pub num_devs: u32,
        pub _pad: [u8; 4],
        pub devs: GuestHandle<PhysdevPciDevice>,
        /// Filled in.
        pub nodes: GuestHandle<u32>,
    }
    /// Cache allocation.
    pub struct SysctlPsrAllocCatInfo = "xen_sysctl_psr_alloc.u.cat_info" [12] {
        pub cbm_len: u32,
        pub cos_max: u32,
        pub flags: u32,
    }
    /// Bandwidth allocation.
    pub struct SysctlPsrAllocMbaInfo = "xen_sysctl_psr_alloc.u.mba_info" [12] {
        pub thrtl_max: u32,
        pub cos_max: u32,
        pub flags: u32,
    }
    /// Argument of `psr_alloc`.
    pub struct SysctlPsrAlloc = "xen_sysctl_psr_alloc" [20] {
        /// [`SysctlPsrAllocCmd`].
        pub cmd: u32,
        /// Socket.
        pub target: u32,
        pub u: SysctlPsrAllocU,
    }
    /// Result of `get_cpu_levelling_caps`.
    pub struct SysctlCpuLevellingCaps = "xen_sysctl_cpu_levelling_caps" [4] {
        /// [`CpuLevelcap`].
        pub caps: u32,
    }
    /// Argument of `get_cpu_featureset`.
    pub struct SysctlCpuFeatureset = "xen_sysctl_cpu_featureset" [16] {
        /// [`FeaturesetIndex`].
        pub index: u32,
        /// Room in words; filled in.
        pub nr_features: u32,
        pub features: GuestHandle<u32>,
    }
    /// Argument of `get_cpu_policy`.
    pub struct SysctlCpuPolicy = "xen_sysctl_cpu_policy" [32] {
        /// [`CpuPolicyIndex`].
        pub index: u32,
        /// Room; filled in.
        pub nr_leaves: u32,
        /// Room; filled in.
        pub nr_msrs: u32,
        pub _rsvd: u32,
        pub leaves: GuestHandle<CpuidLeaf>,
        pub msrs: GuestHandle<MsrEntry>,
    }
}

layout_entries! { types: [STRUCTS, UNIONS], constants: [Physcap::CODES, CpuHotplugOp::CODES, PageOfflineCmd::CODES, CpuLevelcap::CODES, FeaturesetIndex::CODES, CpuPolicyIndex::CODES, PsrCmtCmd::CODES, SysctlPsrAllocCmd::CODES, CONSTANTS] }
