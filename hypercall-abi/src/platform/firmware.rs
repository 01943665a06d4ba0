//! `platform.h`: what the firmware told the hypervisor, and its runtime services.

use crate::guest_handle::GuestHandle;

codes! {
    /// `xenpf_efi_runtime_call.function`.
    pub struct EfiFunction(u32);
    prefix "XEN_EFI_" {
        get_time = 1,
        set_time = 2,
        get_wakeup_time = 3,
        set_wakeup_time = 4,
        get_next_high_monotonic_count = 5,
        get_variable = 6,
        set_variable = 7,
        get_next_variable_name = 8,
        query_variable_info = 9,
        query_capsule_capabilities = 10,
        update_capsule = 11,
    }
}

codes! {
    /// `xenpf_firmware_info.type`.
    pub struct FirmwareInfoType(u32);
    prefix "XEN_FW_" {
        /// EDD data of a disk.
        DISK_INFO = 1,
        /// MBR signature of a disk.
        DISK_MBR_SIGNATURE = 2,
        /// EDID of the screen.
        VBEDDC_INFO = 3,
        /// About EFI; `index` is a [`FirmwareEfiInfo`].
        EFI_INFO = 4,
        /// Shift flags of the keyboard.
        KBD_SHIFT_FLAGS = 5,
    }
}

codes! {
    /// `xenpf_firmware_info.index` of [`FirmwareInfoType::EFI_INFO`].
    pub struct FirmwareEfiInfo(u32);
    prefix "XEN_FW_" {
        /// EFI version.
        EFI_VERSION = 0,
        /// Configuration table.
        EFI_CONFIG_TABLE = 1,
        /// Vendor.
        EFI_VENDOR = 2,
        /// Memory map entry.
        EFI_MEM_INFO = 3,
        /// Version of the runtime services.
        EFI_RT_VERSION = 4,
        /// PCI option ROM.
        EFI_PCI_ROM = 5,
        /// Apple device properties.
        EFI_APPLE_PROPERTIES = 6,
    }
}

constants! {
    in CONSTANTS;
    prefix "XEN_" {
        /// `misc` of `get_time`: setting the time clears the part below a second.
        EFI_GET_TIME_SET_CLEARS_NS: u32 = 1,
        /// `misc` of `get_wakeup_time`.
        EFI_GET_WAKEUP_TIME_ENABLED: u32 = 1,
        /// `misc` of `get_wakeup_time`.
        EFI_GET_WAKEUP_TIME_PENDING: u32 = 2,
        /// `misc` of `set_wakeup_time`.
        EFI_SET_WAKEUP_TIME_ENABLE: u32 = 1,
        /// `misc` of `set_wakeup_time`.
        EFI_SET_WAKEUP_TIME_ENABLE_ONLY: u32 = 2,
        /// `misc` of the variable services.
        EFI_VARIABLE_NON_VOLATILE: u32 = 1,
        /// `misc` of the variable services.
        EFI_VARIABLE_BOOTSERVICE_ACCESS: u32 = 2,
        /// `misc` of the variable services.
        EFI_VARIABLE_RUNTIME_ACCESS: u32 = 4,
        /// `misc` of `query_variable_info`: as it was at boot.
        EFI_VARINFO_BOOT_SNAPSHOT: u32 = 1,
    }
}

abi_unions! {
    in UNIONS;
    /// Argument by [`EfiFunction`].
    pub union EfiRuntimeCallU = "xenpf_efi_runtime_call.u" [u64; 5] {
        get_time: EfiGetTime,
        set_time: EfiTime,
        get_wakeup_time: EfiTime,
        set_wakeup_time: EfiTime,
        get_variable: EfiVariable,
        set_variable: EfiVariable,
        get_next_variable_name: EfiNextVariableName,
        query_variable_info: EfiQueryVariableInfo,
        query_capsule_capabilities: EfiQueryCapsuleCapabilities,
        update_capsule: EfiUpdateCapsule,
    }
    /// About EFI, by [`FirmwareEfiInfo`].
    pub union EfiInfo = "xenpf_efi_info" [u64; 4] {
        version: u32,
        cfg: EfiInfoCfg,
        vendor: EfiInfoVendor,
        mem: EfiInfoMem,
        pci_rom: EfiInfoPciRom,
        apple_properties: EfiInfoAppleProperties,
    }
    /// Answer by [`FirmwareInfoType`].
    pub union FirmwareInfoU = "xenpf_firmware_info.u" [u64; 4] {
        disk_info: FirmwareDiskInfo,
        disk_mbr_signature: FirmwareDiskMbrSignature,
        vbeddc_info: FirmwareVbeddcInfo,
        efi_info: EfiInfo,
        kbd_shift_flags: u8,
    }
}

abi_structs! {
    in STRUCTS;
    /// `EFI_TIME`.
    pub struct EfiTime = "xenpf_efi_time" [16] {
        pub year: u16,
        pub month: u8,
        pub day: u8,
        pub hour: u8,
        pub min: u8,
        pub sec: u8,
        pub _pad0: [u8; 1],
        pub ns: u32,
        /// Minutes from UTC.
        pub tz: i16,
        pub daylight: u8,
        pub _pad1: [u8; 1],
    }
    /// `EFI_GUID`.
    pub struct EfiGuid = "xenpf_efi_guid" [16] {
        pub data1: u32,
        pub data2: u16,
        pub data3: u16,
        pub data4: [u8; 8],
    }
    /// Result of `get_time`.
    pub struct EfiGetTime = "xenpf_efi_runtime_call.u.get_time" [24] {
        pub time: EfiTime,
        pub resolution: u32,
        pub accuracy: u32,
    }
    /// Argument of `get_variable` and `set_variable`.
    pub struct EfiVariable = "xenpf_efi_runtime_call.u.get_variable" [40] {
        /// UCS-2, NUL-terminated.
        pub name: GuestHandle<u16>,
        /// Bytes of `data`.
        pub size: u64,
        pub data: GuestHandle<u8>,
        pub vendor_guid: EfiGuid,
    }
    /// Argument of `get_next_variable_name`.
    pub struct EfiNextVariableName = "xenpf_efi_runtime_call.u.get_next_variable_name" [32] {
        /// Bytes of `name`.
        pub size: u64,
        pub name: GuestHandle<u16>,
        pub vendor_guid: EfiGuid,
    }
    /// Argument of `query_variable_info`; sizes in bytes.
    pub struct EfiQueryVariableInfo = "xenpf_efi_runtime_call.u.query_variable_info" [32] {
        pub attr: u32,
        pub _pad: [u8; 4],
        pub max_store_size: u64,
        pub remain_store_size: u64,
        pub max_size: u64,
    }
    /// Argument of `query_capsule_capabilities`.
    pub struct EfiQueryCapsuleCapabilities = "xenpf_efi_runtime_call.u.query_capsule_capabilities" [32] {
        pub capsule_header_array: GuestHandle<u8>,
        pub capsule_count: u64,
        pub max_capsule_size: u64,
        pub reset_type: u32,
        pub _pad: [u8; 4],
    }
    /// Argument of `update_capsule`.
    pub struct EfiUpdateCapsule = "xenpf_efi_runtime_call.u.update_capsule" [24] {
        pub capsule_header_array: GuestHandle<u8>,
        pub capsule_count: u64,
        /// Machine address.
        pub sg_list: u64,
    }
    /// Argument of `efi_runtime_call`.
    pub struct EfiRuntimeCall = "xenpf_efi_runtime_call" [56] {
        pub function: EfiFunction,
        /// By function.
        pub misc: u32,
        /// Filled in: `EFI_STATUS`.
        pub status: u64,
        pub u: EfiRuntimeCallU,
    }
    /// EDD data of a disk.
    pub struct FirmwareDiskInfo = "xenpf_firmware_info.u.disk_info" [16] {
        pub device: u8,
        pub version: u8,
        pub interface_support: u16,
        pub legacy_max_cylinder: u16,
        pub legacy_max_head: u8,
        pub legacy_sectors_per_track: u8,
        /// The first word holds the size of the buffer.
        pub edd_params: GuestHandle<u8>,
    }
    /// MBR signature of a disk.
    pub struct FirmwareDiskMbrSignature = "xenpf_firmware_info.u.disk_mbr_signature" [8] {
        pub device: u8,
        pub _pad: [u8; 3],
        pub mbr_signature: u32,
    }
    /// EDID of the screen.
    pub struct FirmwareVbeddcInfo = "xenpf_firmware_info.u.vbeddc_info" [16] {
        pub capabilities: u8,
        /// Seconds for one block.
        pub edid_transfer_time: u8,
        pub _pad: [u8; 6],
        /// 128 bytes.
        pub edid: GuestHandle<u8>,
    }
    /// Configuration table.
    pub struct EfiInfoCfg = "xenpf_efi_info.cfg" [16] {
        /// Physical.
        pub addr: u64,
        pub nent: u32,
        pub _pad: [u8; 4],
    }
    /// Vendor.
    pub struct EfiInfoVendor = "xenpf_efi_info.vendor" [16] {
        pub revision: u32,
        /// Bytes.
        pub bufsz: u32,
        /// UCS-2.
        pub name: GuestHandle<u16>,
    }
    /// Memory map entry.
    pub struct EfiInfoMem = "xenpf_efi_info.mem" [32] {
        /// Physical.
        pub addr: u64,
        /// Bytes.
        pub size: u64,
        pub attr: u64,
        pub r#type: u32,
        pub _pad: [u8; 4],
    }
    /// PCI option ROM.
    pub struct EfiInfoPciRom = "xenpf_efi_info.pci_rom" [24] {
        pub segment: u16,
        pub bus: u8,
        pub devfn: u8,
        pub vendor: u16,
        pub devid: u16,
        /// Physical.
        pub address: u64,
        /// Bytes.
        pub size: u64,
    }
    /// Apple device properties.
    pub struct EfiInfoAppleProperties = "xenpf_efi_info.apple_properties" [16] {
        /// Physical.
        pub address: u64,
        /// Bytes.
        pub size: u64,
    }
    /// Argument of `firmware_info`.
    pub struct FirmwareInfo = "xenpf_firmware_info" [40] {
        pub r#type: FirmwareInfoType,
        /// Which of several.
        pub index: u32,
        /// Filled in.
        pub u: FirmwareInfoU,
    }
}

layout_entries! { types: [STRUCTS, UNIONS], constants: [EfiFunction::CODES, FirmwareInfoType::CODES, FirmwareEfiInfo::CODES, CONSTANTS] }
