//! `pmu.h`: performance monitoring (`__HYPERVISOR_xenpmu_op`).

use crate::arch_x86::pmu::PmuArch;
use crate::xen::DomId;

codes! {
    /// Sub-operation of `xenpmu_op`.
    pub struct PmuOp(u32);
    prefix "XENPMU_" {
        /// Reads the mode.
        mode_get = 0,
        /// Sets it.
        mode_set = 1,
        /// Reads the features.
        feature_get = 2,
        /// Sets them.
        feature_set = 3,
        /// Registers a page.
        init = 4,
        /// Takes it back.
        finish = 5,
        /// Loads the LVT entry.
        lvtpc_set = 6,
        /// Loads the context.
        flush = 7,
    }
}

flags! {
    /// Mode.
    pub struct PmuMode(u64);
    prefix "XENPMU_MODE_" {
        /// Guests measure themselves.
        SELF = 1 << 0,
        /// The control domain measures the hypervisor too.
        HV = 1 << 1,
        /// The control domain measures everything.
        ALL = 1 << 2,
    }
}

flags! {
    /// Features.
    pub struct PmuFeature(u64);
    prefix "XENPMU_FEATURE_" {
        /// Branch trace store.
        INTEL_BTS = 1 << 0,
        /// Cycles and instructions only.
        IPC_ONLY = 1 << 1,
        /// Architectural events only.
        ARCH_ONLY = 1 << 2,
    }
}

constants! {
    in CONSTANTS;
    prefix "XENPMU_" {
        /// Major version.
        VER_MAJ: u32 = 0,
        /// Minor version.
        VER_MIN: u32 = 1,
        /// No mode.
        MODE_OFF: u32 = 0,
    }
}

abi_structs! {
    in STRUCTS;
    /// Version.
    pub struct PmuParamsVersion = "xen_pmu_params.version" [8] {
        pub maj: u32,
        pub min: u32,
    }
    /// Argument of `xenpmu_op`.
    pub struct PmuParams = "xen_pmu_params" [24] {
        pub version: PmuParamsVersion,
        pub val: u64,
        pub vcpu: u32,
        pub pad: u32,
    }
    /// The shared page.
    pub struct PmuData = "xen_pmu_data" [224] {
        pub vcpu_id: u32,
        pub pcpu_id: u32,
        /// Sampled.
        pub domain_id: DomId,
        pub pad: [u8; 6],
        pub pmu: PmuArch,
    }
}

layout_entries! { types: [STRUCTS], constants: [PmuOp::CODES, PmuMode::CODES, PmuFeature::CODES, CONSTANTS] }
