//! `hvm/dm_op.h`: what a device model may do to its domain (`__HYPERVISOR_dm_op`).

use crate::event_channel::EvtchnPort;
use crate::guest_handle::GuestHandle;
use crate::sched::ShutdownReason;

codes! {
    /// Sub-operation of [`DmOp`].
    pub struct DmOpCmd(u32);
    prefix "XEN_DMOP_" {
        /// Creates an ioreq server.
        create_ioreq_server = 1,
        /// Reports its pages and port.
        get_ioreq_server_info = 2,
        /// Gives it a range.
        map_io_range_to_ioreq_server = 3,
        /// Takes the range back.
        unmap_io_range_from_ioreq_server = 4,
        /// Turns it on or off.
        set_ioreq_server_state = 5,
        /// Destroys it.
        destroy_ioreq_server = 6,
        /// Reports which frames of video memory changed.
        track_dirty_vram = 7,
        /// Raises or lowers a PCI INTx.
        set_pci_intx_level = 8,
        /// Raises or lowers an ISA interrupt.
        set_isa_irq_level = 9,
        /// Routes a PCI link to an ISA interrupt.
        set_pci_link_route = 10,
        /// Tells that frames were written.
        modified_memory = 11,
        /// Changes the type of guest frames.
        set_mem_type = 12,
        /// Injects an event into a vCPU.
        inject_event = 13,
        /// Injects an MSI.
        inject_msi = 14,
        /// Sends writes of a memory type to a server.
        map_mem_type_to_ioreq_server = 15,
        /// Declares the domain shut down.
        remote_shutdown = 16,
        /// Moves guest frames.
        relocate_memory = 17,
        /// Pins the cache attribute of guest frames.
        pin_memory_cacheattr = 18,
        /// Raises or lowers an interrupt; ARM.
        set_irq_level = 19,
        /// Number of vCPUs.
        nr_vcpus = 20,
    }
}

flags! {
    /// `xen_dm_op_get_ioreq_server_info.flags`.
    pub struct DmopInfoFlags(u16);
    prefix "XEN_DMOP_" {
        /// Do not map the pages into the guest.
        no_gfns = 1 << 0,
    }
}

codes! {
    /// `xen_dm_op_ioreq_server_range.type`.
    pub struct IoRange(u32);
    prefix "XEN_DMOP_IO_RANGE_" {
        /// I/O ports.
        PORT = 0,
        /// Memory.
        MEMORY = 1,
        /// PCI configuration space.
        PCI = 2,
    }
}

codes! {
    /// `xen_dm_op_inject_event.type`.
    pub struct DmopEvent(u8);
    prefix "XEN_DMOP_EVENT_" {
        /// External interrupt.
        ext_int = 0,
        /// NMI.
        nmi = 2,
        /// Exception.
        hw_exc = 3,
        /// `int n`.
        sw_int = 4,
        /// `int1`.
        pri_sw_exc = 5,
        /// `int3` or `into`.
        sw_exc = 6,
    }
}

flags! {
    /// `xen_dm_op_map_mem_type_to_ioreq_server.flags`.
    pub struct IoreqMemAccess(u32);
    prefix "XEN_DMOP_IOREQ_MEM_ACCESS_" {
        READ = 1 << 0,
        WRITE = 1 << 1,
    }
}

codes! {
    /// `xen_dm_op_pin_memory_cacheattr.type`.
    pub struct DmopMemCacheattr(u32);
    prefix "XEN_DMOP_" {
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

/// `ioservid_t`: number of an ioreq server.
pub type IoservId = u16;

/// `XEN_DMOP_PCI_SBDF`: a PCI function as it stands in [`DmOpIoreqServerRange::start`].
#[doc(alias = "XEN_DMOP_PCI_SBDF")]
#[must_use]
pub const fn pci_sbdf(segment: u16, bus: u8, device: u8, function: u8) -> u64 {
    (segment as u64) << 16
        | (bus as u64) << 8
        | ((device & 0x1f) as u64) << 3
        | (function & 7) as u64
}

abi_unions! {
    in UNIONS;
    /// Argument by [`DmOpCmd`].
    pub union DmOpU = "xen_dm_op.u" [u64; 3] {
        create_ioreq_server: DmOpCreateIoreqServer,
        get_ioreq_server_info: DmOpGetIoreqServerInfo,
        map_io_range_to_ioreq_server: DmOpIoreqServerRange,
        unmap_io_range_from_ioreq_server: DmOpIoreqServerRange,
        set_ioreq_server_state: DmOpSetIoreqServerState,
        destroy_ioreq_server: DmOpDestroyIoreqServer,
        track_dirty_vram: DmOpTrackDirtyVram,
        set_pci_intx_level: DmOpSetPciIntxLevel,
        set_isa_irq_level: DmOpSetIsaIrqLevel,
        set_irq_level: DmOpSetIrqLevel,
        set_pci_link_route: DmOpSetPciLinkRoute,
        modified_memory: DmOpModifiedMemory,
        set_mem_type: DmOpSetMemType,
        inject_event: DmOpInjectEvent,
        inject_msi: DmOpInjectMsi,
        map_mem_type_to_ioreq_server: DmOpMapMemTypeToIoreqServer,
        remote_shutdown: DmOpRemoteShutdown,
        relocate_memory: DmOpRelocateMemory,
        pin_memory_cacheattr: DmOpPinMemoryCacheattr,
        nr_vcpus: DmOpNrVcpus,
    }
}

abi_structs! {
    in STRUCTS;
    /// Argument of `create_ioreq_server`.
    pub struct DmOpCreateIoreqServer = "xen_dm_op_create_ioreq_server" [6] {
        /// A [`BufioreqMode`](super::hvm_op::BufioreqMode).
        pub handle_bufioreq: u8,
        pub pad: [u8; 3],
        /// Filled in.
        pub id: IoservId,
    }
    /// Argument of `get_ioreq_server_info`.
    pub struct DmOpGetIoreqServerInfo = "xen_dm_op_get_ioreq_server_info" [24] {
        pub id: IoservId,
        /// [`DmopInfoFlags`].
        pub flags: u16,
        /// Filled in.
        pub bufioreq_port: EvtchnPort,
        /// Filled in.
        pub ioreq_gfn: u64,
        /// Filled in.
        pub bufioreq_gfn: u64,
    }
    /// Argument of `map_io_range_to_ioreq_server` and `unmap_io_range_from_ioreq_server`.
    pub struct DmOpIoreqServerRange = "xen_dm_op_ioreq_server_range" [24] {
        pub id: IoservId,
        pub pad: u16,
        pub r#type: IoRange,
        pub start: u64,
        /// Inclusive.
        pub end: u64,
    }
    /// Argument of `set_ioreq_server_state`.
    pub struct DmOpSetIoreqServerState = "xen_dm_op_set_ioreq_server_state" [4] {
        pub id: IoservId,
        /// Boolean.
        pub enabled: u8,
        pub pad: u8,
    }
    /// Argument of `destroy_ioreq_server`.
    pub struct DmOpDestroyIoreqServer = "xen_dm_op_destroy_ioreq_server" [4] {
        pub id: IoservId,
        pub pad: u16,
    }
    /// Argument of `track_dirty_vram`; the bitmap is the second buffer.
    pub struct DmOpTrackDirtyVram = "xen_dm_op_track_dirty_vram" [16] {
        pub nr: u32,
        pub pad: u32,
        pub first_pfn: u64,
    }
    /// Argument of `set_pci_intx_level`.
    pub struct DmOpSetPciIntxLevel = "xen_dm_op_set_pci_intx_level" [6] {
        pub domain: u16,
        pub bus: u8,
        pub device: u8,
        pub intx: u8,
        /// 0 or 1.
        pub level: u8,
    }
    /// Argument of `set_isa_irq_level`.
    pub struct DmOpSetIsaIrqLevel = "xen_dm_op_set_isa_irq_level" [2] {
        pub isa_irq: u8,
        /// 0 or 1.
        pub level: u8,
    }
    /// Argument of `set_pci_link_route`.
    pub struct DmOpSetPciLinkRoute = "xen_dm_op_set_pci_link_route" [2] {
        pub link: u8,
        /// Zero: none.
        pub isa_irq: u8,
    }
    /// Argument of `modified_memory`; the extents are the second buffer.
    pub struct DmOpModifiedMemory = "xen_dm_op_modified_memory" [8] {
        pub nr_extents: u32,
        /// For the hypervisor; zero on entry.
        pub opaque: u32,
    }
    /// Frames that were written.
    pub struct DmOpModifiedMemoryExtent = "xen_dm_op_modified_memory_extent" [16] {
        pub nr: u32,
        pub pad: u32,
        pub first_pfn: u64,
    }
    /// Argument of `set_mem_type`.
    pub struct DmOpSetMemType = "xen_dm_op_set_mem_type" [16] {
        pub nr: u32,
        /// A [`HvmMemType`](super::hvm_op::HvmMemType).
        pub mem_type: u16,
        pub pad: u16,
        pub first_pfn: u64,
    }
    /// Argument of `inject_event`.
    pub struct DmOpInjectEvent = "xen_dm_op_inject_event" [24] {
        pub vcpuid: u32,
        pub vector: u8,
        /// [`DmopEvent`].
        pub r#type: u8,
        /// Bytes of the instruction.
        pub insn_len: u8,
        pub pad0: u8,
        /// All ones: none.
        pub error_code: u32,
        pub pad1: u32,
        /// For page faults.
        pub cr2: u64,
    }
    /// Argument of `inject_msi`.
    pub struct DmOpInjectMsi = "xen_dm_op_inject_msi" [16] {
        pub data: u32,
        pub pad: u32,
        pub addr: u64,
    }
    /// Argument of `map_mem_type_to_ioreq_server`.
    pub struct DmOpMapMemTypeToIoreqServer = "xen_dm_op_map_mem_type_to_ioreq_server" [16] {
        pub id: IoservId,
        pub r#type: u16,
        /// [`IoreqMemAccess`].
        pub flags: u32,
        /// For the hypervisor; zero on entry.
        pub opaque: u64,
    }
    /// Argument of `remote_shutdown`.
    pub struct DmOpRemoteShutdown = "xen_dm_op_remote_shutdown" [4] {
        pub reason: ShutdownReason,
    }
    /// Argument of `relocate_memory`.
    pub struct DmOpRelocateMemory = "xen_dm_op_relocate_memory" [24] {
        /// Frames.
        pub size: u32,
        pub pad: u32,
        pub src_gfn: u64,
        pub dst_gfn: u64,
    }
    /// Argument of `pin_memory_cacheattr`.
    pub struct DmOpPinMemoryCacheattr = "xen_dm_op_pin_memory_cacheattr" [24] {
        /// First frame.
        pub start: u64,
        /// Last frame.
        pub end: u64,
        /// [`DmopMemCacheattr`].
        pub r#type: u32,
        pub pad: u32,
    }
    /// Argument of `set_irq_level`.
    pub struct DmOpSetIrqLevel = "xen_dm_op_set_irq_level" [8] {
        pub irq: u32,
        /// 0 or 1.
        pub level: u8,
        pub pad: [u8; 3],
    }
    /// Result of `nr_vcpus`.
    pub struct DmOpNrVcpus = "xen_dm_op_nr_vcpus" [4] {
        pub vcpus: u32,
    }
    /// First buffer of `dm_op`.
    pub struct DmOp = "xen_dm_op" [32] {
        pub op: DmOpCmd,
        pub pad: u32,
        pub u: DmOpU,
    }
    /// A buffer of the caller.
    pub struct DmOpBuf = "xen_dm_op_buf" [16] {
        pub h: GuestHandle<u8>,
        /// Bytes.
        pub size: u64,
    }
}

layout_entries! { types: [STRUCTS, UNIONS], constants: [DmOpCmd::CODES, DmopInfoFlags::CODES, IoRange::CODES, DmopEvent::CODES, IoreqMemAccess::CODES, DmopMemCacheattr::CODES] }
