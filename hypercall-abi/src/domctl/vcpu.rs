//! `domctl.h`: a domain's vCPUs.

use crate::arch_x86::VcpuGuestContext;
use crate::arch_x86::hvm::save::HvmVmceVcpu;
use crate::guest_handle::GuestHandle;
use crate::xen::XenctlBitmap;

flags! {
    /// `xen_domctl_vcpuaffinity.flags`.
    pub struct VcpuAffinityFlags(u32);
    prefix "XEN_VCPUAFFINITY_" {
        /// Where it may run.
        HARD = 1 << 0,
        /// Where it should run.
        SOFT = 1 << 1,
        /// End a temporary pin.
        FORCE = 1 << 2,
    }
}

codes! {
    /// `xen_domctl_sendtrigger.trigger`.
    pub struct SendTrigger(u32);
    prefix "XEN_DOMCTL_SENDTRIGGER_" {
        /// Non-maskable interrupt.
        NMI = 0,
        /// Reset.
        RESET = 1,
        /// INIT.
        INIT = 2,
        /// Power button.
        POWER = 3,
        /// Sleep button.
        SLEEP = 4,
    }
}

codes! {
    /// `xen_domctl_debug_op.op`.
    pub struct DebugOp(u32);
    prefix "XEN_DOMCTL_DEBUG_OP_" {
        /// Stop stepping.
        SINGLE_STEP_OFF = 0,
        /// Step.
        SINGLE_STEP_ON = 1,
    }
}

codes! {
    /// `xen_domctl_vmtrace_op.cmd`.
    pub struct VmtraceCmd(u32);
    prefix "XEN_DOMCTL_vmtrace_" {
        /// Start.
        enable = 1,
        /// Stop.
        disable = 2,
        /// Start anew.
        reset_and_enable = 3,
        /// Where the trace ends.
        output_position = 4,
        /// Read a trace MSR.
        get_option = 5,
        /// Write a trace MSR.
        set_option = 6,
    }
}

abi_structs! {
    in STRUCTS;
    /// Argument of `setvcpucontext` and `getvcpucontext`.
    pub struct DomctlVcpucontext = "xen_domctl_vcpucontext" [16] {
        pub vcpu: u32,
        pub _pad: [u8; 4],
        pub ctxt: GuestHandle<VcpuGuestContext>,
    }
    /// Argument of `getvcpuinfo`.
    pub struct DomctlGetvcpuinfo = "xen_domctl_getvcpuinfo" [24] {
        pub vcpu: u32,
        /// Boolean, filled in.
        pub online: u8,
        /// Boolean, filled in.
        pub blocked: u8,
        /// Boolean, filled in.
        pub running: u8,
        pub _pad0: [u8; 1],
        /// Nanoseconds, filled in.
        pub cpu_time: u64,
        /// Processor it runs or last ran on, filled in.
        pub cpu: u32,
        pub _pad1: [u8; 4],
    }
    /// Argument of `setvcpuaffinity` and `getvcpuaffinity`.
    pub struct DomctlVcpuaffinity = "xen_domctl_vcpuaffinity" [40] {
        pub vcpu: u32,
        /// [`VcpuAffinityFlags`].
        pub flags: u32,
        pub cpumap_hard: XenctlBitmap,
        pub cpumap_soft: XenctlBitmap,
    }
    /// Argument of `max_vcpus`.
    pub struct DomctlMaxVcpus = "xen_domctl_max_vcpus" [4] {
        pub max: u32,
    }
    /// Argument of `sendtrigger`.
    pub struct DomctlSendtrigger = "xen_domctl_sendtrigger" [8] {
        /// [`SendTrigger`].
        pub trigger: u32,
        pub vcpu: u32,
    }
    /// Argument of `set_ext_vcpucontext` and `get_ext_vcpucontext`.
    pub struct DomctlExtVcpucontext = "xen_domctl_ext_vcpucontext" [64] {
        pub vcpu: u32,
        /// Bytes used from here on.
        pub size: u32,
        pub syscall32_callback_eip: u64,
        pub sysenter_callback_eip: u64,
        pub syscall32_callback_cs: u16,
        pub sysenter_callback_cs: u16,
        pub syscall32_disables_events: u8,
        pub sysenter_disables_events: u8,
        pub _pad: [u8; 2],
        /// Machine-check state; C has `mcg_cap`, its first word, in a union with it.
        pub vmce: HvmVmceVcpu,
    }
    /// Argument of `debug_op`.
    pub struct DomctlDebugOp = "xen_domctl_debug_op" [8] {
        /// [`DebugOp`].
        pub op: u32,
        pub vcpu: u32,
    }
    /// Argument of `gdbsx_guestmemio`.
    pub struct DomctlGdbsxMemio = "xen_domctl_gdbsx_memio" [40] {
        /// Page table to use; zero: the current one.
        pub pgd3val: u64,
        /// Guest address.
        pub gva: u64,
        /// Address of the caller.
        pub uva: u64,
        pub len: u32,
        /// Boolean: write.
        pub gwr: u8,
        pub _pad0: [u8; 3],
        /// Filled in: bytes not done.
        pub remain: u32,
        pub _pad1: [u8; 4],
    }
    /// Argument of `gdbsx_pausevcpu` and `gdbsx_unpausevcpu`.
    pub struct DomctlGdbsxPauseunpVcpu = "xen_domctl_gdbsx_pauseunp_vcpu" [4] {
        pub vcpu: u32,
    }
    /// Result of `gdbsx_domstatus`.
    pub struct DomctlGdbsxDomstatus = "xen_domctl_gdbsx_domstatus" [12] {
        /// Boolean.
        pub paused: u8,
        pub _pad: [u8; 3],
        /// That stopped.
        pub vcpu_id: u32,
        /// Why.
        pub vcpu_ev: u32,
    }
    /// Argument of `setvcpuextstate` and `getvcpuextstate`.
    pub struct DomctlVcpuextstate = "xen_domctl_vcpuextstate" [32] {
        pub vcpu: u32,
        pub _pad: [u8; 4],
        /// Features of the host.
        pub xfeature_mask: u64,
        /// Bytes; zero asks.
        pub size: u64,
        pub buffer: GuestHandle<u64>,
    }
    /// One MSR.
    pub struct DomctlVcpuMsr = "xen_domctl_vcpu_msr" [16] {
        pub index: u32,
        pub reserved: u32,
        pub value: u64,
    }
    /// Argument of `get_vcpu_msrs` and `set_vcpu_msrs`.
    pub struct DomctlVcpuMsrs = "xen_domctl_vcpu_msrs" [16] {
        pub vcpu: u32,
        pub msr_count: u32,
        pub msrs: GuestHandle<DomctlVcpuMsr>,
    }
    /// Argument of `vmtrace_op`.
    pub struct DomctlVmtraceOp = "xen_domctl_vmtrace_op" [24] {
        /// [`VmtraceCmd`].
        pub cmd: u32,
        pub vcpu: u32,
        pub key: u64,
        pub value: u64,
    }
}

layout_entries! { types: [STRUCTS], constants: [VcpuAffinityFlags::CODES, SendTrigger::CODES, DebugOp::CODES, VmtraceCmd::CODES] }
