//! `domctl.h`: what a toolstack does to a domain (`__HYPERVISOR_domctl`). The payloads are in submodules by subject and exported from here.

pub(crate) mod device;
pub(crate) mod domain;
pub(crate) mod memory;
pub(crate) mod vcpu;

pub use self::device::*;
pub use self::domain::*;
pub use self::memory::*;
pub use self::vcpu::*;

use crate::xen::DomId;

codes! {
    /// Operation of a [`Domctl`].
    pub struct DomctlCmd(u32);
    prefix "XEN_DOMCTL_" {
        /// Creates a domain without memory or vCPUs.
        createdomain = 1,
        /// Destroys a domain; answers `ERESTART` in steps until all memory is back.
        destroydomain = 2,
        /// Stops its vCPUs, counting.
        pausedomain = 3,
        /// Undoes one pause.
        unpausedomain = 4,
        /// Describes the domain, or the next one with an id not below.
        getdomaininfo = 5,
        /// Sets where a vCPU may and should run.
        setvcpuaffinity = 9,
        /// Log-dirty mode and paging memory.
        shadow_op = 10,
        /// Sets the limit of its memory.
        max_mem = 11,
        /// Sets a vCPU's registers.
        setvcpucontext = 12,
        /// Reads them.
        getvcpucontext = 13,
        /// Reports a vCPU's state and time.
        getvcpuinfo = 14,
        /// Allocates its vCPUs.
        max_vcpus = 15,
        /// Scheduling parameters.
        scheduler_op = 16,
        /// Sets its UUID.
        setdomainhandle = 17,
        /// Lets a debugger attach.
        setdebugging = 18,
        /// Grants or revokes an interrupt.
        irq_permission = 19,
        /// Grants or revokes machine frames of devices.
        iomem_permission = 20,
        /// Grants or revokes I/O ports.
        ioport_permission = 21,
        /// Fills a page with hypercall entries.
        hypercall_init = 22,
        /// Shifts its wall clock.
        settimeoffset = 24,
        /// Reports where a vCPU may and should run.
        getvcpuaffinity = 25,
        /// Obsolete, PowerPC.
        real_mode_area = 26,
        /// Lets a suspended domain go on.
        resumedomain = 27,
        /// Presses a button or sends an NMI.
        sendtrigger = 28,
        /// Chooses the port notified when a domain stops.
        subscribe = 29,
        /// Saves the state of an HVM domain.
        gethvmcontext = 33,
        /// Restores it.
        sethvmcontext = 34,
        /// Makes a PV domain 32 or 64 bits wide.
        set_address_size = 35,
        /// Reports it.
        get_address_size = 36,
        /// Gives a device.
        assign_device = 37,
        /// Connects a device's interrupt.
        bind_pt_irq = 38,
        /// Maps device memory into an HVM domain.
        memory_mapping = 39,
        /// Maps I/O ports into an HVM domain.
        ioport_mapping = 40,
        /// Sets the compatibility-mode entry points and machine-check state of a vCPU.
        set_ext_vcpucontext = 42,
        /// Reads them.
        get_ext_vcpucontext = 43,
        /// Obsolete, Itanium.
        set_opt_feature = 44,
        /// Whether a device could be given.
        test_assign_device = 45,
        /// Lets a domain manage another.
        set_target = 46,
        /// Takes a device back.
        deassign_device = 47,
        /// Disconnects a device's interrupt.
        unbind_pt_irq = 48,
        /// Lists devices that can only be given together.
        get_device_group = 50,
        /// Single-steps a vCPU.
        debug_op = 54,
        /// Saves one record of the state of an HVM domain.
        gethvmcontext_partial = 55,
        /// Sets up memory events.
        vm_event_op = 56,
        /// Turns memory sharing on.
        mem_sharing_op = 57,
        /// Reports how it sees the TSC.
        gettscinfo = 59,
        /// Sets it.
        settscinfo = 60,
        /// Reports the types of frames.
        getpageframeinfo3 = 61,
        /// Sets a vCPU's XSAVE state.
        setvcpuextstate = 62,
        /// Reads it.
        getvcpuextstate = 63,
        /// Whether it stops when nobody listens for memory events.
        set_access_required = 64,
        /// Checks its physmap; for debugging.
        audit_p2m = 65,
        /// Makes it the receiver of a global VIRQ.
        set_virq_handler = 66,
        /// Marks a frame broken.
        set_broken_page_p2m = 67,
        /// Sets the NUMA nodes of its memory.
        setnodeaffinity = 68,
        /// Reports them.
        getnodeaffinity = 69,
        /// Cleans caches; ARM.
        cacheflush = 71,
        /// Reads a vCPU's MSRs to migrate.
        get_vcpu_msrs = 72,
        /// Sets them.
        set_vcpu_msrs = 73,
        /// Sets its virtual NUMA topology.
        setvnumainfo = 74,
        /// Cache monitoring.
        psr_cmt_op = 75,
        /// Chooses events to report.
        monitor_op = 77,
        /// Cache and bandwidth allocation.
        psr_alloc = 78,
        /// Resets a domain, keeping its memory.
        soft_reset = 79,
        /// Virtual UART; ARM.
        vuart_op = 81,
        /// Reads its CPUID and MSR policy.
        get_cpu_policy = 82,
        /// Sets it.
        set_cpu_policy = 83,
        /// Processor tracing.
        vmtrace_op = 84,
        /// Size of its paging pool.
        get_paging_mempool_size = 85,
        /// Sets it.
        set_paging_mempool_size = 86,
        /// Debugger: reads or writes memory.
        gdbsx_guestmemio = 1000,
        /// Debugger: pauses a vCPU.
        gdbsx_pausevcpu = 0x3e9,
        /// Debugger: unpauses it.
        gdbsx_unpausevcpu = 0x3ea,
        /// Debugger: which vCPU stopped.
        gdbsx_domstatus = 0x3eb,
        /// Continuation of `soft_reset`; the hypervisor's own.
        soft_reset_cont = 23,
    }
}

constants! {
    in CONSTANTS;
    prefix "XEN_" {
        /// `xen_domctl.interface_version`; another value gives `EACCES`.
        DOMCTL_INTERFACE_VERSION: u32 = 21,
    }
}

abi_unions! {
    in UNIONS;
    /// Argument by [`DomctlCmd`].
    pub union DomctlU = "xen_domctl.u" [u64; 16] {
        createdomain: DomctlCreatedomain,
        getdomaininfo: DomctlGetdomaininfo,
        getpageframeinfo3: DomctlGetpageframeinfo3,
        nodeaffinity: DomctlNodeaffinity,
        vcpuaffinity: DomctlVcpuaffinity,
        shadow_op: DomctlShadowOp,
        max_mem: DomctlMaxMem,
        vcpucontext: DomctlVcpucontext,
        getvcpuinfo: DomctlGetvcpuinfo,
        max_vcpus: DomctlMaxVcpus,
        scheduler_op: DomctlSchedulerOp,
        setdomainhandle: DomctlSetdomainhandle,
        setdebugging: DomctlSetdebugging,
        irq_permission: DomctlIrqPermission,
        iomem_permission: DomctlIomemPermission,
        ioport_permission: DomctlIoportPermission,
        hypercall_init: DomctlHypercallInit,
        settimeoffset: DomctlSettimeoffset,
        tsc_info: DomctlTscInfo,
        hvmcontext: DomctlHvmcontext,
        hvmcontext_partial: DomctlHvmcontextPartial,
        address_size: DomctlAddressSize,
        sendtrigger: DomctlSendtrigger,
        get_device_group: DomctlGetDeviceGroup,
        assign_device: DomctlAssignDevice,
        bind_pt_irq: DomctlBindPtIrq,
        memory_mapping: DomctlMemoryMapping,
        ioport_mapping: DomctlIoportMapping,
        ext_vcpucontext: DomctlExtVcpucontext,
        set_target: DomctlSetTarget,
        subscribe: DomctlSubscribe,
        debug_op: DomctlDebugOp,
        vm_event_op: DomctlVmEventOp,
        mem_sharing_op: DomctlMemSharingOp,
        cpu_policy: DomctlCpuPolicy,
        vcpuextstate: DomctlVcpuextstate,
        vcpu_msrs: DomctlVcpuMsrs,
        access_required: DomctlSetAccessRequired,
        audit_p2m: DomctlAuditP2m,
        set_virq_handler: DomctlSetVirqHandler,
        gdbsx_guest_memio: DomctlGdbsxMemio,
        set_broken_page_p2m: DomctlSetBrokenPageP2m,
        cacheflush: DomctlCacheflush,
        gdbsx_pauseunp_vcpu: DomctlGdbsxPauseunpVcpu,
        gdbsx_domstatus: DomctlGdbsxDomstatus,
        vnuma: DomctlVnuma,
        psr_cmt_op: DomctlPsrCmtOp,
        monitor_op: DomctlMonitorOp,
        psr_alloc: DomctlPsrAlloc,
        vuart_op: DomctlVuartOp,
        vmtrace_op: DomctlVmtraceOp,
        paging_mempool: DomctlPagingMempool,
        pad: [u8; 128],
    }
}

abi_structs! {
    in STRUCTS;
    /// Argument of `domctl`.
    pub struct Domctl = "xen_domctl" [144] {
        pub cmd: DomctlCmd,
        /// [`DOMCTL_INTERFACE_VERSION`].
        pub interface_version: u32,
        /// On which domain.
        pub domain: DomId,
        pub _pad: [u16; 3],
        pub u: DomctlU,
    }
}

layout_entries! { types: [STRUCTS, UNIONS], constants: [DomctlCmd::CODES, CONSTANTS] }
