//! `grant_table.h`: sharing pages between domains (`__HYPERVISOR_grant_table_op`), table versions 1 and 2.

use crate::guest_handle::GuestHandle;
use crate::xen::{DomId, XenPfn};

/// `grant_ref_t`: index into a domain's grant table.
pub type GrantRef = u32;

/// `grant_handle_t`: what the hypervisor calls a mapping.
pub type GrantHandle = u32;

/// `grant_status_t`: a version 2 grant's word in the status array, [`GrantFlags::READING`] and [`GrantFlags::WRITING`].
pub type GrantStatusWord = u16;

codes! {
    /// Kind of a grant: the two low bits of an entry's flags.
    pub struct GrantType(u16);
    prefix "GTF_" {
        /// No privileges granted.
        invalid = 0,
        /// The domain may map and copy the frame.
        permit_access = 1,
        /// The domain may transfer a frame to this one.
        accept_transfer = 2,
        /// The domain may use another domain's grant (version 2).
        transitive = 3,
    }
}

flags! {
    /// Flags of a grant entry; the bits of [`GrantFlags::TYPE_MASK`] hold the [`GrantType`].
    pub struct GrantFlags(u16);
    prefix "GTF_" {
        /// Mask of the kind.
        type_mask = 3,
        /// Mappings may not be writable. Set by the granting domain.
        readonly = 1 << 2,
        /// Mapped for reading. Set by the hypervisor.
        reading = 1 << 3,
        /// Mapped for writing. Set by the hypervisor.
        writing = 1 << 4,
        /// Cache attribute of mappings.
        PWT = 1 << 5,
        /// Cache attribute of mappings.
        PCD = 1 << 6,
        /// Cache attribute of mappings.
        PAT = 1 << 7,
        /// Only part of the frame may be copied (version 2).
        sub_page = 1 << 8,
        /// With `accept_transfer`: a transfer has begun.
        transfer_committed = 1 << 2,
        /// With `accept_transfer`: the frame number has been written.
        transfer_completed = 1 << 3,
    }
}

codes! {
    /// Sub-operation of `grant_table_op`.
    pub struct GnttabOp(u32);
    prefix "GNTTABOP_" {
        /// Maps grants.
        map_grant_ref = 0,
        /// Unmaps them.
        unmap_grant_ref = 1,
        /// Sets the table's size and lists its frames.
        setup_table = 2,
        /// Prints the table on the hypervisor's console.
        dump_table = 3,
        /// Gives frames away.
        transfer = 4,
        /// Copies between frames.
        copy = 5,
        /// Reports the table's size.
        query_size = 6,
        /// Unmaps and replaces the mapping by that of another address.
        unmap_and_replace = 7,
        /// Chooses the table version.
        set_version = 8,
        /// Lists the frames of the status array (version 2).
        get_status_frames = 9,
        /// Reports the table version.
        get_version = 10,
        /// Exchanges two entries.
        swap_grant_ref = 11,
        /// Cleans or invalidates caches of a granted page.
        cache_flush = 12,
    }
}

codes! {
    /// Result of one element of a grant operation.
    pub struct GntStatus(i16);
    prefix "GNTST_" {
        /// Done.
        okay = 0,
        /// Undefined error.
        general_error = -1,
        /// Unrecognised domain.
        bad_domain = -2,
        /// Unrecognised or unsuitable grant reference.
        bad_gntref = -3,
        /// Unrecognised mapping.
        bad_handle = -4,
        /// Unsuitable virtual address.
        bad_virt_addr = -5,
        /// Unsuitable device address.
        bad_dev_addr = -6,
        /// No slot in the I/O MMU.
        no_device_space = -7,
        /// Not enough privilege.
        permission_denied = -8,
        /// The page is unsuitable.
        bad_page = -9,
        /// A copy crosses a page boundary.
        bad_copy_arg = -10,
        /// The frame's address is too large.
        address_too_big = -11,
        /// Not done; try again.
        eagain = -12,
        /// No space, for instance in the maptrack table.
        no_space = -13,
    }
}

flags! {
    /// `gnttab_map_grant_ref.flags`.
    pub struct GntmapFlags(u32);
    prefix "GNTMAP_" {
        /// Map into the I/O MMU.
        device_map = 1 << 0,
        /// Map into the processor's address space.
        host_map = 1 << 1,
        /// Read-only.
        readonly = 1 << 2,
        /// Accessible to user mode.
        application_map = 1 << 3,
        /// `host_addr` is the machine address of a page-table entry.
        contains_pte = 1 << 4,
        /// Bits for the guest's own use, copied to the page-table entry.
        guest_avail_mask = 0xffff_0000,
    }
}

flags! {
    /// `gnttab_copy.flags`.
    pub struct GntcopyFlags(u16);
    prefix "GNTCOPY_" {
        /// The source is a grant reference.
        source_gref = 1 << 0,
        /// The destination is a grant reference.
        dest_gref = 1 << 1,
    }
}

flags! {
    /// `gnttab_cache_flush.op`.
    pub struct GnttabCacheFlags(u32);
    prefix "GNTTAB_CACHE_" {
        /// Write back.
        CLEAN = 1 << 0,
        /// Invalidate.
        INVAL = 1 << 1,
        /// The address is a grant reference.
        SOURCE_GREF = 1 << 31,
    }
}

constants! {
    in CONSTANTS;
    prefix "" {
        /// Entries at the start of the table that the toolstack fills in.
        GNTTAB_NR_RESERVED_ENTRIES: u32 = 8,
        /// Entry of the console ring.
        GNTTAB_RESERVED_CONSOLE: GrantRef = 0,
        /// Entry of the xenstore ring.
        GNTTAB_RESERVED_XENSTORE: GrantRef = 1,
    }
    prefix "_GNTMAP_" {
        /// First bit of [`GntmapFlags::GUEST_AVAIL_MASK`].
        guest_avail0: u32 = 16,
    }
}

abi_unions! {
    in UNIONS;
    /// Entry of a version 2 table.
    pub union GrantEntryV2 = "grant_entry_v2" [u64; 2] {
        /// Kind and grantee, common to all views.
        hdr: GrantEntryHeader,
        full_page: GrantEntryV2FullPage,
        sub_page: GrantEntryV2SubPage,
        transitive: GrantEntryV2Transitive,
        __spacer: [u32; 4],
    }
    /// One end of a copy.
    pub union GnttabCopyPtrU = "gnttab_copy_ptr.u" [u64; 1] {
        /// A grant.
        r#ref: GrantRef,
        /// A frame of `domid`.
        gmfn: XenPfn,
    }
    /// What to flush.
    pub union GnttabCacheFlushA = "gnttab_cache_flush.a" [u64; 1] {
        dev_bus_addr: u64,
        r#ref: GrantRef,
    }
}

abi_structs! {
    in STRUCTS;
    /// Entry of a version 1 table.
    pub struct GrantEntryV1 = "grant_entry_v1" [8] {
        /// [`GrantFlags`].
        pub flags: u16,
        /// Grantee.
        pub domid: DomId,
        /// Frame granted, or transferred.
        pub frame: u32,
    }
    /// First word of a version 2 entry.
    pub struct GrantEntryHeader = "grant_entry_header" [4] {
        /// [`GrantFlags`].
        pub flags: u16,
        /// Grantee.
        pub domid: DomId,
    }
    /// A whole frame.
    pub struct GrantEntryV2FullPage = "grant_entry_v2.full_page" [16] {
        pub hdr: GrantEntryHeader,
        pub pad0: u32,
        pub frame: u64,
    }
    /// Part of a frame, for copies.
    pub struct GrantEntryV2SubPage = "grant_entry_v2.sub_page" [16] {
        pub hdr: GrantEntryHeader,
        /// Bytes.
        pub page_off: u16,
        /// Bytes.
        pub length: u16,
        pub frame: u64,
    }
    /// Another domain's grant.
    pub struct GrantEntryV2Transitive = "grant_entry_v2.transitive" [12] {
        pub hdr: GrantEntryHeader,
        pub trans_domid: DomId,
        pub pad0: u16,
        pub gref: GrantRef,
    }
    /// Element of `GNTTABOP_map_grant_ref`.
    pub struct GnttabMapGrantRef = "gnttab_map_grant_ref" [32] {
        /// Virtual address, or machine address of an entry.
        pub host_addr: u64,
        /// [`GntmapFlags`].
        pub flags: u32,
        pub r#ref: GrantRef,
        /// Granting domain.
        pub dom: DomId,
        /// Filled in.
        pub status: GntStatus,
        /// Filled in.
        pub handle: GrantHandle,
        /// Filled in: bus address, the machine address of the frame.
        pub dev_bus_addr: u64,
    }
    /// Element of `GNTTABOP_unmap_grant_ref`.
    pub struct GnttabUnmapGrantRef = "gnttab_unmap_grant_ref" [24] {
        /// Zero: leave the processor's mapping.
        pub host_addr: u64,
        /// Zero: leave the device's mapping.
        pub dev_bus_addr: u64,
        pub handle: GrantHandle,
        /// Filled in.
        pub status: GntStatus,
        pub _pad: [u8; 2],
    }
    /// Argument of `GNTTABOP_setup_table`.
    pub struct GnttabSetupTable = "gnttab_setup_table" [24] {
        pub dom: DomId,
        pub _pad0: [u8; 2],
        /// Wanted number of frames.
        pub nr_frames: u32,
        /// Filled in.
        pub status: GntStatus,
        pub _pad1: [u8; 6],
        /// Where the frame numbers go.
        pub frame_list: GuestHandle<XenPfn>,
    }
    /// Argument of `GNTTABOP_dump_table`.
    pub struct GnttabDumpTable = "gnttab_dump_table" [4] {
        pub dom: DomId,
        /// Filled in.
        pub status: GntStatus,
    }
    /// Element of `GNTTABOP_transfer`.
    pub struct GnttabTransfer = "gnttab_transfer" [24] {
        /// Frame given away.
        pub mfn: XenPfn,
        /// Receiver.
        pub domid: DomId,
        pub _pad0: [u8; 2],
        /// The receiver's `accept_transfer` grant.
        pub r#ref: GrantRef,
        /// Filled in.
        pub status: GntStatus,
        pub _pad1: [u8; 6],
    }
    /// One end of a copy.
    pub struct GnttabCopyPtr = "gnttab_copy_ptr" [16] {
        pub u: GnttabCopyPtrU,
        pub domid: DomId,
        /// Bytes from the start of the page.
        pub offset: u16,
        pub _pad: [u8; 4],
    }
    /// Element of `GNTTABOP_copy`.
    pub struct GnttabCopy = "gnttab_copy" [40] {
        pub source: GnttabCopyPtr,
        pub dest: GnttabCopyPtr,
        /// Bytes.
        pub len: u16,
        /// [`GntcopyFlags`].
        pub flags: u16,
        /// Filled in.
        pub status: GntStatus,
        pub _pad: [u8; 2],
    }
    /// Argument of `GNTTABOP_query_size`.
    pub struct GnttabQuerySize = "gnttab_query_size" [16] {
        pub dom: DomId,
        pub _pad0: [u8; 2],
        /// Filled in.
        pub nr_frames: u32,
        /// Filled in.
        pub max_nr_frames: u32,
        /// Filled in.
        pub status: GntStatus,
        pub _pad1: [u8; 2],
    }
    /// Element of `GNTTABOP_unmap_and_replace`.
    pub struct GnttabUnmapAndReplace = "gnttab_unmap_and_replace" [24] {
        pub host_addr: u64,
        /// The address whose mapping moves to `host_addr`.
        pub new_addr: u64,
        pub handle: GrantHandle,
        /// Filled in.
        pub status: GntStatus,
        pub _pad: [u8; 2],
    }
    /// Argument of `GNTTABOP_set_version`.
    pub struct GnttabSetVersion = "gnttab_set_version" [4] {
        /// Wanted; filled in with what is in force.
        pub version: u32,
    }
    /// Argument of `GNTTABOP_get_status_frames`.
    pub struct GnttabGetStatusFrames = "gnttab_get_status_frames" [16] {
        pub nr_frames: u32,
        pub dom: DomId,
        /// Filled in.
        pub status: GntStatus,
        /// Where the frame numbers go.
        pub frame_list: GuestHandle<u64>,
    }
    /// Argument of `GNTTABOP_get_version`.
    pub struct GnttabGetVersion = "gnttab_get_version" [8] {
        pub dom: DomId,
        pub pad: u16,
        /// Filled in.
        pub version: u32,
    }
    /// Element of `GNTTABOP_swap_grant_ref`.
    pub struct GnttabSwapGrantRef = "gnttab_swap_grant_ref" [12] {
        pub ref_a: GrantRef,
        pub ref_b: GrantRef,
        /// Filled in.
        pub status: GntStatus,
        pub _pad: [u8; 2],
    }
    /// Element of `GNTTABOP_cache_flush`.
    pub struct GnttabCacheFlush = "gnttab_cache_flush" [16] {
        pub a: GnttabCacheFlushA,
        /// Bytes from the start of the page.
        pub offset: u16,
        /// Bytes.
        pub length: u16,
        /// [`GnttabCacheFlags`].
        pub op: u32,
    }
}

layout_entries! {
    types: [STRUCTS, UNIONS],
    constants: [
        GrantType::CODES, GrantFlags::CODES, GnttabOp::CODES, GntStatus::CODES, GntmapFlags::CODES, GntcopyFlags::CODES,
        GnttabCacheFlags::CODES, CONSTANTS,
    ],
}
