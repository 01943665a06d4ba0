//! `vcpu.h`: starting vCPUs, their timers and shared areas (`__HYPERVISOR_vcpu_op`).

use crate::guest_handle::GuestHandle;
use crate::xen::VcpuTimeInfo;

codes! {
    /// Sub-operation of `vcpu_op`.
    pub struct VcpuOp(u32);
    prefix "VCPUOP_" {
        /// Sets the context of a vCPU that never ran.
        initialise = 0,
        /// Brings it up.
        up = 1,
        /// Takes it down.
        down = 2,
        /// Whether it is up: 1 or 0.
        is_up = 3,
        /// Reports how its time was spent.
        get_runstate_info = 4,
        /// Registers an area in which that is kept up to date.
        register_runstate_memory_area = 5,
        /// Starts the periodic timer.
        set_periodic_timer = 6,
        /// Stops it.
        stop_periodic_timer = 7,
        /// Starts the singleshot timer.
        set_singleshot_timer = 8,
        /// Stops it.
        stop_singleshot_timer = 9,
        /// Moves the vCPU's `vcpu_info` to a page of the guest.
        register_vcpu_info = 10,
        /// Sends it an NMI.
        send_nmi = 11,
        /// Reports its physical processor's identifiers.
        get_physid = 12,
        /// Registers an area in which `vcpu_time_info` is kept up to date.
        register_vcpu_time_memory_area = 13,
    }
}

codes! {
    /// `vcpu_runstate_info.state`.
    pub struct Runstate(i32);
    prefix "RUNSTATE_" {
        /// On a processor.
        running = 0,
        /// Ready, but not on a processor.
        runnable = 1,
        /// Waits for an event.
        blocked = 2,
        /// Paused, down or shut down.
        offline = 3,
    }
}

flags! {
    /// `vcpu_set_singleshot_timer.flags`.
    pub struct SshottmrFlags(u32);
    prefix "VCPU_SSHOTTMR_" {
        /// A time in the past is an error (`ETIME`).
        future = 1 << 0,
    }
}

constants! {
    in CONSTANTS;
    prefix "XEN_" {
        /// Bit of `state_entry_time`: the area is being written. Only with the assistance `runstate_update_flag`.
        RUNSTATE_UPDATE: u64 = 1 << 63,
    }
}

/// `xen_vcpu_physid_to_x86_apicid`: the APIC id in [`VcpuGetPhysid::phys_id`].
#[must_use]
pub const fn physid_to_x86_apicid(phys_id: u64) -> u32 {
    phys_id as u32
}

/// `xen_vcpu_physid_to_x86_acpiid`: the ACPI processor id in [`VcpuGetPhysid::phys_id`].
#[must_use]
pub const fn physid_to_x86_acpiid(phys_id: u64) -> u32 {
    (phys_id >> 32) as u32
}

abi_unions! {
    in UNIONS;
    /// Address of the runstate area.
    pub union RunstateAreaAddr = "vcpu_register_runstate_memory_area.addr" [u64; 1] {
        h: GuestHandle<VcpuRunstateInfo>,
        /// Virtual address.
        v: u64,
        p: u64,
    }
    /// Address of the time area.
    pub union TimeAreaAddr = "vcpu_register_time_memory_area.addr" [u64; 1] {
        h: GuestHandle<VcpuTimeInfo>,
        /// Virtual address.
        v: u64,
        p: u64,
    }
}

abi_structs! {
    in STRUCTS;
    /// How a vCPU's time was spent.
    pub struct VcpuRunstateInfo = "vcpu_runstate_info" [48] {
        pub state: Runstate,
        pub _pad: [u8; 4],
        /// System time in nanoseconds at which the state was entered, and [`RUNSTATE_UPDATE`].
        pub state_entry_time: u64,
        /// Nanoseconds spent in each [`Runstate`].
        pub time: [u64; 4],
    }
    /// Argument of `register_runstate_memory_area`.
    pub struct VcpuRegisterRunstateMemoryArea = "vcpu_register_runstate_memory_area" [8] {
        pub addr: RunstateAreaAddr,
    }
    /// Argument of `set_periodic_timer`.
    pub struct VcpuSetPeriodicTimer = "vcpu_set_periodic_timer" [8] {
        /// Nanoseconds.
        pub period_ns: u64,
    }
    /// Argument of `set_singleshot_timer`.
    pub struct VcpuSetSingleshotTimer = "vcpu_set_singleshot_timer" [16] {
        /// System time in nanoseconds.
        pub timeout_abs_ns: u64,
        /// [`SshottmrFlags`].
        pub flags: u32,
        pub _pad: [u8; 4],
    }
    /// Argument of `register_vcpu_info`.
    pub struct VcpuRegisterVcpuInfo = "vcpu_register_vcpu_info" [16] {
        /// Frame.
        pub mfn: u64,
        /// Offset in it, in bytes.
        pub offset: u32,
        pub rsvd: u32,
    }
    /// Argument of `get_physid`.
    pub struct VcpuGetPhysid = "vcpu_get_physid" [8] {
        /// Filled in; see [`physid_to_x86_apicid`].
        pub phys_id: u64,
    }
    /// Argument of `register_vcpu_time_memory_area`.
    pub struct VcpuRegisterTimeMemoryArea = "vcpu_register_time_memory_area" [8] {
        pub addr: TimeAreaAddr,
    }
}

layout_entries! { types: [STRUCTS, UNIONS], constants: [VcpuOp::CODES, Runstate::CODES, SshottmrFlags::CODES, CONSTANTS] }
