//! `platform.h`: what only the control domain may ask of the machine (`__HYPERVISOR_platform_op`). Payloads of firmware and power management are in
//! submodules and exported from here.

pub(crate) mod firmware;
pub(crate) mod power;

pub use self::firmware::*;
pub use self::power::*;

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
    /// `xenpf_resource_entry.u.cmd`.
    pub struct ResourceOpCmd(u32);
    prefix "XEN_RESOURCE_OP_" {
        MSR_READ = 0,
        MSR_WRITE = 1,
    }
}

constants! {
    in CONSTANTS;
    prefix "" {
        /// `xen_platform_op.interface_version`.
        XENPF_INTERFACE_VERSION: u32 = 0x0300_0001,
    }
}

abi_unions! {
    in UNIONS;
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

layout_entries! { types: [STRUCTS, UNIONS], constants: [PlatformCmd::CODES, PlatformQuirk::CODES, PcpuFlags::CODES, ResourceOpCmd::CODES, CONSTANTS] }
