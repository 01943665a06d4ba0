//! `domctl.h`: a domain's memory, and what watches it.

use crate::guest_handle::GuestHandle;
use crate::memory::Vmemrange;
use crate::xen::XenPfn;

codes! {
    /// `xen_domctl_shadow_op.op`.
    pub struct ShadowOpCmd(u32);
    prefix "XEN_DOMCTL_SHADOW_OP_" {
        /// Stop logging.
        OFF = 0,
        /// Turn a mode on.
        ENABLE = 32,
        /// Read and clear the dirty bitmap.
        CLEAN = 11,
        /// Read the dirty bitmap.
        PEEK = 12,
        /// Paging memory, MiB.
        GET_ALLOCATION = 30,
        /// Sets it.
        SET_ALLOCATION = 31,
        /// Test mode.
        ENABLE_TEST = 1,
        /// Start logging.
        ENABLE_LOGDIRTY = 2,
    }
}

flags! {
    /// `xen_domctl_shadow_op.mode` of `ENABLE`.
    pub struct ShadowEnable(u32);
    prefix "XEN_DOMCTL_SHADOW_ENABLE_" {
        /// Reference counting.
        REFCOUNT = 1 << 1,
        /// Logging.
        LOG_DIRTY = 1 << 2,
        /// Translated addresses.
        TRANSLATE = 1 << 3,
        /// External paging.
        EXTERNAL = 1 << 4,
    }
}

flags! {
    /// `xen_domctl_shadow_op.mode` of `CLEAN` and `PEEK`.
    pub struct ShadowLogdirty(u32);
    prefix "XEN_DOMCTL_SHADOW_LOGDIRTY_" {
        /// The last round of a migration.
        FINAL = 1 << 0,
    }
}

codes! {
    /// `xen_domctl_vm_event_op.op`.
    pub struct VmEventCmd(u32);
    prefix "XEN_VM_EVENT_" {
        /// Turn on.
        ENABLE = 0,
        /// Turn off.
        DISABLE = 1,
        /// Answers are in the ring.
        RESUME = 2,
        /// Version of the ring.
        GET_VERSION = 3,
    }
}

codes! {
    /// `xen_domctl_vm_event_op.mode`.
    pub struct VmEventMode(u32);
    prefix "XEN_DOMCTL_VM_EVENT_OP_" {
        /// Paging.
        PAGING = 1,
        /// Monitoring.
        MONITOR = 2,
        /// Sharing.
        SHARING = 3,
    }
}

codes! {
    /// `xen_domctl_monitor_op.op`.
    pub struct MonitorOp(u32);
    prefix "XEN_DOMCTL_MONITOR_OP_" {
        ENABLE = 0,
        DISABLE = 1,
        GET_CAPABILITIES = 2,
        EMULATE_EACH_REP = 3,
        CONTROL_REGISTERS = 4,
    }
}

codes! {
    /// `xen_domctl_monitor_op.event`.
    pub struct MonitorEvent(u32);
    prefix "XEN_DOMCTL_MONITOR_EVENT_" {
        WRITE_CTRLREG = 0,
        MOV_TO_MSR = 1,
        SINGLESTEP = 2,
        SOFTWARE_BREAKPOINT = 3,
        GUEST_REQUEST = 4,
        DEBUG_EXCEPTION = 5,
        CPUID = 6,
        PRIVILEGED_CALL = 7,
        INTERRUPT = 8,
        DESC_ACCESS = 9,
        EMUL_UNIMPLEMENTED = 10,
        INGUEST_PAGEFAULT = 11,
        VMEXIT = 12,
    }
}

codes! {
    /// `xen_domctl_psr_cmt_op.cmd`.
    pub struct PsrCmtOpCmd(u32);
    prefix "XEN_DOMCTL_PSR_CMT_OP_" {
        DETACH = 0,
        ATTACH = 1,
        QUERY_RMID = 2,
    }
}

codes! {
    /// `xen_domctl_psr_alloc.cmd`.
    pub struct PsrAllocCmd(u32);
    prefix "XEN_DOMCTL_PSR_" {
        SET_L3_CBM = 0,
        GET_L3_CBM = 1,
        SET_L3_CODE = 2,
        SET_L3_DATA = 3,
        GET_L3_CODE = 4,
        GET_L3_DATA = 5,
        SET_L2_CBM = 6,
        GET_L2_CBM = 7,
        SET_MBA_THRTL = 8,
        GET_MBA_THRTL = 9,
    }
}

constants! {
    in CONSTANTS;
    prefix "XEN_" {
        /// First bit of the type.
        DOMCTL_PFINFO_LTAB_SHIFT: u32 = 28,
        /// Not a page table.
        DOMCTL_PFINFO_NOTAB: u32 = 0,
        /// Level-1 table.
        DOMCTL_PFINFO_L1TAB: u32 = 0x1000_0000,
        /// Level-2 table.
        DOMCTL_PFINFO_L2TAB: u32 = 0x2000_0000,
        /// Level-3 table.
        DOMCTL_PFINFO_L3TAB: u32 = 0x3000_0000,
        /// Level-4 table.
        DOMCTL_PFINFO_L4TAB: u32 = 0x4000_0000,
        /// Mask of the level.
        DOMCTL_PFINFO_LTABTYPE_MASK: u32 = 0x7000_0000,
        /// Pinned.
        DOMCTL_PFINFO_LPINTAB: u32 = 0x8000_0000,
        /// Invalid frame.
        DOMCTL_PFINFO_XTAB: u32 = 0xf000_0000,
        /// To be allocated only.
        DOMCTL_PFINFO_XALLOC: u32 = 0xe000_0000,
        /// Broken memory.
        DOMCTL_PFINFO_BROKEN: u32 = 0xd000_0000,
        /// Mask of the whole type.
        DOMCTL_PFINFO_LTAB_MASK: u32 = 0xf000_0000,
        /// `xen_domctl_mem_sharing_op.op`: turns sharing on or off.
        DOMCTL_MEM_SHARING_CONTROL: u32 = 0,
    }
}

abi_unions! {
    in UNIONS;
    /// Result.
    pub union DomctlVmEventOpU = "xen_domctl_vm_event_op.u" [u32; 1] {
        enable: DomctlVmEventOpEnable,
        version: u32,
    }
    /// By `op`.
    pub union DomctlMemSharingOpU = "xen_domctl_mem_sharing_op.u" [u8; 1] {
        enable: u8,
    }
    /// By event.
    pub union DomctlMonitorOpU = "xen_domctl_monitor_op.u" [u64; 2] {
        mov_to_cr: DomctlMonitorOpMovToCr,
        mov_to_msr: DomctlMonitorOpMovToMsr,
        guest_request: DomctlMonitorOpGuestRequest,
        debug_exception: DomctlMonitorOpDebugException,
        vmexit: DomctlMonitorOpVmexit,
    }
}

abi_structs! {
    in STRUCTS;
    /// Argument of `getpageframeinfo3`.
    pub struct DomctlGetpageframeinfo3 = "xen_domctl_getpageframeinfo3" [16] {
        /// Frames.
        pub num: u64,
        /// Frame numbers in, types out.
        pub array: GuestHandle<XenPfn>,
    }
    /// Counters since the last round.
    pub struct DomctlShadowOpStats = "xen_domctl_shadow_op_stats" [8] {
        pub fault_count: u32,
        pub dirty_count: u32,
    }
    /// Argument of `shadow_op`.
    pub struct DomctlShadowOp = "xen_domctl_shadow_op" [40] {
        /// [`ShadowOpCmd`].
        pub op: u32,
        /// [`ShadowEnable`] or [`ShadowLogdirty`].
        pub mode: u32,
        /// MiB.
        pub mb: u32,
        pub _pad: [u8; 4],
        pub dirty_bitmap: GuestHandle<u8>,
        /// Frames in the bitmap.
        pub pages: u64,
        pub stats: DomctlShadowOpStats,
    }
    /// Argument of `max_mem`.
    pub struct DomctlMaxMem = "xen_domctl_max_mem" [8] {
        /// KiB.
        pub max_memkb: u64,
    }
    /// Result of `ENABLE`.
    pub struct DomctlVmEventOpEnable = "xen_domctl_vm_event_op.u.enable" [4] {
        pub port: u32,
    }
    /// Argument of `vm_event_op`.
    pub struct DomctlVmEventOp = "xen_domctl_vm_event_op" [12] {
        /// [`VmEventCmd`].
        pub op: u32,
        /// [`VmEventMode`].
        pub mode: u32,
        pub u: DomctlVmEventOpU,
    }
    /// Argument of `mem_sharing_op`.
    pub struct DomctlMemSharingOp = "xen_domctl_mem_sharing_op" [2] {
        pub op: u8,
        pub u: DomctlMemSharingOpU,
    }
    /// Result of `audit_p2m`, in frames.
    pub struct DomctlAuditP2m = "xen_domctl_audit_p2m" [24] {
        pub orphans: u64,
        pub m2p_bad: u64,
        pub p2m_bad: u64,
    }
    /// Argument of `set_access_required`.
    pub struct DomctlSetAccessRequired = "xen_domctl_set_access_required" [1] {
        /// Boolean.
        pub access_required: u8,
    }
    /// Argument of `set_broken_page_p2m`.
    pub struct DomctlSetBrokenPageP2m = "xen_domctl_set_broken_page_p2m" [8] {
        pub pfn: u64,
    }
    /// Argument of `cacheflush`.
    pub struct DomctlCacheflush = "xen_domctl_cacheflush" [16] {
        pub start_pfn: XenPfn,
        pub nr_pfns: XenPfn,
    }
    /// Argument of `get_paging_mempool_size` and `set_paging_mempool_size`.
    pub struct DomctlPagingMempool = "xen_domctl_paging_mempool" [8] {
        /// Bytes.
        pub size: u64,
    }
    /// Argument of `setvnumainfo`.
    pub struct DomctlVnuma = "xen_domctl_vnuma" [48] {
        pub nr_vnodes: u32,
        pub nr_vmemranges: u32,
        pub nr_vcpus: u32,
        pub pad: u32,
        /// `nr_vnodes` squared.
        pub vdistance: GuestHandle<u32>,
        pub vcpu_to_vnode: GuestHandle<u32>,
        pub vnode_to_pnode: GuestHandle<u32>,
        pub vmemrange: GuestHandle<Vmemrange>,
    }
    /// Argument of `psr_cmt_op`.
    pub struct DomctlPsrCmtOp = "xen_domctl_psr_cmt_op" [8] {
        /// [`PsrCmtOpCmd`].
        pub cmd: u32,
        pub data: u32,
    }
    /// Writes of a control register.
    pub struct DomctlMonitorOpMovToCr = "xen_domctl_monitor_op.u.mov_to_cr" [16] {
        pub index: u8,
        /// Boolean: stop the vCPU.
        pub sync: u8,
        /// Boolean.
        pub onchangeonly: u8,
        pub pad1: u8,
        pub pad2: u32,
        /// Bits that do not matter.
        pub bitmask: u64,
    }
    /// Writes of an MSR.
    pub struct DomctlMonitorOpMovToMsr = "xen_domctl_monitor_op.u.mov_to_msr" [8] {
        pub msr: u32,
        /// Boolean.
        pub onchangeonly: u8,
        pub _pad: [u8; 3],
    }
    /// Requests of the guest.
    pub struct DomctlMonitorOpGuestRequest = "xen_domctl_monitor_op.u.guest_request" [2] {
        /// Boolean: stop the vCPU.
        pub sync: u8,
        /// Boolean.
        pub allow_userspace: u8,
    }
    /// Debug exceptions.
    pub struct DomctlMonitorOpDebugException = "xen_domctl_monitor_op.u.debug_exception" [1] {
        /// Boolean: stop the vCPU.
        pub sync: u8,
    }
    /// VM exits.
    pub struct DomctlMonitorOpVmexit = "xen_domctl_monitor_op.u.vmexit" [1] {
        /// Boolean: stop the vCPU.
        pub sync: u8,
    }
    /// Argument of `monitor_op`.
    pub struct DomctlMonitorOp = "xen_domctl_monitor_op" [24] {
        /// [`MonitorOp`].
        pub op: u32,
        /// [`MonitorEvent`].
        pub event: u32,
        pub u: DomctlMonitorOpU,
    }
    /// Argument of `psr_alloc`.
    pub struct DomctlPsrAlloc = "xen_domctl_psr_alloc" [16] {
        /// [`PsrAllocCmd`].
        pub cmd: u32,
        /// Socket.
        pub target: u32,
        pub data: u64,
    }
}

layout_entries! { types: [STRUCTS, UNIONS], constants: [ShadowOpCmd::CODES, ShadowEnable::CODES, ShadowLogdirty::CODES, VmEventCmd::CODES, VmEventMode::CODES, MonitorOp::CODES, MonitorEvent::CODES, PsrCmtOpCmd::CODES, PsrAllocCmd::CODES, CONSTANTS] }
