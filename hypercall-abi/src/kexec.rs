//! `kexec.h`: crash and replacement kernels (`__HYPERVISOR_kexec_op`).

use crate::guest_handle::GuestHandle;

codes! {
    /// Sub-operation of `kexec_op`.
    pub struct KexecCmd(u32);
    prefix "KEXEC_CMD_" {
        /// Starts an image.
        kexec = 0,
        /// Loads an image, old form.
        kexec_load_v1 = 1,
        /// Unloads it, old form.
        kexec_unload_v1 = 2,
        /// Reports a range of memory.
        kexec_get_range = 3,
        /// Loads an image.
        kexec_load = 4,
        /// Unloads it.
        kexec_unload = 5,
        /// Whether one is loaded.
        kexec_status = 6,
    }
}

codes! {
    /// Kind of image.
    pub struct KexecType(u8);
    prefix "KEXEC_TYPE_" {
        /// For a reboot.
        DEFAULT = 0,
        /// For a crash.
        CRASH = 1,
    }
}

codes! {
    /// `xen_kexec_range.range`.
    pub struct KexecRangeKind(i32);
    prefix "KEXEC_RANGE_" {
        MA_CRASH = 0,
        MA_XEN = 1,
        MA_CPU = 2,
        MA_XENHEAP = 3,
        MA_BOOT_PARAM = 4,
        MA_EFI_MEMMAP = 5,
        MA_VMCOREINFO = 6,
    }
}

constants! {
    in CONSTANTS;
    prefix "KEXEC_" {
        /// Control pages of the old form.
        XEN_NO_PAGES: usize = 17,
    }
}

abi_unions! {
    in UNIONS;
    /// Where the caller has it.
    pub union KexecSegmentBuf = "xen_kexec_segment.buf" [u64; 1] {
        h: GuestHandle<u8>,
        _pad: u64,
    }
    /// The segments.
    pub union KexecLoadSegments = "xen_kexec_load.segments" [u64; 1] {
        h: GuestHandle<KexecSegment>,
        _pad: u64,
    }
}

abi_structs! {
    in STRUCTS;
    /// An image, old form.
    pub struct KexecImage = "xen_kexec_image" [152] {
        pub page_list: [u64; 17],
        pub indirection_page: u64,
        pub start_address: u64,
    }
    /// Argument of `kexec`.
    pub struct KexecExec = "xen_kexec_exec" [4] {
        pub r#type: i32,
    }
    /// Argument of `kexec_load_v1`.
    pub struct KexecLoadV1 = "xen_kexec_load_v1" [160] {
        pub r#type: i32,
        pub _pad: [u8; 4],
        pub image: KexecImage,
    }
    /// Argument of `kexec_get_range`.
    pub struct KexecRange = "xen_kexec_range" [24] {
        /// [`KexecRangeKind`].
        pub range: i32,
        /// Which processor.
        pub nr: i32,
        /// Bytes.
        pub size: u64,
        pub start: u64,
    }
    /// Part of an image; sizes in bytes.
    pub struct KexecSegment = "xen_kexec_segment" [32] {
        pub buf: KexecSegmentBuf,
        pub buf_size: u64,
        pub dest_maddr: u64,
        pub dest_size: u64,
    }
    /// Argument of `kexec_load`.
    pub struct KexecLoad = "xen_kexec_load" [24] {
        /// [`KexecType`].
        pub r#type: u8,
        pub _pad: u8,
        /// ELF machine.
        pub arch: u16,
        pub nr_segments: u32,
        pub segments: KexecLoadSegments,
        /// Entry point, machine address.
        pub entry_maddr: u64,
    }
    /// Argument of `kexec_unload`.
    pub struct KexecUnload = "xen_kexec_unload" [1] {
        /// [`KexecType`].
        pub r#type: u8,
    }
    /// Argument of `kexec_status`.
    pub struct KexecStatus = "xen_kexec_status" [1] {
        /// [`KexecType`].
        pub r#type: u8,
    }
}

layout_entries! { types: [STRUCTS, UNIONS], constants: [KexecCmd::CODES, KexecType::CODES, KexecRangeKind::CODES, CONSTANTS] }
