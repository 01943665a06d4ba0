//! The virtual machine control block (APM volume 2, appendix B), and the bits of its fields.

/// A segment register.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct VmcbSegment {
    pub selector: u16,
    pub attributes: u16,
    pub limit: u32,
    pub base: u64,
}

/// The control block: control area, then the state that is saved.
#[repr(C, align(4096))]
pub struct Vmcb {
    pub cr_intercepts: u32,
    pub dr_intercepts: u32,
    pub exception_intercepts: u32,
    pub intercepts: [u32; 3],
    _reserved1: [u8; 0x28],
    pub iopm: u64,
    pub msrpm: u64,
    pub tsc_offset: u64,
    pub asid: u32,
    pub tlb_control: u32,
    pub interrupt_control: u64,
    pub interrupt_shadow: u64,
    pub exit_code: u64,
    pub exit_info1: u64,
    pub exit_info2: u64,
    pub exit_int_info: u64,
    pub nested_control: u64,
    _reserved2: [u8; 0x10],
    pub event: u64,
    pub nested_root: u64,
    pub lbr_control: u64,
    pub clean: u64,
    pub next_rip: u64,
    _reserved3: [u8; 0x400 - 0xd0],
    pub es: VmcbSegment,
    pub cs: VmcbSegment,
    pub ss: VmcbSegment,
    pub ds: VmcbSegment,
    pub fs: VmcbSegment,
    pub gs: VmcbSegment,
    pub gdtr: VmcbSegment,
    pub ldtr: VmcbSegment,
    pub idtr: VmcbSegment,
    pub tr: VmcbSegment,
    _reserved4: [u8; 0x2b],
    pub cpl: u8,
    _reserved5: [u8; 4],
    pub efer: u64,
    _reserved6: [u8; 0x70],
    pub cr4: u64,
    pub cr3: u64,
    pub cr0: u64,
    pub dr7: u64,
    pub dr6: u64,
    pub rflags: u64,
    pub rip: u64,
    _reserved7: [u8; 0x58],
    pub rsp: u64,
    _reserved8: [u8; 0x18],
    pub rax: u64,
    pub star: u64,
    pub lstar: u64,
    pub cstar: u64,
    pub sfmask: u64,
    pub kernel_gs_base: u64,
    pub sysenter_cs: u64,
    pub sysenter_esp: u64,
    pub sysenter_eip: u64,
    pub cr2: u64,
    _reserved9: [u8; 0x20],
    pub pat: u64,
    _reserved10: [u8; 0x1000 - 0x670],
}

const _: () = {
    use core::mem::offset_of;
    assert!(size_of::<Vmcb>() == 4096);
    assert!(offset_of!(Vmcb, iopm) == 0x40);
    assert!(offset_of!(Vmcb, interrupt_control) == 0x60);
    assert!(offset_of!(Vmcb, exit_code) == 0x70);
    assert!(offset_of!(Vmcb, nested_control) == 0x90);
    assert!(offset_of!(Vmcb, event) == 0xa8);
    assert!(offset_of!(Vmcb, nested_root) == 0xb0);
    assert!(offset_of!(Vmcb, next_rip) == 0xc8);
    assert!(offset_of!(Vmcb, es) == 0x400);
    assert!(offset_of!(Vmcb, tr) == 0x490);
    assert!(offset_of!(Vmcb, cpl) == 0x4cb);
    assert!(offset_of!(Vmcb, efer) == 0x4d0);
    assert!(offset_of!(Vmcb, cr4) == 0x548);
    assert!(offset_of!(Vmcb, rip) == 0x578);
    assert!(offset_of!(Vmcb, rsp) == 0x5d8);
    assert!(offset_of!(Vmcb, rax) == 0x5f8);
    assert!(offset_of!(Vmcb, cr2) == 0x640);
    assert!(offset_of!(Vmcb, pat) == 0x668);
};

/// First word of intercepts (offset 0xc).
pub mod first {
    pub const INTR: u32 = 1;
    pub const NMI: u32 = 1 << 1;
    pub const SMI: u32 = 1 << 2;
    pub const INIT: u32 = 1 << 3;
    pub const VINTR: u32 = 1 << 4;
    pub const RDTSC: u32 = 1 << 14;
    pub const RDPMC: u32 = 1 << 15;
    pub const CPUID: u32 = 1 << 18;
    pub const IRET: u32 = 1 << 20;
    pub const INVD: u32 = 1 << 22;
    pub const HLT: u32 = 1 << 24;
    pub const INVLPGA: u32 = 1 << 26;
    pub const PORTS: u32 = 1 << 27;
    pub const MSRS: u32 = 1 << 28;
    pub const TASK_SWITCH: u32 = 1 << 29;
    pub const SHUTDOWN: u32 = 1 << 31;
}

/// Second word of intercepts (offset 0x10).
pub mod second {
    pub const VMRUN: u32 = 1;
    pub const VMMCALL: u32 = 1 << 1;
    pub const VMLOAD: u32 = 1 << 2;
    pub const VMSAVE: u32 = 1 << 3;
    pub const STGI: u32 = 1 << 4;
    pub const CLGI: u32 = 1 << 5;
    pub const SKINIT: u32 = 1 << 6;
    pub const RDTSCP: u32 = 1 << 7;
    pub const ICEBP: u32 = 1 << 8;
    pub const WBINVD: u32 = 1 << 9;
    pub const MONITOR: u32 = 1 << 10;
    pub const MWAIT: u32 = 1 << 11;
    pub const XSETBV: u32 = 1 << 13;
}

/// Fields of `interrupt_control`.
pub mod interrupt_control {
    /// A virtual interrupt waits.
    pub const V_IRQ: u64 = 1 << 8;
    /// It is not held back by the task priority.
    pub const V_IGN_TPR: u64 = 1 << 20;
    /// The guest's IF and task priority are its own.
    pub const V_INTR_MASKING: u64 = 1 << 24;
}

/// Fields of `event` and `exit_int_info`.
pub mod event {
    pub const VALID: u64 = 1 << 31;
    pub const HAS_ERROR: u64 = 1 << 11;
    pub const TYPE_SHIFT: u32 = 8;
}
