//! `hvm/hvm_vcpu.h`: initial state of the vCPUs of HVM domains (`VCPUOP_initialise`).

codes! {
    /// Which view of the registers.
    pub struct VcpuHvmMode(u32);
    prefix "VCPU_HVM_" {
        /// 32-bit.
        MODE_32B = 0,
        /// 64-bit.
        MODE_64B = 1,
    }
}

abi_unions! {
    in UNIONS;
    /// By mode.
    pub union VcpuHvmContextCpuRegs = "vcpu_hvm_context.cpu_regs" [u64; 15] {
        x86_32: VcpuHvmX86_32,
        x86_64: VcpuHvmX86_64,
    }
}

abi_structs! {
    in STRUCTS;
    /// Protected mode without or with paging. Segment attributes are as in a descriptor.
    pub struct VcpuHvmX86_32 = "vcpu_hvm_x86_32" [120] {
        pub eax: u32,
        pub ecx: u32,
        pub edx: u32,
        pub ebx: u32,
        pub esp: u32,
        pub ebp: u32,
        pub esi: u32,
        pub edi: u32,
        pub eip: u32,
        pub eflags: u32,
        pub cr0: u32,
        pub cr3: u32,
        pub cr4: u32,
        pub pad1: u32,
        pub efer: u64,
        pub cs_base: u32,
        pub ds_base: u32,
        pub ss_base: u32,
        pub es_base: u32,
        pub tr_base: u32,
        pub cs_limit: u32,
        pub ds_limit: u32,
        pub ss_limit: u32,
        pub es_limit: u32,
        pub tr_limit: u32,
        pub cs_ar: u16,
        pub ds_ar: u16,
        pub ss_ar: u16,
        pub es_ar: u16,
        pub tr_ar: u16,
        pub pad2: [u16; 3],
    }
    /// Long mode with flat segments.
    pub struct VcpuHvmX86_64 = "vcpu_hvm_x86_64" [112] {
        pub rax: u64,
        pub rcx: u64,
        pub rdx: u64,
        pub rbx: u64,
        pub rsp: u64,
        pub rbp: u64,
        pub rsi: u64,
        pub rdi: u64,
        pub rip: u64,
        pub rflags: u64,
        pub cr0: u64,
        pub cr3: u64,
        pub cr4: u64,
        pub efer: u64,
    }
    /// Argument of `VCPUOP_initialise`.
    pub struct VcpuHvmContext = "vcpu_hvm_context" [128] {
        pub mode: VcpuHvmMode,
        pub pad: u32,
        pub cpu_regs: VcpuHvmContextCpuRegs,
    }
}

layout_entries! { types: [STRUCTS, UNIONS], constants: [VcpuHvmMode::CODES] }
