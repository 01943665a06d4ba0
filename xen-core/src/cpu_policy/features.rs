//! Every processor feature of the contract and who may see it.
//!
//! Positions and default visibility are those of the public header arch-x86/cpufeatureset.h (annotations A, a, S, H of
//! each line), whose order is also that of XEN_SYSCTL_get_cpu_featureset. A PV guest is shown `A` by default and `a`
//! when its configuration asks for it. Unlike there, features whose MSRs are not virtualised (MSR_SPEC_CTRL) are hidden.

/// Words of a feature set.
pub const WORDS: usize = 19;

/// Who sees a feature that the host has.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Visibility {
    /// No PV guest.
    Hidden,
    /// A PV guest whose configuration asks for it.
    Max,
    /// Every PV guest.
    Default,
}

/// A feature: its place in a feature set.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Feature {
    /// Word.
    pub word: usize,
    /// Bit within the word.
    pub bit: u32,
}

impl Feature {
    /// The bit as a mask of its word.
    #[must_use]
    pub const fn mask(self) -> u32 {
        1 << self.bit
    }
}

/// One bit per feature, in the order of the contract.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct FeatureSet(pub [u32; WORDS]);

impl FeatureSet {
    /// Whether `feature` is in the set.
    #[must_use]
    pub const fn has(&self, feature: Feature) -> bool {
        self.0[feature.word] & feature.mask() != 0
    }

    /// Puts `feature` in or takes it out.
    pub const fn set(&mut self, feature: Feature, on: bool) {
        if on {
            self.0[feature.word] |= feature.mask();
        } else {
            self.0[feature.word] &= !feature.mask();
        }
    }

    /// The features in both sets.
    #[must_use]
    pub fn and(&self, other: &Self) -> Self {
        Self(core::array::from_fn(|word| self.0[word] & other.0[word]))
    }

    /// Takes out every feature that needs another one which is not in the set.
    pub fn drop_unsupported(&mut self) {
        // Each round removes at least one feature or is the last; chains in the table are far shorter than the bound.
        for _ in 0..DEPENDENCIES.len() {
            let before = *self;
            for &(feature, needs) in DEPENDENCIES {
                if !self.has(needs) {
                    self.set(feature, false);
                }
            }
            if *self == before {
                break;
            }
        }
    }
}

macro_rules! features {
    ($($name:ident = $word:literal : $bit:literal, $visibility:ident, $doc:literal;)*) => {
        impl Feature {
            $(
                #[doc = concat!($doc, ".")]
                pub const $name: Self = Self { word: $word, bit: $bit };
            )*
        }

        const TABLE: &[(Feature, Visibility)] = &[$((Feature::$name, Visibility::$visibility)),*];
    };
}

const fn visible(default_only: bool) -> FeatureSet {
    let mut set = FeatureSet([0; WORDS]);
    let mut i = 0;
    while i < TABLE.len() {
        let (feature, visibility) = TABLE[i];
        match visibility {
            Visibility::Default => set.set(feature, true),
            Visibility::Max => set.set(feature, !default_only),
            Visibility::Hidden => {}
        }
        i += 1;
    }
    set
}

/// All that a PV guest can ask for.
pub const PV_MAX: FeatureSet = visible(false);
/// What a PV guest gets unasked.
pub const PV_DEFAULT: FeatureSet = visible(true);

features! {
    // Word 0: leaf 1 EDX.
    FPU = 0:0, Default, "Onboard FPU";
    VME = 0:1, Hidden, "Virtual Mode Extensions";
    DE = 0:2, Default, "Debugging Extensions";
    PSE = 0:3, Hidden, "Page Size Extensions";
    TSC = 0:4, Default, "Time Stamp Counter";
    MSR = 0:5, Default, "Model-Specific Registers, RDMSR, WRMSR";
    PAE = 0:6, Default, "Physical Address Extensions";
    MCE = 0:7, Default, "Machine Check Architecture";
    CX8 = 0:8, Default, "CMPXCHG8 instruction";
    APIC = 0:9, Default, "Onboard APIC";
    SEP = 0:11, Default, "SYSENTER/SYSEXIT";
    MTRR = 0:12, Hidden, "Memory Type Range Registers";
    PGE = 0:13, Hidden, "Page Global Enable";
    MCA = 0:14, Default, "Machine Check Architecture";
    CMOV = 0:15, Default, "CMOV instruction (FCMOVCC and FCOMI too if FPU present)";
    PAT = 0:16, Default, "Page Attribute Table";
    PSE36 = 0:17, Hidden, "36-bit PSEs";
    CLFLUSH = 0:19, Default, "CLFLUSH instruction";
    DS = 0:21, Hidden, "Debug Store";
    ACPI = 0:22, Default, "ACPI via MSR";
    MMX = 0:23, Default, "Multimedia Extensions";
    FXSR = 0:24, Default, "FXSAVE and FXRSTOR instructions";
    SSE = 0:25, Default, "Streaming SIMD Extensions";
    SSE2 = 0:26, Default, "Streaming SIMD Extensions-2";
    SS = 0:27, Default, "CPU self snoop";
    HTT = 0:28, Default, "Hyper-Threading Technology";
    TM1 = 0:29, Hidden, "Thermal Monitor 1";
    PBE = 0:31, Hidden, "Pending Break Enable";
    // Word 1: leaf 1 ECX.
    SSE3 = 1:0, Default, "Streaming SIMD Extensions-3";
    PCLMULQDQ = 1:1, Default, "Carry-less multiplication";
    DTES64 = 1:2, Hidden, "64-bit Debug Store";
    MONITOR = 1:3, Hidden, "Monitor/Mwait support";
    DSCPL = 1:4, Hidden, "CPL Qualified Debug Store";
    VMX = 1:5, Hidden, "Virtual Machine Extensions";
    SMX = 1:6, Hidden, "Safer Mode Extensions";
    EIST = 1:7, Hidden, "Enhanced SpeedStep";
    TM2 = 1:8, Hidden, "Thermal Monitor 2";
    SSSE3 = 1:9, Default, "Supplemental Streaming SIMD Extensions-3";
    FMA = 1:12, Default, "Fused Multiply Add";
    CX16 = 1:13, Default, "CMPXCHG16B";
    XTPR = 1:14, Hidden, "Send Task Priority Messages";
    PDCM = 1:15, Hidden, "Perf/Debug Capability MSR";
    PCID = 1:17, Hidden, "Process Context ID";
    DCA = 1:18, Hidden, "Direct Cache Access";
    SSE4_1 = 1:19, Default, "Streaming SIMD Extensions 4.1";
    SSE4_2 = 1:20, Default, "Streaming SIMD Extensions 4.2";
    X2APIC = 1:21, Hidden, "Extended xAPIC";
    MOVBE = 1:22, Default, "movbe instruction";
    POPCNT = 1:23, Default, "POPCNT instruction";
    TSC_DEADLINE = 1:24, Hidden, "TSC Deadline Timer";
    AESNI = 1:25, Default, "AES instructions";
    XSAVE = 1:26, Default, "XSAVE/XRSTOR/XSETBV/XGETBV";
    OSXSAVE = 1:27, Hidden, "OSXSAVE";
    AVX = 1:28, Default, "Advanced Vector Extensions";
    F16C = 1:29, Default, "Half-precision convert instruction";
    RDRAND = 1:30, Default, "Digital Random Number Generator";
    HYPERVISOR = 1:31, Default, "Running under some hypervisor";
    // Word 2: leaf 0x80000001 EDX.
    SYSCALL = 2:11, Default, "SYSCALL/SYSRET";
    NX = 2:20, Default, "Execute Disable";
    MMXEXT = 2:22, Default, "AMD MMX extensions";
    FFXSR = 2:25, Default, "FFXSR instruction optimizations";
    PAGE1GB = 2:26, Hidden, "1Gb large page support";
    RDTSCP = 2:27, Default, "RDTSCP";
    LM = 2:29, Default, "Long Mode (x86-64)";
    AMD_3DNOWEXT = 2:30, Default, "AMD 3DNow! extensions";
    AMD_3DNOW = 2:31, Default, "3DNow!";
    // Word 3: leaf 0x80000001 ECX.
    LAHF_LM = 3:0, Default, "LAHF/SAHF in long mode";
    CMP_LEGACY = 3:1, Default, "If yes HyperThreading not valid";
    SVM = 3:2, Hidden, "Secure virtual machine";
    EXTAPIC = 3:3, Hidden, "Extended APIC space";
    CR8_LEGACY = 3:4, Hidden, "CR8 in 32-bit mode";
    ABM = 3:5, Default, "Advanced bit manipulation";
    SSE4A = 3:6, Default, "SSE-4A";
    MISALIGNSSE = 3:7, Default, "Misaligned SSE mode";
    AMD_3DNOWPREFETCH = 3:8, Default, "3DNow prefetch instructions";
    OSVW = 3:9, Hidden, "OS Visible Workaround";
    IBS = 3:10, Hidden, "Instruction Based Sampling";
    XOP = 3:11, Default, "extended AVX instructions";
    SKINIT = 3:12, Hidden, "SKINIT/STGI instructions";
    WDT = 3:13, Hidden, "Watchdog timer";
    LWP = 3:15, Hidden, "Light Weight Profiling";
    FMA4 = 3:16, Default, "4 operands MAC instructions";
    NODEID_MSR = 3:19, Hidden, "NodeId MSR";
    TBM = 3:21, Default, "trailing bit manipulations";
    TOPOEXT = 3:22, Hidden, "topology extensions CPUID leafs";
    DBEXT = 3:26, Default, "data breakpoint extension";
    MONITORX = 3:29, Hidden, "MONITOR extension (MONITORX/MWAITX)";
    // Word 4: leaf 0xd.1 EAX.
    XSAVEOPT = 4:0, Default, "XSAVEOPT instruction";
    XSAVEC = 4:1, Default, "XSAVEC/XRSTORC instructions";
    XGETBV1 = 4:2, Default, "XGETBV with %ecx=1";
    XSAVES = 4:3, Hidden, "XSAVES/XRSTORS instructions";
    // Word 5: leaf 7.0 EBX.
    FSGSBASE = 5:0, Default, "{RD,WR}{FS,GS}BASE instructions";
    TSC_ADJUST = 5:1, Hidden, "TSC_ADJUST MSR available";
    SGX = 5:2, Hidden, "Software Guard extensions";
    BMI1 = 5:3, Default, "1st bit manipulation extensions";
    HLE = 5:4, Max, "Hardware Lock Elision";
    AVX2 = 5:5, Default, "AVX2 instructions";
    FDP_EXCP_ONLY = 5:6, Hidden, "x87 FDP only updated on exception";
    SMEP = 5:7, Hidden, "Supervisor Mode Execution Protection";
    BMI2 = 5:8, Default, "2nd bit manipulation extensions";
    ERMS = 5:9, Default, "Enhanced REP MOVSB/STOSB";
    INVPCID = 5:10, Hidden, "Invalidate Process Context ID";
    RTM = 5:11, Default, "Restricted Transactional Memory";
    PQM = 5:12, Hidden, "Platform QoS Monitoring";
    NO_FPU_SEL = 5:13, Hidden, "FPU CS/DS stored as zero";
    MPX = 5:14, Hidden, "Memory Protection Extensions";
    PQE = 5:15, Hidden, "Platform QoS Enforcement";
    AVX512F = 5:16, Default, "AVX-512 Foundation Instructions";
    AVX512DQ = 5:17, Default, "AVX-512 Doubleword & Quadword Instrs";
    RDSEED = 5:18, Default, "RDSEED instruction";
    ADX = 5:19, Default, "ADCX, ADOX instructions";
    SMAP = 5:20, Hidden, "Supervisor Mode Access Prevention";
    AVX512_IFMA = 5:21, Default, "AVX-512 Integer Fused Multiply Add";
    CLFLUSHOPT = 5:23, Default, "CLFLUSHOPT instruction";
    CLWB = 5:24, Default, "CLWB instruction";
    PROC_TRACE = 5:25, Hidden, "Processor Trace";
    AVX512PF = 5:26, Default, "AVX-512 Prefetch Instructions";
    AVX512ER = 5:27, Default, "AVX-512 Exponent & Reciprocal Instrs";
    AVX512CD = 5:28, Default, "AVX-512 Conflict Detection Instrs";
    SHA = 5:29, Default, "SHA1 & SHA256 instructions";
    AVX512BW = 5:30, Default, "AVX-512 Byte and Word Instructions";
    AVX512VL = 5:31, Default, "AVX-512 Vector Length Extensions";
    // Word 6: leaf 7.0 ECX.
    PREFETCHWT1 = 6:0, Default, "PREFETCHWT1 instruction";
    AVX512_VBMI = 6:1, Default, "AVX-512 Vector Byte Manipulation Instrs";
    UMIP = 6:2, Hidden, "User Mode Instruction Prevention";
    PKU = 6:3, Hidden, "Protection Keys for Userspace";
    OSPKE = 6:4, Hidden, "OS Protection Keys Enable";
    AVX512_VBMI2 = 6:6, Default, "Additional AVX-512 Vector Byte Manipulation Instrs";
    CET_SS = 6:7, Hidden, "CET - Shadow Stacks";
    GFNI = 6:8, Default, "Galois Field Instrs";
    VAES = 6:9, Default, "Vector AES Instrs";
    VPCLMULQDQ = 6:10, Default, "Vector Carry-less Multiplication Instrs";
    AVX512_VNNI = 6:11, Default, "Vector Neural Network Instrs";
    AVX512_BITALG = 6:12, Default, "Support for VPOPCNTB, VPOPCNTW and VPSHUFBITQMB";
    AVX512_VPOPCNTDQ = 6:14, Default, "POPCNT for vectors of DW/QW";
    RDPID = 6:22, Default, "RDPID instruction";
    CLDEMOTE = 6:25, Default, "CLDEMOTE instruction";
    MOVDIRI = 6:27, Max, "MOVDIRI instruction";
    MOVDIR64B = 6:28, Max, "MOVDIR64B instruction";
    ENQCMD = 6:29, Hidden, "ENQCMD{,S} instructions";
    // Word 7: leaf 0x80000007 EDX.
    HW_PSTATE = 7:7, Hidden, "Hardware Pstates";
    ITSC = 7:8, Max, "Invariant TSC";
    CPB = 7:9, Hidden, "Core Performance Boost (Turbo)";
    EFRO = 7:10, Hidden, "APERF/MPERF Read Only interface";
    // Word 8: leaf 0x80000008 EBX.
    CLZERO = 8:0, Default, "CLZERO instruction";
    RSTR_FP_ERR_PTRS = 8:2, Default, "(F)X{SAVE,RSTOR} always saves/restores FPU Error pointers";
    WBNOINVD = 8:9, Hidden, "WBNOINVD instruction";
    IBPB = 8:12, Default, "IBPB support only (no IBRS, used by AMD)";
    IBRS = 8:14, Hidden, "MSR_SPEC_CTRL.IBRS";
    AMD_STIBP = 8:15, Hidden, "MSR_SPEC_CTRL.STIBP";
    IBRS_ALWAYS = 8:16, Hidden, "IBRS preferred always on";
    STIBP_ALWAYS = 8:17, Hidden, "STIBP preferred always on";
    IBRS_FAST = 8:18, Hidden, "IBRS preferred over software options";
    IBRS_SAME_MODE = 8:19, Hidden, "IBRS provides same-mode protection";
    NO_LMSL = 8:20, Hidden, "EFER.LMSLE no longer supported";
    AMD_PPIN = 8:23, Hidden, "Protected Processor Inventory Number";
    AMD_SSBD = 8:24, Hidden, "MSR_SPEC_CTRL.SSBD available";
    VIRT_SSBD = 8:25, Hidden, "MSR_VIRT_SPEC_CTRL.SSBD";
    SSB_NO = 8:26, Default, "Hardware not vulnerable to SSB";
    PSFD = 8:28, Hidden, "MSR_SPEC_CTRL.PSFD";
    BTC_NO = 8:29, Default, "Hardware not vulnerable to Branch Type Confusion";
    IBPB_RET = 8:30, Default, "IBPB clears RSB/RAS too";
    // Word 9: leaf 7.0 EDX.
    AVX512_4VNNIW = 9:2, Default, "AVX512 Neural Network Instructions";
    AVX512_4FMAPS = 9:3, Default, "AVX512 Multiply Accumulation Single Precision";
    FSRM = 9:4, Default, "Fast Short REP MOVS";
    AVX512_VP2INTERSECT = 9:8, Max, "VP2INTERSECT{D,Q} insns";
    SRBDS_CTRL = 9:9, Hidden, "MSR_MCU_OPT_CTRL and RNGDS_MITG_DIS";
    MD_CLEAR = 9:10, Default, "VERW clears microarchitectural buffers";
    RTM_ALWAYS_ABORT = 9:11, Hidden, "RTM disabled (but XBEGIN wont fault)";
    TSX_FORCE_ABORT = 9:13, Hidden, "MSR_TSX_FORCE_ABORT.RTM_ABORT";
    SERIALIZE = 9:14, Default, "SERIALIZE insn";
    HYBRID = 9:15, Hidden, "Heterogeneous platform";
    TSXLDTRK = 9:16, Max, "TSX load tracking suspend/resume insns";
    CET_IBT = 9:20, Hidden, "CET - Indirect Branch Tracking";
    AVX512_FP16 = 9:23, Hidden, "AVX512 FP16 instructions";
    IBRSB = 9:26, Hidden, "IBRS and IBPB support (used by Intel)";
    STIBP = 9:27, Hidden, "STIBP";
    L1D_FLUSH = 9:28, Hidden, "MSR_FLUSH_CMD and L1D flush";
    ARCH_CAPS = 9:29, Default, "IA32_ARCH_CAPABILITIES MSR";
    CORE_CAPS = 9:30, Hidden, "IA32_CORE_CAPABILITIES MSR";
    SSBD = 9:31, Hidden, "MSR_SPEC_CTRL.SSBD available";
    // Word 10: leaf 7.1 EAX.
    AVX_VNNI = 10:4, Default, "AVX-VNNI Instructions";
    AVX512_BF16 = 10:5, Default, "AVX512 BFloat16 Instructions";
    FZRM = 10:10, Default, "Fast Zero-length REP MOVSB";
    FSRS = 10:11, Default, "Fast Short REP STOSB";
    FSRCS = 10:12, Default, "Fast Short REP CMPSB/SCASB";
    // Word 11: leaf 0x80000021 EAX.
    LFENCE_DISPATCH = 11:2, Default, "LFENCE always serializing";
    VERW_CLEAR = 11:5, Default, "VERW clears microarchitectural buffers";
    NSCB = 11:6, Default, "Null Selector Clears Base (and limit too)";
    AUTO_IBRS = 11:8, Hidden, "Automatic IBRS";
    SBPB = 11:27, Default, "Selective Branch Predictor Barrier";
    IBPB_BRTYPE = 11:28, Default, "IBPB flushes Branch Type predictions too";
    SRSO_NO = 11:29, Default, "Hardware not vulnerable to Speculative Return Stack Overflow";
    SRSO_US_NO = 11:30, Default, "Hardware not vulnerable to SRSO across the User/Supervisor boundary";
    SRSO_MSR_FIX = 11:31, Hidden, "MSR_BP_CFG.BP_SPEC_REDUCE available";
    // Word 12: leaf 7.1 EBX.
    INTEL_PPIN = 12:0, Hidden, "Protected Processor Inventory Number";
    // Word 13: leaf 7.2 EDX.
    INTEL_PSFD = 13:0, Hidden, "MSR_SPEC_CTRL.PSFD";
    IPRED_CTRL = 13:1, Hidden, "MSR_SPEC_CTRL.IPRED_DIS_*";
    RRSBA_CTRL = 13:2, Hidden, "MSR_SPEC_CTRL.RRSBA_DIS_*";
    BHI_CTRL = 13:4, Hidden, "MSR_SPEC_CTRL.BHI_DIS_S";
    MCDT_NO = 13:5, Default, "MCDT_NO";
    // Word 15: leaf 7.1 EDX.
    CET_SSS = 15:18, Hidden, "CET Supervisor Shadow Stacks safe to use";
    // Word 16: MSR_ARCH_CAPABILITIES, bits 0-63 over two words.
    RDCL_NO = 16:0, Default, "No Rogue Data Cache Load (Meltdown)";
    EIBRS = 16:1, Default, "Enhanced IBRS";
    RSBA = 16:2, Default, "RSB Alternative (Retpoline not safe)";
    SKIP_L1DFL = 16:3, Hidden, "Don't need to flush L1D on VMEntry";
    INTEL_SSB_NO = 16:4, Default, "No Speculative Store Bypass";
    MDS_NO = 16:5, Default, "No Microarchitectural Data Sampling";
    IF_PSCHANGE_MC_NO = 16:6, Default, "No Instruction fetch #MC";
    TSX_CTRL = 16:7, Hidden, "MSR_TSX_CTRL";
    TAA_NO = 16:8, Default, "No TSX Async Abort";
    MCU_CTRL = 16:9, Hidden, "MSR_MCU_CTRL";
    MISC_PKG_CTRL = 16:10, Hidden, "MSR_MISC_PKG_CTRL";
    ENERGY_FILTERING = 16:11, Hidden, "MSR_MISC_PKG_CTRL.ENERGY_FILTERING";
    DOITM = 16:12, Hidden, "Data Operand Invariant Timing Mode";
    SBDR_SSDP_NO = 16:13, Default, "No Shared Buffer Data Read or Sideband Stale Data Propagation";
    FBSDP_NO = 16:14, Default, "No Fill Buffer Stale Data Propagation";
    PSDP_NO = 16:15, Default, "No Primary Stale Data Propagation";
    FB_CLEAR = 16:17, Default, "Fill Buffers cleared by VERW";
    FB_CLEAR_CTRL = 16:18, Hidden, "MSR_OPT_CPU_CTRL.FB_CLEAR_DIS";
    RRSBA = 16:19, Default, "Restricted RSB Alternative";
    BHI_NO = 16:20, Default, "No Branch History Injection";
    XAPIC_STATUS = 16:21, Hidden, "MSR_XAPIC_DISABLE_STATUS";
    OVRCLK_STATUS = 16:23, Hidden, "MSR_OVERCLOCKING_STATUS";
    PBRSB_NO = 16:24, Default, "No Post-Barrier RSB predictions";
    GDS_CTRL = 16:25, Hidden, "MCU_OPT_CTRL.GDS_MIT_{DIS,LOCK}";
    GDS_NO = 16:26, Default, "No Gather Data Sampling";
    RFDS_NO = 16:27, Default, "No Register File Data Sampling";
    RFDS_CLEAR = 16:28, Default, "Register File(s) cleared by VERW";
    ITS_NO = 17:30, Default, "No Indirect Target Selection";
    // Word 18: leaf 0x80000021 ECX.
    TSA_SQ_NO = 18:1, Default, "No Store Queue Transitive Scheduler Attacks";
    TSA_L1_NO = 18:2, Default, "No L1D Transitive Scheduler Attacks";
}

/// `(a, b)`: a is of no use, or does not exist, without b.
const DEPENDENCIES: &[(Feature, Feature)] = &[
    (Feature::CX16, Feature::CX8),
    (Feature::CX16, Feature::LM),
    (Feature::LM, Feature::PAE),
    (Feature::LM, Feature::SSE2),
    (Feature::NX, Feature::PAE),
    (Feature::LAHF_LM, Feature::LM),
    (Feature::FSGSBASE, Feature::LM),
    (Feature::SSE, Feature::FXSR),
    (Feature::FFXSR, Feature::FXSR),
    (Feature::SSE2, Feature::SSE),
    (Feature::MISALIGNSSE, Feature::SSE),
    (Feature::SSE3, Feature::SSE2),
    (Feature::PCLMULQDQ, Feature::SSE2),
    (Feature::AESNI, Feature::SSE2),
    (Feature::SHA, Feature::SSE2),
    (Feature::GFNI, Feature::SSE2),
    (Feature::SSE4A, Feature::SSE3),
    (Feature::SSSE3, Feature::SSE3),
    (Feature::SSE4_1, Feature::SSSE3),
    (Feature::SSE4_2, Feature::SSE4_1),
    (Feature::MMX, Feature::FPU),
    (Feature::MMXEXT, Feature::MMX),
    (Feature::AMD_3DNOW, Feature::MMX),
    (Feature::AMD_3DNOWEXT, Feature::AMD_3DNOW),
    (Feature::XSAVEOPT, Feature::XSAVE),
    (Feature::XSAVEC, Feature::XSAVE),
    (Feature::XGETBV1, Feature::XSAVE),
    (Feature::AVX, Feature::XSAVE),
    (Feature::AVX, Feature::SSE),
    (Feature::FMA, Feature::AVX),
    (Feature::FMA4, Feature::AVX),
    (Feature::F16C, Feature::AVX),
    (Feature::XOP, Feature::AVX),
    (Feature::AVX2, Feature::AVX),
    (Feature::AVX_VNNI, Feature::AVX2),
    (Feature::VAES, Feature::AVX),
    (Feature::VPCLMULQDQ, Feature::AVX),
    (Feature::VAES, Feature::AESNI),
    (Feature::VPCLMULQDQ, Feature::PCLMULQDQ),
    (Feature::AVX512F, Feature::AVX2),
    (Feature::AVX512DQ, Feature::AVX512F),
    (Feature::AVX512_IFMA, Feature::AVX512F),
    (Feature::AVX512PF, Feature::AVX512F),
    (Feature::AVX512ER, Feature::AVX512F),
    (Feature::AVX512CD, Feature::AVX512F),
    (Feature::AVX512BW, Feature::AVX512F),
    (Feature::AVX512VL, Feature::AVX512F),
    (Feature::AVX512_VNNI, Feature::AVX512F),
    (Feature::AVX512_VPOPCNTDQ, Feature::AVX512F),
    (Feature::AVX512_4VNNIW, Feature::AVX512F),
    (Feature::AVX512_4FMAPS, Feature::AVX512F),
    (Feature::AVX512_VP2INTERSECT, Feature::AVX512F),
    (Feature::AVX512_VBMI, Feature::AVX512BW),
    (Feature::AVX512_VBMI2, Feature::AVX512BW),
    (Feature::AVX512_BITALG, Feature::AVX512BW),
    (Feature::AVX512_BF16, Feature::AVX512BW),
    (Feature::TSXLDTRK, Feature::RTM),
    (Feature::IBPB_RET, Feature::IBPB),
    (Feature::X2APIC, Feature::APIC),
    (Feature::TSC_DEADLINE, Feature::APIC),
    (Feature::TSC_DEADLINE, Feature::TSC),
    (Feature::TSC_ADJUST, Feature::TSC),
    (Feature::PSE36, Feature::PSE),
    (Feature::PCID, Feature::LM),
    (Feature::PAGE1GB, Feature::LM),
    (Feature::PKU, Feature::XSAVE),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn features_that_break_linux_are_never_visible() {
        for feature in [
            Feature::PCID,
            Feature::INVPCID,
            Feature::PSE,
            Feature::PSE36,
            Feature::PAGE1GB,
            Feature::PGE,
            Feature::VME,
            Feature::SMEP,
            Feature::SMAP,
            Feature::UMIP,
            Feature::PKU,
            Feature::X2APIC,
            Feature::TSC_DEADLINE,
            Feature::MTRR,
            Feature::XSAVES,
            Feature::CET_SS,
            Feature::CET_IBT,
            Feature::TSC_ADJUST,
            Feature::MONITOR,
            Feature::VMX,
            Feature::SVM,
            Feature::TOPOEXT,
            Feature::ENQCMD,
            Feature::MPX,
        ] {
            assert!(!PV_MAX.has(feature), "{feature:?}");
        }
        // LA57 and whatever is newer than the contract has no name and so no bit.
        assert_eq!(PV_MAX.0[6] & 1 << 16, 0);
    }

    #[test]
    fn default_is_a_subset_of_max() {
        assert_eq!(PV_DEFAULT.and(&PV_MAX), PV_DEFAULT);
        assert!(PV_MAX.has(Feature::ITSC) && !PV_DEFAULT.has(Feature::ITSC));
        assert!(PV_DEFAULT.has(Feature::DBEXT) && PV_DEFAULT.has(Feature::FSGSBASE));
    }

    #[test]
    fn dropping_xsave_drops_the_whole_chain() {
        let mut set = FeatureSet([u32::MAX; WORDS]);
        set.set(Feature::XSAVE, false);
        set.drop_unsupported();
        for feature in [
            Feature::AVX,
            Feature::AVX2,
            Feature::AVX512F,
            Feature::AVX512_VBMI,
            Feature::XSAVEC,
        ] {
            assert!(!set.has(feature));
        }
        assert!(set.has(Feature::SSE4_2) && set.has(Feature::LM));
    }
}
