//! The private half of a vCPU: what only the processor that runs it (or whoever holds it parked) touches.

use alloc::boxed::Box;
use alloc::vec;
use alloc::vec::Vec;

use hypercall_abi::arch_x86::{CpuUserRegs, TrapInfo};
use zerocopy::FromZeros;

use crate::num::Mfn;

/// Frames of a GDT that belong to the guest; the page after them holds Xen's own descriptors.
pub const GDT_GUEST_FRAMES: usize = 14;
/// Descriptors in those frames (FIRST_RESERVED_GDT_ENTRY).
pub const MAX_GDT_ENTRIES: u32 = 7168;

/// An entry point that the guest registered.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Callback {
    /// Address; 0 = none.
    pub address: u64,
    /// Mask events on entry (CALLBACKF_mask_events).
    pub mask_events: bool,
}

/// Entry points registered with callback_op, set_callbacks or a vCPU context.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Callbacks {
    /// Event upcall.
    pub event: Callback,
    /// Failed reload of a data segment.
    pub failsafe: Callback,
    /// 64-bit SYSCALL from user mode.
    pub syscall: Callback,
    /// 32-bit SYSCALL from user mode.
    pub syscall32: Callback,
    /// SYSENTER from user mode.
    pub sysenter: Callback,
}

/// Segment registers that a context switch replaces.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Segments {
    /// DS selector.
    pub ds: u16,
    /// ES selector.
    pub es: u16,
    /// FS selector.
    pub fs: u16,
    /// GS selector.
    pub gs: u16,
    /// FS base.
    pub fs_base: u64,
    /// GS base of the guest kernel.
    pub gs_base_kernel: u64,
    /// GS base of the guest's user mode.
    pub gs_base_user: u64,
}

/// The guest's part of the GDT. Each frame holds a segdesc type reference.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct DescriptorTable {
    /// Frames, in order.
    pub frames: [Option<Mfn>; GDT_GUEST_FRAMES],
    /// Descriptors.
    pub entries: u32,
}

/// The guest's LDT, mapped lazily.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct LdtState {
    /// Linear address.
    pub base: u64,
    /// Descriptors; 0 = no LDT.
    pub entries: u32,
    /// Frames mapped in the LDT window so far, each holding a segdesc type reference.
    pub shadow: [Option<Mfn>; 16],
}

/// An exception that waits to be delivered to the guest.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PendingException {
    /// Vector.
    pub vector: u8,
    /// Error code, for the vectors that have one.
    pub error_code: Option<u32>,
    /// Faulting address, for #PF.
    pub cr2: u64,
}

/// Everything of a vCPU that its own processor alone may touch.
#[derive(Debug)]
pub struct VcpuCtx {
    /// General registers, while the vCPU is not running (they are on the processor's stack while it is).
    pub regs: CpuUserRegs,
    /// Segments, while not running.
    pub segments: Segments,
    /// Guest kernel mode (else guest user mode); both are ring 3 to the processor.
    pub kernel_mode: bool,
    /// Virtual trap table.
    pub traps: Box<[TrapInfo; 256]>,
    /// Entry points.
    pub callbacks: Callbacks,
    /// Stack selector for entries from user mode.
    pub kernel_ss: u64,
    /// Stack pointer for entries from user mode.
    pub kernel_sp: u64,
    /// GDT.
    pub gdt: DescriptorTable,
    /// LDT.
    pub ldt: LdtState,
    /// L4 table of the guest kernel; holds a type reference.
    pub kernel_root: Option<Mfn>,
    /// L4 table of guest user mode; holds a type reference.
    pub user_root: Option<Mfn>,
    /// CR4 bits that the guest chose.
    pub cr4: u64,
    /// Virtual CR0.TS.
    pub task_switched: bool,
    /// Virtual debug registers (indices 0-3, 6, 7; 4 and 5 hold I/O breakpoint shadows).
    pub debug_regs: [u64; 8],
    /// Saved FPU state, while not running.
    pub fpu: Vec<u8>,
    /// XCR0 of the guest.
    pub xcr0: u64,
    /// All XCR0 bits the guest ever enabled.
    pub xcr0_accum: u64,
    /// Virtual IOPL (0-3).
    pub iopl: u8,
    /// Guest address of the I/O permission bitmap.
    pub io_bitmap: u64,
    /// Ports covered by it.
    pub io_bitmap_ports: u32,
    /// An exception to deliver before the guest goes on.
    pub pending_exception: Option<PendingException>,
    /// An NMI was delivered and no iret has followed.
    pub nmi_masked: bool,
    /// A machine check is being handled: no other is delivered before the next iret.
    pub mce_masked: bool,
    /// TSC_AUX as the guest set it.
    pub tsc_aux: u32,
    /// MSR_MISC_FEATURES_ENABLES as the guest set it.
    pub misc_features_enables: u64,
    /// AMD DRn_ADDR_MASK registers.
    pub dr_masks: [u32; 4],
    /// Why the domain must be crashed, found where the processor's state was out of reach.
    pub fatal: Option<Fatal>,
    /// The rest of the state of a vCPU that runs in hardware.
    pub hvm: Option<Box<crate::hvm::HvmVcpu>>,
}

/// A reason to crash the domain.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fatal {
    /// HYPERVISOR_iret with a frame that cannot be used.
    Iret(crate::pv::iret::IretError),
    /// Anything else, in words.
    Because(&'static str),
}

impl VcpuCtx {
    /// The reset state: guest kernel mode, no tables, x87 and SSE defaults.
    #[must_use]
    pub fn new(fpu_area_size: usize) -> Self {
        let mut ctx = Self {
            regs: CpuUserRegs::new_zeroed(),
            segments: Segments::default(),
            kernel_mode: true,
            traps: Box::new([TrapInfo::new_zeroed(); 256]),
            callbacks: Callbacks::default(),
            kernel_ss: 0,
            kernel_sp: 0,
            gdt: DescriptorTable::default(),
            ldt: LdtState::default(),
            kernel_root: None,
            user_root: None,
            cr4: 0,
            task_switched: false,
            debug_regs: [0, 0, 0, 0, 0, 0, 0xffff_0ff0, 0x400],
            fpu: vec![0; fpu_area_size.max(512)],
            xcr0: 1,
            xcr0_accum: 1,
            iopl: 0,
            io_bitmap: 0,
            io_bitmap_ports: 0,
            pending_exception: None,
            nmi_masked: false,
            mce_masked: false,
            tsc_aux: 0,
            misc_features_enables: 0,
            dr_masks: [0; 4],
            fatal: None,
            hvm: None,
        };
        ctx.reset_fpu();
        ctx
    }

    /// FCW 0x37f, MXCSR 0x1f80, everything else zero.
    pub fn reset_fpu(&mut self) {
        self.fpu.fill(0);
        self.fpu[0..2].copy_from_slice(&0x37f_u16.to_le_bytes());
        self.fpu[24..28].copy_from_slice(&0x1f80_u32.to_le_bytes());
    }

    /// Registers an NMI handler (trap 2, events masked on entry); 0 removes it.
    pub fn set_nmi_handler(&mut self, address: u64) {
        let trap = &mut self.traps[2];
        trap.vector = 2;
        trap.flags = if address == 0 { 0 } else { 4 };
        trap.cs = if address == 0 {
            0
        } else {
            crate::pv::selectors::FLAT_CS64
        };
        trap.address = address;
    }

    /// The root that belongs to the current mode.
    #[must_use]
    pub fn current_root(&self) -> Option<Mfn> {
        if self.kernel_mode {
            self.kernel_root
        } else {
            self.user_root
        }
    }

    /// Records an exception for delivery on the way out. One slot: a second one before delivery replaces the first
    /// only if there is none (XSA-339: never two).
    pub fn inject(&mut self, exception: PendingException) {
        if self.pending_exception.is_none() {
            self.pending_exception = Some(exception);
        }
    }

    /// Records an exception that has no faulting address.
    pub fn inject_fault(&mut self, vector: u8, error_code: Option<u32>) {
        self.inject(PendingException {
            vector,
            error_code,
            cr2: 0,
        });
    }
}
