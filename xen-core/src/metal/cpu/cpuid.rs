//! CPUID: raw access and the few facts that the machine side needs itself.

use core::arch::x86_64::__cpuid_count;

use xen_core::machine::CpuidLeaf;

/// Executes CPUID.
pub fn leaf(leaf: u32, subleaf: u32) -> CpuidLeaf {
    let result = __cpuid_count(leaf, subleaf);
    CpuidLeaf {
        a: result.eax,
        b: result.ebx,
        c: result.ecx,
        d: result.edx,
    }
}

/// Executes CPUID if the leaf exists; zeroes otherwise.
fn leaf_or_zero(number: u32, subleaf: u32) -> CpuidLeaf {
    let max = leaf(number & 0xffff_0000, 0).a;
    if number > max {
        CpuidLeaf::default()
    } else {
        leaf(number, subleaf)
    }
}

fn bit(word: u32, bit: u32) -> bool {
    word & (1 << bit) != 0
}

/// 1 GiB pages.
pub fn has_1g_pages() -> bool {
    bit(leaf_or_zero(0x8000_0001, 0).d, 26)
}

/// AMD-V.
pub fn has_svm() -> bool {
    bit(leaf_or_zero(0x8000_0001, 0).c, 2)
}

/// Features of AMD-V (CPUID 0x8000000a, EDX).
pub fn svm_features() -> u32 {
    leaf_or_zero(0x8000_000a, 0).d
}

/// x2APIC.
pub fn has_x2apic() -> bool {
    bit(leaf_or_zero(1, 0).c, 21)
}

/// TSC-deadline timer.
pub fn has_tsc_deadline() -> bool {
    bit(leaf_or_zero(1, 0).c, 24)
}

/// XSAVE.
pub fn has_xsave() -> bool {
    bit(leaf_or_zero(1, 0).c, 26)
}

/// Supervisor-mode execution prevention.
pub fn has_smep() -> bool {
    bit(leaf_or_zero(7, 0).b, 7)
}

/// Supervisor-mode access prevention.
pub fn has_smap() -> bool {
    bit(leaf_or_zero(7, 0).b, 20)
}

/// SYSENTER, except where long mode refuses it (AMD).
pub fn has_sysenter() -> bool {
    bit(leaf_or_zero(1, 0).d, 11)
}

/// Machine-check architecture.
pub fn has_mca() -> bool {
    bit(leaf_or_zero(1, 0).d, 14)
}

/// RDTSCP or RDPID, and so the register TSC_AUX.
pub fn has_tsc_aux() -> bool {
    bit(leaf_or_zero(0x8000_0001, 0).d, 27) || bit(leaf_or_zero(7, 0).c, 22)
}

/// Loading FPU state leaves the x87 pointers as they are while no exception is pending: AMD and Hygon processors that do
/// not report RstrFpErrPtrs (APM 3, CPUID Fn8000_0008_EBX).
pub fn keeps_fpu_pointers() -> bool {
    let name = leaf(0, 0);
    let vendor = [name.b, name.d, name.c].map(u32::to_le_bytes);
    matches!(vendor.as_flattened(), b"AuthenticAMD" | b"HygonGenuine")
        && !bit(leaf_or_zero(0x8000_0008, 0).b, 2)
}

/// A time-stamp counter that never stops or changes speed.
pub fn has_invariant_tsc() -> bool {
    bit(leaf_or_zero(0x8000_0007, 0).d, 8)
}

/// APIC id of the CPU that executes this.
pub fn initial_apic_id() -> u32 {
    let extended = leaf_or_zero(0xb, 0);
    // Leaf 0xb counts logical processors in EBX; zero means that it is not there.
    if extended.b != 0 {
        extended.d
    } else {
        leaf(1, 0).b >> 24
    }
}

/// True on QEMU's emulated processor: CPUID 0x40000000 reads "TCGTCGTCGTCG".
pub fn is_tcg() -> bool {
    let hypervisor_present = bit(leaf_or_zero(1, 0).c, 31);
    let signature = leaf(0x4000_0000, 0);
    hypervisor_present
        && [signature.b, signature.c, signature.d]
            == [
                u32::from_le_bytes(*b"TCGT"),
                u32::from_le_bytes(*b"CGTC"),
                u32::from_le_bytes(*b"GTCG"),
            ]
}

/// Width of physical addresses in bits.
pub fn physical_address_bits() -> u32 {
    match leaf_or_zero(0x8000_0008, 0).a & 0xff {
        0 => 36,
        bits => bits,
    }
}
