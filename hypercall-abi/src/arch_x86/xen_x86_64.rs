//! `arch-x86/xen-x86_64.h`: selectors, virtual layout and registers of 64-bit PV guests.

constants! {
    in CONSTANTS;
    prefix "" {
        /// Ring 3 code, 32-bit.
        FLAT_RING3_CS32: u16 = 0xe023,
        /// Ring 3 code, 64-bit.
        FLAT_RING3_CS64: u16 = 0xe033,
        /// Ring 3 data, 32-bit.
        FLAT_RING3_DS32: u16 = 0xe02b,
        /// Ring 3 data, 64-bit: the null selector.
        FLAT_RING3_DS64: u16 = 0x0000,
        /// Ring 3 stack, 32-bit.
        FLAT_RING3_SS32: u16 = 0xe02b,
        /// Ring 3 stack, 64-bit.
        FLAT_RING3_SS64: u16 = 0xe02b,
        /// Kernel data, 64-bit. A 64-bit PV kernel runs in ring 3 as well.
        FLAT_KERNEL_DS64: u16 = FLAT_RING3_DS64,
        /// Kernel data, 32-bit.
        FLAT_KERNEL_DS32: u16 = FLAT_RING3_DS32,
        /// Kernel data.
        FLAT_KERNEL_DS: u16 = FLAT_KERNEL_DS64,
        /// Kernel code, 64-bit.
        FLAT_KERNEL_CS64: u16 = FLAT_RING3_CS64,
        /// Kernel code, 32-bit.
        FLAT_KERNEL_CS32: u16 = FLAT_RING3_CS32,
        /// Kernel code.
        FLAT_KERNEL_CS: u16 = FLAT_KERNEL_CS64,
        /// Kernel stack, 64-bit.
        FLAT_KERNEL_SS64: u16 = FLAT_RING3_SS64,
        /// Kernel stack, 32-bit.
        FLAT_KERNEL_SS32: u16 = FLAT_RING3_SS32,
        /// Kernel stack.
        FLAT_KERNEL_SS: u16 = FLAT_KERNEL_SS64,
        /// User data, 64-bit.
        FLAT_USER_DS64: u16 = FLAT_RING3_DS64,
        /// User data, 32-bit.
        FLAT_USER_DS32: u16 = FLAT_RING3_DS32,
        /// User data.
        FLAT_USER_DS: u16 = FLAT_USER_DS64,
        /// User code, 64-bit.
        FLAT_USER_CS64: u16 = FLAT_RING3_CS64,
        /// User code, 32-bit.
        FLAT_USER_CS32: u16 = FLAT_RING3_CS32,
        /// User code.
        FLAT_USER_CS: u16 = FLAT_USER_CS64,
        /// User stack, 64-bit.
        FLAT_USER_SS64: u16 = FLAT_RING3_SS64,
        /// User stack, 32-bit.
        FLAT_USER_SS32: u16 = FLAT_RING3_SS32,
        /// User stack.
        FLAT_USER_SS: u16 = FLAT_USER_SS64,
        /// First virtual address that belongs to the hypervisor.
        HYPERVISOR_VIRT_START: u64 = 0xFFFF_8000_0000_0000,
        /// First virtual address behind the hypervisor's.
        HYPERVISOR_VIRT_END: u64 = 0xFFFF_8800_0000_0000,
        /// First virtual address of the machine-to-physical table, which guests may read.
        MACH2PHYS_VIRT_START: u64 = 0xFFFF_8000_0000_0000,
        /// First virtual address behind the machine-to-physical table.
        MACH2PHYS_VIRT_END: u64 = 0xFFFF_8040_0000_0000,
        /// Entries (eight bytes each) that fit into the machine-to-physical table.
        MACH2PHYS_NR_ENTRIES: u64 = (MACH2PHYS_VIRT_END - MACH2PHYS_VIRT_START) >> 3,
    }
}

codes! {
    /// First argument of `set_segment_base`.
    pub struct SegBase(u32);
    prefix "SEGBASE_" {
        /// FS base.
        FS = 0,
        /// GS base of user mode.
        GS_USER = 1,
        /// GS base of kernel mode.
        GS_KERNEL = 2,
        /// Loads the user GS selector.
        GS_USER_SEL = 3,
    }
}

flags! {
    /// `iret_context.flags`.
    pub struct IretFlags(u64);
    prefix "VGCF_" {
        /// Return as from `syscall`: RCX and R11 need not be restored.
        in_syscall = 1 << 8,
    }
}

/// `xen_pfn_to_cr3`: CR3 as it stands in [`VcpuGuestContext::ctrlreg`](super::VcpuGuestContext::ctrlreg) for a frame.
#[must_use]
pub const fn pfn_to_cr3(pfn: u64) -> u64 {
    pfn << 12
}

/// `xen_cr3_to_pfn`: the frame of such a CR3.
#[must_use]
pub const fn cr3_to_pfn(cr3: u64) -> u64 {
    cr3 >> 12
}

abi_structs! {
    in STRUCTS;
    /// What the `iret` hypercall pops from the kernel stack.
    pub struct IretContext = "iret_context" [72] {
        pub rax: u64,
        pub r11: u64,
        pub rcx: u64,
        /// [`IretFlags`].
        pub flags: u64,
        pub rip: u64,
        pub cs: u64,
        pub rflags: u64,
        pub rsp: u64,
        pub ss: u64,
    }
    /// Registers of a vCPU, in the order of the exception frame.
    pub struct CpuUserRegs = "cpu_user_regs" [200] {
        pub r15: u64,
        pub r14: u64,
        pub r13: u64,
        pub r12: u64,
        pub rbp: u64,
        pub rbx: u64,
        pub r11: u64,
        pub r10: u64,
        pub r9: u64,
        pub r8: u64,
        pub rax: u64,
        pub rcx: u64,
        pub rdx: u64,
        pub rsi: u64,
        pub rdi: u64,
        /// Private to the hypervisor.
        pub error_code: u32,
        /// Private to the hypervisor.
        pub entry_vector: u32,
        pub rip: u64,
        pub cs: u16,
        pub _pad0: [u16; 1],
        /// Event mask at the time of the entry.
        pub saved_upcall_mask: u8,
        pub _pad1: [u8; 3],
        /// RFLAGS; IF is the negated `saved_upcall_mask`.
        pub rflags: u64,
        pub rsp: u64,
        pub ss: u16,
        pub _pad2: [u16; 3],
        pub es: u16,
        pub _pad3: [u16; 3],
        pub ds: u16,
        pub _pad4: [u16; 3],
        pub fs: u16,
        pub _pad5: [u16; 3],
        pub gs: u16,
        pub _pad6: [u16; 3],
    }
    /// The x86 part of [`VcpuInfo`](crate::xen::VcpuInfo).
    pub struct ArchVcpuInfo = "arch_vcpu_info" [16] {
        /// Fault address of the last page fault.
        pub cr2: u64,
        pub pad: u64,
    }
}

layout_entries! { types: [STRUCTS], constants: [CONSTANTS, SegBase::CODES, IretFlags::CODES] }
