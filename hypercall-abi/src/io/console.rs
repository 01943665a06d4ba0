//! `io/console.h`: the console ring of a domain.

use crate::io::ring::RingIdx;

abi_structs! {
    in STRUCTS;
    /// The page. `in` is written by the console daemon, `out` by the guest; indices run freely.
    pub struct XenconsInterface = "xencons_interface" [3088] {
        pub r#in: [u8; 1024],
        pub out: [u8; 2048],
        /// Read by the guest.
        pub in_cons: RingIdx,
        /// Written by the daemon.
        pub in_prod: RingIdx,
        /// Read by the daemon.
        pub out_cons: RingIdx,
        /// Written by the guest.
        pub out_prod: RingIdx,
    }
}

layout_entries! { types: [STRUCTS], constants: [] }
