//! `platform.h`: what only the control domain may ask of the machine (`__HYPERVISOR_platform_op`).

use crate::guest_handle::GuestHandle;
use crate::xen::XenPfn;

codes! {
    /// Sub-operation of `platform_op`.
    pub struct PlatformCmd(u32);
    prefix "XENPF_" {
        /// Sets the wall clock, 32-bit seconds.
        settime32 = 17,
        /// Adds a memory type range.
        add_memtype = 31,
        /// Removes one.
        del_memtype = 32,
        /// Reads one.
        read_memtype = 33,
        /// Loads microcode.
        microcode_update = 35,
        /// Tells of a quirk of the platform.
        platform_quirk = 39,
        /// Identifies a physical processor.
        get_cpu_version = 48,
        /// Calls an EFI runtime service.
        efi_runtime_call = 49,
        /// Asks what the firmware told the hypervisor.
        firmware_info = 50,
        /// Enters an ACPI sleep state.
        enter_acpi_sleep = 51,
        /// Tells of a frequency change.
        change_freq = 52,
        /// Idle time of processors.
        getidletime = 53,
        /// Hands over ACPI power management data.
        set_processor_pminfo = 54,
        /// State of a physical processor.
        get_cpuinfo = 55,
        /// Brings a processor up.
        cpu_online = 56,
        /// Takes it down.
        cpu_offline = 57,
        /// Adds a processor.
        cpu_hotadd = 58,
        /// Adds memory.
        mem_hotadd = 59,
        /// Parks cores.
        core_parking = 60,
        /// A batch of MSR accesses.
        resource_op = 61,
        /// Sets the wall clock, 64-bit seconds.
        settime64 = 62,
        /// Reads the hypervisor's symbol table.
        get_symbol = 63,
        /// Name of `settime64` since interface 4.6.
        settime = 62,
    }
}

codes! {
    /// `xenpf_platform_quirk.quirk_id`.
    pub struct PlatformQuirk(u32);
    prefix "QUIRK_" {
        /// Do not move interrupts between processors.
        NOIRQBALANCING = 1,
        /// The I/O APIC's index register must be written each time.
        IOAPIC_BAD_REGSEL = 2,
        /// It need not.
        IOAPIC_GOOD_REGSEL = 3,
    }
}

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

constants! {
    in CONSTANTS;
    prefix "" {
        /// `xen_platform_op.interface_version`.
        XENPF_INTERFACE_VERSION: u32 = 0x0300_0001,
    }
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
        /// `set_processor_pminfo`: idle states.
        PM_CX: u32 = 0,
        /// `set_processor_pminfo`: performance states.
        PM_PX: u32 = 1,
        /// `set_processor_pminfo`: throttling states.
        PM_TX: u32 = 2,
        /// `set_processor_pminfo`: capabilities.
        PM_PDC: u32 = 3,
    }
    prefix "XENPF_" {
        /// `xenpf_enter_acpi_sleep.flags`: use the extended registers.
        ACPI_SLEEP_EXTENDED: u32 = 1,
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

flags! {
    /// What power management the hypervisor does itself (`start_info.flags`, [`SifFlags::PM_MASK`](crate::xen::SifFlags::PM_MASK)).
    pub struct ProcessorPm(u32);
    prefix "XEN_PROCESSOR_PM_" {
        /// Idle states.
        CX = 1,
        /// Performance states.
        PX = 2,
        /// Throttling states.
        TX = 4,
    }
}

flags! {
    /// `xen_processor_performance.flags`: which members are valid.
    pub struct PxFlags(u32);
    prefix "XEN_PX_" {
        /// Control and status register.
        PCT = 1,
        /// States.
        PSS = 2,
        /// Platform limit.
        PPC = 4,
        /// Dependencies.
        PSD = 8,
    }
}

codes! {
    /// `xen_processor_performance.shared_type`.
    pub struct CpuperfSharedType(u32);
    prefix "XEN_CPUPERF_SHARED_TYPE_" {
        /// The hardware coordinates.
        HW = 1,
        /// All processors must ask.
        ALL = 2,
        /// Any processor may ask.
        ANY = 3,
    }
}

flags! {
    /// `xen_processor_flags`, bitfields in C.
    pub struct ProcessorFlags(u32);
    prefix "xen_processor_flags." {
        bm_control = 1 << 0,
        bm_check = 1 << 1,
        has_cst = 1 << 2,
        power_setup_done = 1 << 3,
        bm_rld_set = 1 << 4,
    }
}

flags! {
    /// `xenpf_pcpuinfo.flags`.
    pub struct PcpuFlags(u32);
    prefix "XEN_PCPU_FLAGS_" {
        /// The processor is up.
        ONLINE = 1,
        /// There is no such processor.
        INVALID = 2,
    }
}

codes! {
    /// `xenpf_core_parking.type`.
    pub struct CoreParkingType(u32);
    prefix "XEN_CORE_PARKING_" {
        SET = 1,
        GET = 2,
    }
}

codes! {
    /// `xenpf_resource_entry.u.cmd`.
    pub struct ResourceOpCmd(u32);
    prefix "XEN_RESOURCE_OP_" {
        MSR_READ = 0,
        MSR_WRITE = 1,
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
    /// Argument by `type`.
    pub union SetProcessorPminfoU = "xenpf_set_processor_pminfo.u" [u64; 13] {
        power: ProcessorPower,
        perf: ProcessorPerformance,
        pdc: GuestHandle<u32>,
    }
    /// Command in, result out.
    pub union ResourceEntryU = "xenpf_resource_entry.u" [u32; 1] {
        cmd: u32,
        ret: i32,
    }
    /// Argument by [`PlatformCmd`].
    pub union PlatformOpU = "xen_platform_op.u" [u64; 16] {
        settime: Settime64,
        settime32: Settime32,
        settime64: Settime64,
        add_memtype: AddMemtype,
        del_memtype: DelMemtype,
        read_memtype: ReadMemtype,
        microcode: MicrocodeUpdate,
        platform_quirk: PlatformQuirkArg,
        efi_runtime_call: EfiRuntimeCall,
        firmware_info: FirmwareInfo,
        enter_acpi_sleep: EnterAcpiSleep,
        change_freq: ChangeFreq,
        getidletime: Getidletime,
        set_pminfo: SetProcessorPminfo,
        pcpu_info: Pcpuinfo,
        pcpu_version: PcpuVersion,
        cpu_ol: CpuOl,
        cpu_add: CpuHotadd,
        mem_add: MemHotadd,
        core_parking: CoreParking,
        resource_op: ResourceOp,
        symdata: Symdata,
        pad: [u8; 128],
    }
}

abi_structs! {
    in STRUCTS;
    /// Argument of `settime32`.
    pub struct Settime32 = "xenpf_settime32" [16] {
        /// Since 1970.
        pub secs: u32,
        pub nsecs: u32,
        /// System time in nanoseconds at which the wall clock had this value.
        pub system_time: u64,
    }
    /// Argument of `settime64`.
    pub struct Settime64 = "xenpf_settime64" [24] {
        /// Since 1970.
        pub secs: u64,
        pub nsecs: u32,
        /// Zero.
        pub mbz: u32,
        /// System time in nanoseconds at which the wall clock had this value.
        pub system_time: u64,
    }
    /// Argument of `add_memtype`.
    pub struct AddMemtype = "xenpf_add_memtype" [32] {
        pub mfn: XenPfn,
        pub nr_mfns: u64,
        /// As in an MTRR.
        pub r#type: u32,
        /// Filled in.
        pub handle: u32,
        /// Filled in.
        pub reg: u32,
        pub _pad: [u8; 4],
    }
    /// Argument of `del_memtype`.
    pub struct DelMemtype = "xenpf_del_memtype" [8] {
        pub handle: u32,
        pub reg: u32,
    }
    /// Argument of `read_memtype`.
    pub struct ReadMemtype = "xenpf_read_memtype" [32] {
        pub reg: u32,
        pub _pad0: [u8; 4],
        /// Filled in.
        pub mfn: XenPfn,
        /// Filled in.
        pub nr_mfns: u64,
        /// Filled in.
        pub r#type: u32,
        pub _pad1: [u8; 4],
    }
    /// Argument of `microcode_update`.
    pub struct MicrocodeUpdate = "xenpf_microcode_update" [16] {
        pub data: GuestHandle<u8>,
        /// Bytes.
        pub length: u32,
        pub _pad: [u8; 4],
    }
    /// Argument of `platform_quirk`.
    pub struct PlatformQuirkArg = "xenpf_platform_quirk" [4] {
        pub quirk_id: PlatformQuirk,
    }
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
    /// Argument of `enter_acpi_sleep`.
    pub struct EnterAcpiSleep = "xenpf_enter_acpi_sleep" [12] {
        /// For PM1A_CNT, or the sleep control register.
        pub val_a: u16,
        /// For PM1B_CNT.
        pub val_b: u16,
        /// S1 to S5.
        pub sleep_state: u32,
        /// [`ACPI_SLEEP_EXTENDED`].
        pub flags: u32,
    }
    /// Argument of `change_freq`.
    pub struct ChangeFreq = "xenpf_change_freq" [16] {
        /// Zero.
        pub flags: u32,
        pub cpu: u32,
        /// Hz.
        pub freq: u64,
    }
    /// Argument of `getidletime`.
    pub struct Getidletime = "xenpf_getidletime" [32] {
        /// In: which processors; out: which were valid.
        pub cpumap_bitmap: GuestHandle<u8>,
        /// Bits.
        pub cpumap_nr_cpus: u32,
        pub _pad: [u8; 4],
        /// Nanoseconds.
        pub idletime: GuestHandle<u64>,
        /// Filled in: system time in nanoseconds.
        pub now: u64,
    }
    /// An ACPI generic register.
    pub struct PowerRegister = "xen_power_register" [24] {
        pub space_id: u32,
        pub bit_width: u32,
        pub bit_offset: u32,
        pub access_size: u32,
        pub address: u64,
    }
    /// `_CSD` entry.
    pub struct ProcessorCsd = "xen_processor_csd" [12] {
        pub domain: u32,
        pub coord_type: u32,
        pub num: u32,
    }
    /// An idle state.
    pub struct ProcessorCx = "xen_processor_cx" [48] {
        pub reg: PowerRegister,
        /// C-state.
        pub r#type: u8,
        pub _pad: [u8; 3],
        /// Microseconds.
        pub latency: u32,
        /// Milliwatts.
        pub power: u32,
        /// Elements of `dp`.
        pub dpcnt: u32,
        pub dp: GuestHandle<ProcessorCsd>,
    }
    /// Idle states of a processor.
    pub struct ProcessorPower = "xen_processor_power" [16] {
        pub count: u32,
        /// [`ProcessorFlags`].
        pub flags: u32,
        pub states: GuestHandle<ProcessorCx>,
    }
    /// `_PCT` register.
    pub struct PctRegister = "xen_pct_register" [16] {
        pub descriptor: u8,
        pub _pad: [u8; 1],
        pub length: u16,
        pub space_id: u8,
        pub bit_width: u8,
        pub bit_offset: u8,
        pub reserved: u8,
        pub address: u64,
    }
    /// A performance state.
    pub struct ProcessorPx = "xen_processor_px" [48] {
        /// MHz.
        pub core_frequency: u64,
        /// Milliwatts.
        pub power: u64,
        /// Microseconds.
        pub transition_latency: u64,
        /// Microseconds.
        pub bus_master_latency: u64,
        pub control: u64,
        pub status: u64,
    }
    /// `_PSD` package.
    pub struct PsdPackage = "xen_psd_package" [40] {
        pub num_entries: u64,
        pub revision: u64,
        pub domain: u64,
        pub coord_type: u64,
        pub num_processors: u64,
    }
    /// Performance states of a processor.
    pub struct ProcessorPerformance = "xen_processor_performance" [104] {
        /// [`PxFlags`].
        pub flags: u32,
        /// First state that may be used.
        pub platform_limit: u32,
        pub control_register: PctRegister,
        pub status_register: PctRegister,
        pub state_count: u32,
        pub _pad0: [u8; 4],
        pub states: GuestHandle<ProcessorPx>,
        pub domain_info: PsdPackage,
        pub shared_type: CpuperfSharedType,
        pub _pad1: [u8; 4],
    }
    /// Argument of `set_processor_pminfo`.
    pub struct SetProcessorPminfo = "xenpf_set_processor_pminfo" [112] {
        /// ACPI processor id.
        pub id: u32,
        /// `PM_CX` to `PM_PDC`.
        pub r#type: u32,
        pub u: SetProcessorPminfoU,
    }
    /// Argument of `get_cpuinfo`.
    pub struct Pcpuinfo = "xenpf_pcpuinfo" [20] {
        /// Which processor, by the hypervisor's number.
        pub xen_cpuid: u32,
        /// Filled in: highest number present.
        pub max_present: u32,
        /// Filled in: [`PcpuFlags`].
        pub flags: u32,
        /// Filled in.
        pub apic_id: u32,
        /// Filled in.
        pub acpi_id: u32,
    }
    /// Argument of `get_cpu_version`.
    pub struct PcpuVersion = "xenpf_pcpu_version" [32] {
        /// Which processor, by the hypervisor's number.
        pub xen_cpuid: u32,
        /// Filled in: highest number present.
        pub max_present: u32,
        /// Filled in: as CPUID gives it.
        pub vendor_id: [u8; 12],
        /// Filled in.
        pub family: u32,
        /// Filled in.
        pub model: u32,
        /// Filled in.
        pub stepping: u32,
    }
    /// Argument of `cpu_online` and `cpu_offline`.
    pub struct CpuOl = "xenpf_cpu_ol" [4] {
        pub cpuid: u32,
    }
    /// Argument of `cpu_hotadd`.
    pub struct CpuHotadd = "xenpf_cpu_hotadd" [12] {
        pub apic_id: u32,
        pub acpi_id: u32,
        /// Proximity domain.
        pub pxm: u32,
    }
    /// Argument of `mem_hotadd`.
    pub struct MemHotadd = "xenpf_mem_hotadd" [24] {
        /// First frame.
        pub spfn: u64,
        /// Frame behind the last.
        pub epfn: u64,
        /// Proximity domain.
        pub pxm: u32,
        pub flags: u32,
    }
    /// Argument of `core_parking`.
    pub struct CoreParking = "xenpf_core_parking" [8] {
        pub r#type: CoreParkingType,
        pub idle_nums: u32,
    }
    /// One access of `resource_op`.
    pub struct ResourceEntry = "xenpf_resource_entry" [24] {
        pub u: ResourceEntryU,
        /// Zero.
        pub rsvd: u32,
        /// MSR.
        pub idx: u64,
        pub val: u64,
    }
    /// Argument of `resource_op`.
    pub struct ResourceOp = "xenpf_resource_op" [16] {
        pub nr_entries: u32,
        pub cpu: u32,
        pub entries: GuestHandle<ResourceEntry>,
    }
    /// Argument of `get_symbol`.
    pub struct Symdata = "xenpf_symdata" [32] {
        /// In: bytes of `name`; out: bytes needed.
        pub namelen: u32,
        /// In: which symbol; out: the next one.
        pub symnum: u32,
        pub name: GuestHandle<u8>,
        /// Filled in.
        pub address: u64,
        /// Filled in: as `nm` prints it.
        pub r#type: u8,
        pub _pad: [u8; 7],
    }
    /// Argument of `platform_op`.
    pub struct PlatformOp = "xen_platform_op" [136] {
        pub cmd: PlatformCmd,
        /// [`XENPF_INTERFACE_VERSION`].
        pub interface_version: u32,
        pub u: PlatformOpU,
    }
}

layout_entries! {
    types: [STRUCTS, UNIONS],
    constants: [
        PlatformCmd::CODES, PlatformQuirk::CODES, EfiFunction::CODES, FirmwareInfoType::CODES, FirmwareEfiInfo::CODES, ProcessorPm::CODES,
        PxFlags::CODES, CpuperfSharedType::CODES, ProcessorFlags::CODES, PcpuFlags::CODES, CoreParkingType::CODES, ResourceOpCmd::CODES,
        CONSTANTS,
    ],
}
