//! `io/blkif.h`: the block device protocol.

use crate::grant_table::GrantRef;
use crate::io::ring::RingIdx;

codes! {
    /// Operation.
    pub struct BlkifOp(u8);
    prefix "BLKIF_OP_" {
        /// Read.
        READ = 0,
        /// Write.
        WRITE = 1,
        /// Write after all before and before all after.
        WRITE_BARRIER = 2,
        /// Flush.
        FLUSH_DISKCACHE = 3,
        /// Not used.
        RESERVED_1 = 4,
        /// Discard.
        DISCARD = 5,
        /// With indirect segments.
        INDIRECT = 6,
    }
}

flags! {
    /// `blkif_request_discard.flag`.
    pub struct BlkifDiscard(u8);
    prefix "BLKIF_DISCARD_" {
        /// The data must be gone.
        SECURE = 1 << 0,
    }
}

codes! {
    /// Status.
    pub struct BlkifRsp(i16);
    prefix "BLKIF_RSP_" {
        /// Not supported.
        EOPNOTSUPP = -2,
        /// Failed.
        ERROR = -1,
        /// Done.
        OKAY = 0,
    }
}

flags! {
    /// The `info` node of the back end.
    pub struct Vdisk(u32);
    prefix "VDISK_" {
        /// CD-ROM.
        CDROM = 1 << 0,
        /// Removable.
        REMOVABLE = 1 << 1,
        /// Read-only.
        READONLY = 1 << 2,
    }
}

constants! {
    in CONSTANTS;
    prefix "BLKIF_" {
        /// Segments in a request.
        MAX_SEGMENTS_PER_REQUEST: usize = 11,
        /// Pages of indirect segments in a request.
        MAX_INDIRECT_PAGES_PER_REQUEST: usize = 8,
    }
}

abi_unions! {
    in UNIONS;
    /// A slot.
    pub union BlkifSringEntry = "blkif_sring_entry" [u64; 14] {
        req: BlkifRequest,
        rsp: BlkifResponse,
    }
    /// Private to a protocol.
    pub union BlkifSringPvt = "blkif_sring.pvt" [u8; 4] {
        netif: BlkifSringPvtNetif,
        tapif_user: BlkifSringPvtTapifUser,
        pvt_pad: [u8; 4],
    }
}

abi_structs! {
    in STRUCTS;
    /// A granted page, sectors of 512 bytes.
    pub struct BlkifRequestSegment = "blkif_request_segment" [8] {
        pub gref: GrantRef,
        pub first_sect: u8,
        /// Inclusive.
        pub last_sect: u8,
        pub _pad: [u8; 2],
    }
    /// A request.
    pub struct BlkifRequest = "blkif_request" [112] {
        /// [`BlkifOp`].
        pub operation: u8,
        pub nr_segments: u8,
        /// Of the device.
        pub handle: u16,
        pub _pad: [u8; 4],
        /// Returned in the response.
        pub id: u64,
        /// Of 512 bytes.
        pub sector_number: u64,
        pub seg: [BlkifRequestSegment; 11],
    }
    /// A discard.
    pub struct BlkifRequestDiscard = "blkif_request_discard" [32] {
        /// `DISCARD`.
        pub operation: u8,
        /// [`BlkifDiscard`].
        pub flag: u8,
        pub handle: u16,
        pub _pad: [u8; 4],
        pub id: u64,
        pub sector_number: u64,
        /// Of 512 bytes.
        pub nr_sectors: u64,
    }
    /// A request whose segments are in granted pages.
    pub struct BlkifRequestIndirect = "blkif_request_indirect" [64] {
        /// `INDIRECT`.
        pub operation: u8,
        /// [`BlkifOp`].
        pub indirect_op: u8,
        pub nr_segments: u16,
        pub _pad0: [u8; 4],
        pub id: u64,
        pub sector_number: u64,
        pub handle: u16,
        pub _pad1: [u8; 2],
        pub indirect_grefs: [GrantRef; 8],
        pub _pad2: [u8; 4],
    }
    /// A response.
    pub struct BlkifResponse = "blkif_response" [16] {
        pub id: u64,
        pub operation: u8,
        pub _pad0: [u8; 1],
        /// [`BlkifRsp`].
        pub status: i16,
        pub _pad1: [u8; 4],
    }
    /// Of a network device.
    pub struct BlkifSringPvtNetif = "blkif_sring.pvt.netif" [1] {
        pub smartpoll_active: u8,
    }
    /// Of a tap device.
    pub struct BlkifSringPvtTapifUser = "blkif_sring.pvt.tapif_user" [1] {
        pub msg: u8,
    }
    /// The ring; entries follow.
    pub struct BlkifSring = "blkif_sring" [176] {
        pub req_prod: RingIdx,
        /// Notify the back end when `req_prod` reaches it.
        pub req_event: RingIdx,
        pub rsp_prod: RingIdx,
        /// Notify the front end when `rsp_prod` reaches it.
        pub rsp_event: RingIdx,
        pub pvt: BlkifSringPvt,
        pub __pad: [u8; 44],
        pub ring: [BlkifSringEntry; 1],
    }
}

layout_entries! { types: [STRUCTS, UNIONS], constants: [BlkifOp::CODES, BlkifDiscard::CODES, BlkifRsp::CODES, Vdisk::CODES, CONSTANTS] }
