use alloc::vec::Vec;

use super::derive;
use super::lookup::HYPERVISOR_BASE;
use super::samples::{INTEL, amd, everything, intel, leaf, tcg_max};
use super::*;
use crate::machine::{CpuidLeaf, TscScale};

fn asker() -> Asker {
    Asker {
        kernel_mode: true,
        hardware: false,
        via: Via::Prefix,
        host_osxsave: true,
        guest_osxsave: false,
        xcr0: 1,
        address_width: 40,
        tsc: TscFacts {
            emulated: false,
            reliable: true,
            mode: 0,
            khz: 2_000_000,
            host_khz: 2_000_000,
            incarnation: 0,
            offset_ns: 0,
            scale: TscScale {
                mul: 0x8000_0000,
                shift: -1,
            },
        },
    }
}

#[test]
fn max_leaves_are_cut_to_what_a_policy_holds() {
    let policies = intel();
    let policy = &policies.pv_default;
    assert_eq!(policies.cpuid(policy, 0, 0, &asker()).a, 0xd);
    assert_eq!(
        policies.cpuid(policy, 0x8000_0000, 0, &asker()),
        leaf(0x8000_0008, 0, 0, 0)
    );
    assert_eq!(
        policies.cpuid(policy, 0xe, 0, &asker()),
        CpuidLeaf::default()
    );
    assert_eq!(
        policies.cpuid(policy, 0x8000_0009, 0, &asker()),
        CpuidLeaf::default()
    );
    assert_eq!(
        policies.cpuid(policy, u32::MAX, u32::MAX, &asker()),
        CpuidLeaf::default()
    );
    let policies = amd();
    assert_eq!(
        policies
            .cpuid(&policies.pv_default, 0x8000_0000, 0, &asker())
            .a,
        0x8000_0021
    );
}

#[test]
fn hidden_leaves_are_zero() {
    let policies = intel();
    for index in [3, 5, 6, 8, 9, 0xa, 0xb, 0xc] {
        assert_eq!(
            policies.cpuid(&policies.pv_default, index, 0, &asker()),
            CpuidLeaf::default(),
            "{index:#x}"
        );
    }
    assert_ne!(
        policies.cpuid(&policies.pv_default, 4, 0, &asker()),
        CpuidLeaf::default()
    );
    let policies = amd();
    for index in [2, 4] {
        assert_eq!(
            policies.cpuid(&policies.pv_default, index, 0, &asker()),
            CpuidLeaf::default(),
            "{index:#x}"
        );
    }
    for index in (0xb..=0x18).chain([9]) {
        let index = 0x8000_0000 + index;
        assert_eq!(
            policies.cpuid(&policies.pv_default, index, 0, &asker()),
            CpuidLeaf::default(),
            "{index:#x}"
        );
    }
}

#[test]
fn the_visible_bits_of_leaf_1_are_the_documented_ones() {
    let policies = intel();
    let version = policies.cpuid(&policies.pv_default, 1, 0, &asker());
    // FPU DE TSC MSR PAE MCE CX8 APIC SEP MCA CMOV PAT CLFLUSH ACPI MMX FXSR SSE SSE2 SS HTT.
    let visible = [
        0, 2, 4, 5, 6, 7, 8, 9, 11, 14, 15, 16, 19, 22, 23, 24, 25, 26, 27, 28,
    ];
    assert_eq!(
        version.d,
        visible.into_iter().fold(0, |mask, bit| mask | 1 << bit)
    );
    let hidden = 1 << 2
        | 1 << 3
        | 1 << 4
        | 1 << 5
        | 1 << 6
        | 1 << 7
        | 1 << 8
        | 1 << 14
        | 1 << 15
        | 1 << 17
        | 1 << 18
        | 1 << 21
        | 1 << 24
        | 1 << 10
        | 1 << 11
        | 1 << 16;
    assert_eq!(version.c & hidden, 0);
    assert_eq!(version.c >> 31, 1);
    assert_eq!(version.b >> 24, 0, "APIC id");
}

#[test]
fn osxsave_follows_the_way_of_asking() {
    let policies = intel();
    let policy = &policies.pv_default;
    let shown =
        |asker: &Asker| policies.cpuid(policy, 1, 0, asker).c & Feature::OSXSAVE.mask() != 0;
    assert!(shown(&asker()));
    assert!(!shown(&Asker {
        via: Via::Fault,
        ..asker()
    }));
    assert!(!shown(&Asker {
        kernel_mode: false,
        ..asker()
    }));
    assert!(shown(&Asker {
        via: Via::Fault,
        guest_osxsave: true,
        ..asker()
    }));
    assert!(!shown(&Asker {
        host_osxsave: false,
        ..asker()
    }));
}

#[test]
fn the_hardware_domains_kernel_sees_mtrr_eist_and_by_fault_monitor() {
    let policies = intel();
    let policy = &policies.hardware_domain();
    let dom0 = Asker {
        hardware: true,
        ..asker()
    };
    let version = policies.cpuid(policy, 1, 0, &dom0);
    assert_ne!(version.d & Feature::MTRR.mask(), 0);
    assert_ne!(version.c & Feature::EIST.mask(), 0);
    assert_eq!(version.c & Feature::MONITOR.mask(), 0);
    let native = Asker {
        via: Via::Fault,
        ..dom0
    };
    assert_ne!(
        policies.cpuid(policy, 1, 0, &native).c & Feature::MONITOR.mask(),
        0
    );
    assert_eq!(policies.cpuid(policy, 5, 0, &native), leaf(1, 2, 3, 4));
    let user = Asker {
        kernel_mode: false,
        ..dom0
    };
    assert_eq!(
        policies.cpuid(policy, 1, 0, &user).d & Feature::MTRR.mask(),
        0
    );
    assert!(
        policies.hardware_domain().has(Feature::ITSC) && !policies.pv_default.has(Feature::ITSC)
    );
}

#[test]
fn xstate_covers_what_the_features_use_and_its_size_follows_xcr0() {
    let policies = intel();
    let policy = &policies.pv_default;
    assert_eq!(policy.xcr0_mask(), 0xe7);
    let size = |xcr0| policies.cpuid(policy, 0xd, 0, &Asker { xcr0, ..asker() });
    assert_eq!(size(1), leaf(0xe7, 576, 2688, 0));
    assert_eq!(size(7).b, 832);
    assert_eq!(size(0xe7).b, 2688);
    let instructions = policies.cpuid(policy, 0xd, 1, &Asker { xcr0: 7, ..asker() });
    assert_eq!(
        instructions,
        leaf(7, 832, 0, 0),
        "XSAVEOPT, XSAVEC, XGETBV1 and no XSAVES"
    );
    assert_eq!(
        policies.cpuid(policy, 0xd, 9, &asker()),
        CpuidLeaf::default(),
        "no protection keys"
    );
    assert_eq!(
        policies.cpuid(policy, 0xd, 6, &asker()),
        leaf(512, 1152, 0, 0)
    );
    assert_eq!(
        amd().pv_default.xcr0_mask(),
        7,
        "the host does not enable AVX-512"
    );
    assert!(!amd().pv_default.has(Feature::AVX512F));
}

#[test]
fn a_host_without_xsave_shows_none() {
    let policies = CpuPolicies::from_raw(everything(INTEL, 0x306a9), 0);
    let policy = &policies.pv_default;
    for feature in [
        Feature::XSAVE,
        Feature::AVX,
        Feature::AVX2,
        Feature::XSAVEOPT,
        Feature::FMA,
    ] {
        assert!(!policy.has(feature), "{feature:?}");
    }
    assert_eq!(policy.xcr0_mask(), 0);
    assert_eq!(
        policies.cpuid(policy, 0xd, 0, &asker()),
        CpuidLeaf::default()
    );
    assert_eq!(
        policies.cpuid(policy, 1, 0, &asker()).c & Feature::OSXSAVE.mask(),
        0
    );
}

#[test]
fn amd_repeats_the_common_features_and_intel_does_not() {
    let policies = amd();
    let policy = &policies.pv_default;
    let extended = policies.cpuid(policy, 0x8000_0001, 0, &asker()).d;
    let version = policies.cpuid(policy, 1, 0, &asker()).d;
    assert_eq!(extended & 0x0183_f3ff, version & 0x0183_f3ff);
    let policies = intel();
    let extended = policies
        .cpuid(&policies.pv_default, 0x8000_0001, 0, &asker())
        .d;
    assert_eq!(extended & 0x0183_f3ff, 0);
    assert_eq!(extended & 1 << 26, 0, "1 GiB pages");
    for bit in [11, 20, 27, 29] {
        assert_ne!(extended & 1 << bit, 0, "bit {bit}");
    }
}

#[test]
fn hypervisor_leaves_are_those_of_xen_4_17() {
    let policies = tcg_max();
    let ask = |index, subleaf| {
        policies.cpuid(
            &policies.pv_default,
            HYPERVISOR_BASE + index,
            subleaf,
            &asker(),
        )
    };
    assert_eq!(
        ask(0, 0),
        leaf(0x4000_0005, 0x566e_6558, 0x6558_4d4d, 0x4d4d_566e)
    );
    assert_eq!(ask(1, 0), leaf(0x4_0011, 0, 0, 0));
    assert_eq!(ask(2, 0), leaf(1, 0x4000_0000, 1, 0));
    assert_eq!(ask(3, 0), leaf(2 | 4, 0, 2_000_000, 0));
    assert_eq!(ask(3, 1), leaf(0, 0, 0x8000_0000, u32::MAX));
    assert_eq!(ask(3, 2), leaf(2_000_000, 0, 0, 0));
    assert_eq!(ask(4, 0), CpuidLeaf::default());
    assert_eq!(ask(5, 0), leaf(0, 40, 0, 0));
    assert_eq!(ask(6, 0), CpuidLeaf::default());
    assert_eq!(ask(0x100, 0), CpuidLeaf::default());
}

#[test]
fn a_tcg_guest_gets_avx2_without_what_breaks_linux() {
    let policy = tcg_max().pv_default;
    assert!(
        policy.has(Feature::AVX2) && policy.has(Feature::XSAVE) && policy.has(Feature::FSGSBASE)
    );
    for feature in [
        Feature::SMAP,
        Feature::SMEP,
        Feature::UMIP,
        Feature::PSE,
        Feature::PGE,
        Feature::SVM,
    ] {
        assert!(!policy.has(feature), "{feature:?}");
    }
    assert_eq!(policy.address_bits(), 40);
}

#[test]
fn a_policy_survives_the_way_through_its_lists() {
    for policies in [intel(), amd(), tcg_max()] {
        for policy in [
            &policies.raw,
            &policies.host,
            &policies.pv_max,
            &policies.pv_default,
        ] {
            let leaves = policy.leaves();
            assert!(leaves.len() <= MAX_LEAVES);
            let back = CpuPolicy::default()
                .overlaid(&leaves, &policy.msrs())
                .unwrap();
            assert_eq!(back.leaves().len(), leaves.len());
            assert_eq!(back.feature_set(), policy.feature_set());
            assert_eq!(back.xstate[..10], policy.xstate[..10]);
        }
        let wish = policies.pv_default.clone();
        assert_eq!(policies.guest(&wish).unwrap(), *wish);
    }
}

#[test]
fn a_wish_gets_at_most_the_maximum() {
    let policies = intel();
    let mut wish = (*policies.pv_default).clone();
    wish.basic[1].c = u32::MAX;
    wish.features[0].b = u32::MAX;
    wish.extended[1].d = u32::MAX;
    wish.extended[8].a = 0x3034;
    let got = policies.guest(&wish).unwrap();
    assert_eq!(
        got.feature_set().and(&policies.pv_max.feature_set()),
        got.feature_set()
    );
    assert!(!got.has(Feature::X2APIC) && !got.has(Feature::SMAP) && !got.has(Feature::PAGE1GB));
    assert_eq!(got.address_bits(), 48);

    let mut less = (*policies.pv_default).clone();
    let mut features = less.feature_set();
    features.set(Feature::AVX, false);
    less.set_feature_set(&features);
    let got = policies.guest(&less).unwrap();
    assert!(!got.has(Feature::AVX2));
    assert_eq!(got.xcr0_mask(), 3);
}

#[test]
fn limits_beyond_the_maximum_are_refused_by_name() {
    let policies = intel();
    let default = &policies.pv_default;
    let mut wish = (**default).clone();
    wish.basic[0].a = 0x1f;
    assert_eq!(policies.guest(&wish).unwrap_err().leaf, 0);
    let mut wish = (**default).clone();
    wish.features[0].a = 3;
    let error = policies.guest(&wish).unwrap_err();
    assert_eq!((error.leaf, error.subleaf), (7, 0));
    let mut wish = (**default).clone();
    wish.extended[0].a = 0x8000_0021;
    assert_eq!(policies.guest(&wish).unwrap_err().leaf, 0x8000_0000);
    let mut wish = (**default).clone();
    wish.platform_info = PLATFORM_INFO_CPUID_FAULTING;
    assert_eq!(policies.guest(&wish).unwrap_err().msr, 0xce);
}

#[test]
fn leaves_and_msrs_that_no_policy_has_are_refused() {
    use hypercall_abi::arch_x86::{CpuidLeaf as WireLeaf, MsrEntry};
    let policy = CpuPolicy::default();
    let wire = |leaf, subleaf, a| WireLeaf {
        leaf,
        subleaf,
        a,
        b: 0,
        c: 0,
        d: 0,
    };
    for bad in [
        wire(0xe, NO_SUBLEAF, 0),
        wire(1, 0, 0),
        wire(4, 6, 0),
        wire(7, NO_SUBLEAF, 0),
        wire(0xd, 63, 0),
        wire(0x4000_0000, NO_SUBLEAF, 0x4000_0100),
        wire(0x4000_0001, NO_SUBLEAF, 0),
        wire(0x8000_0022, NO_SUBLEAF, 0),
        wire(u32::MAX, u32::MAX, 0),
    ] {
        let error = policy.overlaid(&[bad], &[]).unwrap_err();
        assert_eq!(
            (error.leaf, error.subleaf, error.msr),
            (bad.leaf, bad.subleaf, u32::MAX)
        );
    }
    let msr = |idx, flags| MsrEntry { idx, flags, val: 0 };
    for bad in [msr(0xce, 1), msr(0x10, 0)] {
        assert_eq!(policy.overlaid(&[], &[bad]).unwrap_err().msr, bad.idx);
    }
}

#[test]
fn every_index_of_the_sysctls_is_known_or_absent() {
    let policies = intel();
    let known: Vec<bool> = (0..7)
        .map(|index| policies.by_index(index).is_some())
        .collect();
    assert_eq!(known, [true, true, true, false, true, false, false]);
    let known: Vec<bool> = (0..7)
        .map(|index| policies.feature_set_by_index(index).is_some())
        .collect();
    assert_eq!(known, [true, true, true, false, true, false, false]);
}

#[test]
fn raw_leaves_are_read_within_the_processors_limits() {
    let cpuid = |leaf: u32| if leaf == 0 { 1 } else { 0x600 };
    // A processor without extended leaves repeats a basic one.
    assert_eq!(
        derive::read_leaves(|leaf, _| CpuidLeaf {
            a: cpuid(leaf),
            ..CpuidLeaf::default()
        })
        .extended[1]
            .a,
        0
    );
}

#[test]
fn a_guest_controls_four_bits_of_cr4_and_sees_four_of_the_hosts() {
    let policies = intel();
    let policy = &policies.pv_default;
    assert_eq!(
        policies.guest_cr4(policy, u64::MAX),
        1 << 2 | 1 << 3 | 1 << 16 | 1 << 18
    );
    assert_eq!(
        cr4::view(u64::MAX, cr4::DE),
        1 << 3 | 1 << 5 | 1 << 6 | 1 << 9 | 1 << 10
    );
    let bare = CpuPolicy::default();
    assert_eq!(policies.guest_cr4(&bare, u64::MAX), 0);
}
