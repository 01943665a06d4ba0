//! `trace.h`: trace records.

flags! {
    /// Fields of [`TraceRec::bits`], bitfields in C.
    pub struct TraceRecBits(u32);
    prefix "t_rec." {
        /// Event.
        event = 0xfffffff,
        /// Number of words.
        extra_u32 = 0x70000000,
        /// Whether a time stamp follows.
        cycles_included = 1 << 31,
    }
}

constants! {
    in CONSTANTS;
    prefix "TRC_" {
        /// Mask of the event in a scheduler record, without the scheduler.
        SCHED_EVT_MASK: u64 = 0xffff_ffff_ffff_f1ff,
    }
    prefix "" {
        /// Most words behind a header.
        TRACE_EXTRA_MAX: u32 = 7,
        /// First bit of their number.
        TRACE_EXTRA_SHIFT: u32 = 28,
        /// First bit of the class.
        TRC_CLS_SHIFT: u32 = 16,
        /// Class, subclass or event of a record.
        TRC_GEN: u32 = 0x1_f000,
        /// Class, subclass or event of a record.
        TRC_SCHED: u32 = 0x2_f000,
        /// Class, subclass or event of a record.
        TRC_DOM0OP: u32 = 0x4_f000,
        /// Class, subclass or event of a record.
        TRC_HVM: u32 = 0x8_f000,
        /// Class, subclass or event of a record.
        TRC_MEM: u32 = 0x10_f000,
        /// Class, subclass or event of a record.
        TRC_PV: u32 = 0x20_f000,
        /// Class, subclass or event of a record.
        TRC_SHADOW: u32 = 0x40_f000,
        /// Class, subclass or event of a record.
        TRC_HW: u32 = 0x80_f000,
        /// Class, subclass or event of a record.
        TRC_GUEST: u32 = 0x800_f000,
        /// All classes.
        TRC_ALL: u32 = 0xfff_f000,
        /// The record has a time stamp.
        TRC_HD_CYCLE_FLAG: u32 = 0x8000_0000,
        /// First bit of the subclass.
        TRC_SUBCLS_SHIFT: u32 = 12,
        /// Class, subclass or event of a record.
        TRC_HVM_ENTRYEXIT: u32 = 0x8_1000,
        /// Class, subclass or event of a record.
        TRC_HVM_HANDLER: u32 = 0x8_2000,
        /// Class, subclass or event of a record.
        TRC_HVM_EMUL: u32 = 0x8_4000,
        /// Class, subclass or event of a record.
        TRC_SCHED_MIN: u32 = 0x2_1000,
        /// Class, subclass or event of a record.
        TRC_SCHED_CLASS: u32 = 0x2_2000,
        /// Class, subclass or event of a record.
        TRC_SCHED_VERBOSE: u32 = 0x2_8000,
        /// Class, subclass or event of a record.
        TRC_SCHED_ID_BITS: u32 = 3,
        /// Class, subclass or event of a record.
        TRC_SCHED_ID_SHIFT: u32 = 9,
        /// Class, subclass or event of a record.
        TRC_SCHED_ID_MASK: u32 = 0xe00,
        /// Class, subclass or event of a record.
        TRC_SCHED_CSCHED: u32 = 0,
        /// Class, subclass or event of a record.
        TRC_SCHED_CSCHED2: u32 = 1,
        /// Class, subclass or event of a record.
        TRC_SCHED_ARINC653: u32 = 3,
        /// Class, subclass or event of a record.
        TRC_SCHED_RTDS: u32 = 4,
        /// Class, subclass or event of a record.
        TRC_SCHED_SNULL: u32 = 5,
        /// Class, subclass or event of a record.
        TRC_DOM0_DOMOPS: u32 = 0x4_1000,
        /// Class, subclass or event of a record.
        TRC_HW_PM: u32 = 0x80_1000,
        /// Class, subclass or event of a record.
        TRC_HW_IRQ: u32 = 0x80_2000,
        /// Class, subclass or event of a record.
        TRC_LOST_RECORDS: u32 = 0x1_f001,
        /// Class, subclass or event of a record.
        TRC_TRACE_WRAP_BUFFER: u32 = 0x1_f002,
        /// Class, subclass or event of a record.
        TRC_TRACE_CPU_CHANGE: u32 = 0x1_f003,
        /// Class, subclass or event of a record.
        TRC_SCHED_RUNSTATE_CHANGE: u32 = 0x2_1001,
        /// Class, subclass or event of a record.
        TRC_SCHED_CONTINUE_RUNNING: u32 = 0x2_1002,
        /// Class, subclass or event of a record.
        TRC_SCHED_DOM_ADD: u32 = 0x2_8001,
        /// Class, subclass or event of a record.
        TRC_SCHED_DOM_REM: u32 = 0x2_8002,
        /// Class, subclass or event of a record.
        TRC_SCHED_SLEEP: u32 = 0x2_8003,
        /// Class, subclass or event of a record.
        TRC_SCHED_WAKE: u32 = 0x2_8004,
        /// Class, subclass or event of a record.
        TRC_SCHED_YIELD: u32 = 0x2_8005,
        /// Class, subclass or event of a record.
        TRC_SCHED_BLOCK: u32 = 0x2_8006,
        /// Class, subclass or event of a record.
        TRC_SCHED_SHUTDOWN: u32 = 0x2_8007,
        /// Class, subclass or event of a record.
        TRC_SCHED_CTL: u32 = 0x2_8008,
        /// Class, subclass or event of a record.
        TRC_SCHED_ADJDOM: u32 = 0x2_8009,
        /// Class, subclass or event of a record.
        TRC_SCHED_SWITCH: u32 = 0x2_800a,
        /// Class, subclass or event of a record.
        TRC_SCHED_S_TIMER_FN: u32 = 0x2_800b,
        /// Class, subclass or event of a record.
        TRC_SCHED_T_TIMER_FN: u32 = 0x2_800c,
        /// Class, subclass or event of a record.
        TRC_SCHED_DOM_TIMER_FN: u32 = 0x2_800d,
        /// Class, subclass or event of a record.
        TRC_SCHED_SWITCH_INFPREV: u32 = 0x2_800e,
        /// Class, subclass or event of a record.
        TRC_SCHED_SWITCH_INFNEXT: u32 = 0x2_800f,
        /// Class, subclass or event of a record.
        TRC_SCHED_SHUTDOWN_CODE: u32 = 0x2_8010,
        /// Class, subclass or event of a record.
        TRC_SCHED_SWITCH_INFCONT: u32 = 0x2_8011,
        /// Class, subclass or event of a record.
        TRC_DOM0_DOM_ADD: u32 = 0x4_1001,
        /// Class, subclass or event of a record.
        TRC_DOM0_DOM_REM: u32 = 0x4_1002,
        /// Class, subclass or event of a record.
        TRC_MEM_PAGE_GRANT_MAP: u32 = 0x10_f001,
        /// Class, subclass or event of a record.
        TRC_MEM_PAGE_GRANT_UNMAP: u32 = 0x10_f002,
        /// Class, subclass or event of a record.
        TRC_MEM_PAGE_GRANT_TRANSFER: u32 = 0x10_f003,
        /// Class, subclass or event of a record.
        TRC_MEM_SET_P2M_ENTRY: u32 = 0x10_f004,
        /// Class, subclass or event of a record.
        TRC_MEM_DECREASE_RESERVATION: u32 = 0x10_f005,
        /// Class, subclass or event of a record.
        TRC_MEM_POD_POPULATE: u32 = 0x10_f010,
        /// Class, subclass or event of a record.
        TRC_MEM_POD_ZERO_RECLAIM: u32 = 0x10_f011,
        /// Class, subclass or event of a record.
        TRC_MEM_POD_SUPERPAGE_SPLINTER: u32 = 0x10_f012,
        /// Class, subclass or event of a record.
        TRC_PV_ENTRY: u32 = 0x20_1000,
        /// Class, subclass or event of a record.
        TRC_PV_SUBCALL: u32 = 0x20_2000,
        /// Class, subclass or event of a record.
        TRC_PV_HYPERCALL: u32 = 0x20_1001,
        /// Class, subclass or event of a record.
        TRC_PV_TRAP: u32 = 0x20_1003,
        /// Class, subclass or event of a record.
        TRC_PV_PAGE_FAULT: u32 = 0x20_1004,
        /// Class, subclass or event of a record.
        TRC_PV_FORCED_INVALID_OP: u32 = 0x20_1005,
        /// Class, subclass or event of a record.
        TRC_PV_EMULATE_PRIVOP: u32 = 0x20_1006,
        /// Class, subclass or event of a record.
        TRC_PV_EMULATE_4GB: u32 = 0x20_1007,
        /// Class, subclass or event of a record.
        TRC_PV_MATH_STATE_RESTORE: u32 = 0x20_1008,
        /// Class, subclass or event of a record.
        TRC_PV_PAGING_FIXUP: u32 = 0x20_1009,
        /// Class, subclass or event of a record.
        TRC_PV_GDT_LDT_MAPPING_FAULT: u32 = 0x20_100a,
        /// Class, subclass or event of a record.
        TRC_PV_PTWR_EMULATION: u32 = 0x20_100b,
        /// Class, subclass or event of a record.
        TRC_PV_PTWR_EMULATION_PAE: u32 = 0x20_100c,
        /// Class, subclass or event of a record.
        TRC_PV_HYPERCALL_V2: u32 = 0x20_100d,
        /// Class, subclass or event of a record.
        TRC_PV_HYPERCALL_SUBCALL: u32 = 0x20_200e,
        /// Class, subclass or event of a record.
        TRC_PV_HYPERCALL_V2_ARG_MASK: u32 = 0xfff0_0000,
        /// Class, subclass or event of a record.
        TRC_SHADOW_NOT_SHADOW: u32 = 0x40_f001,
        /// Class, subclass or event of a record.
        TRC_SHADOW_FAST_PROPAGATE: u32 = 0x40_f002,
        /// Class, subclass or event of a record.
        TRC_SHADOW_FAST_MMIO: u32 = 0x40_f003,
        /// Class, subclass or event of a record.
        TRC_SHADOW_FALSE_FAST_PATH: u32 = 0x40_f004,
        /// Class, subclass or event of a record.
        TRC_SHADOW_MMIO: u32 = 0x40_f005,
        /// Class, subclass or event of a record.
        TRC_SHADOW_FIXUP: u32 = 0x40_f006,
        /// Class, subclass or event of a record.
        TRC_SHADOW_DOMF_DYING: u32 = 0x40_f007,
        /// Class, subclass or event of a record.
        TRC_SHADOW_EMULATE: u32 = 0x40_f008,
        /// Class, subclass or event of a record.
        TRC_SHADOW_EMULATE_UNSHADOW_USER: u32 = 0x40_f009,
        /// Class, subclass or event of a record.
        TRC_SHADOW_EMULATE_UNSHADOW_EVTINJ: u32 = 0x40_f00a,
        /// Class, subclass or event of a record.
        TRC_SHADOW_EMULATE_UNSHADOW_UNHANDLED: u32 = 0x40_f00b,
        /// Class, subclass or event of a record.
        TRC_SHADOW_WRMAP_BF: u32 = 0x40_f00c,
        /// Class, subclass or event of a record.
        TRC_SHADOW_PREALLOC_UNPIN: u32 = 0x40_f00d,
        /// Class, subclass or event of a record.
        TRC_SHADOW_RESYNC_FULL: u32 = 0x40_f00e,
        /// Class, subclass or event of a record.
        TRC_SHADOW_RESYNC_ONLY: u32 = 0x40_f00f,
        /// Class, subclass or event of a record.
        TRC_HVM_NESTEDFLAG: u32 = 0x400,
        /// Class, subclass or event of a record.
        TRC_HVM_VMENTRY: u32 = 0x8_1001,
        /// Class, subclass or event of a record.
        TRC_HVM_VMEXIT: u32 = 0x8_1002,
        /// Class, subclass or event of a record.
        TRC_HVM_VMEXIT64: u32 = 0x8_1102,
        /// Class, subclass or event of a record.
        TRC_HVM_PF_XEN: u32 = 0x8_2001,
        /// Class, subclass or event of a record.
        TRC_HVM_PF_XEN64: u32 = 0x8_2101,
        /// Class, subclass or event of a record.
        TRC_HVM_PF_INJECT: u32 = 0x8_2002,
        /// Class, subclass or event of a record.
        TRC_HVM_PF_INJECT64: u32 = 0x8_2102,
        /// Class, subclass or event of a record.
        TRC_HVM_INJ_EXC: u32 = 0x8_2003,
        /// Class, subclass or event of a record.
        TRC_HVM_INJ_VIRQ: u32 = 0x8_2004,
        /// Class, subclass or event of a record.
        TRC_HVM_REINJ_VIRQ: u32 = 0x8_2005,
        /// Class, subclass or event of a record.
        TRC_HVM_IO_READ: u32 = 0x8_2006,
        /// Class, subclass or event of a record.
        TRC_HVM_IO_WRITE: u32 = 0x8_2007,
        /// Class, subclass or event of a record.
        TRC_HVM_CR_READ: u32 = 0x8_2008,
        /// Class, subclass or event of a record.
        TRC_HVM_CR_READ64: u32 = 0x8_2108,
        /// Class, subclass or event of a record.
        TRC_HVM_CR_WRITE: u32 = 0x8_2009,
        /// Class, subclass or event of a record.
        TRC_HVM_CR_WRITE64: u32 = 0x8_2109,
        /// Class, subclass or event of a record.
        TRC_HVM_DR_READ: u32 = 0x8_200a,
        /// Class, subclass or event of a record.
        TRC_HVM_DR_WRITE: u32 = 0x8_200b,
        /// Class, subclass or event of a record.
        TRC_HVM_MSR_READ: u32 = 0x8_200c,
        /// Class, subclass or event of a record.
        TRC_HVM_MSR_WRITE: u32 = 0x8_200d,
        /// Class, subclass or event of a record.
        TRC_HVM_CPUID: u32 = 0x8_200e,
        /// Class, subclass or event of a record.
        TRC_HVM_INTR: u32 = 0x8_200f,
        /// Class, subclass or event of a record.
        TRC_HVM_NMI: u32 = 0x8_2010,
        /// Class, subclass or event of a record.
        TRC_HVM_SMI: u32 = 0x8_2011,
        /// Class, subclass or event of a record.
        TRC_HVM_VMMCALL: u32 = 0x8_2012,
        /// Class, subclass or event of a record.
        TRC_HVM_HLT: u32 = 0x8_2013,
        /// Class, subclass or event of a record.
        TRC_HVM_INVLPG: u32 = 0x8_2014,
        /// Class, subclass or event of a record.
        TRC_HVM_INVLPG64: u32 = 0x8_2114,
        /// Class, subclass or event of a record.
        TRC_HVM_MCE: u32 = 0x8_2015,
        /// Class, subclass or event of a record.
        TRC_HVM_IOPORT_READ: u32 = 0x8_2016,
        /// Class, subclass or event of a record.
        TRC_HVM_IOMEM_READ: u32 = 0x8_2017,
        /// Class, subclass or event of a record.
        TRC_HVM_CLTS: u32 = 0x8_2018,
        /// Class, subclass or event of a record.
        TRC_HVM_LMSW: u32 = 0x8_2019,
        /// Class, subclass or event of a record.
        TRC_HVM_LMSW64: u32 = 0x8_2119,
        /// Class, subclass or event of a record.
        TRC_HVM_RDTSC: u32 = 0x8_201a,
        /// Class, subclass or event of a record.
        TRC_HVM_INTR_WINDOW: u32 = 0x8_2020,
        /// Class, subclass or event of a record.
        TRC_HVM_NPF: u32 = 0x8_2021,
        /// Class, subclass or event of a record.
        TRC_HVM_REALMODE_EMULATE: u32 = 0x8_2022,
        /// Class, subclass or event of a record.
        TRC_HVM_TRAP: u32 = 0x8_2023,
        /// Class, subclass or event of a record.
        TRC_HVM_TRAP_DEBUG: u32 = 0x8_2024,
        /// Class, subclass or event of a record.
        TRC_HVM_VLAPIC: u32 = 0x8_2025,
        /// Class, subclass or event of a record.
        TRC_HVM_XCR_READ64: u32 = 0x8_2126,
        /// Class, subclass or event of a record.
        TRC_HVM_XCR_WRITE64: u32 = 0x8_2127,
        /// Class, subclass or event of a record.
        TRC_HVM_IOPORT_WRITE: u32 = 0x8_2216,
        /// Class, subclass or event of a record.
        TRC_HVM_IOMEM_WRITE: u32 = 0x8_2217,
        /// Class, subclass or event of a record.
        TRC_HVM_EMUL_HPET_START_TIMER: u32 = 0x8_4001,
        /// Class, subclass or event of a record.
        TRC_HVM_EMUL_PIT_START_TIMER: u32 = 0x8_4002,
        /// Class, subclass or event of a record.
        TRC_HVM_EMUL_RTC_START_TIMER: u32 = 0x8_4003,
        /// Class, subclass or event of a record.
        TRC_HVM_EMUL_LAPIC_START_TIMER: u32 = 0x8_4004,
        /// Class, subclass or event of a record.
        TRC_HVM_EMUL_HPET_STOP_TIMER: u32 = 0x8_4005,
        /// Class, subclass or event of a record.
        TRC_HVM_EMUL_PIT_STOP_TIMER: u32 = 0x8_4006,
        /// Class, subclass or event of a record.
        TRC_HVM_EMUL_RTC_STOP_TIMER: u32 = 0x8_4007,
        /// Class, subclass or event of a record.
        TRC_HVM_EMUL_LAPIC_STOP_TIMER: u32 = 0x8_4008,
        /// Class, subclass or event of a record.
        TRC_HVM_EMUL_PIT_TIMER_CB: u32 = 0x8_4009,
        /// Class, subclass or event of a record.
        TRC_HVM_EMUL_LAPIC_TIMER_CB: u32 = 0x8_400a,
        /// Class, subclass or event of a record.
        TRC_HVM_EMUL_PIC_INT_OUTPUT: u32 = 0x8_400b,
        /// Class, subclass or event of a record.
        TRC_HVM_EMUL_PIC_KICK: u32 = 0x8_400c,
        /// Class, subclass or event of a record.
        TRC_HVM_EMUL_PIC_INTACK: u32 = 0x8_400d,
        /// Class, subclass or event of a record.
        TRC_HVM_EMUL_PIC_POSEDGE: u32 = 0x8_400e,
        /// Class, subclass or event of a record.
        TRC_HVM_EMUL_PIC_NEGEDGE: u32 = 0x8_400f,
        /// Class, subclass or event of a record.
        TRC_HVM_EMUL_PIC_PEND_IRQ_CALL: u32 = 0x8_4010,
        /// Class, subclass or event of a record.
        TRC_HVM_EMUL_LAPIC_PIC_INTR: u32 = 0x8_4011,
        /// Class, subclass or event of a record.
        TRC_PM_FREQ_CHANGE: u32 = 0x80_1001,
        /// Class, subclass or event of a record.
        TRC_PM_IDLE_ENTRY: u32 = 0x80_1002,
        /// Class, subclass or event of a record.
        TRC_PM_IDLE_EXIT: u32 = 0x80_1003,
        /// Class, subclass or event of a record.
        TRC_HW_IRQ_MOVE_CLEANUP_DELAY: u32 = 0x80_2001,
        /// Class, subclass or event of a record.
        TRC_HW_IRQ_MOVE_CLEANUP: u32 = 0x80_2002,
        /// Class, subclass or event of a record.
        TRC_HW_IRQ_BIND_VECTOR: u32 = 0x80_2003,
        /// Class, subclass or event of a record.
        TRC_HW_IRQ_CLEAR_VECTOR: u32 = 0x80_2004,
        /// Class, subclass or event of a record.
        TRC_HW_IRQ_MOVE_FINISH: u32 = 0x80_2005,
        /// Class, subclass or event of a record.
        TRC_HW_IRQ_ASSIGN_VECTOR: u32 = 0x80_2006,
        /// Class, subclass or event of a record.
        TRC_HW_IRQ_UNMAPPED_VECTOR: u32 = 0x80_2007,
        /// Class, subclass or event of a record.
        TRC_HW_IRQ_HANDLED: u32 = 0x80_2008,
        /// Addresses have 64 bits.
        TRC_64_FLAG: u32 = 0x100,
    }
}

abi_unions! {
    in UNIONS;
    /// By `cycles_included`.
    pub union TRecU = "t_rec.u" [u32; 9] {
        cycles: TRecCycles,
        nocycles: TRecNocycles,
    }
}

abi_structs! {
    in STRUCTS;
    /// With time stamp.
    pub struct TRecCycles = "t_rec.u.cycles" [36] {
        pub cycles_lo: u32,
        pub cycles_hi: u32,
        pub extra_u32: [u32; 7],
    }
    /// Without.
    pub struct TRecNocycles = "t_rec.u.nocycles" [28] {
        pub extra_u32: [u32; 7],
    }
    /// A record.
    pub struct TraceRec = "t_rec" [40] {
        /// [`TraceRecBits`].
        pub bits: u32,
        pub u: TRecU,
    }
    /// Head of a buffer; positions in bytes, up to twice the size.
    pub struct TraceBuf = "t_buf" [8] {
        pub cons: u32,
        pub prod: u32,
    }
    /// Where the buffers are.
    pub struct TraceInfo = "t_info" [2] {
        /// Frames of each.
        pub tbuf_size: u16,
        /// Words to the frame numbers of each processor follow.
        pub mfn_offset: [u16; 0],
    }
}

layout_entries! { types: [STRUCTS, UNIONS], constants: [TraceRecBits::CODES, CONSTANTS] }
