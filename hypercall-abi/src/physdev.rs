//! `physdev.h`: interrupts and PCI devices (`__HYPERVISOR_physdev_op`).

use crate::guest_handle::GuestHandle;
use crate::xen::{DomId, XenPfn};

codes! {
    /// Sub-operation of `physdev_op`.
    pub struct PhysdevOp(u32);
    prefix "PHYSDEVOP_" {
        /// Reports whether a physical interrupt needs an end-of-interrupt.
        irq_status_query = 5,
        /// Sets the vCPU's virtual I/O privilege level.
        set_iopl = 6,
        /// Sets the vCPU's I/O port bitmap.
        set_iobitmap = 7,
        /// Reads an I/O APIC register.
        apic_read = 8,
        /// Writes an I/O APIC register.
        apic_write = 9,
        /// Allocates a vector for an interrupt.
        alloc_irq_vector = 10,
        /// Frees it; does nothing.
        free_irq_vector = 11,
        /// Ends an interrupt.
        eoi = 12,
        /// Gives a physical interrupt a PIRQ number.
        map_pirq = 13,
        /// Takes it away.
        unmap_pirq = 14,
        /// Announces a PCI device.
        manage_pci_add = 15,
        /// Withdraws it.
        manage_pci_remove = 16,
        /// Registers the page of bits telling which PIRQs need an end-of-interrupt, and makes `unmask` end interrupts.
        pirq_eoi_gmfn_v1 = 17,
        /// Restores MSI state after suspend.
        restore_msi = 19,
        /// Announces a PCI device that may be virtual.
        manage_pci_add_ext = 20,
        /// Tells trigger mode and polarity of a GSI.
        setup_gsi = 21,
        /// Allocates a PIRQ number.
        get_free_pirq = 23,
        /// Tells where PCI configuration space is in memory.
        pci_mmcfg_reserved = 24,
        /// Announces a PCI device with its segment.
        pci_device_add = 25,
        /// Withdraws it.
        pci_device_remove = 26,
        /// Restores MSI state of a device with its segment.
        restore_msi_ext = 27,
        /// As `pirq_eoi_gmfn_v1` without changing `unmask`.
        pirq_eoi_gmfn_v2 = 28,
        /// Prepares for the reset of a USB debug port.
        dbgp_op = 29,
        /// Readies the MSI-X table of a device for a guest.
        prepare_msix = 30,
        /// Takes it back.
        release_msix = 31,
        /// Notification of before Xen 3.2.2; not a sub-operation any more.
        IRQ_UNMASK_NOTIFY = 4,
    }
}

flags! {
    /// `physdev_irq_status_query.flags`.
    pub struct IrqStatFlags(u32);
    prefix "XENIRQSTAT_" {
        /// The guest must end the interrupt.
        needs_eoi = 1 << 0,
        /// Other domains have the interrupt too.
        shared = 1 << 1,
    }
}

codes! {
    /// `physdev_map_pirq.type` and `physdev_get_free_pirq.type`.
    pub struct MapPirqType(i32);
    prefix "MAP_PIRQ_TYPE_" {
        /// A message-signalled interrupt; with a zero table base plain MSI, else MSI-X.
        MSI = 0,
        /// A global system interrupt.
        GSI = 1,
        /// No type.
        UNKNOWN = 2,
        /// As `MSI` with the PCI segment in the upper half of `bus`.
        MSI_SEG = 3,
        /// Several vectors of MSI.
        MULTI_MSI = 4,
    }
}

flags! {
    /// `physdev_pci_mmcfg_reserved.flags`.
    pub struct PciMmcfgFlags(u32);
    prefix "XEN_PCI_" {
        /// The firmware reserves the range.
        MMCFG_RESERVED = 1,
    }
}

flags! {
    /// `physdev_pci_device_add.flags`.
    pub struct PciDevFlags(u32);
    prefix "XEN_PCI_DEV_" {
        /// Extended function.
        EXTFN = 1,
        /// Virtual function of `physfn`.
        VIRTFN = 2,
        /// `optarr` holds the proximity domain.
        PXM = 4,
    }
}

codes! {
    /// `physdev_dbgp_op.op`.
    pub struct DbgpOp(u8);
    prefix "PHYSDEVOP_DBGP_" {
        /// Before the reset.
        RESET_PREPARE = 1,
        /// After the reset.
        RESET_DONE = 2,
    }
}

codes! {
    /// `physdev_dbgp_op.bus`.
    pub struct DbgpBus(u8);
    prefix "PHYSDEVOP_DBGP_" {
        /// Any controller.
        BUS_UNKNOWN = 0,
        /// The PCI device in `u`.
        BUS_PCI = 1,
    }
}

constants! {
    in CONSTANTS;
    prefix "" {
        /// Name of `pirq_eoi_gmfn_v2` since interface 4.2.
        PHYSDEVOP_pirq_eoi_gmfn: u32 = 28,
    }
}

abi_unions! {
    in UNIONS;
    /// Argument of the call of before Xen 3.2.2.
    pub union PhysdevOpU = "physdev_op.u" [u64; 2] {
        irq_status_query: PhysdevIrqStatusQuery,
        set_iopl: PhysdevSetIopl,
        set_iobitmap: PhysdevSetIobitmap,
        apic_op: PhysdevApic,
        irq_op: PhysdevIrq,
    }
    /// Which USB controller.
    pub union PhysdevDbgpOpU = "physdev_dbgp_op.u" [u16; 2] {
        pci: PhysdevPciDevice,
    }
}

abi_structs! {
    in STRUCTS;
    /// Argument of `eoi`.
    pub struct PhysdevEoi = "physdev_eoi" [4] {
        pub irq: u32,
    }
    /// Argument of `pirq_eoi_gmfn_v1` and `pirq_eoi_gmfn_v2`.
    pub struct PhysdevPirqEoiGmfn = "physdev_pirq_eoi_gmfn" [8] {
        /// Frame of the bitmap.
        pub gmfn: XenPfn,
    }
    /// Argument of `irq_status_query`.
    pub struct PhysdevIrqStatusQuery = "physdev_irq_status_query" [8] {
        pub irq: u32,
        /// Filled in: [`IrqStatFlags`].
        pub flags: u32,
    }
    /// Argument of `set_iopl`.
    pub struct PhysdevSetIopl = "physdev_set_iopl" [4] {
        /// 0 to 3.
        pub iopl: u32,
    }
    /// Argument of `set_iobitmap`.
    pub struct PhysdevSetIobitmap = "physdev_set_iobitmap" [16] {
        /// A set bit forbids the port.
        pub bitmap: GuestHandle<u8>,
        pub nr_ports: u32,
        pub _pad: [u8; 4],
    }
    /// Argument of `apic_read` and `apic_write`.
    pub struct PhysdevApic = "physdev_apic" [16] {
        /// Physical address of the I/O APIC.
        pub apic_physbase: u64,
        pub reg: u32,
        /// In or out.
        pub value: u32,
    }
    /// Argument of `alloc_irq_vector` and `free_irq_vector`.
    pub struct PhysdevIrq = "physdev_irq" [8] {
        pub irq: u32,
        /// Filled in.
        pub vector: u32,
    }
    /// Argument of `map_pirq`.
    pub struct PhysdevMapPirq = "physdev_map_pirq" [40] {
        pub domid: DomId,
        pub _pad0: [u8; 2],
        pub r#type: MapPirqType,
        /// GSI; for MSI the number of vectors wanted, or -1.
        pub index: i32,
        /// Wanted number or -1; filled in.
        pub pirq: i32,
        /// Bus, for `MSI_SEG` with the segment in bits 16 to 31.
        pub bus: i32,
        pub devfn: i32,
        /// Entry of the MSI-X table; number of vectors for `MULTI_MSI`.
        pub entry_nr: i32,
        pub _pad1: [u8; 4],
        /// Physical address of the MSI-X table.
        pub table_base: u64,
    }
    /// Argument of `unmap_pirq`.
    pub struct PhysdevUnmapPirq = "physdev_unmap_pirq" [8] {
        pub domid: DomId,
        pub _pad: [u8; 2],
        pub pirq: i32,
    }
    /// Argument of `manage_pci_add` and `manage_pci_remove`.
    pub struct PhysdevManagePci = "physdev_manage_pci" [2] {
        pub bus: u8,
        pub devfn: u8,
    }
    /// Argument of `restore_msi`.
    pub struct PhysdevRestoreMsi = "physdev_restore_msi" [2] {
        pub bus: u8,
        pub devfn: u8,
    }
    /// The physical function of a virtual one.
    pub struct PhysdevManagePciExtPhysfn = "physdev_manage_pci_ext.physfn" [2] {
        pub bus: u8,
        pub devfn: u8,
    }
    /// Argument of `manage_pci_add_ext`.
    pub struct PhysdevManagePciExt = "physdev_manage_pci_ext" [16] {
        pub bus: u8,
        pub devfn: u8,
        pub _pad0: [u8; 2],
        /// Boolean.
        pub is_extfn: u32,
        /// Boolean.
        pub is_virtfn: u32,
        pub physfn: PhysdevManagePciExtPhysfn,
        pub _pad1: [u8; 2],
    }
    /// Argument of the call of before Xen 3.2.2 (`physdev_op_compat`).
    pub struct PhysdevOpCompat = "physdev_op" [24] {
        pub cmd: PhysdevOp,
        pub _pad: [u8; 4],
        pub u: PhysdevOpU,
    }
    /// Argument of `setup_gsi`.
    pub struct PhysdevSetupGsi = "physdev_setup_gsi" [8] {
        pub gsi: i32,
        /// 0 edge, 1 level.
        pub triggering: u8,
        /// 0 active high, 1 active low.
        pub polarity: u8,
        pub _pad: [u8; 2],
    }
    /// Argument of `get_free_pirq`.
    pub struct PhysdevGetFreePirq = "physdev_get_free_pirq" [8] {
        pub r#type: MapPirqType,
        /// Filled in.
        pub pirq: u32,
    }
    /// Argument of `pci_mmcfg_reserved`.
    pub struct PhysdevPciMmcfgReserved = "physdev_pci_mmcfg_reserved" [16] {
        /// Physical address.
        pub address: u64,
        pub segment: u16,
        pub start_bus: u8,
        pub end_bus: u8,
        /// [`PciMmcfgFlags`].
        pub flags: u32,
    }
    /// The physical function of a virtual one.
    pub struct PhysdevPciDeviceAddPhysfn = "physdev_pci_device_add.physfn" [2] {
        pub bus: u8,
        pub devfn: u8,
    }
    /// Argument of `pci_device_add`.
    pub struct PhysdevPciDeviceAdd = "physdev_pci_device_add" [12] {
        pub seg: u16,
        pub bus: u8,
        pub devfn: u8,
        /// [`PciDevFlags`].
        pub flags: u32,
        pub physfn: PhysdevPciDeviceAddPhysfn,
        pub _pad: [u8; 2],
        /// Follows: the proximity domain, if [`PciDevFlags::PXM`].
        pub optarr: [u32; 0],
    }
    /// Argument of `pci_device_remove`, `restore_msi_ext`, `prepare_msix` and `release_msix`.
    pub struct PhysdevPciDevice = "physdev_pci_device" [4] {
        pub seg: u16,
        pub bus: u8,
        pub devfn: u8,
    }
    /// Argument of `dbgp_op`.
    pub struct PhysdevDbgpOp = "physdev_dbgp_op" [6] {
        pub op: DbgpOp,
        pub bus: DbgpBus,
        pub u: PhysdevDbgpOpU,
    }
}

layout_entries! {
    types: [STRUCTS, UNIONS],
    constants: [
        PhysdevOp::CODES, IrqStatFlags::CODES, MapPirqType::CODES, PciMmcfgFlags::CODES, PciDevFlags::CODES, DbgpOp::CODES, DbgpBus::CODES,
        CONSTANTS,
    ],
}
