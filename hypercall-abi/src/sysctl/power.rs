//! `sysctl.h`: power management.

use crate::guest_handle::GuestHandle;

codes! {
    /// `xen_sysctl_get_pmstat.type`.
    pub struct PmstatType(u32);
    prefix "PMSTAT_" {
        /// Category: performance states.
        PX = 16,
        /// Category: idle states.
        CX = 32,
        /// Number of performance states.
        get_max_px = 17,
        /// Statistics of performance states.
        get_pxstat = 18,
        /// Reset them.
        reset_pxstat = 19,
        /// Number of idle states.
        get_max_cx = 33,
        /// Statistics of idle states.
        get_cxstat = 34,
        /// Reset them.
        reset_cxstat = 35,
    }
}

codes! {
    /// `xen_sysctl_pm_op.cmd`.
    pub struct PmOpCmd(u32);
    prefix "" {
        /// Category: frequency.
        CPUFREQ_PARA = 16,
        GET_CPUFREQ_PARA = 17,
        SET_CPUFREQ_GOV = 18,
        SET_CPUFREQ_PARA = 19,
        GET_CPUFREQ_AVGFREQ = 20,
    }
}

codes! {
    /// `xen_sysctl_pm_op.cmd`, outside the frequency category.
    pub struct PmOpControl(u32);
    prefix "XEN_SYSCTL_pm_op_" {
        set_sched_opt_smt = 33,
        get_max_cstate = 34,
        set_max_cstate = 35,
        set_vcpu_migration_delay = 36,
        get_vcpu_migration_delay = 37,
        enable_turbo = 38,
        disable_turbo = 39,
    }
}

codes! {
    /// `xen_set_cpufreq_para.ctrl_type`.
    pub struct CpufreqPara(u32);
    prefix "" {
        SCALING_MAX_FREQ = 1,
        SCALING_MIN_FREQ = 2,
        SCALING_SETSPEED = 3,
        SAMPLING_RATE = 4,
        UP_THRESHOLD = 5,
    }
}

constants! {
    in CONSTANTS;
    prefix "" {
        /// Mask of the category.
        PMSTAT_CATEGORY_MASK: u32 = 240,
        /// Bytes of a governor.
        CPUFREQ_NAME_LEN: u32 = 16,
        /// Mask of the category.
        PM_PARA_CATEGORY_MASK: u32 = 240,
    }
    prefix "XEN_" {
        /// No limit of idle states.
        SYSCTL_CX_UNLIMITED: u32 = 0xffff_ffff,
    }
}

abi_unions! {
    in UNIONS;
    /// By type.
    pub union SysctlGetPmstatU = "xen_sysctl_get_pmstat.u" [u64; 7] {
        getpx: PmPxStat,
        getcx: PmCxStat,
    }
    /// By governor.
    pub union GetCpufreqParaU = "xen_get_cpufreq_para.u" [u32; 4] {
        userspace: Userspace,
        ondemand: Ondemand,
    }
    /// By command.
    pub union SysctlPmOpU = "xen_sysctl_pm_op.u" [u64; 15] {
        get_para: GetCpufreqPara,
        set_gov: SetCpufreqGov,
        set_para: SetCpufreqPara,
        get_avgfreq: u64,
        set_sched_opt_smt: u32,
        get_max_cstate: u32,
        set_max_cstate: u32,
    }
}

abi_structs! {
    in STRUCTS;
    /// A performance state.
    pub struct PmPxVal = "pm_px_val" [24] {
        /// MHz.
        pub freq: u64,
        /// Nanoseconds.
        pub residency: u64,
        pub count: u64,
    }
    /// Performance states of a processor.
    pub struct PmPxStat = "pm_px_stat" [24] {
        pub total: u8,
        pub usable: u8,
        pub last: u8,
        pub cur: u8,
        pub _pad: [u8; 4],
        pub trans_pt: GuestHandle<u64>,
        pub pt: GuestHandle<PmPxVal>,
    }
    /// Idle states of a processor.
    pub struct PmCxStat = "pm_cx_stat" [56] {
        pub nr: u32,
        pub last: u32,
        /// Nanoseconds.
        pub idle_time: u64,
        pub triggers: GuestHandle<u64>,
        /// Nanoseconds.
        pub residencies: GuestHandle<u64>,
        pub nr_pc: u32,
        pub nr_cc: u32,
        pub pc: GuestHandle<u64>,
        pub cc: GuestHandle<u64>,
    }
    /// Argument of `get_pmstat`.
    pub struct SysctlGetPmstat = "xen_sysctl_get_pmstat" [64] {
        /// [`PmstatType`].
        pub r#type: u32,
        pub cpuid: u32,
        pub u: SysctlGetPmstatU,
    }
    /// Governor `userspace`.
    pub struct Userspace = "xen_userspace" [4] {
        pub scaling_setspeed: u32,
    }
    /// Governor `ondemand`.
    pub struct Ondemand = "xen_ondemand" [16] {
        pub sampling_rate_max: u32,
        pub sampling_rate_min: u32,
        pub sampling_rate: u32,
        pub up_threshold: u32,
    }
    /// Argument of `GET_CPUFREQ_PARA`; frequencies in kHz.
    pub struct GetCpufreqPara = "xen_get_cpufreq_para" [120] {
        pub cpu_num: u32,
        pub freq_num: u32,
        pub gov_num: u32,
        pub _pad0: [u8; 4],
        pub affected_cpus: GuestHandle<u32>,
        pub scaling_available_frequencies: GuestHandle<u32>,
        pub scaling_available_governors: GuestHandle<u8>,
        pub scaling_driver: [u8; 16],
        pub cpuinfo_cur_freq: u32,
        pub cpuinfo_max_freq: u32,
        pub cpuinfo_min_freq: u32,
        pub scaling_cur_freq: u32,
        pub scaling_governor: [u8; 16],
        pub scaling_max_freq: u32,
        pub scaling_min_freq: u32,
        pub u: GetCpufreqParaU,
        pub turbo_enabled: i32,
        pub _pad1: [u8; 4],
    }
    /// Argument of `SET_CPUFREQ_GOV`.
    pub struct SetCpufreqGov = "xen_set_cpufreq_gov" [16] {
        pub scaling_governor: [u8; 16],
    }
    /// Argument of `SET_CPUFREQ_PARA`.
    pub struct SetCpufreqPara = "xen_set_cpufreq_para" [8] {
        /// [`CpufreqPara`].
        pub ctrl_type: u32,
        pub ctrl_value: u32,
    }
    /// Argument of `pm_op`.
    pub struct SysctlPmOp = "xen_sysctl_pm_op" [128] {
        /// [`PmOpCmd`] or [`PmOpControl`].
        pub cmd: u32,
        pub cpuid: u32,
        pub u: SysctlPmOpU,
    }
}

layout_entries! { types: [STRUCTS, UNIONS], constants: [PmstatType::CODES, PmOpCmd::CODES, PmOpControl::CODES, CpufreqPara::CODES, CONSTANTS] }
