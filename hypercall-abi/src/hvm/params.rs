//! `hvm/params.h`: parameters of HVM domains.

codes! {
    /// Index of a parameter.
    pub struct HvmParamIndex(u32);
    prefix "HVM_PARAM_" {
        /// PAE, for the firmware.
        PAE_ENABLED = 4,
        /// Domain of the device model.
        DM_DOMAIN = 13,
        /// Deprecated.
        MEMORY_EVENT_CR0 = 20,
        /// Deprecated.
        MEMORY_EVENT_CR3 = 21,
        /// Deprecated.
        MEMORY_EVENT_CR4 = 22,
        /// Deprecated.
        MEMORY_EVENT_INT3 = 23,
        /// Deprecated.
        NESTEDHVM = 24,
        /// Deprecated.
        MEMORY_EVENT_SINGLE_STEP = 25,
        /// Port of the buffered ioreq page.
        BUFIOREQ_EVTCHN = 26,
        /// Deprecated.
        MEMORY_EVENT_MSR = 30,
        /// How events arrive: type in bits 56 to 63, value below.
        CALLBACK_IRQ = 0,
        /// Guest frame of the xenstore ring.
        STORE_PFN = 1,
        /// Port of xenstore.
        STORE_EVTCHN = 2,
        /// Guest frame of the synchronous ioreq page.
        IOREQ_PFN = 5,
        /// Guest frame of the buffered ioreq page.
        BUFIOREQ_PFN = 6,
        /// Microsoft's interface: [`Hvmpv`].
        VIRIDIAN = 9,
        /// What becomes of missed ticks: [`TimerMode`].
        TIMER_MODE = 10,
        /// Boolean.
        HPET_ENABLED = 11,
        /// Page of an identity map for processors without unrestricted guest.
        IDENT_PT = 12,
        /// 0 or 3.
        ACPI_S_STATE = 14,
        /// TSS for virtual-8086 mode on processors without unrestricted guest.
        VM86_TSS = 15,
        /// Align virtual timers, boolean.
        VPT_ALIGN = 16,
        /// Guest frame of the console ring.
        CONSOLE_PFN = 17,
        /// Port of the console.
        CONSOLE_EVTCHN = 18,
        /// Which set of ACPI ports, 0 or 1.
        ACPI_IOPORTS_LOCATION = 19,
        /// Guest frame of the paging ring.
        PAGING_RING_PFN = 27,
        /// Guest frame of the monitor ring.
        MONITOR_RING_PFN = 28,
        /// Guest frame of the sharing ring.
        SHARING_RING_PFN = 29,
        /// Shutdown reason of a triple fault.
        TRIPLE_FAULT_REASON = 31,
        /// First guest frame for ioreq servers.
        IOREQ_SERVER_PFN = 32,
        /// Number of such frames.
        NR_IOREQ_SERVER_PAGES = 33,
        /// Guest-physical address of the generation id.
        VM_GENERATION_ID_ADDR = 34,
        /// [`Altp2mMode`].
        ALTP2M = 35,
        /// Bytes of the FPU's instruction pointer saved: 0, 4 or 8.
        X87_FIP_WIDTH = 36,
        /// As `VM86_TSS`, with the size in the upper half.
        VM86_TSS_SIZED = 37,
        /// Extra machine-check capabilities.
        MCA_CAP = 38,
    }
}

codes! {
    /// Type of [`HvmParamIndex::CALLBACK_IRQ`].
    pub struct CallbackIrqType(u8);
    prefix "HVM_PARAM_CALLBACK_TYPE_" {
        /// A global system interrupt.
        GSI = 0,
        /// A PCI device's INTx.
        PCI_INTX = 1,
        /// A vector on every vCPU.
        VECTOR = 2,
    }
}

flags! {
    /// Parts of Microsoft's interface: [`HvmParamIndex::VIRIDIAN`].
    pub struct Hvmpv(u64);
    prefix "HVMPV_" {
        base_freq = 1 << 0,
        no_freq = 1 << 1,
        time_ref_count = 1 << 2,
        reference_tsc = 1 << 3,
        hcall_remote_tlb_flush = 1 << 4,
        apic_assist = 1 << 5,
        crash_ctl = 1 << 6,
        synic = 1 << 7,
        stimer = 1 << 8,
        hcall_ipi = 1 << 9,
        ex_processor_masks = 1 << 10,
        no_vp_limit = 1 << 11,
        cpu_hotplug = 1 << 12,
    }
}

codes! {
    /// [`HvmParamIndex::TIMER_MODE`].
    pub struct TimerMode(u64);
    prefix "HVMPTM_" {
        /// Guest time stops until the ticks are delivered.
        delay_for_missed_ticks = 0,
        /// Guest time goes on, ticks are delivered late.
        no_delay_for_missed_ticks = 1,
        /// Missed ticks are dropped.
        no_missed_ticks_pending = 2,
        /// Missed ticks become one.
        one_missed_tick_pending = 3,
    }
}

codes! {
    /// [`HvmParamIndex::ALTP2M`].
    pub struct Altp2mMode(u64);
    prefix "XEN_ALTP2M_" {
        disabled = 0,
        mixed = 1,
        external = 2,
        limited = 3,
    }
}

constants! {
    in CONSTANTS;
    prefix "" {
        /// Mask of the type in [`HvmParamIndex::CALLBACK_IRQ`].
        HVM_PARAM_CALLBACK_IRQ_TYPE_MASK: u64 = 0xff00_0000_0000_0000,
        /// All of [`Hvmpv`].
        HVMPV_feature_mask: u64 = 0x1fff,
    }
    prefix "XEN_" {
        /// Local machine checks.
        HVM_MCA_CAP_LMCE: u64 = 1,
        /// All of the capabilities.
        HVM_MCA_CAP_MASK: u64 = 1,
    }
    prefix "HVM_" {
        /// Number of parameters.
        NR_PARAMS: u32 = 39,
    }
}

layout_entries! { types: [], constants: [HvmParamIndex::CODES, CallbackIrqType::CODES, Hvmpv::CODES, TimerMode::CODES, Altp2mMode::CODES, CONSTANTS] }
