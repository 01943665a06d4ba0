//! `io/netif.h`: the network device protocol.

use crate::grant_table::GrantRef;
use crate::io::ring::RingIdx;

codes! {
    /// Control request.
    pub struct NetifCtrlType(u16);
    prefix "XEN_NETIF_CTRL_TYPE_" {
        INVALID = 0,
        GET_HASH_FLAGS = 1,
        SET_HASH_FLAGS = 2,
        SET_HASH_KEY = 3,
        GET_HASH_MAPPING_SIZE = 4,
        SET_HASH_MAPPING_SIZE = 5,
        SET_HASH_MAPPING = 6,
        SET_HASH_ALGORITHM = 7,
        GET_GREF_MAPPING_SIZE = 8,
        ADD_GREF_MAPPING = 9,
        DEL_GREF_MAPPING = 10,
    }
}

codes! {
    /// Answer to a control request.
    pub struct NetifCtrlStatus(u32);
    prefix "XEN_NETIF_CTRL_STATUS_" {
        SUCCESS = 0,
        NOT_SUPPORTED = 1,
        INVALID_PARAMETER = 2,
        BUFFER_OVERFLOW = 3,
    }
}

flags! {
    /// What is hashed.
    pub struct NetifHashType(u32);
    prefix "XEN_NETIF_CTRL_HASH_TYPE_" {
        IPV4 = 1 << 0,
        IPV4_TCP = 1 << 1,
        IPV6 = 1 << 2,
        IPV6_TCP = 1 << 3,
    }
}

codes! {
    /// How it is hashed.
    pub struct NetifHashAlgorithm(u32);
    prefix "XEN_NETIF_CTRL_HASH_ALGORITHM_" {
        NONE = 0,
        TOEPLITZ = 1,
    }
}

flags! {
    /// `xen_netif_gref.flags`.
    pub struct NetifCtrlGref(u16);
    prefix "XEN_NETIF_CTRLF_GREF_" {
        /// Read-only.
        readonly = 1 << 0,
    }
}

flags! {
    /// `netif_tx_request.flags`.
    pub struct NetTxFlags(u16);
    prefix "NETTXF_" {
        /// The checksum is to be filled in.
        csum_blank = 1 << 0,
        /// The checksum is known to be right.
        data_validated = 1 << 1,
        /// The packet goes on in the next slot.
        more_data = 1 << 2,
        /// An extra slot follows.
        extra_info = 1 << 3,
    }
}

flags! {
    /// `netif_rx_response.flags`.
    pub struct NetRxFlags(u16);
    prefix "NETRXF_" {
        /// The checksum is known to be right.
        data_validated = 1 << 0,
        /// The checksum is to be filled in.
        csum_blank = 1 << 1,
        /// The packet goes on in the next slot.
        more_data = 1 << 2,
        /// An extra slot follows.
        extra_info = 1 << 3,
        /// The slot is a prefix with the segment size.
        gso_prefix = 1 << 4,
    }
}

codes! {
    /// `netif_extra_info.type`.
    pub struct NetifExtraType(u8);
    prefix "XEN_NETIF_EXTRA_TYPE_" {
        /// None.
        NONE = 0,
        /// Segmentation.
        GSO = 1,
        /// Add a multicast filter.
        MCAST_ADD = 2,
        /// Remove a multicast filter.
        MCAST_DEL = 3,
        /// Hash.
        HASH = 4,
        /// Number of types.
        MAX = 5,
    }
}

flags! {
    /// `netif_extra_info.flags`.
    pub struct NetifExtraFlags(u8);
    prefix "XEN_NETIF_EXTRA_FLAG_" {
        /// Another extra slot follows.
        MORE = 1 << 0,
    }
}

codes! {
    /// Kind of segmentation.
    pub struct NetifGsoType(u8);
    prefix "XEN_NETIF_GSO_TYPE_" {
        NONE = 0,
        TCPV4 = 1,
        TCPV6 = 2,
    }
}

codes! {
    /// Status.
    pub struct NetifRsp(i16);
    prefix "NETIF_RSP_" {
        /// Dropped.
        DROPPED = -2,
        /// Failed.
        ERROR = -1,
        /// Done.
        OKAY = 0,
        /// For a slot that is no request.
        NULL = 1,
    }
}

constants! {
    in CONSTANTS;
    prefix "XEN_" {
        /// Slots of a packet that any back end takes.
        NETIF_NR_SLOTS_MIN: u32 = 18,
        /// Most bytes of a packet.
        NETIF_MAX_TX_SIZE: u32 = 0xffff,
    }
}

abi_unions! {
    in UNIONS;
    /// A slot of the control ring.
    pub union NetifCtrlSringEntry = "xen_netif_ctrl_sring_entry" [u32; 4] {
        req: NetifCtrlRequest,
        rsp: NetifCtrlResponse,
    }
    /// Private to a protocol.
    pub union NetifCtrlSringPvt = "xen_netif_ctrl_sring.pvt" [u8; 4] {
        netif: NetifCtrlSringPvtNetif,
        tapif_user: NetifCtrlSringPvtTapifUser,
        pvt_pad: [u8; 4],
    }
    /// By type.
    pub union NetifExtraInfoU = "netif_extra_info.u" [u16; 3] {
        gso: NetifExtraInfoGso,
        mcast: NetifExtraInfoMcast,
        hash: NetifExtraInfoHash,
        pad: [u16; 3],
    }
    /// A slot of the transmit ring.
    pub union NetifTxSringEntry = "netif_tx_sring_entry" [u32; 3] {
        req: NetifTxRequest,
        rsp: NetifTxResponse,
    }
    /// Private to a protocol.
    pub union NetifTxSringPvt = "netif_tx_sring.pvt" [u8; 4] {
        netif: NetifTxSringPvtNetif,
        tapif_user: NetifTxSringPvtTapifUser,
        pvt_pad: [u8; 4],
    }
    /// A slot of the receive ring.
    pub union NetifRxSringEntry = "netif_rx_sring_entry" [u32; 2] {
        req: NetifRxRequest,
        rsp: NetifRxResponse,
    }
    /// Private to a protocol.
    pub union NetifRxSringPvt = "netif_rx_sring.pvt" [u8; 4] {
        netif: NetifRxSringPvtNetif,
        tapif_user: NetifRxSringPvtTapifUser,
        pvt_pad: [u8; 4],
    }
}

abi_structs! {
    in STRUCTS;
    /// A control request.
    pub struct NetifCtrlRequest = "xen_netif_ctrl_request" [16] {
        pub id: u16,
        /// [`NetifCtrlType`].
        pub r#type: u16,
        pub data: [u32; 3],
    }
    /// Its answer.
    pub struct NetifCtrlResponse = "xen_netif_ctrl_response" [12] {
        pub id: u16,
        pub r#type: u16,
        /// [`NetifCtrlStatus`].
        pub status: u32,
        pub data: u32,
    }
    /// A grant to keep mapped.
    pub struct NetifGref = "xen_netif_gref" [8] {
        pub r#ref: GrantRef,
        /// [`NetifCtrlGref`].
        pub flags: u16,
        pub status: u16,
    }
    /// Of a network device.
    pub struct NetifCtrlSringPvtNetif = "xen_netif_ctrl_sring.pvt.netif" [1] {
        pub smartpoll_active: u8,
    }
    /// Of a tap device.
    pub struct NetifCtrlSringPvtTapifUser = "xen_netif_ctrl_sring.pvt.tapif_user" [1] {
        pub msg: u8,
    }
    /// The control ring; entries follow.
    pub struct NetifCtrlSring = "xen_netif_ctrl_sring" [80] {
        pub req_prod: RingIdx,
        /// Notify the back end when `req_prod` reaches it.
        pub req_event: RingIdx,
        pub rsp_prod: RingIdx,
        /// Notify the front end when `rsp_prod` reaches it.
        pub rsp_event: RingIdx,
        pub pvt: NetifCtrlSringPvt,
        pub __pad: [u8; 44],
        pub ring: [NetifCtrlSringEntry; 1],
    }
    /// A packet or part of it to transmit.
    pub struct NetifTxRequest = "netif_tx_request" [12] {
        pub gref: GrantRef,
        /// Bytes.
        pub offset: u16,
        /// [`NetTxFlags`].
        pub flags: u16,
        pub id: u16,
        /// Bytes; in the first slot of the whole packet.
        pub size: u16,
    }
    /// Segmentation.
    pub struct NetifExtraInfoGso = "netif_extra_info.u.gso" [6] {
        /// Bytes of a segment.
        pub size: u16,
        /// [`NetifGsoType`].
        pub r#type: u8,
        pub pad: u8,
        pub features: u16,
    }
    /// Multicast filter.
    pub struct NetifExtraInfoMcast = "netif_extra_info.u.mcast" [6] {
        pub addr: [u8; 6],
    }
    /// Hash of the packet.
    pub struct NetifExtraInfoHash = "netif_extra_info.u.hash" [6] {
        pub r#type: u8,
        pub algorithm: u8,
        pub value: [u8; 4],
    }
    /// A slot that says more of the packet before.
    pub struct NetifExtraInfo = "netif_extra_info" [8] {
        /// [`NetifExtraType`].
        pub r#type: u8,
        /// [`NetifExtraFlags`].
        pub flags: u8,
        pub u: NetifExtraInfoU,
    }
    /// Answer to a transmit request.
    pub struct NetifTxResponse = "netif_tx_response" [4] {
        pub id: u16,
        /// [`NetifRsp`].
        pub status: i16,
    }
    /// A page to receive into.
    pub struct NetifRxRequest = "netif_rx_request" [8] {
        pub id: u16,
        pub pad: u16,
        pub gref: GrantRef,
    }
    /// A packet received.
    pub struct NetifRxResponse = "netif_rx_response" [8] {
        pub id: u16,
        /// Bytes.
        pub offset: u16,
        /// [`NetRxFlags`].
        pub flags: u16,
        /// Bytes, or a negative [`NetifRsp`].
        pub status: i16,
    }
    /// Of a network device.
    pub struct NetifTxSringPvtNetif = "netif_tx_sring.pvt.netif" [1] {
        pub smartpoll_active: u8,
    }
    /// Of a tap device.
    pub struct NetifTxSringPvtTapifUser = "netif_tx_sring.pvt.tapif_user" [1] {
        pub msg: u8,
    }
    /// The transmit ring; entries follow.
    pub struct NetifTxSring = "netif_tx_sring" [76] {
        pub req_prod: RingIdx,
        /// Notify the back end when `req_prod` reaches it.
        pub req_event: RingIdx,
        pub rsp_prod: RingIdx,
        /// Notify the front end when `rsp_prod` reaches it.
        pub rsp_event: RingIdx,
        pub pvt: NetifTxSringPvt,
        pub __pad: [u8; 44],
        pub ring: [NetifTxSringEntry; 1],
    }
    /// Of a network device.
    pub struct NetifRxSringPvtNetif = "netif_rx_sring.pvt.netif" [1] {
        pub smartpoll_active: u8,
    }
    /// Of a tap device.
    pub struct NetifRxSringPvtTapifUser = "netif_rx_sring.pvt.tapif_user" [1] {
        pub msg: u8,
    }
    /// The receive ring; entries follow.
    pub struct NetifRxSring = "netif_rx_sring" [72] {
        pub req_prod: RingIdx,
        /// Notify the back end when `req_prod` reaches it.
        pub req_event: RingIdx,
        pub rsp_prod: RingIdx,
        /// Notify the front end when `rsp_prod` reaches it.
        pub rsp_event: RingIdx,
        pub pvt: NetifRxSringPvt,
        pub __pad: [u8; 44],
        pub ring: [NetifRxSringEntry; 1],
    }
}

layout_entries! { types: [STRUCTS, UNIONS], constants: [NetifCtrlType::CODES, NetifCtrlStatus::CODES, NetifHashType::CODES, NetifHashAlgorithm::CODES, NetifCtrlGref::CODES, NetTxFlags::CODES, NetRxFlags::CODES, NetifExtraType::CODES, NetifExtraFlags::CODES, NetifGsoType::CODES, NetifRsp::CODES, CONSTANTS] }
