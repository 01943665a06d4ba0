//! `hvm/ioreq.h`: requests of an HVM guest to its device model, in pages that both share.

codes! {
    /// Direction: [`IoreqBits::DIR`].
    pub struct IoreqDir(u8);
    prefix "IOREQ_" {
        /// From the device.
        READ = 1,
        /// To the device.
        WRITE = 0,
    }
}

codes! {
    /// State: [`IoreqBits::STATE`].
    pub struct IoreqState(u8);
    prefix "STATE_" {
        /// Free.
        IOREQ_NONE = 0,
        /// Waits for the device model.
        IOREQ_READY = 1,
        /// The device model works on it.
        IOREQ_INPROCESS = 2,
        /// Waits for the hypervisor.
        IORESP_READY = 3,
    }
}

codes! {
    /// Kind of a request.
    pub struct IoreqType(u8);
    prefix "IOREQ_TYPE_" {
        /// Port.
        PIO = 0,
        /// Memory.
        COPY = 1,
        /// PCI configuration space.
        PCI_CONFIG = 2,
        /// The guest set its clock.
        TIMEOFFSET = 7,
        /// Drop cached mappings.
        INVALIDATE = 8,
    }
}

flags! {
    /// Fields of [`Ioreq::bits`], bitfields in C.
    pub struct IoreqBits(u8);
    prefix "ioreq." {
        /// [`IoreqState`].
        state = 0xf,
        /// `data` is a guest-physical address.
        data_is_ptr = 1 << 4,
        /// [`IoreqDir`].
        dir = 1 << 5,
        /// Addresses go down.
        df = 1 << 6,
        /// Unused.
        _pad1 = 1 << 7,
    }
}

flags! {
    /// Fields of [`BufIoreq::bits`], bitfields in C; the rest of the byte are the low bits of the address.
    pub struct BufIoreqBits(u8);
    prefix "buf_ioreq." {
        /// Unused.
        pad = 1 << 0,
        /// [`IoreqDir`].
        dir = 1 << 1,
        /// Log2 of the bytes.
        size = 0xc,
    }
}

constants! {
    in CONSTANTS;
    prefix "" {
        /// Slots of the buffered ring.
        IOREQ_BUFFER_SLOT_NUM: usize = 0x1ff,
        /// ACPI port in I/O space; two sets, chosen by `HVM_PARAM_ACPI_IOPORTS_LOCATION`.
        ACPI_PM1A_EVT_BLK_ADDRESS_V0: u16 = 0x1f40,
        /// ACPI port in I/O space; two sets, chosen by `HVM_PARAM_ACPI_IOPORTS_LOCATION`.
        ACPI_PM1A_CNT_BLK_ADDRESS_V0: u16 = 0x1f44,
        /// ACPI port in I/O space; two sets, chosen by `HVM_PARAM_ACPI_IOPORTS_LOCATION`.
        ACPI_PM_TMR_BLK_ADDRESS_V0: u16 = 0x1f48,
        /// ACPI port in I/O space; two sets, chosen by `HVM_PARAM_ACPI_IOPORTS_LOCATION`.
        ACPI_GPE0_BLK_ADDRESS_V0: u16 = 0x1f68,
        /// ACPI port in I/O space; two sets, chosen by `HVM_PARAM_ACPI_IOPORTS_LOCATION`.
        ACPI_GPE0_BLK_LEN_V0: u16 = 8,
        /// ACPI port in I/O space; two sets, chosen by `HVM_PARAM_ACPI_IOPORTS_LOCATION`.
        ACPI_PM1A_EVT_BLK_ADDRESS_V1: u16 = 0xb000,
        /// ACPI port in I/O space; two sets, chosen by `HVM_PARAM_ACPI_IOPORTS_LOCATION`.
        ACPI_PM1A_CNT_BLK_ADDRESS_V1: u16 = 0xb004,
        /// ACPI port in I/O space; two sets, chosen by `HVM_PARAM_ACPI_IOPORTS_LOCATION`.
        ACPI_PM_TMR_BLK_ADDRESS_V1: u16 = 0xb008,
        /// ACPI port in I/O space; two sets, chosen by `HVM_PARAM_ACPI_IOPORTS_LOCATION`.
        ACPI_GPE0_BLK_ADDRESS_V1: u16 = 0xafe0,
        /// ACPI port in I/O space; two sets, chosen by `HVM_PARAM_ACPI_IOPORTS_LOCATION`.
        ACPI_GPE0_BLK_LEN_V1: u16 = 4,
        /// ACPI port in I/O space; two sets, chosen by `HVM_PARAM_ACPI_IOPORTS_LOCATION`.
        ACPI_PM1A_EVT_BLK_ADDRESS: u16 = 0x1f40,
        /// ACPI port in I/O space; two sets, chosen by `HVM_PARAM_ACPI_IOPORTS_LOCATION`.
        ACPI_PM1A_CNT_BLK_ADDRESS: u16 = 0x1f44,
        /// ACPI port in I/O space; two sets, chosen by `HVM_PARAM_ACPI_IOPORTS_LOCATION`.
        ACPI_PM_TMR_BLK_ADDRESS: u16 = 0x1f48,
        /// ACPI port in I/O space; two sets, chosen by `HVM_PARAM_ACPI_IOPORTS_LOCATION`.
        ACPI_GPE0_BLK_ADDRESS: u16 = 0x1f68,
        /// ACPI port in I/O space; two sets, chosen by `HVM_PARAM_ACPI_IOPORTS_LOCATION`.
        ACPI_GPE0_BLK_LEN: u16 = 8,
    }
}

/// Mask of the address in the first word of [`BufIoreq`], above type and [`BufIoreqBits`]: 20 bits from bit 12.
const BUF_IOREQ_ADDR: &[crate::layout::Constant] = &[crate::layout::Constant {
    c_name: "buf_ioreq.addr",
    value: 0xffff_f000,
}];

impl BufIoreq {
    /// Address or port.
    #[must_use]
    pub const fn addr(&self) -> u32 {
        u32::from_le_bytes([0, self.bits, self.addr[0], self.addr[1]]) >> 12
    }
}

abi_structs! {
    in BUFFERED;
    /// A request that nobody waits for; one of eight bytes takes two slots.
    pub struct BufIoreq = "buf_ioreq" [8] {
        /// [`IoreqType`].
        pub r#type: u8,
        /// [`BufIoreqBits`] and the low four bits of the address.
        pub bits: u8,
        /// Upper 16 bits of the address.
        pub addr: [u8; 2],
        pub data: u32,
    }
}

abi_structs! {
    in STRUCTS;
    /// A synchronous request.
    pub struct Ioreq = "ioreq" [32] {
        /// Physical address or port.
        pub addr: u64,
        /// Data, or where it is.
        pub data: u64,
        /// Repetitions.
        pub count: u32,
        /// Bytes of one.
        pub size: u32,
        /// Port to notify.
        pub vp_eport: u32,
        pub _pad0: u16,
        /// [`IoreqBits`].
        pub bits: u8,
        /// [`IoreqType`].
        pub r#type: u8,
    }
    /// Page of synchronous requests, one per vCPU.
    pub struct SharedIopage = "shared_iopage" [32] {
        pub vcpu_ioreq: [Ioreq; 1],
    }
    /// Page of requests that nobody waits for.
    pub struct BufferedIopage = "buffered_iopage" [4096] {
        /// Slots read.
        pub read_pointer: u32,
        /// Slots written.
        pub write_pointer: u32,
        pub buf_ioreq: [BufIoreq; 511],
    }
}

layout_entries! { types: [STRUCTS, BUFFERED], constants: [IoreqDir::CODES, IoreqState::CODES, IoreqType::CODES, IoreqBits::CODES, BufIoreqBits::CODES, CONSTANTS, BUF_IOREQ_ADDR] }
