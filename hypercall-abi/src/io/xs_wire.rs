//! `io/xs_wire.h`: the protocol of xenstore.

use crate::errno::Errno;
use crate::io::ring::RingIdx;

codes! {
    /// Type of a message.
    pub struct XsdSockmsgType(u32);
    prefix "XS_" {
        CONTROL = 0,
        DIRECTORY = 1,
        READ = 2,
        GET_PERMS = 3,
        WATCH = 4,
        UNWATCH = 5,
        TRANSACTION_START = 6,
        TRANSACTION_END = 7,
        INTRODUCE = 8,
        RELEASE = 9,
        GET_DOMAIN_PATH = 10,
        WRITE = 11,
        MKDIR = 12,
        RM = 13,
        SET_PERMS = 14,
        WATCH_EVENT = 15,
        ERROR = 16,
        IS_DOMAIN_INTRODUCED = 17,
        RESUME = 18,
        SET_TARGET = 19,
        RESET_WATCHES = 21,
        DIRECTORY_PART = 22,
        TYPE_COUNT = 23,
        INVALID = 0xffff,
        DEBUG = 0,
    }
}

codes! {
    /// Strings of a watch event, in order.
    pub struct XsWatchType(u32);
    prefix "XS_WATCH_" {
        /// What changed.
        PATH = 0,
        /// The watcher's.
        TOKEN = 1,
    }
}

flags! {
    /// `xenstore_domain_interface.server_features`.
    pub struct XenstoreServerFeatures(u32);
    prefix "XENSTORE_SERVER_FEATURE_" {
        /// The ring can be reset.
        RECONNECTION = 1 << 0,
        /// Errors are reported.
        ERROR = 1 << 1,
    }
}

codes! {
    /// `xenstore_domain_interface.connection`.
    pub struct XenstoreConnection(u32);
    prefix "XENSTORE_" {
        /// In use.
        CONNECTED = 0,
        /// The guest asks for a reset.
        RECONNECT = 1,
    }
}

codes! {
    /// `xenstore_domain_interface.error`.
    pub struct XenstoreError(u32);
    prefix "XENSTORE_ERROR_" {
        /// None.
        NONE = 0,
        /// Communication.
        COMM = 1,
        /// Invalid index.
        RINGIDX = 2,
        /// Protocol.
        PROTO = 3,
    }
}

constants! {
    in CONSTANTS;
    prefix "XENSTORE_" {
        /// Bytes of each ring.
        RING_SIZE: usize = 0x400,
        /// Most bytes behind a header.
        PAYLOAD_MAX: usize = 0x1000,
        /// Most bytes of an absolute path.
        ABS_PATH_MAX: usize = 0xc00,
        /// Most bytes of a relative path.
        REL_PATH_MAX: usize = 0x800,
    }
}

/// Errors as an `XS_ERROR` message spells them (`xsd_errors`).
pub const XSD_ERRORS: &[(Errno, &str)] = &[
    (Errno::EINVAL, "EINVAL"),
    (Errno::EACCES, "EACCES"),
    (Errno::EEXIST, "EEXIST"),
    (Errno::EISDIR, "EISDIR"),
    (Errno::ENOENT, "ENOENT"),
    (Errno::ENOMEM, "ENOMEM"),
    (Errno::ENOSPC, "ENOSPC"),
    (Errno::EIO, "EIO"),
    (Errno::ENOTEMPTY, "ENOTEMPTY"),
    (Errno::ENOSYS, "ENOSYS"),
    (Errno::EROFS, "EROFS"),
    (Errno::EBUSY, "EBUSY"),
    (Errno::EAGAIN, "EAGAIN"),
    (Errno::EISCONN, "EISCONN"),
    (Errno::E2BIG, "E2BIG"),
    (Errno::EPERM, "EPERM"),
];

/// First byte string of an old-style write: what must not or must exist.
pub const XS_WRITE_NONE: &str = "NONE";
/// See [`XS_WRITE_NONE`].
pub const XS_WRITE_CREATE: &str = "CREATE";
/// See [`XS_WRITE_NONE`].
pub const XS_WRITE_CREATE_EXCL: &str = "CREATE|EXCL";

abi_structs! {
    in STRUCTS;
    /// Header of a message.
    pub struct XsdSockmsg = "xsd_sockmsg" [16] {
        pub r#type: XsdSockmsgType,
        /// Returned in the answer.
        pub req_id: u32,
        /// Transaction, or zero.
        pub tx_id: u32,
        /// Bytes that follow.
        pub len: u32,
    }
    /// The page of a domain; indices run freely.
    pub struct XenstoreDomainInterface = "xenstore_domain_interface" [2076] {
        /// Requests of the guest.
        pub req: [u8; 1024],
        /// Answers and watch events.
        pub rsp: [u8; 1024],
        pub req_cons: RingIdx,
        pub req_prod: RingIdx,
        pub rsp_cons: RingIdx,
        pub rsp_prod: RingIdx,
        /// [`XenstoreServerFeatures`].
        pub server_features: u32,
        /// [`XenstoreConnection`].
        pub connection: u32,
        /// [`XenstoreError`].
        pub error: u32,
    }
}

layout_entries! { types: [STRUCTS], constants: [XsdSockmsgType::CODES, XsWatchType::CODES, XenstoreServerFeatures::CODES, XenstoreConnection::CODES, XenstoreError::CODES, CONSTANTS] }
