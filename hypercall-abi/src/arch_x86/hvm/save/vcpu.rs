//! `arch-x86/hvm/save.h`: saved state of vCPUs.

flags! {
    /// `hvm_hw_cpu.flags`.
    pub struct HvmHwCpuFlags(u32);
    prefix "XEN_X86_" {
        /// `fpu_regs` is valid.
        FPU_INITIALISED = 1 << 0,
    }
}

constants! {
    in CONSTANTS;
    prefix "" {
        /// Variable MTRRs.
        MTRR_VCNT: usize = 8,
        /// Fixed MTRRs.
        NUM_FIXED_MSR: usize = 11,
    }
}

abi_structs! {
    in STRUCTS;
    /// Registers.
    pub struct HvmHwCpu = "hvm_hw_cpu" [1032] {
        /// FXSAVE format.
        pub fpu_regs: [u8; 512],
        pub rax: u64,
        pub rbx: u64,
        pub rcx: u64,
        pub rdx: u64,
        pub rbp: u64,
        pub rsi: u64,
        pub rdi: u64,
        pub rsp: u64,
        pub r8: u64,
        pub r9: u64,
        pub r10: u64,
        pub r11: u64,
        pub r12: u64,
        pub r13: u64,
        pub r14: u64,
        pub r15: u64,
        pub rip: u64,
        pub rflags: u64,
        pub cr0: u64,
        pub cr2: u64,
        pub cr3: u64,
        pub cr4: u64,
        pub dr0: u64,
        pub dr1: u64,
        pub dr2: u64,
        pub dr3: u64,
        pub dr6: u64,
        pub dr7: u64,
        pub cs_sel: u32,
        pub ds_sel: u32,
        pub es_sel: u32,
        pub fs_sel: u32,
        pub gs_sel: u32,
        pub ss_sel: u32,
        pub tr_sel: u32,
        pub ldtr_sel: u32,
        pub cs_limit: u32,
        pub ds_limit: u32,
        pub es_limit: u32,
        pub fs_limit: u32,
        pub gs_limit: u32,
        pub ss_limit: u32,
        pub tr_limit: u32,
        pub ldtr_limit: u32,
        pub idtr_limit: u32,
        pub gdtr_limit: u32,
        pub cs_base: u64,
        pub ds_base: u64,
        pub es_base: u64,
        pub fs_base: u64,
        pub gs_base: u64,
        pub ss_base: u64,
        pub tr_base: u64,
        pub ldtr_base: u64,
        pub idtr_base: u64,
        pub gdtr_base: u64,
        pub cs_arbytes: u32,
        pub ds_arbytes: u32,
        pub es_arbytes: u32,
        pub fs_arbytes: u32,
        pub gs_arbytes: u32,
        pub ss_arbytes: u32,
        pub tr_arbytes: u32,
        pub ldtr_arbytes: u32,
        pub sysenter_cs: u64,
        pub sysenter_esp: u64,
        pub sysenter_eip: u64,
        pub shadow_gs: u64,
        pub msr_flags: u64,
        pub msr_lstar: u64,
        pub msr_star: u64,
        pub msr_cstar: u64,
        pub msr_syscall_mask: u64,
        pub msr_efer: u64,
        pub msr_tsc_aux: u64,
        /// Guest TSC.
        pub tsc: u64,
        /// Vector, type, error-code-valid and valid bits, as VMX and SVM define them; C has fields for them in a union.
        pub pending_event: u32,
        /// Of the pending event.
        pub error_code: u32,
        /// [`HvmHwCpuFlags`].
        pub flags: u32,
        pub pad0: u32,
    }
    /// Registers as older hypervisors saved them.
    pub struct HvmHwCpuCompat = "hvm_hw_cpu_compat" [1016] {
        /// FXSAVE format.
        pub fpu_regs: [u8; 512],
        pub rax: u64,
        pub rbx: u64,
        pub rcx: u64,
        pub rdx: u64,
        pub rbp: u64,
        pub rsi: u64,
        pub rdi: u64,
        pub rsp: u64,
        pub r8: u64,
        pub r9: u64,
        pub r10: u64,
        pub r11: u64,
        pub r12: u64,
        pub r13: u64,
        pub r14: u64,
        pub r15: u64,
        pub rip: u64,
        pub rflags: u64,
        pub cr0: u64,
        pub cr2: u64,
        pub cr3: u64,
        pub cr4: u64,
        pub dr0: u64,
        pub dr1: u64,
        pub dr2: u64,
        pub dr3: u64,
        pub dr6: u64,
        pub dr7: u64,
        pub cs_sel: u32,
        pub ds_sel: u32,
        pub es_sel: u32,
        pub fs_sel: u32,
        pub gs_sel: u32,
        pub ss_sel: u32,
        pub tr_sel: u32,
        pub ldtr_sel: u32,
        pub cs_limit: u32,
        pub ds_limit: u32,
        pub es_limit: u32,
        pub fs_limit: u32,
        pub gs_limit: u32,
        pub ss_limit: u32,
        pub tr_limit: u32,
        pub ldtr_limit: u32,
        pub idtr_limit: u32,
        pub gdtr_limit: u32,
        pub cs_base: u64,
        pub ds_base: u64,
        pub es_base: u64,
        pub fs_base: u64,
        pub gs_base: u64,
        pub ss_base: u64,
        pub tr_base: u64,
        pub ldtr_base: u64,
        pub idtr_base: u64,
        pub gdtr_base: u64,
        pub cs_arbytes: u32,
        pub ds_arbytes: u32,
        pub es_arbytes: u32,
        pub fs_arbytes: u32,
        pub gs_arbytes: u32,
        pub ss_arbytes: u32,
        pub tr_arbytes: u32,
        pub ldtr_arbytes: u32,
        pub sysenter_cs: u64,
        pub sysenter_esp: u64,
        pub sysenter_eip: u64,
        pub shadow_gs: u64,
        pub msr_flags: u64,
        pub msr_lstar: u64,
        pub msr_star: u64,
        pub msr_cstar: u64,
        pub msr_syscall_mask: u64,
        pub msr_efer: u64,
        pub tsc: u64,
        /// As in [`HvmHwCpu`].
        pub pending_event: u32,
        pub error_code: u32,
    }
    /// Memory type MSRs.
    pub struct HvmHwMtrr = "hvm_hw_mtrr" [240] {
        pub msr_pat_cr: u64,
        pub msr_mtrr_var: [u64; 16],
        pub msr_mtrr_fixed: [u64; 11],
        pub msr_mtrr_cap: u64,
        pub msr_mtrr_def_type: u64,
    }
    /// Legacy region.
    pub struct HvmHwCpuXsaveSaveAreaFpuSse = "hvm_hw_cpu_xsave.save_area.fpu_sse" [512] {
        pub x: [u8; 512],
    }
    /// Header of the area.
    pub struct HvmHwCpuXsaveHdr = "hvm_hw_cpu_xsave_hdr" [64] {
        pub xstate_bv: u64,
        pub xcomp_bv: u64,
        pub reserved: [u64; 6],
    }
    /// The area.
    pub struct HvmHwCpuXsaveSaveArea = "hvm_hw_cpu_xsave.save_area" [576] {
        pub fpu_sse: HvmHwCpuXsaveSaveAreaFpuSse,
        pub xsave_hdr: HvmHwCpuXsaveHdr,
    }
    /// XSAVE state; the area goes on behind the header.
    pub struct HvmHwCpuXsave = "hvm_hw_cpu_xsave" [600] {
        /// Features of the host.
        pub xfeature_mask: u64,
        pub xcr0: u64,
        pub xcr0_accum: u64,
        pub save_area: HvmHwCpuXsaveSaveArea,
    }
    /// Microsoft's interface, per domain.
    pub struct HvmViridianDomainContext = "hvm_viridian_domain_context" [32] {
        pub hypercall_gpa: u64,
        pub guest_os_id: u64,
        pub time_ref_count: u64,
        pub reference_tsc: u64,
    }
    /// Microsoft's interface, per vCPU.
    pub struct HvmViridianVcpuContext = "hvm_viridian_vcpu_context" [216] {
        pub vp_assist_msr: u64,
        pub apic_assist_pending: u8,
        pub _pad: [u8; 7],
        pub simp_msr: u64,
        pub sint_msr: [u64; 16],
        pub stimer_config_msr: [u64; 4],
        pub stimer_count_msr: [u64; 4],
    }
    /// Machine-check state.
    pub struct HvmVmceVcpu = "hvm_vmce_vcpu" [32] {
        pub caps: u64,
        pub mci_ctl2_bank0: u64,
        pub mci_ctl2_bank1: u64,
        pub mcg_ext_ctl: u64,
    }
    /// TSC adjustment MSR.
    pub struct HvmTscAdjust = "hvm_tsc_adjust" [8] {
        pub tsc_adjust: u64,
    }
    /// One MSR.
    pub struct HvmOneMsr = "hvm_one_msr" [16] {
        pub index: u32,
        pub _rsvd: u32,
        pub val: u64,
    }
    /// Other MSRs.
    pub struct HvmMsr = "hvm_msr" [8] {
        /// Elements that follow.
        pub count: u32,
        pub _pad: [u8; 4],
        pub msr: [HvmOneMsr; 0],
    }
}

layout_entries! { types: [STRUCTS], constants: [HvmHwCpuFlags::CODES, CONSTANTS] }
