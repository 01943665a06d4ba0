//! `arch-x86/xen-mca.h`: machine checks (`__HYPERVISOR_mca`).

use crate::guest_handle::GuestHandle;
use crate::xen::{DomId, XenctlBitmap};

codes! {
    /// Operation of an [`Mc`].
    pub struct McCmd(u32);
    prefix "XEN_MC_" {
        /// Fetches telemetry.
        fetch = 1,
        /// Notifies a domain.
        notifydomain = 2,
        /// Describes processors.
        physcpuinfo = 3,
        /// Sets MSRs, for tests.
        msrinject = 4,
        /// Raises a machine check, for tests.
        mceinject = 5,
        /// Raises machine checks on some processors, for tests.
        inject_v2 = 6,
    }
}

codes! {
    /// Kind of a telemetry record.
    pub struct McType(u16);
    prefix "MC_TYPE_" {
        /// [`McinfoGlobal`].
        GLOBAL = 0,
        /// [`McinfoBank`].
        BANK = 1,
        /// [`McinfoExtended`].
        EXTENDED = 2,
        /// [`McinfoRecovery`].
        RECOVERY = 3,
    }
}

flags! {
    /// `mcinfo_global.mc_flags`.
    pub struct McFlags(u32);
    prefix "MC_FLAG_" {
        CORRECTABLE = 1 << 0,
        UNCORRECTABLE = 1 << 1,
        RECOVERABLE = 1 << 2,
        POLLED = 1 << 3,
        RESET = 1 << 4,
        CMCI = 1 << 5,
        MCE = 1 << 6,
    }
}

flags! {
    /// `xen_mc_fetch.flags` on entry.
    pub struct McFetchFlags(u32);
    prefix "XEN_MC_" {
        /// Corrected errors.
        NONURGENT = 1 << 0,
        /// Others.
        URGENT = 1 << 1,
        /// Done with `fetch_id`.
        ACK = 1 << 2,
    }
}

codes! {
    /// `xen_mc_fetch.flags` on return.
    pub struct McFetchStatus(u32);
    prefix "XEN_MC_" {
        OK = 0,
        FETCHFAILED = 1,
        NODATA = 2,
        NOMATCH = 4,
    }
}

flags! {
    /// `xen_mc_notifydomain.flags` on return.
    pub struct McNotifyFlags(u32);
    prefix "XEN_MC_" {
        CANNOTHANDLE = 1 << 3,
        NOTDELIVERED = 1 << 4,
    }
}

flags! {
    /// `mcinfo_recovery.action_flags`.
    pub struct McRecAction(u8);
    prefix "REC_ACTION_" {
        RECOVERED = 1 << 0,
        NONE = 1 << 1,
        NEED_RESET = 1 << 2,
    }
}

flags! {
    /// `mcinfo_recovery.action_types`.
    pub struct McAction(u8);
    prefix "MC_ACTION_" {
        PAGE_OFFLINE = 1 << 0,
        CPU_OFFLINE = 1 << 1,
        CACHE_SHRINK = 1 << 2,
    }
}

codes! {
    /// Index in `mc_cpu_caps`.
    pub struct McCaps(u32);
    prefix "MC_CAPS_" {
        STD_EDX = 0,
        AMD_EDX = 1,
        TM = 2,
        LINUX = 3,
        STD_ECX = 4,
        VIA = 5,
        AMD_ECX = 6,
    }
}

flags! {
    /// `xen_mc_msrinject.mcinj_flags`.
    pub struct McMsrinjFlags(u32);
    prefix "MC_MSRINJ_F_" {
        INTERPOSE = 1 << 0,
        GPADDR = 1 << 1,
    }
}

codes! {
    /// `xen_mc_inject_v2.flags`.
    pub struct McInjectType(u32);
    prefix "XEN_MC_INJECT_TYPE_" {
        MASK = 7,
        MCE = 0,
        CMCI = 1,
        LMCE = 2,
    }
}

constants! {
    in CONSTANTS;
    prefix "XEN_" {
        /// `xen_mc.interface_version`.
        MCA_INTERFACE_VERSION: u32 = 0x1ec_c003,
        /// No vCPU.
        MC_VCPUID_INVALID: u32 = 0xffff,
        /// On all processors.
        MC_INJECT_CPU_BROADCAST: u32 = 8,
    }
    prefix "" {
        /// Tells of telemetry.
        VIRQ_MCA: u32 = 16,
        /// Bytes of the action.
        MAX_UNION_SIZE: u32 = 16,
        /// Bytes of a telemetry buffer.
        MCINFO_HYPERCALLSIZE: u32 = 0x400,
        /// Bytes of telemetry.
        MCINFO_MAXSIZE: u32 = 0x300,
        /// Records are missing.
        MCINFO_FLAGS_UNCOMPLETE: u32 = 1,
        /// Capability words.
        MC_NCAPS: u32 = 7,
        /// MSRs in one call.
        MC_MSRINJ_MAXMSRS: u32 = 8,
    }
    prefix "__" {
        /// Number of the hypercall.
        HYPERVISOR_mca: u64 = 48,
        /// MSRs in [`McinfoLogicalCpu`].
        MC_MSR_ARRAYSIZE: u64 = 8,
    }
}

abi_unions! {
    in UNIONS;
    /// By type.
    pub union McinfoRecoveryActionInfo = "mcinfo_recovery.action_info" [u64; 2] {
        page_retire: PageOfflineAction,
        cpu_offline: CpuOfflineAction,
        pad: [u8; 16],
    }
    /// Argument by [`McCmd`].
    pub union McU = "xen_mc.u" [u64; 18] {
        mc_fetch: McFetch,
        mc_notifydomain: McNotifydomain,
        mc_physcpuinfo: McPhyscpuinfo,
        mc_msrinject: McMsrinject,
        mc_mceinject: McMceinject,
        mc_inject_v2: McInjectV2,
    }
}

abi_structs! {
    in STRUCTS;
    /// Head of a record.
    pub struct McinfoCommon = "mcinfo_common" [4] {
        pub r#type: McType,
        /// Bytes.
        pub size: u16,
    }
    /// About the whole event.
    pub struct McinfoGlobal = "mcinfo_global" [32] {
        pub common: McinfoCommon,
        pub mc_domid: u16,
        pub mc_vcpuid: u16,
        pub mc_socketid: u32,
        pub mc_coreid: u16,
        pub mc_core_threadid: u16,
        pub mc_apicid: u32,
        /// [`McFlags`].
        pub mc_flags: u32,
        pub mc_gstatus: u64,
    }
    /// One bank.
    pub struct McinfoBank = "mcinfo_bank" [48] {
        pub common: McinfoCommon,
        pub mc_bank: u16,
        pub mc_domid: u16,
        pub mc_status: u64,
        pub mc_addr: u64,
        pub mc_misc: u64,
        pub mc_ctrl2: u64,
        pub mc_tsc: u64,
    }
    /// One MSR.
    pub struct McinfoMsr = "mcinfo_msr" [16] {
        pub reg: u64,
        pub value: u64,
    }
    /// More MSRs.
    pub struct McinfoExtended = "mcinfo_extended" [520] {
        pub common: McinfoCommon,
        pub mc_msrs: u32,
        pub mc_msr: [McinfoMsr; 32],
    }
    /// A frame taken out of use.
    pub struct PageOfflineAction = "page_offline_action" [16] {
        pub mfn: u64,
        pub status: u64,
    }
    /// A processor taken out of use.
    pub struct CpuOfflineAction = "cpu_offline_action" [8] {
        pub mc_socketid: u32,
        pub mc_coreid: u16,
        pub mc_core_threadid: u16,
    }
    /// What was done.
    pub struct McinfoRecovery = "mcinfo_recovery" [24] {
        pub common: McinfoCommon,
        pub mc_bank: u16,
        /// [`McRecAction`].
        pub action_flags: u8,
        /// [`McAction`].
        pub action_types: u8,
        pub action_info: McinfoRecoveryActionInfo,
    }
    /// Telemetry.
    pub struct McInfo = "mc_info" [768] {
        /// Records.
        pub mi_nentries: u32,
        pub flags: u32,
        pub mi_data: [u64; 95],
    }
    /// A processor.
    pub struct McinfoLogicalCpu = "mcinfo_logical_cpu" [304] {
        pub mc_cpunr: u32,
        pub mc_chipid: u32,
        pub mc_coreid: u16,
        pub mc_threadid: u16,
        pub mc_apicid: u32,
        pub mc_clusterid: u32,
        pub mc_ncores: u32,
        pub mc_ncores_active: u32,
        pub mc_nthreads: u32,
        pub mc_cpuid_level: i32,
        pub mc_family: u32,
        pub mc_vendor: u32,
        pub mc_model: u32,
        pub mc_step: u32,
        pub mc_vendorid: [u8; 16],
        pub mc_brandid: [u8; 64],
        pub mc_cpu_caps: [u32; 7],
        pub mc_cache_size: u32,
        pub mc_cache_alignment: u32,
        pub mc_nmsrvals: i32,
        pub _pad: [u8; 4],
        pub mc_msrvalues: [McinfoMsr; 8],
    }
    /// Argument of `fetch`.
    pub struct McFetch = "xen_mc_fetch" [24] {
        /// [`McFetchFlags`] in, [`McFetchStatus`] out.
        pub flags: u32,
        pub _pad0: u32,
        pub fetch_id: u64,
        pub data: GuestHandle<McInfo>,
    }
    /// Argument of `notifydomain`.
    pub struct McNotifydomain = "xen_mc_notifydomain" [8] {
        pub mc_domid: u16,
        pub mc_vcpuid: u16,
        /// [`McFetchFlags`] in, [`McNotifyFlags`] out.
        pub flags: u32,
    }
    /// Argument of `physcpuinfo`.
    pub struct McPhyscpuinfo = "xen_mc_physcpuinfo" [16] {
        /// Room; filled in.
        pub ncpus: u32,
        pub _pad0: u32,
        pub info: GuestHandle<McinfoLogicalCpu>,
    }
    /// Argument of `msrinject`.
    pub struct McMsrinject = "xen_mc_msrinject" [144] {
        pub mcinj_cpunr: u32,
        /// [`McMsrinjFlags`].
        pub mcinj_flags: u32,
        pub mcinj_count: u32,
        pub mcinj_domid: DomId,
        pub _pad0: u16,
        pub mcinj_msr: [McinfoMsr; 8],
    }
    /// Argument of `mceinject`.
    pub struct McMceinject = "xen_mc_mceinject" [4] {
        pub mceinj_cpunr: u32,
    }
    /// Argument of `inject_v2`.
    pub struct McInjectV2 = "xen_mc_inject_v2" [24] {
        /// [`McInjectType`].
        pub flags: u32,
        pub _pad: [u8; 4],
        pub cpumap: XenctlBitmap,
    }
    /// Argument of `mca`.
    pub struct Mc = "xen_mc" [152] {
        pub cmd: McCmd,
        /// [`MCA_INTERFACE_VERSION`].
        pub interface_version: u32,
        pub u: McU,
    }
}

layout_entries! { types: [STRUCTS, UNIONS], constants: [McCmd::CODES, McType::CODES, McFlags::CODES, McFetchFlags::CODES, McFetchStatus::CODES, McNotifyFlags::CODES, McRecAction::CODES, McAction::CODES, McCaps::CODES, McMsrinjFlags::CODES, McInjectType::CODES, CONSTANTS] }
