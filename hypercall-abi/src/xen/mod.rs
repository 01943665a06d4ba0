//! `xen.h`: hypercall numbers, domain ids and MMU calls. The pages a PV guest shares with the hypervisor are in submodules and exported from here.

pub(crate) mod shared_info;
pub(crate) mod start_info;

pub use self::shared_info::*;
pub use self::start_info::*;

use crate::guest_handle::GuestHandle;

/// `xen_pfn_t`: a frame number; machine or guest-physical depending on the call.
pub type XenPfn = u64;

/// `xen_domain_handle_t`: the UUID a toolstack gave a domain.
pub type DomainHandle = [u8; 16];

codes! {
    /// Hypercall number: the index of the entry in the hypercall page.
    pub struct HypercallNr(u64);
    prefix "__HYPERVISOR_" {
        /// Registers exception handlers.
        set_trap_table = 0,
        /// Writes page-table entries.
        mmu_update = 1,
        /// Installs a GDT.
        set_gdt = 2,
        /// Sets the kernel stack.
        stack_switch = 3,
        /// Sets the event, failsafe and syscall entry points.
        set_callbacks = 4,
        /// Sets or clears CR0.TS.
        fpu_taskswitch = 5,
        /// The scheduler call before Xen 3.1.1.
        sched_op_compat = 6,
        /// Platform operations of the control domain.
        platform_op = 7,
        /// Writes a debug register.
        set_debugreg = 8,
        /// Reads a debug register.
        get_debugreg = 9,
        /// Writes one segment descriptor.
        update_descriptor = 10,
        /// Memory reservations and physmap.
        memory_op = 12,
        /// A batch of hypercalls.
        multicall = 13,
        /// Writes the page-table entry of one virtual address.
        update_va_mapping = 14,
        /// Sets the singleshot timer.
        set_timer_op = 15,
        /// The event-channel call before Xen 3.2.2.
        event_channel_op_compat = 16,
        /// Version and features.
        xen_version = 17,
        /// The hypervisor's console.
        console_io = 18,
        /// The physical-device call before Xen 3.2.2.
        physdev_op_compat = 19,
        /// Grant tables.
        grant_table_op = 20,
        /// Optional assistance.
        vm_assist = 21,
        /// `update_va_mapping` with another domain's page.
        update_va_mapping_otherdomain = 22,
        /// Return from exception or event.
        iret = 23,
        /// vCPU operations.
        vcpu_op = 24,
        /// Writes FS or GS base.
        set_segment_base = 25,
        /// Page-table pinning, base pointers, TLB flushes.
        mmuext_op = 26,
        /// Security-module operations.
        xsm_op = 27,
        /// NMI callback.
        nmi_op = 28,
        /// Scheduling.
        sched_op = 29,
        /// Entry points, one at a time.
        callback_op = 30,
        /// Profiling.
        xenoprof_op = 31,
        /// Event channels.
        event_channel_op = 32,
        /// Interrupts and PCI devices.
        physdev_op = 33,
        /// HVM parameters and operations.
        hvm_op = 34,
        /// System control for toolstacks.
        sysctl = 35,
        /// Domain control for toolstacks.
        domctl = 36,
        /// Crash kernels.
        kexec_op = 37,
        /// Transcendent memory (removed from Xen).
        tmem_op = 38,
        /// Argo inter-domain messages.
        argo_op = 39,
        /// Performance-monitoring unit.
        xenpmu_op = 40,
        /// Device-model operations.
        dm_op = 41,
        /// Hypervisor filesystem.
        hypfs_op = 42,
        /// Architecture-specific: on x86 `mca`.
        arch_0 = 48,
        /// Architecture-specific.
        arch_1 = 49,
        /// Architecture-specific.
        arch_2 = 50,
        /// Architecture-specific.
        arch_3 = 51,
        /// Architecture-specific.
        arch_4 = 52,
        /// Architecture-specific.
        arch_5 = 53,
        /// Architecture-specific.
        arch_6 = 54,
        /// Architecture-specific.
        arch_7 = 55,
    }
}

codes! {
    /// Virtual interrupt: a source inside the hypervisor that can be bound to a port.
    pub struct Virq(u32);
    prefix "VIRQ_" {
        /// Timer expired (per vCPU).
        TIMER = 0,
        /// Debug key (per vCPU).
        DEBUG = 1,
        /// Input on the hypervisor's console (control domain).
        CONSOLE = 2,
        /// A domain was shut down or died (control domain).
        DOM_EXC = 3,
        /// Trace buffers have records (control domain).
        TBUF = 4,
        /// A domain stopped for a debugger (control domain).
        DEBUGGER = 6,
        /// Profiling sample (per vCPU).
        XENOPROF = 7,
        /// The console ring has text (control domain).
        CON_RING = 8,
        /// A physical CPU changed state (control domain).
        PCPU_STATE = 9,
        /// Memory event (control domain).
        MEM_EVENT = 10,
        /// Argo message.
        ARGO = 11,
        /// Free memory is low (control domain).
        ENOMEM = 12,
        /// PMU interrupt (per vCPU).
        XENPMU = 13,
        /// Architecture-specific: on x86 machine check.
        ARCH_0 = 16,
        /// Architecture-specific.
        ARCH_1 = 17,
        /// Architecture-specific.
        ARCH_2 = 18,
        /// Architecture-specific.
        ARCH_3 = 19,
        /// Architecture-specific.
        ARCH_4 = 20,
        /// Architecture-specific.
        ARCH_5 = 21,
        /// Architecture-specific.
        ARCH_6 = 22,
        /// Architecture-specific.
        ARCH_7 = 23,
    }
}

codes! {
    /// What `mmu_update` does: the two low bits of [`MmuUpdate::ptr`].
    pub struct MmuUpdateCmd(u64);
    prefix "MMU_" {
        /// Writes `val` to the page-table entry at the machine address.
        NORMAL_PT_UPDATE = 0,
        /// Sets the machine-to-physical entry of the frame at the machine address.
        MACHPHYS_UPDATE = 1,
        /// As `NORMAL_PT_UPDATE`, but keeps the accessed and dirty bits that the processor may have set meanwhile.
        PT_UPDATE_PRESERVE_AD = 2,
        /// As `NORMAL_PT_UPDATE` with untranslated frame numbers.
        PT_UPDATE_NO_TRANSLATE = 3,
    }
}

codes! {
    /// Sub-operation of `mmuext_op`.
    pub struct MmuextCmd(u32);
    prefix "MMUEXT_" {
        /// Validates and pins a level-1 table.
        PIN_L1_TABLE = 0,
        /// Validates and pins a level-2 table.
        PIN_L2_TABLE = 1,
        /// Validates and pins a level-3 table.
        PIN_L3_TABLE = 2,
        /// Validates and pins a level-4 table.
        PIN_L4_TABLE = 3,
        /// Drops the pin.
        UNPIN_TABLE = 4,
        /// Loads the kernel page-table base.
        NEW_BASEPTR = 5,
        /// Flushes the local TLB.
        TLB_FLUSH_LOCAL = 6,
        /// Flushes one address from the local TLB.
        INVLPG_LOCAL = 7,
        /// Flushes the TLBs of a set of vCPUs.
        TLB_FLUSH_MULTI = 8,
        /// Flushes one address from the TLBs of a set of vCPUs.
        INVLPG_MULTI = 9,
        /// Flushes the TLBs of all vCPUs of the domain.
        TLB_FLUSH_ALL = 10,
        /// Flushes one address from the TLBs of all vCPUs of the domain.
        INVLPG_ALL = 11,
        /// Writes back and invalidates the caches.
        FLUSH_CACHE = 12,
        /// Loads the LDT: linear address in `arg1`, entries in `arg2`.
        SET_LDT = 13,
        /// Loads the user page-table base (x86_64).
        NEW_USER_BASEPTR = 15,
        /// Zeroes a frame.
        CLEAR_PAGE = 16,
        /// Copies a frame.
        COPY_PAGE = 17,
        /// Writes back and invalidates the caches of all processors.
        FLUSH_CACHE_GLOBAL = 18,
        /// Marks a superpage.
        MARK_SUPER = 19,
        /// Unmarks a superpage.
        UNMARK_SUPER = 20,
    }
}

flags! {
    /// What `update_va_mapping` flushes. Without [`UvmFlags::ALL`] and with a zero upper part only the local TLB is meant; a non-zero upper
    /// part (bits 3 and up) is the address of a bitmap of vCPUs.
    pub struct UvmFlags(u64);
    prefix "UVMF_" {
        /// The whole TLB.
        TLB_FLUSH = 1 << 0,
        /// The one address.
        INVLPG = 2,
        /// Mask of the kind of flush.
        FLUSHTYPE_MASK = 3,
        /// On all vCPUs of the domain.
        ALL = 1 << 2,
    }
}

codes! {
    /// Sub-operation of `console_io`.
    pub struct ConsoleIoCmd(u32);
    prefix "CONSOLEIO_" {
        /// Writes a buffer to the console.
        write = 0,
        /// Reads what was typed.
        read = 1,
    }
}

codes! {
    /// First argument of `vm_assist`.
    pub struct VmassistCmd(u32);
    prefix "VMASST_CMD_" {
        /// Turns the assistance on.
        enable = 0,
        /// Turns it off.
        disable = 1,
    }
}

codes! {
    /// Second argument of `vm_assist`: a kind of assistance, also its bit in `vcpu_guest_context.vm_assist`.
    pub struct VmassistType(u32);
    prefix "VMASST_TYPE_" {
        /// Writes to page tables are emulated.
        writable_pagetables = 2,
        /// CR3 holds an extended frame number (32-bit PAE guests).
        pae_extended_cr3 = 3,
        /// Guest IOPL behaves as on hardware instead of Xen's virtual one.
        architectural_iopl = 4,
        /// `XEN_RUNSTATE_UPDATE` marks a runstate area being written.
        runstate_update_flag = 5,
        /// The M2P is mapped in the kernel's address space only.
        m2p_strict = 32,
    }
    // A Rust name cannot start with a digit.
    prefix "VMASST_" {
        /// Emulates wrap-around of 4 GiB segments (32-bit guests).
        TYPE_4gb_segments = 0,
        /// Tells the guest of each such emulation.
        TYPE_4gb_segments_notify = 1,
    }
}

codes! {
    /// A domain identifier.
    pub struct DomId(u16);
    prefix "DOMID_" {
        /// The calling domain.
        SELF = 0x7FF0,
        /// Owner of I/O pages in `mmu_update` and friends.
        IO = 0x7FF1,
        /// The hypervisor as owner of pages it shares.
        XEN = 0x7FF2,
        /// Owner of pages shared copy-on-write.
        COW = 0x7FF3,
        /// No domain.
        INVALID = 0x7FF4,
        /// The idle domain.
        IDLE = 0x7FFF,
        /// Ids from here on name no ordinary domain.
        FIRST_RESERVED = 0x7FF0,
        /// The bits of an id.
        MASK = 0x7FFF,
    }
}

constants! {
    in CONSTANTS;
    prefix "" {
        /// Number of virtual interrupts.
        NR_VIRQS: u32 = 24,
        /// No flush.
        UVMF_NONE: u64 = 0,
        /// Flush on the vCPUs of a bitmap.
        UVMF_MULTI: u64 = 0,
        /// Flush on the calling vCPU.
        UVMF_LOCAL: u64 = 0,
    }
}

abi_unions! {
    in UNIONS;
    /// First argument of [`MmuextOp`].
    pub union MmuextOpArg1 = "mmuext_op.arg1" [u64; 1] {
        /// Frame to pin, unpin, load, clear or copy to.
        mfn: XenPfn,
        /// Guest virtual address to flush, or of the LDT.
        linear_addr: u64,
    }
    /// Second argument of [`MmuextOp`].
    pub union MmuextOpArg2 = "mmuext_op.arg2" [u64; 1] {
        /// Entries of the LDT.
        nr_ents: u32,
        /// Bitmap of vCPUs to flush.
        vcpumask: GuestHandle<u8>,
        /// Frame to copy from.
        src_mfn: XenPfn,
    }
}

abi_structs! {
    in STRUCTS;
    /// One sub-operation of `mmuext_op`.
    pub struct MmuextOp = "mmuext_op" [24] {
        /// What to do.
        pub cmd: MmuextCmd,
        pub _pad: [u8; 4],
        pub arg1: MmuextOpArg1,
        pub arg2: MmuextOpArg2,
    }
    /// One element of `mmu_update`.
    pub struct MmuUpdate = "mmu_update" [16] {
        /// Machine address of the entry, with the [`MmuUpdateCmd`] in bits 0 and 1.
        pub ptr: u64,
        /// New value: a page-table entry, or a guest frame number for `MACHPHYS_UPDATE`.
        pub val: u64,
    }
    /// One call of a `multicall`.
    pub struct MulticallEntry = "multicall_entry" [64] {
        /// Hypercall number.
        pub op: u64,
        /// Filled in: the call's result.
        pub result: u64,
        /// Arguments.
        pub args: [u64; 6],
    }
    /// A UUID in the byte order of RFC 4122.
    pub struct Uuid = "xen_uuid_t" [16] {
        pub a: [u8; 16],
    }
    /// A bitmap in guest memory, in the calls of the toolstack.
    pub struct XenctlBitmap = "xenctl_bitmap" [16] {
        /// The bits, lowest first.
        pub bitmap: GuestHandle<u8>,
        /// Number of bits the guest has room for.
        pub nr_bits: u32,
        pub _pad: [u8; 4],
    }
}

layout_entries! { types: [STRUCTS, UNIONS], constants: [HypercallNr::CODES, Virq::CODES, MmuUpdateCmd::CODES, MmuextCmd::CODES, UvmFlags::CODES, ConsoleIoCmd::CODES, VmassistCmd::CODES, VmassistType::CODES, DomId::CODES, CONSTANTS] }
