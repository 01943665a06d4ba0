//! Why a kernel cannot become dom0: one enum, each variant one clear line on the console.

use core::fmt;

use super::bzimage::Compression;

/// Why the kernel module was refused. `Display` is the line the user reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KernelError {
    /// The file ends before the named part does.
    Truncated(&'static str),
    /// Neither a bzImage nor ELF nor a known compression.
    NotAKernel,
    /// A bzImage whose boot protocol has no payload fields (before 2.08).
    BzImageTooOld(u16),
    /// A zImage: loads below 1 MiB, has no ELF payload.
    NotLoadedHigh,
    /// The bzImage's payload is neither ELF nor a known compression; its first bytes.
    UnknownPayload([u8; 4]),
    /// A known compression that this hypervisor does not decode.
    UnsupportedCompression(Compression),
    /// Compressed data that does not decode; what was wrong.
    Corrupt(Compression, &'static str),
    /// Compressed data using an option that is not supported; which.
    CompressionOption(Compression, &'static str),
    /// The decompressed kernel does not fit the buffer it was promised to fit.
    OutputTooLarge(Compression),
    /// The decompressed kernel has a length other than the one its header states.
    WrongLength {
        /// Bytes that the header promised.
        expected: usize,
        /// Bytes that came out.
        found: usize,
    },
    /// Compressed data nests: decompressing gave compressed data again.
    StillCompressed,
    /// Not an ELF file.
    NotElf,
    /// ELF, but 32-bit: 32-bit PV guests are not supported.
    Elf32,
    /// ELF, but big-endian.
    BigEndian,
    /// ELF for another architecture: its `e_machine`.
    WrongMachine(u16),
    /// ELF, but neither executable nor shared object: its `e_type`.
    WrongType(u16),
    /// An ELF table or segment lies outside the file; which.
    BadElf(&'static str),
    /// No segment to load.
    NothingToLoad,
    /// Neither Xen notes nor a `__xen_guest` section.
    NoXenNotes,
    /// A note that does not hold what its type promises; the note's name.
    BadNote(&'static str),
    /// `XEN_VERSION` missing or not "xen-3.0".
    WrongXenVersion,
    /// Neither LOADER=generic nor GUEST_OS=linux.
    WrongLoader,
    /// SUPPORTED_FEATURES without `dom0`.
    NotADom0Kernel,
    /// A feature is required that no 64-bit PV guest gets; its name.
    RequiredFeature(&'static str),
    /// The FEATURES note requires a feature that does not exist.
    UnknownRequiredFeature,
    /// PADDR_OFFSET given without VIRT_BASE.
    PaddrOffsetWithoutVirtBase,
    /// VIRT_BASE, ENTRY or HYPERCALL_PAGE outside the image; which.
    OutOfImage(&'static str),
    /// VIRT_BASE or INIT_P2M not page aligned or not canonical; which.
    BadAddress(&'static str),
    /// INIT_P2M points into the image or into the initial mapping.
    P2mOverlapsMapping,
    /// An address range overlaps the hypervisor's; which.
    OverlapsHypervisor(&'static str),
    /// The kernel, its initrd and tables need more memory than dom0 gets.
    TooLittleMemory {
        /// Pages needed.
        needed: u64,
        /// Pages given.
        given: u64,
    },
    /// The command line does not fit `start_info`; its length.
    CommandLineTooLong(usize),
}

impl fmt::Display for KernelError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Truncated(what) => write!(f, "dom0 kernel is truncated: {what} ends early"),
            Self::NotAKernel => {
                f.write_str("dom0 kernel is not a kernel: neither a bzImage nor (compressed) ELF")
            }
            Self::BzImageTooOld(version) => write!(
                f,
                "dom0 kernel is a bzImage of boot protocol {}.{:02}, but 2.08 or later is needed",
                version >> 8,
                version & 0xff
            ),
            Self::NotLoadedHigh => f.write_str("dom0 kernel is a zImage, not a bzImage"),
            Self::UnknownPayload([a, b, c, d]) => write!(
                f,
                "dom0 kernel's bzImage payload is in an unknown format (starts {a:02x} {b:02x} {c:02x} {d:02x})"
            ),
            Self::UnsupportedCompression(kind) => {
                write!(
                    f,
                    "dom0 kernel is compressed with {kind}, which is not supported"
                )
            }
            Self::Corrupt(kind, why) => write!(f, "dom0 kernel's {kind} data is corrupt: {why}"),
            Self::CompressionOption(kind, what) => {
                write!(
                    f,
                    "dom0 kernel's {kind} data uses {what}, which is not supported"
                )
            }
            Self::OutputTooLarge(kind) => {
                write!(
                    f,
                    "dom0 kernel's {kind} data is corrupt: expands past its stated size"
                )
            }
            Self::WrongLength { expected, found } => write!(
                f,
                "dom0 kernel is corrupt: decompressed to {found} bytes instead of {expected}"
            ),
            Self::StillCompressed => f.write_str("dom0 kernel is compressed twice"),
            Self::NotElf => f.write_str("dom0 kernel is not an ELF file"),
            Self::Elf32 => {
                f.write_str("dom0 kernel is 32-bit ELF, but only 64-bit PV is supported")
            }
            Self::BigEndian => f.write_str("dom0 kernel is big-endian ELF, not for x86-64"),
            Self::WrongMachine(machine) => write!(
                f,
                "dom0 kernel is for another architecture (ELF machine {machine}, x86-64 is 62)"
            ),
            Self::WrongType(kind) => {
                write!(f, "dom0 kernel is ELF of type {kind}, not an executable")
            }
            Self::BadElf(what) => write!(f, "dom0 kernel's ELF is malformed: {what}"),
            Self::NothingToLoad => f.write_str("dom0 kernel's ELF has no segment to load"),
            Self::NoXenNotes => {
                f.write_str("dom0 kernel has no Xen ELF notes: it is not built to run under Xen")
            }
            Self::BadNote(name) => write!(f, "dom0 kernel's Xen note {name} is malformed"),
            Self::WrongXenVersion => {
                f.write_str("dom0 kernel is not built for Xen v3.0 (note XEN_VERSION)")
            }
            Self::WrongLoader => f.write_str(
                "dom0 kernel is neither for the generic loader nor Linux (notes LOADER, GUEST_OS)",
            ),
            Self::NotADom0Kernel => f.write_str("Kernel does not support Dom0 operation"),
            Self::RequiredFeature("supervisor_mode_kernel") => {
                f.write_str("Domain 0 requires supervisor-mode execution")
            }
            Self::RequiredFeature(name) => {
                write!(
                    f,
                    "dom0 kernel requires the feature {name}, which is not available"
                )
            }
            Self::UnknownRequiredFeature => {
                f.write_str("dom0 kernel requires a feature that is not known (note FEATURES)")
            }
            Self::PaddrOffsetWithoutVirtBase => {
                f.write_str("dom0 kernel has the note PADDR_OFFSET, but not VIRT_BASE")
            }
            Self::OutOfImage(what) => {
                write!(f, "dom0 kernel's {what} is out of the bounds of its image")
            }
            Self::BadAddress(what) => {
                write!(
                    f,
                    "dom0 kernel's {what} is not page aligned or not canonical"
                )
            }
            Self::P2mOverlapsMapping => {
                f.write_str("dom0 kernel's P2M table (note INIT_P2M) overlaps its initial mapping")
            }
            Self::OverlapsHypervisor(what) => {
                write!(
                    f,
                    "dom0 kernel's {what} overlaps the hypervisor's address range"
                )
            }
            Self::TooLittleMemory { needed, given } => write!(
                f,
                "Domain 0 allocation is too small for kernel image: {} KiB needed, {} KiB given",
                needed.saturating_mul(4),
                given.saturating_mul(4)
            ),
            Self::CommandLineTooLong(len) => {
                write!(
                    f,
                    "dom0 command line is too long: {len} bytes, 1023 are possible"
                )
            }
        }
    }
}

impl core::error::Error for KernelError {}
