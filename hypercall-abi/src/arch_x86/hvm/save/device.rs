//! `arch-x86/hvm/save.h`: saved state of emulated devices.

flags! {
    /// Fields of [`HvmHwVpic::bits`], bitfields in C.
    pub struct VpicInitBits(u8);
    prefix "hvm_hw_vpic." {
        init_state = 0xf,
        priority_add = 0xf0,
    }
}

flags! {
    /// Fields of [`HvmHwVpic::bits1`], bitfields in C.
    pub struct VpicModeBits(u8);
    prefix "hvm_hw_vpic." {
        readsel_isr = 1 << 0,
        poll = 1 << 1,
        auto_eoi = 1 << 2,
        rotate_on_auto_eoi = 1 << 3,
        special_fully_nested_mode = 1 << 4,
        special_mask_mode = 1 << 5,
        is_master = 1 << 6,
    }
}

flags! {
    /// Fields of [`VioapicRedirEntryFields::bits`], bitfields in C.
    pub struct VioapicRedirBits(u8);
    prefix "vioapic_redir_entry.fields." {
        delivery_mode = 0x7,
        dest_mode = 1 << 3,
        delivery_status = 1 << 4,
        polarity = 1 << 5,
        remote_irr = 1 << 6,
        trig_mode = 1 << 7,
    }
}

flags! {
    /// Fields of [`VioapicRedirEntryFields::bits1`], bitfields in C.
    pub struct VioapicMaskBits(u8);
    prefix "vioapic_redir_entry.fields." {
        mask = 1 << 0,
        reserve = 0xfe,
    }
}

constants! {
    in CONSTANTS;
    prefix "" {
        /// Pins of the I/O APIC.
        VIOAPIC_NUM_PINS: usize = 48,
        /// Registers of the clock.
        RTC_CMOS_SIZE: usize = 14,
        /// Timers of the HPET.
        HPET_TIMER_NUM: usize = 3,
    }
}

abi_unions! {
    in UNIONS;
    /// A redirection entry.
    pub union VioapicRedirEntry = "vioapic_redir_entry" [u64; 1] {
        bits: u64,
        fields: VioapicRedirEntryFields,
    }
}

abi_structs! {
    in STRUCTS;
    /// An 8259 interrupt controller.
    pub struct HvmHwVpic = "hvm_hw_vpic" [8] {
        pub irr: u8,
        pub imr: u8,
        pub isr: u8,
        pub irq_base: u8,
        /// [`VpicInitBits`].
        pub bits: u8,
        /// [`VpicModeBits`].
        pub bits1: u8,
        pub elcr: u8,
        pub int_output: u8,
    }
    /// Its fields.
    pub struct VioapicRedirEntryFields = "vioapic_redir_entry.fields" [8] {
        pub vector: u8,
        /// [`VioapicRedirBits`].
        pub bits: u8,
        /// [`VioapicMaskBits`].
        pub bits1: u8,
        pub reserved: [u8; 4],
        pub dest_id: u8,
    }
    /// The I/O APIC.
    pub struct HvmHwVioapic = "hvm_hw_vioapic" [400] {
        pub base_address: u64,
        pub ioregsel: u32,
        pub id: u32,
        pub redirtbl: [VioapicRedirEntry; 48],
    }
    /// A local APIC.
    pub struct HvmHwLapic = "hvm_hw_lapic" [24] {
        pub apic_base_msr: u64,
        /// Bit 0 by the base MSR, bit 1 by software.
        pub disabled: u32,
        pub timer_divisor: u32,
        /// TSC deadline.
        pub tdt_msr: u64,
    }
    /// Registers of a local APIC, 16 bytes apart.
    pub struct HvmHwLapicRegs = "hvm_hw_lapic_regs" [1024] {
        pub data: [u8; 1024],
    }
    /// Levels of the PCI INTx lines, a bit each.
    pub struct HvmHwPciIrqs = "hvm_hw_pci_irqs" [16] {
        pub pad: [u64; 2],
    }
    /// Levels of the ISA interrupts, a bit each.
    pub struct HvmHwIsaIrqs = "hvm_hw_isa_irqs" [8] {
        pub pad: [u64; 1],
    }
    /// ISA interrupts of the PCI links.
    pub struct HvmHwPciLink = "hvm_hw_pci_link" [8] {
        pub route: [u8; 4],
        pub pad0: [u8; 4],
    }
    /// A channel of the 8254.
    pub struct HvmHwPitChannel = "hvm_hw_pit_channel" [16] {
        pub count: u32,
        pub latched_count: u16,
        pub count_latched: u8,
        pub status_latched: u8,
        pub status: u8,
        pub read_state: u8,
        pub write_state: u8,
        pub write_latch: u8,
        pub rw_mode: u8,
        pub mode: u8,
        pub bcd: u8,
        pub gate: u8,
    }
    /// The 8254.
    pub struct HvmHwPit = "hvm_hw_pit" [56] {
        pub channels: [HvmHwPitChannel; 3],
        pub speaker_data_on: u32,
        pub pad0: u32,
    }
    /// The clock.
    pub struct HvmHwRtc = "hvm_hw_rtc" [24] {
        pub cmos_data: [u8; 14],
        pub cmos_index: u8,
        pub pad0: u8,
        /// Seconds from the host.
        pub rtc_offset: i64,
    }
    /// A timer.
    pub struct HvmHwHpetTimers = "hvm_hw_hpet.timers" [32] {
        pub config: u64,
        pub cmp: u64,
        pub fsb: u64,
        pub res4: u64,
    }
    /// The HPET.
    pub struct HvmHwHpet = "hvm_hw_hpet" [1048] {
        pub capability: u64,
        pub res0: u64,
        pub config: u64,
        pub res1: u64,
        pub isr: u64,
        pub res2: [u64; 25],
        pub mc64: u64,
        pub res3: u64,
        pub timers: [HvmHwHpetTimers; 3],
        pub res5: [u64; 84],
        /// Of periodic timers.
        pub period: [u64; 3],
    }
    /// The ACPI timer.
    pub struct HvmHwPmtimer = "hvm_hw_pmtimer" [8] {
        pub tmr_val: u32,
        pub pm1a_sts: u16,
        pub pm1a_en: u16,
    }
}

layout_entries! { types: [STRUCTS, UNIONS], constants: [VpicInitBits::CODES, VpicModeBits::CODES, VioapicRedirBits::CODES, VioapicMaskBits::CODES, CONSTANTS] }
