//! `hypfs.h`: the hypervisor's filesystem (`__HYPERVISOR_hypfs_op`).

codes! {
    /// Sub-operation of `hypfs_op`.
    pub struct HypfsOp(u32);
    prefix "XEN_HYPFS_OP_" {
        /// Version of the interface.
        get_version = 0,
        /// Reads an entry.
        read = 1,
        /// Writes one.
        write_contents = 2,
    }
}

codes! {
    /// Type of an entry.
    pub struct HypfsType(u8);
    prefix "XEN_HYPFS_TYPE_" {
        /// Directory.
        DIR = 0,
        /// Bytes.
        BLOB = 1,
        /// Text.
        STRING = 2,
        /// Unsigned number.
        UINT = 3,
        /// Signed number.
        INT = 4,
        /// Boolean.
        BOOL = 5,
    }
}

codes! {
    /// Encoding of contents.
    pub struct HypfsEncoding(u8);
    prefix "XEN_HYPFS_ENC_" {
        /// As is.
        PLAIN = 0,
        /// gzip.
        GZIP = 1,
    }
}

constants! {
    in CONSTANTS;
    prefix "XEN_HYPFS_" {
        /// Version of the interface.
        VERSION: u32 = 1,
        /// Bytes of a path with its NUL.
        MAX_PATHLEN: u32 = 0x400,
    }
}

abi_structs! {
    in STRUCTS;
    /// An entry; lengths in bytes.
    pub struct HypfsDirentry = "xen_hypfs_direntry" [12] {
        /// [`HypfsType`].
        pub r#type: u8,
        /// [`HypfsEncoding`].
        pub encoding: u8,
        pub pad: u16,
        pub content_len: u32,
        /// Zero: read-only.
        pub max_write_len: u32,
    }
    /// An entry in a listing.
    pub struct HypfsDirlistentry = "xen_hypfs_dirlistentry" [16] {
        pub e: HypfsDirentry,
        /// Bytes to the next; zero: the last.
        pub off_next: u16,
        /// NUL-terminated, follows.
        pub name: [u8; 0],
        pub _pad: [u8; 2],
    }
}

layout_entries! { types: [STRUCTS], constants: [HypfsOp::CODES, HypfsType::CODES, HypfsEncoding::CODES, CONSTANTS] }
