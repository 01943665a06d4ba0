//! `domctl.h`: a domain's devices and interrupts.

use crate::event_channel::EvtchnPort;
use crate::guest_handle::GuestHandle;
use crate::xen::DomId;

codes! {
    /// `xen_domctl_assign_device.dev`.
    pub struct DomctlDev(u32);
    prefix "XEN_DOMCTL_DEV_" {
        /// A PCI device.
        PCI = 0,
        /// A device-tree node.
        DT = 1,
    }
}

flags! {
    /// `xen_domctl_assign_device.flags`.
    pub struct DomctlDevFlags(u32);
    prefix "XEN_DOMCTL_DEV_" {
        /// Reserved memory may be missing.
        RDM_RELAXED = 1 << 0,
    }
}

codes! {
    /// `xen_domctl_bind_pt_irq.irq_type`.
    pub struct PtIrqType(u32);
    prefix "PT_IRQ_TYPE_" {
        /// INTx of a PCI device.
        PCI = 0,
        /// ISA interrupt.
        ISA = 1,
        /// MSI.
        MSI = 2,
        /// MSI delivered as INTx.
        MSI_TRANSLATE = 3,
        /// ARM.
        SPI = 4,
    }
}

codes! {
    /// Cache attribute of a pinned range.
    pub struct DomctlMemCacheattr(u32);
    prefix "XEN_DOMCTL_" {
        /// Uncached.
        MEM_CACHEATTR_UC = 0,
        /// Write combining.
        MEM_CACHEATTR_WC = 1,
        /// Write through.
        MEM_CACHEATTR_WT = 4,
        /// Write protected.
        MEM_CACHEATTR_WP = 5,
        /// Write back.
        MEM_CACHEATTR_WB = 6,
        /// Uncached minus.
        MEM_CACHEATTR_UCM = 7,
        /// Undo the pin.
        DELETE_MEM_CACHEATTR = 0xffff_ffff,
    }
}

codes! {
    /// `xen_domctl_vuart_op.cmd`.
    pub struct VuartOp(u32);
    prefix "XEN_DOMCTL_VUART_OP_" {
        /// Set up.
        INIT = 0,
    }
}

codes! {
    /// `xen_domctl_vuart_op.type`.
    pub struct VuartType(u32);
    prefix "XEN_DOMCTL_VUART_TYPE_" {
        /// PL011.
        VPL011 = 0,
    }
}

constants! {
    in CONSTANTS;
    prefix "XEN_DOMCTL_" {
        /// Destination.
        VMSI_X86_DEST_ID_MASK: u32 = 255,
        /// Redirection hint.
        VMSI_X86_RH_MASK: u32 = 0x100,
        /// Destination mode.
        VMSI_X86_DM_MASK: u32 = 0x200,
        /// Delivery mode.
        VMSI_X86_DELIV_MASK: u32 = 0x7000,
        /// Trigger mode.
        VMSI_X86_TRIG_MASK: u32 = 0x8000,
        /// Not masked.
        VMSI_X86_UNMASKED: u32 = 0x1_0000,
    }
    prefix "" {
        /// `add_mapping`: map.
        DPCI_ADD_MAPPING: u32 = 1,
        /// `add_mapping`: unmap.
        DPCI_REMOVE_MAPPING: u32 = 0,
    }
}

abi_unions! {
    in UNIONS;
    /// Which device.
    pub union DomctlAssignDeviceU = "xen_domctl_assign_device.u" [u64; 2] {
        pci: DomctlAssignDevicePci,
        dt: DomctlAssignDeviceDt,
    }
    /// By type.
    pub union DomctlBindPtIrqU = "xen_domctl_bind_pt_irq.u" [u64; 2] {
        isa: DomctlBindPtIrqIsa,
        pci: DomctlBindPtIrqPci,
        msi: DomctlBindPtIrqMsi,
        spi: DomctlBindPtIrqSpi,
    }
}

abi_structs! {
    in STRUCTS;
    /// Argument of `irq_permission`.
    pub struct DomctlIrqPermission = "xen_domctl_irq_permission" [8] {
        pub pirq: u32,
        /// Boolean.
        pub allow_access: u8,
        pub pad: [u8; 3],
    }
    /// Argument of `iomem_permission`.
    pub struct DomctlIomemPermission = "xen_domctl_iomem_permission" [24] {
        pub first_mfn: u64,
        pub nr_mfns: u64,
        /// Boolean.
        pub allow_access: u8,
        pub _pad: [u8; 7],
    }
    /// Argument of `ioport_permission`.
    pub struct DomctlIoportPermission = "xen_domctl_ioport_permission" [12] {
        pub first_port: u32,
        pub nr_ports: u32,
        /// Boolean.
        pub allow_access: u8,
        pub _pad: [u8; 3],
    }
    /// A PCI device.
    pub struct DomctlAssignDevicePci = "xen_domctl_assign_device.u.pci" [4] {
        /// Segment, bus, device and function.
        pub machine_sbdf: u32,
    }
    /// A device-tree node.
    pub struct DomctlAssignDeviceDt = "xen_domctl_assign_device.u.dt" [16] {
        /// Bytes of the path.
        pub size: u32,
        pub _pad: [u8; 4],
        pub path: GuestHandle<u8>,
    }
    /// Argument of `assign_device`, `test_assign_device` and `deassign_device`.
    pub struct DomctlAssignDevice = "xen_domctl_assign_device" [24] {
        /// [`DomctlDev`].
        pub dev: u32,
        /// [`DomctlDevFlags`].
        pub flags: u32,
        pub u: DomctlAssignDeviceU,
    }
    /// Argument of `get_device_group`.
    pub struct DomctlGetDeviceGroup = "xen_domctl_get_device_group" [24] {
        /// Segment, bus, device and function.
        pub machine_sbdf: u32,
        /// Room.
        pub max_sdevs: u32,
        /// Filled in.
        pub num_sdevs: u32,
        pub _pad: [u8; 4],
        pub sdev_array: GuestHandle<u32>,
    }
    /// ISA.
    pub struct DomctlBindPtIrqIsa = "xen_domctl_bind_pt_irq.u.isa" [1] {
        pub isa_irq: u8,
    }
    /// INTx.
    pub struct DomctlBindPtIrqPci = "xen_domctl_bind_pt_irq.u.pci" [3] {
        pub bus: u8,
        pub device: u8,
        pub intx: u8,
    }
    /// MSI.
    pub struct DomctlBindPtIrqMsi = "xen_domctl_bind_pt_irq.u.msi" [16] {
        /// Vector.
        pub gvec: u8,
        pub _pad: [u8; 3],
        pub gflags: u32,
        /// Guest-physical address of the MSI-X entry.
        pub gtable: u64,
    }
    /// ARM.
    pub struct DomctlBindPtIrqSpi = "xen_domctl_bind_pt_irq.u.spi" [2] {
        pub spi: u16,
    }
    /// Argument of `bind_pt_irq` and `unbind_pt_irq`.
    pub struct DomctlBindPtIrq = "xen_domctl_bind_pt_irq" [24] {
        /// PIRQ.
        pub machine_irq: u32,
        /// [`PtIrqType`].
        pub irq_type: u32,
        pub u: DomctlBindPtIrqU,
    }
    /// Argument of `memory_mapping`.
    pub struct DomctlMemoryMapping = "xen_domctl_memory_mapping" [32] {
        pub first_gfn: u64,
        pub first_mfn: u64,
        pub nr_mfns: u64,
        /// [`DPCI_ADD_MAPPING`] or [`DPCI_REMOVE_MAPPING`].
        pub add_mapping: u32,
        pub padding: u32,
    }
    /// Argument of `ioport_mapping`.
    pub struct DomctlIoportMapping = "xen_domctl_ioport_mapping" [16] {
        pub first_gport: u32,
        pub first_mport: u32,
        pub nr_ports: u32,
        /// [`DPCI_ADD_MAPPING`] or [`DPCI_REMOVE_MAPPING`].
        pub add_mapping: u32,
    }
    /// Argument of `vuart_op`.
    pub struct DomctlVuartOp = "xen_domctl_vuart_op" [24] {
        /// [`VuartOp`].
        pub cmd: u32,
        /// [`VuartType`].
        pub r#type: u32,
        pub gfn: u64,
        pub console_domid: DomId,
        pub pad: [u8; 2],
        pub evtchn: EvtchnPort,
    }
}

layout_entries! { types: [STRUCTS, UNIONS], constants: [DomctlDev::CODES, DomctlDevFlags::CODES, PtIrqType::CODES, DomctlMemCacheattr::CODES, VuartOp::CODES, VuartType::CODES, CONSTANTS] }
