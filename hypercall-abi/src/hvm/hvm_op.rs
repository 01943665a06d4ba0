//! `hvm/hvm_op.h`: operations on HVM domains (`__HYPERVISOR_hvm_op`).

use crate::guest_handle::GuestHandle;
use crate::hvm::params::HvmParamIndex;
use crate::xen::DomId;

codes! {
    /// Sub-operation of `hvm_op`.
    pub struct HvmOp(u32);
    prefix "HVMOP_" {
        /// Sets a parameter.
        set_param = 0,
        /// Reads a parameter.
        get_param = 1,
        /// Flushes the TLBs of all vCPUs.
        flush_tlbs = 5,
        /// A page table goes out of use.
        pagetable_dying = 9,
        /// System time in nanoseconds.
        get_time = 10,
        /// Adds a trace record.
        xentrace = 11,
        /// Moved to `memory_op`.
        set_mem_access = 12,
        /// Moved to `memory_op`.
        get_mem_access = 13,
        /// Type of a guest frame.
        get_mem_type = 15,
        /// Sets the vector of a vCPU on which events arrive.
        set_evtchn_upcall_vector = 23,
        /// Tells the monitor.
        guest_request_vm_event = 24,
        /// Alternate views of memory.
        altp2m = 25,
    }
}

codes! {
    /// `xen_hvm_altp2m_op.cmd`.
    pub struct Altp2mCmd(u32);
    prefix "HVMOP_altp2m_" {
        get_domain_state = 1,
        set_domain_state = 2,
        vcpu_enable_notify = 3,
        create_p2m = 4,
        destroy_p2m = 5,
        switch_p2m = 6,
        set_mem_access = 7,
        change_gfn = 8,
        set_mem_access_multi = 9,
        set_suppress_ve = 10,
        get_suppress_ve = 11,
        get_mem_access = 12,
        vcpu_disable_notify = 13,
        get_p2m_idx = 14,
        set_suppress_ve_multi = 15,
        set_visibility = 16,
    }
}

codes! {
    /// `xen_hvm_get_mem_type.mem_type`.
    pub struct HvmMemType(u16);
    prefix "HVMMEM_" {
        /// Memory.
        ram_rw = 0,
        /// Read-only; writes are dropped.
        ram_ro = 1,
        /// Emulated by a device model.
        mmio_dm = 2,
        /// No longer used.
        unused = 3,
        /// Writes go to an ioreq server.
        ioreq_server = 4,
    }
}

codes! {
    /// `xen_dm_op_create_ioreq_server.handle_bufioreq`.
    pub struct BufioreqMode(u8);
    prefix "HVM_IOREQSRV_BUFIOREQ_" {
        /// No buffered requests.
        OFF = 0,
        /// Pointers are written separately.
        LEGACY = 1,
        /// Both pointers are read at once.
        ATOMIC = 2,
    }
}

constants! {
    in CONSTANTS;
    prefix "" {
        /// `xen_hvm_altp2m_op.version`.
        HVMOP_ALTP2M_INTERFACE_VERSION: u32 = 1,
    }
}

abi_unions! {
    in UNIONS;
    /// By command.
    pub union HvmAltp2mOpU = "xen_hvm_altp2m_op.u" [u64; 8] {
        domain_state: HvmAltp2mDomainState,
        enable_notify: HvmAltp2mVcpuEnableNotify,
        view: HvmAltp2mView,
        mem_access: HvmAltp2mMemAccess,
        change_gfn: HvmAltp2mChangeGfn,
        set_mem_access_multi: HvmAltp2mSetMemAccessMulti,
        suppress_ve: HvmAltp2mSuppressVe,
        suppress_ve_multi: HvmAltp2mSuppressVeMulti,
        disable_notify: HvmAltp2mVcpuDisableNotify,
        get_vcpu_p2m_idx: HvmAltp2mGetVcpuP2mIdx,
        set_visibility: HvmAltp2mSetVisibility,
        pad: [u8; 64],
    }
}

abi_structs! {
    in STRUCTS;
    /// Argument of `set_param` and `get_param`.
    pub struct HvmParam = "xen_hvm_param" [16] {
        pub domid: DomId,
        pub pad: u16,
        pub index: HvmParamIndex,
        pub value: u64,
    }
    /// Argument of `altp2m_set_suppress_ve` and `altp2m_get_suppress_ve`.
    pub struct HvmAltp2mSuppressVe = "xen_hvm_altp2m_suppress_ve" [16] {
        pub view: u16,
        /// Boolean.
        pub suppress_ve: u8,
        pub pad1: u8,
        pub pad2: u32,
        pub gfn: u64,
    }
    /// Argument of `altp2m_set_suppress_ve_multi`.
    pub struct HvmAltp2mSuppressVeMulti = "xen_hvm_altp2m_suppress_ve_multi" [32] {
        pub view: u16,
        /// Boolean.
        pub suppress_ve: u8,
        pub pad1: u8,
        /// Filled in: negative errno.
        pub first_error: i32,
        pub first_gfn: u64,
        /// Inclusive.
        pub last_gfn: u64,
        pub first_error_gfn: u64,
    }
    /// Argument of `pagetable_dying`.
    pub struct HvmPagetableDying = "xen_hvm_pagetable_dying" [16] {
        pub domid: DomId,
        pub pad: [u16; 3],
        /// Guest-physical address of the table.
        pub gpa: u64,
    }
    /// Result of `get_time`.
    pub struct HvmGetTime = "xen_hvm_get_time" [8] {
        /// Nanoseconds.
        pub now: u64,
    }
    /// Argument of `xentrace`.
    pub struct HvmXentrace = "xen_hvm_xentrace" [32] {
        pub event: u16,
        /// Bytes used of `extra`.
        pub extra_bytes: u16,
        pub extra: [u8; 28],
    }
    /// Argument of `get_mem_type`.
    pub struct HvmGetMemType = "xen_hvm_get_mem_type" [16] {
        pub domid: DomId,
        /// Filled in: [`HvmMemType`].
        pub mem_type: u16,
        pub pad: [u16; 2],
        pub pfn: u64,
    }
    /// Argument of `set_evtchn_upcall_vector`.
    pub struct HvmEvtchnUpcallVector = "xen_hvm_evtchn_upcall_vector" [8] {
        pub vcpu: u32,
        pub vector: u8,
        pub _pad: [u8; 3],
    }
    /// Argument of `altp2m_get_domain_state` and `altp2m_set_domain_state`.
    pub struct HvmAltp2mDomainState = "xen_hvm_altp2m_domain_state" [1] {
        /// Boolean.
        pub state: u8,
    }
    /// Argument of `altp2m_vcpu_enable_notify`.
    pub struct HvmAltp2mVcpuEnableNotify = "xen_hvm_altp2m_vcpu_enable_notify" [16] {
        pub vcpu_id: u32,
        pub pad: u32,
        pub gfn: u64,
    }
    /// Argument of `altp2m_vcpu_disable_notify`.
    pub struct HvmAltp2mVcpuDisableNotify = "xen_hvm_altp2m_vcpu_disable_notify" [4] {
        pub vcpu_id: u32,
    }
    /// Argument of `altp2m_create_p2m`, `altp2m_destroy_p2m` and `altp2m_switch_p2m`.
    pub struct HvmAltp2mView = "xen_hvm_altp2m_view" [4] {
        pub view: u16,
        pub hvmmem_default_access: u16,
    }
    /// Argument of `altp2m_set_mem_access` and `altp2m_get_mem_access`.
    pub struct HvmAltp2mMemAccess = "xen_hvm_altp2m_mem_access" [16] {
        pub view: u16,
        pub access: u16,
        pub pad: u32,
        pub gfn: u64,
    }
    /// Argument of `altp2m_set_mem_access_multi`.
    pub struct HvmAltp2mSetMemAccessMulti = "xen_hvm_altp2m_set_mem_access_multi" [32] {
        pub view: u16,
        pub pad: u16,
        pub nr: u32,
        /// For the hypervisor; zero on entry.
        pub opaque: u64,
        pub pfn_list: GuestHandle<u64>,
        pub access_list: GuestHandle<u8>,
    }
    /// Argument of `altp2m_change_gfn`.
    pub struct HvmAltp2mChangeGfn = "xen_hvm_altp2m_change_gfn" [24] {
        pub view: u16,
        pub pad1: u16,
        pub pad2: u32,
        pub old_gfn: u64,
        pub new_gfn: u64,
    }
    /// Argument of `altp2m_get_p2m_idx`.
    pub struct HvmAltp2mGetVcpuP2mIdx = "xen_hvm_altp2m_get_vcpu_p2m_idx" [8] {
        pub vcpu_id: u32,
        pub altp2m_idx: u16,
        pub _pad: [u8; 2],
    }
    /// Argument of `altp2m_set_visibility`.
    pub struct HvmAltp2mSetVisibility = "xen_hvm_altp2m_set_visibility" [4] {
        pub altp2m_idx: u16,
        /// Boolean.
        pub visible: u8,
        pub pad: u8,
    }
    /// Argument of `altp2m`.
    pub struct HvmAltp2mOp = "xen_hvm_altp2m_op" [80] {
        /// [`HVMOP_ALTP2M_INTERFACE_VERSION`].
        pub version: u32,
        pub cmd: Altp2mCmd,
        pub domain: DomId,
        pub pad1: u16,
        pub pad2: u32,
        pub u: HvmAltp2mOpU,
    }
}

layout_entries! { types: [STRUCTS, UNIONS], constants: [HvmOp::CODES, Altp2mCmd::CODES, HvmMemType::CODES, BufioreqMode::CODES, CONSTANTS] }
