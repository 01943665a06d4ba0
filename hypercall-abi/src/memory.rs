//! `memory.h`: reservations, the physmap and memory maps (`__HYPERVISOR_memory_op`).

use crate::guest_handle::GuestHandle;
use crate::hvm::e820::E820Entry;
use crate::physdev::PhysdevPciDevice;
use crate::xen::{DomId, XenPfn};

codes! {
    /// Sub-operation of `memory_op`: the six low bits of its first argument. The rest is the index at which a preempted call goes on.
    pub struct MemoryOp(u32);
    prefix "XENMEM_" {
        /// Gives the domain more frames.
        increase_reservation = 0,
        /// Takes frames back.
        decrease_reservation = 1,
        /// Highest frame number of RAM.
        maximum_ram_page = 2,
        /// Frames of a domain.
        current_reservation = 3,
        /// Limit of a domain's frames.
        maximum_reservation = 4,
        /// Frames of the machine-to-physical table.
        machphys_mfn_list = 5,
        /// Gives the domain frames at chosen guest frames.
        populate_physmap = 6,
        /// Maps a special page at a guest frame.
        add_to_physmap = 7,
        /// The domain's own memory map.
        memory_map = 9,
        /// The machine's memory map.
        machine_memory_map = 10,
        /// Exchanges frames for others.
        exchange = 11,
        /// Where the machine-to-physical table is mapped.
        machphys_mapping = 12,
        /// Sets a domain's memory map.
        set_memory_map = 13,
        /// Highest guest frame in use.
        maximum_gpfn = 14,
        /// Unmaps a guest frame.
        remove_from_physmap = 15,
        /// Sets the populate-on-demand target.
        set_pod_target = 16,
        /// Reports it.
        get_pod_target = 17,
        /// Frames saved by sharing.
        get_sharing_freed_pages = 18,
        /// Frames shared.
        get_sharing_shared_pages = 19,
        /// Paging of guest memory.
        paging_op = 20,
        /// Access rights of guest memory.
        access_op = 21,
        /// Sharing of guest memory.
        sharing_op = 22,
        /// `add_to_physmap` for many.
        add_to_physmap_batch = 23,
        /// Reserves free memory for a domain to come.
        claim_pages = 24,
        /// Frames of the 32-bit machine-to-physical table.
        machphys_compat_mfn_list = 25,
        /// The domain's virtual NUMA topology.
        get_vnumainfo = 26,
        /// Memory reserved for devices.
        reserved_device_memory_map = 27,
        /// Maps a resource of the hypervisor.
        acquire_resource = 28,
    }
}

flags! {
    /// `xen_memory_reservation.mem_flags`, the bits above address width (bits 0 to 7) and NUMA node (bits 8 to 15).
    pub struct MemFlags(u32);
    prefix "XENMEMF_" {
        /// Back by memory when touched.
        populate_on_demand = 1 << 16,
        /// Only from the given node.
        exact_node_request = 1 << 17,
        /// The node is a virtual one.
        vnode = 1 << 18,
    }
}

/// `XENMEMF_get_address_bits`: the width in bits that machine addresses of the frames may have; zero means any.
#[doc(alias = "XENMEMF_get_address_bits")]
#[must_use]
pub const fn mem_flags_address_bits(mem_flags: u32) -> u32 {
    mem_flags & 0xff
}

/// `XENMEMF_get_node`: the NUMA node asked for; 0xff means any.
#[doc(alias = "XENMEMF_get_node")]
#[must_use]
pub const fn mem_flags_node(mem_flags: u32) -> u32 {
    (mem_flags >> 8).wrapping_sub(1) & 0xff
}

codes! {
    /// `xen_add_to_physmap.space`: what to map.
    pub struct MapSpace(u32);
    prefix "XENMAPSPACE_" {
        /// The shared page.
        shared_info = 0,
        /// A grant-table frame.
        grant_table = 1,
        /// A guest frame, moved.
        gmfn = 2,
        /// A range of guest frames, moved.
        gmfn_range = 3,
        /// Another domain's frame.
        gmfn_foreign = 4,
        /// Device memory.
        dev_mmio = 5,
    }
}

codes! {
    /// `xen_mem_paging_op.op`.
    pub struct MemPagingOp(u8);
    prefix "XENMEM_paging_op_" {
        nominate = 0,
        evict = 1,
        prep = 2,
    }
}

codes! {
    /// `xen_mem_access_op.op`.
    pub struct MemAccessOp(u8);
    prefix "XENMEM_access_op_" {
        set_access = 0,
        get_access = 1,
        set_access_multi = 4,
    }
}

codes! {
    /// `xenmem_access_t`: what a guest may do with a frame.
    pub struct MemAccess(u8);
    prefix "XENMEM_access_" {
        n = 0,
        r = 1,
        w = 2,
        rw = 3,
        x = 4,
        rx = 5,
        wx = 6,
        rwx = 7,
        /// Read and execute, turning to read and write on the first write.
        rx2rw = 8,
        /// Nothing, turning to everything on the first access.
        n2rwx = 9,
        /// The domain's default.
        default = 10,
    }
}

codes! {
    /// `xen_mem_sharing_op.op`.
    pub struct MemSharingOp(u8);
    prefix "XENMEM_sharing_op_" {
        nominate_gfn = 0,
        nominate_gref = 1,
        share = 2,
        debug_gfn = 3,
        debug_mfn = 4,
        debug_gref = 5,
        add_physmap = 6,
        audit = 7,
        range_share = 8,
        fork = 9,
        fork_reset = 10,
    }
}

flags! {
    /// `xen_mem_sharing_op.u.fork.flags`.
    pub struct MemForkFlags(u16);
    prefix "XENMEM_FORK_" {
        WITH_IOMMU_ALLOWED = 1 << 0,
        BLOCK_INTERRUPTS = 1 << 1,
        RESET_STATE = 1 << 2,
        RESET_MEMORY = 1 << 3,
    }
}

codes! {
    /// `xen_mem_acquire_resource.type`.
    pub struct MemResource(u16);
    prefix "XENMEM_resource_" {
        /// Pages of an ioreq server.
        ioreq_server = 0,
        /// Frames of a grant table.
        grant_table = 1,
        /// Processor trace buffer of a vCPU.
        vmtrace_buf = 2,
    }
}

constants! {
    in CONSTANTS;
    prefix "" {
        /// Bit of `xen_add_to_physmap.idx`: the frame is of the status array.
        XENMAPIDX_grant_table_status: u32 = 0x8000_0000,
    }
    prefix "XENMEM_" {
        /// Flag of the reserved device memory map: of all devices.
        RDM_ALL: u32 = 1,
        /// `id` of the grant table resource: shared frames.
        resource_grant_table_id_shared: u32 = 0,
        /// `id` of the grant table resource: status frames.
        resource_grant_table_id_status: u32 = 1,
        /// Frame of the ioreq server resource: the buffered ring.
        resource_ioreq_server_frame_bufioreq: u64 = 0,
        /// Result of sharing: the source's handle is stale.
        SHARING_OP_S_HANDLE_INVALID: i32 = -10,
        /// Result of sharing: the client's handle is stale.
        SHARING_OP_C_HANDLE_INVALID: i32 = -9,
        /// Bit of a sharing field: it is a grant reference.
        SHARING_OP_FIELD_IS_GREF_FLAG: u64 = 1 << 62,
    }
}

/// `XENMEM_resource_ioreq_server_frame_ioreq(n)`: frame of the ioreq server resource that holds synchronous page `n`.
#[doc(alias = "XENMEM_resource_ioreq_server_frame_ioreq")]
#[must_use]
pub const fn resource_ioreq_server_frame_ioreq(n: u64) -> u64 {
    n.saturating_add(1)
}

abi_unions! {
    in UNIONS;
    /// Second domain of the batch.
    pub union AddToPhysmapBatchExtra = "xen_add_to_physmap_batch_extra" [u16; 1] {
        /// Owner of the frames, for `gmfn_foreign`.
        foreign_domid: DomId,
        /// Zero otherwise.
        res0: u16,
    }
    /// What to nominate.
    pub union MemSharingOpNominateU = "mem_sharing_op_nominate.u" [u64; 1] {
        gfn: u64,
        grant_ref: u32,
    }
    /// What to report.
    pub union MemSharingOpDebugU = "mem_sharing_op_debug.u" [u64; 1] {
        gfn: u64,
        mfn: u64,
        gref: u32,
    }
    /// By `op`.
    pub union MemSharingOpU = "xen_mem_sharing_op.u" [u64; 5] {
        nominate: MemSharingOpNominate,
        share: MemSharingOpShare,
        range: MemSharingOpRange,
        debug: MemSharingOpDebug,
        fork: MemSharingOpFork,
    }
    /// Which device.
    pub union ReservedDeviceMemoryMapDev = "xen_reserved_device_memory_map.dev" [u16; 2] {
        pci: PhysdevPciDevice,
    }
    /// A handle that has the same width for 32-bit guests.
    pub union VnumaVdistance = "xen_vnuma_topology_info.vdistance" [u64; 1] {
        h: GuestHandle<u32>,
        pad: u64,
    }
    /// A handle that has the same width for 32-bit guests.
    pub union VnumaVcpuToVnode = "xen_vnuma_topology_info.vcpu_to_vnode" [u64; 1] {
        h: GuestHandle<u32>,
        pad: u64,
    }
    /// A handle that has the same width for 32-bit guests.
    pub union VnumaVmemrange = "xen_vnuma_topology_info.vmemrange" [u64; 1] {
        h: GuestHandle<Vmemrange>,
        pad: u64,
    }
}

abi_structs! {
    in STRUCTS;
    /// Argument of `increase_reservation`, `decrease_reservation` and `populate_physmap`.
    pub struct MemoryReservation = "xen_memory_reservation" [32] {
        /// Frame numbers of the extents; in, out or both, by operation.
        pub extent_start: GuestHandle<XenPfn>,
        pub nr_extents: u64,
        /// Log2 of an extent's frames.
        pub extent_order: u32,
        /// Address width, node and [`MemFlags`].
        pub mem_flags: u32,
        pub domid: DomId,
        pub _pad: [u8; 6],
    }
    /// Argument of `exchange`.
    pub struct MemoryExchange = "xen_memory_exchange" [72] {
        /// Given.
        pub r#in: MemoryReservation,
        /// Received.
        pub out: MemoryReservation,
        /// Filled in: extents exchanged; zero on entry.
        pub nr_exchanged: u64,
    }
    /// Argument of `current_reservation`, `maximum_reservation` and `maximum_gpfn`.
    pub struct MemoryDomain = "xen_memory_domain" [2] {
        pub domid: DomId,
    }
    /// Argument of `machphys_mfn_list`.
    pub struct MachphysMfnList = "xen_machphys_mfn_list" [24] {
        /// Room in the buffer.
        pub max_extents: u32,
        pub _pad0: [u8; 4],
        pub extent_start: GuestHandle<XenPfn>,
        /// Filled in.
        pub nr_extents: u32,
        pub _pad1: [u8; 4],
    }
    /// Result of `machphys_mapping`.
    pub struct MachphysMapping = "xen_machphys_mapping" [24] {
        /// First virtual address of the table.
        pub v_start: u64,
        /// First virtual address behind it.
        pub v_end: u64,
        /// Highest frame number it can hold.
        pub max_mfn: u64,
    }
    /// Argument of `add_to_physmap`.
    pub struct AddToPhysmap = "xen_add_to_physmap" [24] {
        /// Whose physmap.
        pub domid: DomId,
        /// Frames, for `gmfn_range`.
        pub size: u16,
        pub space: MapSpace,
        /// Index in the space.
        pub idx: u64,
        /// Where.
        pub gpfn: XenPfn,
    }
    /// Argument of `add_to_physmap_batch`.
    pub struct AddToPhysmapBatch = "xen_add_to_physmap_batch" [32] {
        /// Whose physmap.
        pub domid: DomId,
        /// A [`MapSpace`].
        pub space: u16,
        /// Elements.
        pub size: u16,
        pub u: AddToPhysmapBatchExtra,
        /// Indices in the space.
        pub idxs: GuestHandle<u64>,
        /// Where.
        pub gpfns: GuestHandle<XenPfn>,
        /// Filled in: an errno for each.
        pub errs: GuestHandle<i32>,
    }
    /// Argument of `remove_from_physmap`.
    pub struct RemoveFromPhysmap = "xen_remove_from_physmap" [16] {
        pub domid: DomId,
        pub _pad: [u8; 6],
        pub gpfn: XenPfn,
    }
    /// Argument of `memory_map` and `machine_memory_map`.
    pub struct MemoryMap = "xen_memory_map" [16] {
        /// Room in the buffer; filled in with what is used.
        pub nr_entries: u32,
        pub _pad: [u8; 4],
        /// Entries in the BIOS' E820 format.
        pub buffer: GuestHandle<E820Entry>,
    }
    /// Argument of `set_memory_map`.
    pub struct ForeignMemoryMap = "xen_foreign_memory_map" [24] {
        pub domid: DomId,
        pub _pad: [u8; 6],
        pub map: MemoryMap,
    }
    /// Argument of `set_pod_target` and `get_pod_target`, in frames.
    pub struct PodTarget = "xen_pod_target" [40] {
        pub target_pages: u64,
        /// Filled in.
        pub tot_pages: u64,
        /// Filled in.
        pub pod_cache_pages: u64,
        /// Filled in.
        pub pod_entries: u64,
        pub domid: DomId,
        pub _pad: [u8; 6],
    }
    /// Argument of `paging_op`.
    pub struct MemPagingOpArg = "xen_mem_paging_op" [24] {
        pub op: MemPagingOp,
        pub _pad0: [u8; 1],
        pub domain: DomId,
        pub _pad1: [u8; 4],
        /// Content of the page, for `prep`.
        pub buffer: GuestHandle<u8>,
        pub gfn: u64,
    }
    /// Argument of `access_op`.
    pub struct MemAccessOpArg = "xen_mem_access_op" [32] {
        pub op: MemAccessOp,
        pub access: MemAccess,
        pub domid: DomId,
        /// Frames from `pfn` on, or elements of the lists.
        pub nr: u32,
        pub pfn: u64,
        pub pfn_list: GuestHandle<u64>,
        pub access_list: GuestHandle<u8>,
    }
    /// Argument of `nominate`.
    pub struct MemSharingOpNominate = "mem_sharing_op_nominate" [16] {
        pub u: MemSharingOpNominateU,
        /// Filled in.
        pub handle: u64,
    }
    /// Argument of `share` and `add_physmap`.
    pub struct MemSharingOpShare = "mem_sharing_op_share" [40] {
        pub source_gfn: u64,
        pub source_handle: u64,
        pub client_gfn: u64,
        pub client_handle: u64,
        pub client_domain: DomId,
        pub _pad: [u8; 6],
    }
    /// Argument of `range_share`.
    pub struct MemSharingOpRange = "mem_sharing_op_range" [32] {
        pub first_gfn: u64,
        pub last_gfn: u64,
        /// For the hypervisor; zero on entry.
        pub opaque: u64,
        pub client_domain: DomId,
        pub _pad: [u16; 3],
    }
    /// Argument of `debug_*`.
    pub struct MemSharingOpDebug = "mem_sharing_op_debug" [8] {
        pub u: MemSharingOpDebugU,
    }
    /// Argument of `fork` and `fork_reset`.
    pub struct MemSharingOpFork = "mem_sharing_op_fork" [8] {
        pub parent_domain: DomId,
        /// [`MemForkFlags`].
        pub flags: u16,
        pub pad: u32,
    }
    /// Argument of `sharing_op`.
    pub struct MemSharingOpArg = "xen_mem_sharing_op" [48] {
        pub op: MemSharingOp,
        pub _pad0: [u8; 1],
        pub domain: DomId,
        pub _pad1: [u8; 4],
        pub u: MemSharingOpU,
    }
    /// A range reserved for a device.
    pub struct ReservedDeviceMemory = "xen_reserved_device_memory" [16] {
        pub start_pfn: XenPfn,
        pub nr_pages: u64,
    }
    /// Argument of `reserved_device_memory_map`.
    pub struct ReservedDeviceMemoryMap = "xen_reserved_device_memory_map" [24] {
        /// [`RDM_ALL`].
        pub flags: u32,
        /// Room in the buffer; filled in with what is needed.
        pub nr_entries: u32,
        pub buffer: GuestHandle<ReservedDeviceMemory>,
        pub dev: ReservedDeviceMemoryMapDev,
        pub _pad: [u8; 4],
    }
    /// Argument of `acquire_resource`.
    pub struct MemAcquireResource = "xen_mem_acquire_resource" [32] {
        pub domid: DomId,
        pub r#type: MemResource,
        /// Which resource of the type.
        pub id: u32,
        /// Frames to map; zero asks for the size.
        pub nr_frames: u32,
        pub pad: u32,
        /// First frame of the resource.
        pub frame: u64,
        /// Guest frames to map at (HVM), or where the machine frames go (PV).
        pub frame_list: GuestHandle<XenPfn>,
    }
    /// A range of a virtual NUMA node.
    pub struct Vmemrange = "xen_vmemrange" [24] {
        /// Address in bytes.
        pub start: u64,
        /// Address behind.
        pub end: u64,
        pub flags: u32,
        /// Virtual node.
        pub nid: u32,
    }
    /// Argument of `get_vnumainfo`.
    pub struct VnumaTopologyInfo = "xen_vnuma_topology_info" [40] {
        pub domid: DomId,
        pub pad: u16,
        /// Room; filled in with what is there.
        pub nr_vnodes: u32,
        /// Room; filled in with what is there.
        pub nr_vcpus: u32,
        /// Room; filled in with what is there.
        pub nr_vmemranges: u32,
        pub vdistance: VnumaVdistance,
        pub vcpu_to_vnode: VnumaVcpuToVnode,
        pub vmemrange: VnumaVmemrange,
    }
}

layout_entries! {
    types: [STRUCTS, UNIONS],
    constants: [
        MemoryOp::CODES, MemFlags::CODES, MapSpace::CODES, MemPagingOp::CODES, MemAccessOp::CODES, MemAccess::CODES, MemSharingOp::CODES,
        MemForkFlags::CODES, MemResource::CODES, CONSTANTS,
    ],
}
