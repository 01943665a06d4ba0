//! HVM guests' view of three kinds of host.

use super::*;
use crate::cpu_policy::samples::{amd, intel, tcg_max};
use crate::machine::TscScale;

fn inputs() -> HvmCpuidInputs {
    HvmCpuidInputs {
        vcpu: 3,
        domid: 7,
        apic_enabled: true,
        osxsave: false,
        pke: false,
        long_mode: true,
        xcr0: 1,
        apic_register_virt: false,
        x2apic_virt: false,
        tsc: TscFacts {
            emulated: false,
            reliable: true,
            mode: 2,
            khz: 2_000_000,
            host_khz: 2_000_000,
            incarnation: 1,
            offset_ns: 0x1_0000_0002,
            scale: TscScale {
                mul: 0x8000_0000,
                shift: -1,
            },
        },
    }
}

fn leaf(a: u32, b: u32, c: u32, d: u32) -> CpuidLeaf {
    CpuidLeaf { a, b, c, d }
}

#[test]
fn guests_get_what_paging_and_the_apic_bring() {
    for policies in [intel(), amd()] {
        for policy in [&policies.hvm_max, &policies.hvm_default] {
            for feature in BEYOND_PV {
                // The sample hosts do not enable PKRU in XCR0.
                assert_eq!(
                    policy.has(*feature),
                    *feature != Feature::PKU,
                    "{feature:?}"
                );
            }
            for feature in [
                Feature::VMX,
                Feature::SVM,
                Feature::MONITOR,
                Feature::SMX,
                Feature::MPX,
                Feature::CET_SS,
                Feature::IBRSB,
                Feature::SSBD,
                Feature::XSAVES,
                Feature::TOPOEXT,
                Feature::OSXSAVE,
                Feature::OSPKE,
            ] {
                assert!(!policy.has(feature), "{feature:?}");
            }
        }
        assert!(policies.hvm_max.has(Feature::ITSC) && !policies.hvm_default.has(Feature::ITSC));
        let subset = policies.hvm_default.feature_set();
        assert_eq!(subset.and(&policies.hvm_max.feature_set()), subset);
    }
}

#[test]
fn features_of_the_host_alone_are_not_invented() {
    let policies = tcg_max();
    let (host, guest) = (policies.host.feature_set(), policies.hvm_max.feature_set());
    for word in 0..WORDS {
        let mut allowed = host.0[word];
        for own in [
            Feature::APIC,
            Feature::X2APIC,
            Feature::NO_LMSL,
            Feature::HTT,
            Feature::CMP_LEGACY,
            Feature::HYPERVISOR,
        ] {
            if own.word == word {
                allowed |= own.mask();
            }
        }
        assert_eq!(guest.0[word] & !allowed, 0, "word {word}");
    }
    assert!(policies.hvm_max.has(Feature::X2APIC));
}

#[test]
fn a_toolstack_cannot_get_more() {
    let policies = intel();
    let guest = policies.guest_hvm(&policies.host).unwrap();
    let features = guest.feature_set();
    assert_eq!(features.and(&policies.hvm_max.feature_set()), features);
    let guest = policies.guest_hvm(&policies.hvm_default).unwrap();
    assert_eq!(guest, *policies.hvm_default);
    assert_ne!(guest.platform_info() & PLATFORM_INFO_CPUID_FAULTING, 0);
}

#[test]
fn policies_have_numbers_only_where_guests_can_run() {
    let policies = intel();
    for index in [3, 5] {
        assert!(policies.by_index(index).is_none());
        assert!(policies.feature_set_by_index(index).is_none());
    }
    let policies = policies.with_hvm();
    assert_eq!(policies.by_index(3), Some(&policies.hvm_max));
    assert_eq!(policies.by_index(5), Some(&policies.hvm_default));
    let set = policies.feature_set_by_index(3);
    assert_eq!(set, Some(policies.hvm_default.feature_set()));
    let set = policies.feature_set_by_index(5);
    assert_eq!(set, Some(policies.hvm_max.feature_set()));
}

#[test]
fn apic_ids_are_twice_the_vcpu() {
    let policies = amd();
    let ask = |leaf, subleaf| hvm_cpuid(&policies.hvm_default, leaf, subleaf, &inputs());
    assert_eq!(ask(1, 0).b >> 24, 6);
    assert_eq!((ask(0xb, 0).c, ask(0xb, 0).d), (0, 6));
    // The policies of the samples stop before leaf 0xb's third subleaf.
    assert_eq!((ask(0xb, 1).c, ask(0xb, 1).d), (1, 6));
    assert_eq!(ask(0xb, 2), CpuidLeaf::default());
}

#[test]
fn bits_that_follow_the_guests_own_registers() {
    let mut policy = (*amd().hvm_default).clone();
    policy.features[0].c |= Feature::PKU.mask();
    let bits = |inputs: &HvmCpuidInputs| {
        let version = hvm_cpuid(&policy, 1, 0, inputs);
        let more = hvm_cpuid(&policy, 7, 0, inputs);
        let extended = hvm_cpuid(&policy, 0x8000_0001, 0, inputs);
        [
            version.c & Feature::OSXSAVE.mask() != 0,
            more.c & Feature::OSPKE.mask() != 0,
            version.d & Feature::APIC.mask() != 0,
            extended.d & Feature::APIC.mask() != 0,
        ]
    };
    assert_eq!(bits(&inputs()), [false, false, true, true]);
    let changed = HvmCpuidInputs {
        osxsave: true,
        pke: true,
        apic_enabled: false,
        ..inputs()
    };
    assert_eq!(bits(&changed), [true, true, false, false]);
    let syscall = |policy: &CpuPolicy, long_mode| {
        let inputs = HvmCpuidInputs {
            long_mode,
            ..inputs()
        };
        hvm_cpuid(policy, 0x8000_0001, 0, &inputs).d & Feature::SYSCALL.mask() != 0
    };
    assert!(syscall(&policy, false));
    let policy = intel().hvm_default;
    assert!(syscall(&policy, true) && !syscall(&policy, false));
}

#[test]
fn the_area_of_xsave_follows_xcr0() {
    let policy = intel().hvm_default;
    let size = |xcr0| {
        let inputs = HvmCpuidInputs { xcr0, ..inputs() };
        hvm_cpuid(&policy, 0xd, 0, &inputs).b
    };
    assert_eq!((size(1), size(7)), (576, 576 + 256));
}

#[test]
fn leaves_of_the_hypervisor() {
    let policy = intel().hvm_default;
    let ask = |index: u32, subleaf| hvm_cpuid(&policy, 0x4000_0000 + index, subleaf, &inputs());
    assert_eq!(
        ask(0, 0),
        leaf(0x4000_0005, 0x566e_6558, 0x6558_4d4d, 0x4d4d_566e)
    );
    assert_eq!(ask(1, 0), leaf(0x4_0011, 0, 0, 0));
    assert_eq!(ask(2, 0), leaf(1, 0x4000_0000, 0, 0));
    assert_eq!(ask(3, 0), leaf(2 | 4, 2, 2_000_000, 1));
    assert_eq!(ask(3, 1), leaf(2, 1, 0x8000_0000, u32::MAX));
    assert_eq!(ask(3, 2), leaf(2_000_000, 0, 0, 0));
    assert_eq!(ask(4, 0), leaf(0x5c, 3, 7, 0));
    assert_eq!(ask(4, 1), CpuidLeaf::default());
    assert_eq!(ask(5, 0), CpuidLeaf::default());
    assert_eq!(ask(6, 0), CpuidLeaf::default());
    let virt = HvmCpuidInputs {
        apic_register_virt: true,
        x2apic_virt: true,
        ..inputs()
    };
    assert_eq!(hvm_cpuid(&policy, 0x4000_0004, 0, &virt).a, 0x5f);
    // A toolstack can end the leaves earlier.
    let mut policy = (*policy).clone();
    policy.hypervisor_limit = 3;
    let ask = |index: u32| hvm_cpuid(&policy, 0x4000_0000 + index, 0, &inputs());
    assert_eq!(ask(0).a, 0x4000_0003);
    assert_eq!(ask(4), CpuidLeaf::default());
}

#[test]
fn guests_see_no_power_management() {
    for policies in [intel(), amd()] {
        for index in [3, 5, 6, 8, 9, 0xa, 0xc] {
            let answer = hvm_cpuid(&policies.hvm_default, index, 0, &inputs());
            assert_eq!(answer, CpuidLeaf::default(), "{index:#x}");
        }
    }
    let answer = hvm_cpuid(&amd().hvm_default, 0x8000_000a, 0, &inputs());
    assert_eq!(answer, CpuidLeaf::default(), "no nested virtualization");
}
