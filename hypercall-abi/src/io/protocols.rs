//! `io/protocols.h`: layouts of ring entries, as front ends write them to their `protocol` node.

/// Layout of 32-bit x86.
#[doc(alias = "XEN_IO_PROTO_ABI_X86_32")]
pub const ABI_X86_32: &str = "x86_32-abi";

/// Layout of 64-bit x86, that of this crate.
#[doc(alias = "XEN_IO_PROTO_ABI_X86_64")]
pub const ABI_X86_64: &str = "x86_64-abi";

/// Layout of ARM.
#[doc(alias = "XEN_IO_PROTO_ABI_ARM")]
pub const ABI_ARM: &str = "arm-abi";
