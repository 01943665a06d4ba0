//! Hardware virtualization: a guest's own code runs on the processor until something needs the hypervisor.
//!
//! One neutral form for AMD-V and VT-x. All state of a guest's processor that the hardware switches is a value,
//! [`HvmState`]; [`HvmCpu::run_hvm`] brings it to the processor, runs the guest, and brings it back with the reason of
//! the exit. Nothing of a guest stays on the processor in between, so that a vCPU moves by moving the value.

use hypercall_abi::arch_x86::CpuUserRegs;

use crate::num::Mfn;

/// A segment register with its hidden part.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Segment {
    /// Selector.
    pub selector: u16,
    /// Attributes, packed in 12 bits: type, S, DPL, P, AVL, L, D/B, G. 0 = cannot be used.
    pub attributes: u16,
    /// Limit in bytes.
    pub limit: u32,
    /// Base address.
    pub base: u64,
}

impl Segment {
    /// Attribute: 64-bit code.
    pub const LONG: u16 = 1 << 9;
    /// Attribute: default operand size is 32 bits.
    pub const BIG: u16 = 1 << 10;

    /// Privilege level in the descriptor.
    #[must_use]
    pub const fn dpl(self) -> u8 {
        (self.attributes >> 5 & 3) as u8
    }
}

/// GDTR or IDTR.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct TableRegister {
    /// Base address.
    pub base: u64,
    /// Limit in bytes.
    pub limit: u32,
}

/// The state of a guest's processor beside the general registers, RIP and RFLAGS.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct HvmState {
    /// CR0 as the guest wrote it.
    pub cr0: u64,
    /// CR2.
    pub cr2: u64,
    /// CR3.
    pub cr3: u64,
    /// CR4 as the guest wrote it.
    pub cr4: u64,
    /// EFER as the guest sees it.
    pub efer: u64,
    /// DR0 to DR3.
    pub debug_addresses: [u64; 4],
    /// DR6.
    pub dr6: u64,
    /// DR7.
    pub dr7: u64,
    /// CS.
    pub cs: Segment,
    /// SS.
    pub ss: Segment,
    /// DS.
    pub ds: Segment,
    /// ES.
    pub es: Segment,
    /// FS.
    pub fs: Segment,
    /// GS.
    pub gs: Segment,
    /// Task register.
    pub tr: Segment,
    /// Local descriptor table.
    pub ldtr: Segment,
    /// Global descriptor table.
    pub gdtr: TableRegister,
    /// Interrupt descriptor table.
    pub idtr: TableRegister,
    /// MSR_IA32_SYSENTER_CS.
    pub sysenter_cs: u64,
    /// MSR_IA32_SYSENTER_ESP.
    pub sysenter_esp: u64,
    /// MSR_IA32_SYSENTER_EIP.
    pub sysenter_eip: u64,
    /// MSR_STAR.
    pub star: u64,
    /// MSR_LSTAR.
    pub lstar: u64,
    /// MSR_CSTAR.
    pub cstar: u64,
    /// MSR_SYSCALL_MASK.
    pub sfmask: u64,
    /// MSR_KERNEL_GS_BASE.
    pub kernel_gs_base: u64,
    /// MSR_IA32_CR_PAT.
    pub pat: u64,
    /// Current privilege level.
    pub cpl: u8,
    /// Interrupts are held off for one instruction (after STI or MOV SS).
    pub interrupt_shadow: bool,
    /// What is added to the processor's time-stamp counter.
    pub tsc_offset: u64,
}

impl HvmState {
    /// CR0.PE.
    pub const CR0_PE: u64 = 1;
    /// CR0.PG.
    pub const CR0_PG: u64 = 1 << 31;
    /// CR0.WP.
    pub const CR0_WP: u64 = 1 << 16;
    /// CR4.PAE.
    pub const CR4_PAE: u64 = 1 << 5;
    /// CR4.PSE.
    pub const CR4_PSE: u64 = 1 << 4;
    /// CR4.SMAP.
    pub const CR4_SMAP: u64 = 1 << 21;
    /// EFER.LME.
    pub const EFER_LME: u64 = 1 << 8;
    /// EFER.LMA.
    pub const EFER_LMA: u64 = 1 << 10;
    /// EFER.NXE.
    pub const EFER_NXE: u64 = 1 << 11;

    /// Whether 64-bit code runs.
    #[must_use]
    pub const fn is_64bit(&self) -> bool {
        self.efer & Self::EFER_LMA != 0 && self.cs.attributes & Segment::LONG != 0
    }

    /// Width of the code that runs: 16, 32 or 64.
    #[must_use]
    pub const fn bitness(&self) -> u32 {
        if self.is_64bit() {
            64
        } else if self.cs.attributes & Segment::BIG != 0 {
            32
        } else {
            16
        }
    }
}

/// What an event is (APM volume 2, 15.20; the numbers are the field's).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum EventKind {
    /// External interrupt.
    Interrupt,
    /// Non-maskable interrupt.
    Nmi,
    /// Exception.
    Exception,
    /// INT n.
    Software,
}

/// An event on its way into a guest.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct HvmEvent {
    /// What it is.
    pub kind: EventKind,
    /// Vector.
    pub vector: u8,
    /// Error code, for the exceptions that push one.
    pub error_code: Option<u32>,
}

/// What one entry needs beside the state.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct HvmEntry {
    /// Root of the tables that translate guest frames.
    pub nested_root: Mfn,
    /// Event to deliver first.
    pub event: Option<HvmEvent>,
    /// Leave the guest as soon as it takes interrupts.
    pub interrupt_window: bool,
    /// Leave the guest when it ends its handler of a non-maskable interrupt.
    pub nmi_window: bool,
    /// Task priority (CR8).
    pub task_priority: u8,
    /// RDTSC and RDTSCP leave the guest.
    pub intercept_tsc: bool,
    /// Who runs: translations of another must not be used.
    pub tag: u64,
}

/// Width and direction of a port access.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PortAccess {
    /// Port.
    pub port: u16,
    /// Bytes: 1, 2 or 4.
    pub bytes: u8,
    /// Into the guest (IN, INS).
    pub input: bool,
    /// INS or OUTS.
    pub string: bool,
    /// With a REP prefix.
    pub repeat: bool,
}

/// An access that the nested tables do not allow.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NestedFault {
    /// Guest-physical address.
    pub address: u64,
    /// A translation is present.
    pub present: bool,
    /// It was a write.
    pub write: bool,
    /// It was an instruction fetch.
    pub fetch: bool,
    /// The guest's page tables were read, not the page itself.
    pub table_walk: bool,
}

/// Why the guest's code stopped.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ExitReason {
    /// The hypervisor has an interrupt, which waits until interrupts are opened.
    Interrupt,
    /// The hypervisor had a non-maskable interrupt or a machine check, which was noted.
    Nmi,
    /// An exception that is intercepted.
    Exception {
        /// Vector.
        vector: u8,
        /// Error code, 0 without one.
        error_code: u32,
    },
    /// The guest takes interrupts now.
    InterruptWindow,
    /// The guest ends its handler of a non-maskable interrupt.
    NmiWindow,
    /// CPUID.
    Cpuid,
    /// HLT.
    Halt,
    /// PAUSE.
    Pause,
    /// INVD or WBINVD.
    CacheFlush,
    /// RDTSC or RDTSCP.
    ReadTsc,
    /// VMCALL or VMMCALL.
    Hypercall,
    /// RDMSR.
    ReadMsr,
    /// WRMSR.
    WriteMsr,
    /// XSETBV.
    SetXcr,
    /// An instruction that names a control or debug register, or writes CR0 otherwise.
    SystemRegister,
    /// A port.
    Port(PortAccess),
    /// The nested tables.
    Nested(NestedFault),
    /// MONITOR, MWAIT, and the instructions of virtualization itself: not for guests.
    NotForGuests,
    /// A task switch.
    TaskSwitch,
    /// A triple fault, or a shutdown otherwise.
    Shutdown,
    /// INIT or SMI: nothing of the guest's.
    Nothing,
    /// The processor refused the state.
    Invalid,
    /// Anything else, with the processor's number for it.
    Other(u64),
}

/// An exit.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct HvmExit {
    /// Why.
    pub reason: ExitReason,
    /// Length of the instruction, where the processor tells.
    pub length: Option<u8>,
    /// An event whose delivery was cut short.
    pub unfinished: Option<HvmEvent>,
    /// Task priority (CR8) as the guest left it.
    pub task_priority: u8,
}

/// What the processors can do.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct HvmSupport {
    /// Guests can be run.
    pub available: bool,
    /// Why not.
    pub reason: &'static str,
    /// Large pages of 1 GiB in nested tables.
    pub huge_pages: bool,
    /// VT-x, whose nested tables have a form of their own.
    pub intel: bool,
}

/// Running guests in hardware.
pub trait HvmCpu {
    /// What the processors can do.
    fn hvm_support(&self) -> HvmSupport;

    /// Runs a guest until it exits. Interrupts are off before and after; while the guest runs, one that arrives ends the
    /// run.
    fn run_hvm(&self, entry: &HvmEntry, state: &mut HvmState, regs: &mut CpuUserRegs) -> HvmExit;

    /// Forgets translations of guests that run in hardware on this processor, before the next one runs.
    fn forget_hvm_translations(&self);
}
