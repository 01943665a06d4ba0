//! `arch-x86/cpufeatureset.h`: processor features as bits of a bitmap of 32-bit words, each a register of a CPUID leaf.

codes! {
    /// Number of a feature: word times 32 plus bit. The words are registers of CPUID leaves and halves of an MSR.
    pub struct CpuFeature(u32);
    prefix "XEN_X86_FEATURE_" {
        /// Leaf 1, EDX, bit 0.
        FPU = 0,
        /// Leaf 1, EDX, bit 1.
        VME = 1,
        /// Leaf 1, EDX, bit 2.
        DE = 2,
        /// Leaf 1, EDX, bit 3.
        PSE = 3,
        /// Leaf 1, EDX, bit 4.
        TSC = 4,
        /// Leaf 1, EDX, bit 5.
        MSR = 5,
        /// Leaf 1, EDX, bit 6.
        PAE = 6,
        /// Leaf 1, EDX, bit 7.
        MCE = 7,
        /// Leaf 1, EDX, bit 8.
        CX8 = 8,
        /// Leaf 1, EDX, bit 9.
        APIC = 9,
        /// Leaf 1, EDX, bit 11.
        SEP = 11,
        /// Leaf 1, EDX, bit 12.
        MTRR = 12,
        /// Leaf 1, EDX, bit 13.
        PGE = 13,
        /// Leaf 1, EDX, bit 14.
        MCA = 14,
        /// Leaf 1, EDX, bit 15.
        CMOV = 15,
        /// Leaf 1, EDX, bit 16.
        PAT = 16,
        /// Leaf 1, EDX, bit 17.
        PSE36 = 17,
        /// Leaf 1, EDX, bit 19.
        CLFLUSH = 19,
        /// Leaf 1, EDX, bit 21.
        DS = 21,
        /// Leaf 1, EDX, bit 22.
        ACPI = 22,
        /// Leaf 1, EDX, bit 23.
        MMX = 23,
        /// Leaf 1, EDX, bit 24.
        FXSR = 24,
        /// Leaf 1, EDX, bit 25.
        SSE = 25,
        /// Leaf 1, EDX, bit 26.
        SSE2 = 26,
        /// Leaf 1, EDX, bit 27.
        SS = 27,
        /// Leaf 1, EDX, bit 28.
        HTT = 28,
        /// Leaf 1, EDX, bit 29.
        TM1 = 29,
        /// Leaf 1, EDX, bit 31.
        PBE = 31,
        /// Leaf 1, ECX, bit 0.
        SSE3 = 32,
        /// Leaf 1, ECX, bit 1.
        PCLMULQDQ = 33,
        /// Leaf 1, ECX, bit 2.
        DTES64 = 34,
        /// Leaf 1, ECX, bit 3.
        MONITOR = 35,
        /// Leaf 1, ECX, bit 4.
        DSCPL = 36,
        /// Leaf 1, ECX, bit 5.
        VMX = 37,
        /// Leaf 1, ECX, bit 6.
        SMX = 38,
        /// Leaf 1, ECX, bit 7.
        EIST = 39,
        /// Leaf 1, ECX, bit 8.
        TM2 = 40,
        /// Leaf 1, ECX, bit 9.
        SSSE3 = 41,
        /// Leaf 1, ECX, bit 12.
        FMA = 44,
        /// Leaf 1, ECX, bit 13.
        CX16 = 45,
        /// Leaf 1, ECX, bit 14.
        XTPR = 46,
        /// Leaf 1, ECX, bit 15.
        PDCM = 47,
        /// Leaf 1, ECX, bit 17.
        PCID = 49,
        /// Leaf 1, ECX, bit 18.
        DCA = 50,
        /// Leaf 1, ECX, bit 19.
        SSE4_1 = 51,
        /// Leaf 1, ECX, bit 20.
        SSE4_2 = 52,
        /// Leaf 1, ECX, bit 21.
        X2APIC = 53,
        /// Leaf 1, ECX, bit 22.
        MOVBE = 54,
        /// Leaf 1, ECX, bit 23.
        POPCNT = 55,
        /// Leaf 1, ECX, bit 24.
        TSC_DEADLINE = 56,
        /// Leaf 1, ECX, bit 25.
        AESNI = 57,
        /// Leaf 1, ECX, bit 26.
        XSAVE = 58,
        /// Leaf 1, ECX, bit 27.
        OSXSAVE = 59,
        /// Leaf 1, ECX, bit 28.
        AVX = 60,
        /// Leaf 1, ECX, bit 29.
        F16C = 61,
        /// Leaf 1, ECX, bit 30.
        RDRAND = 62,
        /// Leaf 1, ECX, bit 31.
        HYPERVISOR = 63,
        /// Leaf 0x80000001, EDX, bit 11.
        SYSCALL = 75,
        /// Leaf 0x80000001, EDX, bit 20.
        NX = 84,
        /// Leaf 0x80000001, EDX, bit 22.
        MMXEXT = 86,
        /// Leaf 0x80000001, EDX, bit 25.
        FFXSR = 89,
        /// Leaf 0x80000001, EDX, bit 26.
        PAGE1GB = 90,
        /// Leaf 0x80000001, EDX, bit 27.
        RDTSCP = 91,
        /// Leaf 0x80000001, EDX, bit 29.
        LM = 93,
        /// Leaf 0x80000001, ECX, bit 0.
        LAHF_LM = 96,
        /// Leaf 0x80000001, ECX, bit 1.
        CMP_LEGACY = 97,
        /// Leaf 0x80000001, ECX, bit 2.
        SVM = 98,
        /// Leaf 0x80000001, ECX, bit 3.
        EXTAPIC = 99,
        /// Leaf 0x80000001, ECX, bit 4.
        CR8_LEGACY = 100,
        /// Leaf 0x80000001, ECX, bit 5.
        ABM = 101,
        /// Leaf 0x80000001, ECX, bit 6.
        SSE4A = 102,
        /// Leaf 0x80000001, ECX, bit 7.
        MISALIGNSSE = 103,
        /// Leaf 0x80000001, ECX, bit 9.
        OSVW = 105,
        /// Leaf 0x80000001, ECX, bit 10.
        IBS = 106,
        /// Leaf 0x80000001, ECX, bit 11.
        XOP = 107,
        /// Leaf 0x80000001, ECX, bit 12.
        SKINIT = 108,
        /// Leaf 0x80000001, ECX, bit 13.
        WDT = 109,
        /// Leaf 0x80000001, ECX, bit 15.
        LWP = 111,
        /// Leaf 0x80000001, ECX, bit 16.
        FMA4 = 112,
        /// Leaf 0x80000001, ECX, bit 19.
        NODEID_MSR = 115,
        /// Leaf 0x80000001, ECX, bit 21.
        TBM = 117,
        /// Leaf 0x80000001, ECX, bit 22.
        TOPOEXT = 118,
        /// Leaf 0x80000001, ECX, bit 26.
        DBEXT = 122,
        /// Leaf 0x80000001, ECX, bit 29.
        MONITORX = 125,
        /// Leaf 0xd, sub-leaf 1, EAX, bit 0.
        XSAVEOPT = 128,
        /// Leaf 0xd, sub-leaf 1, EAX, bit 1.
        XSAVEC = 129,
        /// Leaf 0xd, sub-leaf 1, EAX, bit 2.
        XGETBV1 = 130,
        /// Leaf 0xd, sub-leaf 1, EAX, bit 3.
        XSAVES = 131,
        /// Leaf 7, EBX, bit 0.
        FSGSBASE = 160,
        /// Leaf 7, EBX, bit 1.
        TSC_ADJUST = 161,
        /// Leaf 7, EBX, bit 2.
        SGX = 162,
        /// Leaf 7, EBX, bit 3.
        BMI1 = 163,
        /// Leaf 7, EBX, bit 4.
        HLE = 164,
        /// Leaf 7, EBX, bit 5.
        AVX2 = 165,
        /// Leaf 7, EBX, bit 6.
        FDP_EXCP_ONLY = 166,
        /// Leaf 7, EBX, bit 7.
        SMEP = 167,
        /// Leaf 7, EBX, bit 8.
        BMI2 = 168,
        /// Leaf 7, EBX, bit 9.
        ERMS = 169,
        /// Leaf 7, EBX, bit 10.
        INVPCID = 170,
        /// Leaf 7, EBX, bit 11.
        RTM = 171,
        /// Leaf 7, EBX, bit 12.
        PQM = 172,
        /// Leaf 7, EBX, bit 13.
        NO_FPU_SEL = 173,
        /// Leaf 7, EBX, bit 14.
        MPX = 174,
        /// Leaf 7, EBX, bit 15.
        PQE = 175,
        /// Leaf 7, EBX, bit 16.
        AVX512F = 176,
        /// Leaf 7, EBX, bit 17.
        AVX512DQ = 177,
        /// Leaf 7, EBX, bit 18.
        RDSEED = 178,
        /// Leaf 7, EBX, bit 19.
        ADX = 179,
        /// Leaf 7, EBX, bit 20.
        SMAP = 180,
        /// Leaf 7, EBX, bit 21.
        AVX512_IFMA = 181,
        /// Leaf 7, EBX, bit 23.
        CLFLUSHOPT = 183,
        /// Leaf 7, EBX, bit 24.
        CLWB = 184,
        /// Leaf 7, EBX, bit 25.
        PROC_TRACE = 185,
        /// Leaf 7, EBX, bit 26.
        AVX512PF = 186,
        /// Leaf 7, EBX, bit 27.
        AVX512ER = 187,
        /// Leaf 7, EBX, bit 28.
        AVX512CD = 188,
        /// Leaf 7, EBX, bit 29.
        SHA = 189,
        /// Leaf 7, EBX, bit 30.
        AVX512BW = 190,
        /// Leaf 7, EBX, bit 31.
        AVX512VL = 191,
        /// Leaf 7, ECX, bit 0.
        PREFETCHWT1 = 192,
        /// Leaf 7, ECX, bit 1.
        AVX512_VBMI = 193,
        /// Leaf 7, ECX, bit 2.
        UMIP = 194,
        /// Leaf 7, ECX, bit 3.
        PKU = 195,
        /// Leaf 7, ECX, bit 4.
        OSPKE = 196,
        /// Leaf 7, ECX, bit 6.
        AVX512_VBMI2 = 198,
        /// Leaf 7, ECX, bit 7.
        CET_SS = 199,
        /// Leaf 7, ECX, bit 8.
        GFNI = 200,
        /// Leaf 7, ECX, bit 9.
        VAES = 201,
        /// Leaf 7, ECX, bit 10.
        VPCLMULQDQ = 202,
        /// Leaf 7, ECX, bit 11.
        AVX512_VNNI = 203,
        /// Leaf 7, ECX, bit 12.
        AVX512_BITALG = 204,
        /// Leaf 7, ECX, bit 14.
        AVX512_VPOPCNTDQ = 206,
        /// Leaf 7, ECX, bit 22.
        RDPID = 214,
        /// Leaf 7, ECX, bit 25.
        CLDEMOTE = 217,
        /// Leaf 7, ECX, bit 27.
        MOVDIRI = 219,
        /// Leaf 7, ECX, bit 28.
        MOVDIR64B = 220,
        /// Leaf 7, ECX, bit 29.
        ENQCMD = 221,
        /// Leaf 0x80000007, EDX, bit 7.
        HW_PSTATE = 231,
        /// Leaf 0x80000007, EDX, bit 8.
        ITSC = 232,
        /// Leaf 0x80000007, EDX, bit 9.
        CPB = 233,
        /// Leaf 0x80000007, EDX, bit 10.
        EFRO = 234,
        /// Leaf 0x80000008, EBX, bit 0.
        CLZERO = 0x100,
        /// Leaf 0x80000008, EBX, bit 2.
        RSTR_FP_ERR_PTRS = 0x102,
        /// Leaf 0x80000008, EBX, bit 9.
        WBNOINVD = 0x109,
        /// Leaf 0x80000008, EBX, bit 12.
        IBPB = 0x10c,
        /// Leaf 0x80000008, EBX, bit 14.
        IBRS = 270,
        /// Leaf 0x80000008, EBX, bit 15.
        AMD_STIBP = 0x10f,
        /// Leaf 0x80000008, EBX, bit 16.
        IBRS_ALWAYS = 0x110,
        /// Leaf 0x80000008, EBX, bit 17.
        STIBP_ALWAYS = 0x111,
        /// Leaf 0x80000008, EBX, bit 18.
        IBRS_FAST = 0x112,
        /// Leaf 0x80000008, EBX, bit 19.
        IBRS_SAME_MODE = 0x113,
        /// Leaf 0x80000008, EBX, bit 20.
        NO_LMSL = 0x114,
        /// Leaf 0x80000008, EBX, bit 23.
        AMD_PPIN = 0x117,
        /// Leaf 0x80000008, EBX, bit 24.
        AMD_SSBD = 280,
        /// Leaf 0x80000008, EBX, bit 25.
        VIRT_SSBD = 0x119,
        /// Leaf 0x80000008, EBX, bit 26.
        SSB_NO = 0x11a,
        /// Leaf 0x80000008, EBX, bit 28.
        PSFD = 0x11c,
        /// Leaf 0x80000008, EBX, bit 29.
        BTC_NO = 0x11d,
        /// Leaf 0x80000008, EBX, bit 30.
        IBPB_RET = 0x11e,
        /// Leaf 7, EDX, bit 2.
        AVX512_4VNNIW = 290,
        /// Leaf 7, EDX, bit 3.
        AVX512_4FMAPS = 0x123,
        /// Leaf 7, EDX, bit 4.
        FSRM = 0x124,
        /// Leaf 7, EDX, bit 8.
        AVX512_VP2INTERSECT = 0x128,
        /// Leaf 7, EDX, bit 9.
        SRBDS_CTRL = 0x129,
        /// Leaf 7, EDX, bit 10.
        MD_CLEAR = 0x12a,
        /// Leaf 7, EDX, bit 11.
        RTM_ALWAYS_ABORT = 0x12b,
        /// Leaf 7, EDX, bit 13.
        TSX_FORCE_ABORT = 0x12d,
        /// Leaf 7, EDX, bit 14.
        SERIALIZE = 0x12e,
        /// Leaf 7, EDX, bit 15.
        HYBRID = 0x12f,
        /// Leaf 7, EDX, bit 16.
        TSXLDTRK = 0x130,
        /// Leaf 7, EDX, bit 20.
        CET_IBT = 0x134,
        /// Leaf 7, EDX, bit 23.
        AVX512_FP16 = 0x137,
        /// Leaf 7, EDX, bit 26.
        IBRSB = 0x13a,
        /// Leaf 7, EDX, bit 27.
        STIBP = 0x13b,
        /// Leaf 7, EDX, bit 28.
        L1D_FLUSH = 0x13c,
        /// Leaf 7, EDX, bit 29.
        ARCH_CAPS = 0x13d,
        /// Leaf 7, EDX, bit 30.
        CORE_CAPS = 0x13e,
        /// Leaf 7, EDX, bit 31.
        SSBD = 0x13f,
        /// Leaf 7, sub-leaf 1, EAX, bit 4.
        AVX_VNNI = 0x144,
        /// Leaf 7, sub-leaf 1, EAX, bit 5.
        AVX512_BF16 = 0x145,
        /// Leaf 7, sub-leaf 1, EAX, bit 10.
        FZRM = 330,
        /// Leaf 7, sub-leaf 1, EAX, bit 11.
        FSRS = 0x14b,
        /// Leaf 7, sub-leaf 1, EAX, bit 12.
        FSRCS = 0x14c,
        /// Leaf 0x80000021, EAX, bit 2.
        LFENCE_DISPATCH = 0x162,
        /// Leaf 0x80000021, EAX, bit 5.
        VERW_CLEAR = 0x165,
        /// Leaf 0x80000021, EAX, bit 6.
        NSCB = 0x166,
        /// Leaf 0x80000021, EAX, bit 8.
        AUTO_IBRS = 360,
        /// Leaf 0x80000021, EAX, bit 27.
        SBPB = 0x17b,
        /// Leaf 0x80000021, EAX, bit 28.
        IBPB_BRTYPE = 380,
        /// Leaf 0x80000021, EAX, bit 29.
        SRSO_NO = 0x17d,
        /// Leaf 0x80000021, EAX, bit 30.
        SRSO_US_NO = 0x17e,
        /// Leaf 0x80000021, EAX, bit 31.
        SRSO_MSR_FIX = 0x17f,
        /// Leaf 7, sub-leaf 1, EBX, bit 0.
        INTEL_PPIN = 0x180,
        /// Leaf 7, sub-leaf 2, EDX, bit 0.
        INTEL_PSFD = 0x1a0,
        /// Leaf 7, sub-leaf 2, EDX, bit 1.
        IPRED_CTRL = 0x1a1,
        /// Leaf 7, sub-leaf 2, EDX, bit 2.
        RRSBA_CTRL = 0x1a2,
        /// Leaf 7, sub-leaf 2, EDX, bit 4.
        BHI_CTRL = 420,
        /// Leaf 7, sub-leaf 2, EDX, bit 5.
        MCDT_NO = 0x1a5,
        /// Leaf 7, sub-leaf 1, EDX, bit 18.
        CET_SSS = 0x1f2,
        /// MSR_ARCH_CAPABILITIES, low half, bit 0.
        RDCL_NO = 0x200,
        /// MSR_ARCH_CAPABILITIES, low half, bit 1.
        EIBRS = 0x201,
        /// MSR_ARCH_CAPABILITIES, low half, bit 2.
        RSBA = 0x202,
        /// MSR_ARCH_CAPABILITIES, low half, bit 3.
        SKIP_L1DFL = 0x203,
        /// MSR_ARCH_CAPABILITIES, low half, bit 4.
        INTEL_SSB_NO = 0x204,
        /// MSR_ARCH_CAPABILITIES, low half, bit 5.
        MDS_NO = 0x205,
        /// MSR_ARCH_CAPABILITIES, low half, bit 6.
        IF_PSCHANGE_MC_NO = 0x206,
        /// MSR_ARCH_CAPABILITIES, low half, bit 7.
        TSX_CTRL = 0x207,
        /// MSR_ARCH_CAPABILITIES, low half, bit 8.
        TAA_NO = 520,
        /// MSR_ARCH_CAPABILITIES, low half, bit 9.
        MCU_CTRL = 0x209,
        /// MSR_ARCH_CAPABILITIES, low half, bit 10.
        MISC_PKG_CTRL = 0x20a,
        /// MSR_ARCH_CAPABILITIES, low half, bit 11.
        ENERGY_FILTERING = 0x20b,
        /// MSR_ARCH_CAPABILITIES, low half, bit 12.
        DOITM = 0x20c,
        /// MSR_ARCH_CAPABILITIES, low half, bit 13.
        SBDR_SSDP_NO = 0x20d,
        /// MSR_ARCH_CAPABILITIES, low half, bit 14.
        FBSDP_NO = 0x20e,
        /// MSR_ARCH_CAPABILITIES, low half, bit 15.
        PSDP_NO = 0x20f,
        /// MSR_ARCH_CAPABILITIES, low half, bit 17.
        FB_CLEAR = 0x211,
        /// MSR_ARCH_CAPABILITIES, low half, bit 18.
        FB_CLEAR_CTRL = 530,
        /// MSR_ARCH_CAPABILITIES, low half, bit 19.
        RRSBA = 0x213,
        /// MSR_ARCH_CAPABILITIES, low half, bit 20.
        BHI_NO = 0x214,
        /// MSR_ARCH_CAPABILITIES, low half, bit 21.
        XAPIC_STATUS = 0x215,
        /// MSR_ARCH_CAPABILITIES, low half, bit 23.
        OVRCLK_STATUS = 0x217,
        /// MSR_ARCH_CAPABILITIES, low half, bit 24.
        PBRSB_NO = 0x218,
        /// MSR_ARCH_CAPABILITIES, low half, bit 25.
        GDS_CTRL = 0x219,
        /// MSR_ARCH_CAPABILITIES, low half, bit 26.
        GDS_NO = 0x21a,
        /// MSR_ARCH_CAPABILITIES, low half, bit 27.
        RFDS_NO = 0x21b,
        /// MSR_ARCH_CAPABILITIES, low half, bit 28.
        RFDS_CLEAR = 540,
        /// MSR_ARCH_CAPABILITIES, high half, bit 30.
        ITS_NO = 0x23e,
        /// Leaf 0x80000021, ECX, bit 1.
        TSA_SQ_NO = 0x241,
        /// Leaf 0x80000021, ECX, bit 2.
        TSA_L1_NO = 0x242,
    }
    // A Rust name cannot start with a digit.
    prefix "XEN_X86_" {
        /// Leaf 0x80000001, EDX, bit 30.
        FEATURE_3DNOWEXT = 94,
        /// Leaf 0x80000001, EDX, bit 31.
        FEATURE_3DNOW = 95,
        /// Leaf 0x80000001, ECX, bit 8.
        FEATURE_3DNOWPREFETCH = 104,
    }
}

impl CpuFeature {
    /// Word of the bitmap.
    #[must_use]
    pub const fn word(self) -> usize {
        (self.0 / 32) as usize
    }

    /// Mask in the word.
    #[must_use]
    pub const fn mask(self) -> u32 {
        1 << (self.0 % 32)
    }
}

layout_entries! { types: [], constants: [CpuFeature::CODES] }
