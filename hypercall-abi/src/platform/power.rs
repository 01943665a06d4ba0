//! `platform.h`: sleep states, idle and performance states of the processors.

use crate::guest_handle::GuestHandle;

flags! {
    /// What power management the hypervisor does itself (`start_info.flags`, [`SifFlags::PM_MASK`](crate::xen::SifFlags::PM_MASK)).
    pub struct ProcessorPm(u32);
    prefix "XEN_PROCESSOR_PM_" {
        /// Idle states.
        CX = 1,
        /// Performance states.
        PX = 2,
        /// Throttling states.
        TX = 4,
    }
}

flags! {
    /// `xen_processor_performance.flags`: which members are valid.
    pub struct PxFlags(u32);
    prefix "XEN_PX_" {
        /// Control and status register.
        PCT = 1,
        /// States.
        PSS = 2,
        /// Platform limit.
        PPC = 4,
        /// Dependencies.
        PSD = 8,
    }
}

codes! {
    /// `xen_processor_performance.shared_type`.
    pub struct CpuperfSharedType(u32);
    prefix "XEN_CPUPERF_SHARED_TYPE_" {
        /// The hardware coordinates.
        HW = 1,
        /// All processors must ask.
        ALL = 2,
        /// Any processor may ask.
        ANY = 3,
    }
}

flags! {
    /// `xen_processor_flags`, bitfields in C.
    pub struct ProcessorFlags(u32);
    prefix "xen_processor_flags." {
        bm_control = 1 << 0,
        bm_check = 1 << 1,
        has_cst = 1 << 2,
        power_setup_done = 1 << 3,
        bm_rld_set = 1 << 4,
    }
}

codes! {
    /// `xenpf_core_parking.type`.
    pub struct CoreParkingType(u32);
    prefix "XEN_CORE_PARKING_" {
        SET = 1,
        GET = 2,
    }
}

constants! {
    in CONSTANTS;
    prefix "XEN_" {
        /// `set_processor_pminfo`: idle states.
        PM_CX: u32 = 0,
        /// `set_processor_pminfo`: performance states.
        PM_PX: u32 = 1,
        /// `set_processor_pminfo`: throttling states.
        PM_TX: u32 = 2,
        /// `set_processor_pminfo`: capabilities.
        PM_PDC: u32 = 3,
    }
    prefix "XENPF_" {
        /// `xenpf_enter_acpi_sleep.flags`: use the extended registers.
        ACPI_SLEEP_EXTENDED: u32 = 1,
    }
}

abi_unions! {
    in UNIONS;
    /// Argument by `type`.
    pub union SetProcessorPminfoU = "xenpf_set_processor_pminfo.u" [u64; 13] {
        power: ProcessorPower,
        perf: ProcessorPerformance,
        pdc: GuestHandle<u32>,
    }
}

abi_structs! {
    in STRUCTS;
    /// Argument of `enter_acpi_sleep`.
    pub struct EnterAcpiSleep = "xenpf_enter_acpi_sleep" [12] {
        /// For PM1A_CNT, or the sleep control register.
        pub val_a: u16,
        /// For PM1B_CNT.
        pub val_b: u16,
        /// S1 to S5.
        pub sleep_state: u32,
        /// [`ACPI_SLEEP_EXTENDED`].
        pub flags: u32,
    }
    /// Argument of `change_freq`.
    pub struct ChangeFreq = "xenpf_change_freq" [16] {
        /// Zero.
        pub flags: u32,
        pub cpu: u32,
        /// Hz.
        pub freq: u64,
    }
    /// Argument of `getidletime`.
    pub struct Getidletime = "xenpf_getidletime" [32] {
        /// In: which processors; out: which were valid.
        pub cpumap_bitmap: GuestHandle<u8>,
        /// Bits.
        pub cpumap_nr_cpus: u32,
        pub _pad: [u8; 4],
        /// Nanoseconds.
        pub idletime: GuestHandle<u64>,
        /// Filled in: system time in nanoseconds.
        pub now: u64,
    }
    /// An ACPI generic register.
    pub struct PowerRegister = "xen_power_register" [24] {
        pub space_id: u32,
        pub bit_width: u32,
        pub bit_offset: u32,
        pub access_size: u32,
        pub address: u64,
    }
    /// `_CSD` entry.
    pub struct ProcessorCsd = "xen_processor_csd" [12] {
        pub domain: u32,
        pub coord_type: u32,
        pub num: u32,
    }
    /// An idle state.
    pub struct ProcessorCx = "xen_processor_cx" [48] {
        pub reg: PowerRegister,
        /// C-state.
        pub r#type: u8,
        pub _pad: [u8; 3],
        /// Microseconds.
        pub latency: u32,
        /// Milliwatts.
        pub power: u32,
        /// Elements of `dp`.
        pub dpcnt: u32,
        pub dp: GuestHandle<ProcessorCsd>,
    }
    /// Idle states of a processor.
    pub struct ProcessorPower = "xen_processor_power" [16] {
        pub count: u32,
        /// [`ProcessorFlags`].
        pub flags: u32,
        pub states: GuestHandle<ProcessorCx>,
    }
    /// `_PCT` register.
    pub struct PctRegister = "xen_pct_register" [16] {
        pub descriptor: u8,
        pub _pad: [u8; 1],
        pub length: u16,
        pub space_id: u8,
        pub bit_width: u8,
        pub bit_offset: u8,
        pub reserved: u8,
        pub address: u64,
    }
    /// A performance state.
    pub struct ProcessorPx = "xen_processor_px" [48] {
        /// MHz.
        pub core_frequency: u64,
        /// Milliwatts.
        pub power: u64,
        /// Microseconds.
        pub transition_latency: u64,
        /// Microseconds.
        pub bus_master_latency: u64,
        pub control: u64,
        pub status: u64,
    }
    /// `_PSD` package.
    pub struct PsdPackage = "xen_psd_package" [40] {
        pub num_entries: u64,
        pub revision: u64,
        pub domain: u64,
        pub coord_type: u64,
        pub num_processors: u64,
    }
    /// Performance states of a processor.
    pub struct ProcessorPerformance = "xen_processor_performance" [104] {
        /// [`PxFlags`].
        pub flags: u32,
        /// First state that may be used.
        pub platform_limit: u32,
        pub control_register: PctRegister,
        pub status_register: PctRegister,
        pub state_count: u32,
        pub _pad0: [u8; 4],
        pub states: GuestHandle<ProcessorPx>,
        pub domain_info: PsdPackage,
        pub shared_type: CpuperfSharedType,
        pub _pad1: [u8; 4],
    }
    /// Argument of `set_processor_pminfo`.
    pub struct SetProcessorPminfo = "xenpf_set_processor_pminfo" [112] {
        /// ACPI processor id.
        pub id: u32,
        /// `PM_CX` to `PM_PDC`.
        pub r#type: u32,
        pub u: SetProcessorPminfoU,
    }
    /// Argument of `core_parking`.
    pub struct CoreParking = "xenpf_core_parking" [8] {
        pub r#type: CoreParkingType,
        pub idle_nums: u32,
    }
}

layout_entries! { types: [STRUCTS, UNIONS], constants: [ProcessorPm::CODES, PxFlags::CODES, CpuperfSharedType::CODES, ProcessorFlags::CODES, CoreParkingType::CODES, CONSTANTS] }
