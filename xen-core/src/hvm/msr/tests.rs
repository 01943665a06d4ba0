//! Registers of the three kinds of host.

use super::*;
use crate::cpu_policy::samples::{amd, intel};

/// A host whose registers hold their own number.
fn host(msr: u32) -> Option<u64> {
    (msr < 0x1000).then_some(msr.into())
}

fn intel_policy() -> CpuPolicy {
    (*intel().hvm_default).clone()
}

fn amd_policy() -> CpuPolicy {
    (*amd().hvm_default).clone()
}

#[test]
fn state_that_is_kept_elsewhere_is_not_answered() {
    let policy = intel_policy();
    let mut msrs = HvmMsrs::new(&policy);
    for msr in [
        0x10,
        0x1b,
        0x3b,
        0x174,
        0x175,
        0x176,
        0x6e0,
        0x800,
        0x8ff,
        0x4000_0000,
        0xc000_0080,
        0xc000_0081,
        0xc000_0084,
        0xc000_0100,
        0xc000_0101,
        0xc000_0102,
    ] {
        assert_eq!(
            msrs.read(&policy, msr, host),
            MsrRead::Elsewhere,
            "{msr:#x}"
        );
        assert_eq!(
            msrs.write(&policy, msr, 0, host),
            MsrWrite::Elsewhere,
            "{msr:#x}"
        );
    }
}

#[test]
fn what_intel_guests_read() {
    let policy = intel_policy();
    let msrs = HvmMsrs::new(&policy);
    let values = [
        (0x3a, 1),
        (0x17, 0x17),
        (0x8b, 0x8b),
        (0xce, 1 << 31),
        (0xfe, 0x508),
        (0x140, 0),
        (0x179, 0x0100_0802),
        (0x17a, 0),
        (0x198, 0),
        (0x19c, 0),
        (0x1a0, 0x1a0 | 0x1800),
        (0x1d9, 0),
        (0x277, 0x0007_0406_0007_0406),
        (0x280, 0),
        (0x2ff, 0),
        (0x400, u64::MAX),
        (0x401, 0),
        (0xc1, 0),
        (0xc000_0103, 0),
    ];
    for (msr, value) in values {
        assert_eq!(
            msrs.read(&policy, msr, host),
            MsrRead::Value(value),
            "{msr:#x}"
        );
    }
    for msr in [
        0x48,
        0x49,
        0x10b,
        0x17b,
        0xda0,
        0xc001_0015,
        0xc001_1029,
        0x4000_0001,
        0x999,
    ] {
        assert_eq!(msrs.read(&policy, msr, host), MsrRead::Fault, "{msr:#x}");
    }
}

#[test]
fn what_amd_guests_read() {
    let policy = amd_policy();
    let msrs = HvmMsrs::new(&policy);
    for msr in [
        0xc001_0010,
        0xc001_0015,
        0xc001_001a,
        0xc001_001d,
        0xc001_001f,
        0xc001_0055,
        0xc001_0114,
        0xc001_102c,
        0xc001_1019,
    ] {
        assert_eq!(msrs.read(&policy, msr, host), MsrRead::Value(0), "{msr:#x}");
    }
    assert_eq!(msrs.read(&policy, 0xc001_1029, host), MsrRead::Value(2));
    assert_eq!(msrs.read(&policy, 0x8b, host), MsrRead::Value(0x8b));
    for msr in [0x3a, 0x198, 0x19c, 0x1a0, 0x280, 0xc001_102a] {
        assert_eq!(msrs.read(&policy, msr, host), MsrRead::Fault, "{msr:#x}");
    }
}

#[test]
fn writes_that_are_checked() {
    let policy = intel_policy();
    let mut msrs = HvmMsrs::new(&policy);
    let mut write = |msr, value| msrs.write(&policy, msr, value, host);
    assert_eq!(write(0xc000_0103, 7), MsrWrite::Apply(MsrChange::TscAux(7)));
    assert_eq!(write(0xc000_0103, 1 << 32), MsrWrite::Fault);
    assert_eq!(write(0x1d9, 3), MsrWrite::Apply(MsrChange::DebugControl(3)));
    assert_eq!(write(0x1d9, 1 << 6), MsrWrite::Fault, "branch tracing");
    assert_eq!(
        write(0x49, 1),
        MsrWrite::Apply(MsrChange::PredictionBarrier)
    );
    assert_eq!(write(0x49, 2), MsrWrite::Fault);
    assert_eq!(write(0x1a0, 0x1a0 | 0x1800), MsrWrite::Done);
    assert_eq!(write(0x1a0, 0), MsrWrite::Fault);
    assert_eq!(
        write(0x277, 0x0706_0504_0100_0006),
        MsrWrite::Apply(MsrChange::Pat(0x0706_0504_0100_0006))
    );
    assert_eq!(write(0x277, 2), MsrWrite::Fault);
    assert_eq!(write(0x2ff, 0xc06), MsrWrite::Done);
    assert_eq!(write(0x140, 1), MsrWrite::Done);
    assert_eq!(write(0x140, 2), MsrWrite::Fault);
    assert_eq!(write(0x400, 5), MsrWrite::Done);
    assert_eq!(write(0x401, 5), MsrWrite::Fault);
    for msr in [
        0x3a,
        0xce,
        0x10a,
        0x179,
        0x198,
        0x19c,
        0xfe,
        0xc001_1029,
        0x999,
    ] {
        assert_eq!(write(msr, 0), MsrWrite::Fault, "{msr:#x}");
    }
    assert!(msrs.cpuid_faulting());
    assert_eq!(msrs.debug_control, 3);
}

#[test]
fn relaxed_guests_read_zero_where_the_host_has_something() {
    let policy = intel_policy().with_msr_relaxed(true);
    let mut msrs = HvmMsrs::new(&policy);
    assert_eq!(msrs.read(&policy, 0x999, host), MsrRead::Value(0));
    assert_eq!(msrs.write(&policy, 0x999, 1, host), MsrWrite::Done);
    assert_eq!(msrs.read(&policy, 0x5000, host), MsrRead::Fault);
    assert_eq!(msrs.write(&policy, 0x5000, 1, host), MsrWrite::Fault);
}

#[test]
fn records_carry_what_is_not_zero() {
    let policy = amd_policy();
    let mut msrs = HvmMsrs::new(&policy);
    assert!(msrs.saved().is_empty());
    msrs.write(&policy, 0xc001_1027, 0xfff, host);
    msrs.write(&policy, 0xc001_101b, 0x3, host);
    msrs.write(&policy, 0x140, 1, host);
    let saved = msrs.saved();
    assert_eq!(saved.len(), 3);
    let mut other = HvmMsrs::new(&policy);
    for entry in &saved {
        other.load_one(&policy, entry).unwrap();
    }
    assert_eq!(other, msrs);
    let entry = |index, _rsvd, val| HvmOneMsr { index, _rsvd, val };
    let mut load = |entry| other.load_one(&policy, &entry);
    assert_eq!(load(entry(0x140, 1, 1)), Err(Errno::EOPNOTSUPP));
    assert_eq!(load(entry(0x277, 0, 0)), Err(Errno::ENXIO));
    assert_eq!(load(entry(0xc001_1027, 0, 1 << 32)), Err(Errno::ENXIO));
}

#[test]
fn machine_check_records() {
    let policy = intel_policy();
    let mut msrs = HvmMsrs::new(&policy);
    msrs.write(&policy, 0x281, 0x4000_0001, host);
    let record = msrs.save_machine_checks(&policy);
    assert_eq!(record.mci_ctl2_bank1, 0x4000_0001);
    let mut other = HvmMsrs::new(&policy);
    other.load_machine_checks(&policy, &record).unwrap();
    assert_eq!(other, msrs);
    let more = HvmVmceVcpu {
        caps: record.caps | 1 << 27,
        ..record
    };
    assert_eq!(other.load_machine_checks(&policy, &more), Err(Errno::EPERM));
    let more = HvmVmceVcpu { caps: 3, ..record };
    assert_eq!(other.load_machine_checks(&policy, &more), Err(Errno::EPERM));
}
