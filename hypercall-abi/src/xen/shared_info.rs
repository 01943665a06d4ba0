//! `xen.h`: the page a guest and the hypervisor share, and its clocks.

use crate::arch_x86::xen_x86_64::ArchVcpuInfo;
use crate::arch_x86::{ArchSharedInfo, XEN_LEGACY_MAX_VCPUS};

flags! {
    /// `vcpu_time_info.flags`.
    pub struct PvclockFlags(u8);
    prefix "XEN_PVCLOCK_" {
        /// The TSC is synchronised between vCPUs.
        TSC_STABLE_BIT = 1 << 0,
        /// The guest was stopped by a debugger.
        GUEST_STOPPED = 1 << 1,
    }
}

/// Words of a bitmap of 2-level ports.
const WORDS_OF_PORTS: usize = 64;

abi_structs! {
    in STRUCTS;
    /// A vCPU's clock parameters: nanoseconds from TSC ticks. Read under `version` as a sequence lock.
    pub struct VcpuTimeInfo = "vcpu_time_info" [32] {
        /// Odd while being written.
        pub version: u32,
        pub pad0: u32,
        /// TSC at the last update.
        pub tsc_timestamp: u64,
        /// Nanoseconds since boot at the last update.
        pub system_time: u64,
        /// 0.32 fixed-point nanoseconds per shifted tick.
        pub tsc_to_system_mul: u32,
        /// Left shift of ticks before the multiplication; right if negative.
        pub tsc_shift: i8,
        /// [`PvclockFlags`].
        pub flags: u8,
        pub pad1: [u8; 2],
    }
    /// A vCPU's part of the shared page.
    pub struct VcpuInfo = "vcpu_info" [64] {
        /// Non-zero: an event is pending.
        pub evtchn_upcall_pending: u8,
        /// Non-zero: events are masked, the virtual interrupt flag.
        pub evtchn_upcall_mask: u8,
        pub _pad: [u8; 6],
        /// Bit per word of `evtchn_pending` that has a pending port.
        pub evtchn_pending_sel: u64,
        /// x86 part.
        pub arch: ArchVcpuInfo,
        /// Clock.
        pub time: VcpuTimeInfo,
    }
    /// The page a guest and the hypervisor share.
    pub struct SharedInfo = "shared_info" [3136] {
        /// The first 32 vCPUs.
        pub vcpu_info: [VcpuInfo; XEN_LEGACY_MAX_VCPUS],
        /// Bit per 2-level port: pending.
        pub evtchn_pending: [u64; WORDS_OF_PORTS],
        /// Bit per 2-level port: masked.
        pub evtchn_mask: [u64; WORDS_OF_PORTS],
        /// Sequence lock of the wall clock.
        pub wc_version: u32,
        /// Wall clock at boot: seconds since 1970, low half.
        pub wc_sec: u32,
        /// Wall clock at boot: nanoseconds.
        pub wc_nsec: u32,
        /// Wall clock at boot: seconds, high half.
        pub wc_sec_hi: u32,
        /// x86 part.
        pub arch: ArchSharedInfo,
    }
}

layout_entries! { types: [STRUCTS], constants: [PvclockFlags::CODES] }
