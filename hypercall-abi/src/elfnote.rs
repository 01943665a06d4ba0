//! `elfnote.h`: what a kernel's ELF notes of owner `Xen` tell the domain builder.

codes! {
    /// Type of a note.
    pub struct ElfNoteType(u32);
    prefix "XEN_ELFNOTE_" {
        /// Tells that notes, not the old `__xen_guest` section, describe the kernel.
        INFO = 0,
        /// Entry point, virtual.
        ENTRY = 1,
        /// Virtual address of the page for the hypercall entries.
        HYPERCALL_PAGE = 2,
        /// Virtual address that the kernel's first byte is mapped at.
        VIRT_BASE = 3,
        /// Offset of the physical addresses in the program headers.
        PADDR_OFFSET = 4,
        /// Interface version the kernel was built for, a string.
        XEN_VERSION = 5,
        /// Name of the kernel.
        GUEST_OS = 6,
        /// Version of the kernel.
        GUEST_VERSION = 7,
        /// Loader type, `generic`.
        LOADER = 8,
        /// PAE support, `yes`, `no` or `bimodal`.
        PAE_MODE = 9,
        /// Features needed (`!`) and supported, names separated by `|`.
        FEATURES = 10,
        /// Load the BSD symbol table, `yes`.
        BSD_SYMTAB = 11,
        /// Lowest address of the hypervisor's hole.
        HV_START_LOW = 12,
        /// Mask and value of a present page-table entry.
        L1_MFN_VALID = 13,
        /// Suspend may be cancelled.
        SUSPEND_CANCEL = 14,
        /// Virtual address at which the P2M list is to be mapped.
        INIT_P2M = 15,
        /// The kernel can take the module as frame numbers, not mapped.
        MOD_START_PFN = 16,
        /// Features supported, bit per [`Feature`](crate::features::Feature).
        SUPPORTED_FEATURES = 17,
        /// 32-bit entry point of PVH, physical.
        PHYS32_ENTRY = 18,
        /// Highest type.
        MAX = 18,
        /// Crash note: about the hypervisor.
        CRASH_INFO = 0x0100_0001,
        /// Crash note: registers of a processor.
        CRASH_REGS = 0x0100_0002,
        /// Dump note: nothing.
        DUMPCORE_NONE = 0x0200_0000,
        /// Dump note: header.
        DUMPCORE_HEADER = 0x0200_0001,
        /// Dump note: version of the hypervisor.
        DUMPCORE_XEN_VERSION = 0x0200_0002,
        /// Dump note: version of the format.
        DUMPCORE_FORMAT_VERSION = 0x0200_0003,
    }
}

layout_entries! { types: [], constants: [ElfNoteType::CODES] }
