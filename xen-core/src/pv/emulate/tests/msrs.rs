//! RDMSR and WRMSR, register by register.

use core::sync::atomic::Ordering;

use hypercall_abi::arch_x86::CpuUserRegs;
use hypercall_abi::xen::DomId;
use zerocopy::FromZeros;

use super::*;
use crate::cpu_policy::CpuPolicy;
use crate::domain::{DomainConfig, Privileges};
use crate::hypervisor::CpuLocal;
use crate::machine::{Frames, PvCpu, SegmentBase};
use crate::num::{CpuId, VcpuId};

const RDMSR: &[u8] = &[0x0f, 0x32];
const WRMSR: &[u8] = &[0x0f, 0x30];

impl Bench {
    fn read(&mut self, msr: u32) -> Option<u64> {
        self.guest.regs.rcx = msr.into();
        match self.run(RDMSR) {
            GpOutcome::Emulated => Some(self.guest.regs.rdx << 32 | self.guest.regs.rax),
            outcome => {
                assert_eq!(outcome, GpOutcome::Inject);
                None
            }
        }
    }

    fn write(&mut self, msr: u32, value: u64) -> bool {
        let regs = &mut self.guest.regs;
        regs.rcx = msr.into();
        regs.rax = 0xdead_0000_0000_0000 | value & 0xffff_ffff;
        regs.rdx = value >> 32;
        match self.run(WRMSR) {
            GpOutcome::Emulated => true,
            outcome => {
                assert_eq!(outcome, GpOutcome::Inject);
                false
            }
        }
    }

    /// Gives the guest a #GP handler, after which unknown registers are #GP.
    fn with_handler(mut self) -> Self {
        self.guest.ctx.traps[13].address = 0xffff_ffff_8100_0000;
        self
    }
}

#[test]
fn gs_base_is_written_before_anything_is_registered() {
    let mut bench = Bench::new(true);
    assert!(bench.write(0xc000_0101, 0xffff_ffff_8230_0000));
    assert_eq!(
        bench.hv.machine.base(SegmentBase::Gs),
        0xffff_ffff_8230_0000
    );
    assert_eq!(bench.read(0xc000_0101), Some(0xffff_ffff_8230_0000));
}

#[test]
fn bases_are_live_and_must_be_canonical() {
    let mut bench = Bench::new(false).with_handler();
    for (msr, base) in [
        (0xc000_0100, SegmentBase::Fs),
        (0xc000_0101, SegmentBase::Gs),
        (0xc000_0102, SegmentBase::InactiveGs),
    ] {
        assert!(bench.write(msr, 0x7fff_0000_1000));
        assert_eq!(bench.hv.machine.base(base), 0x7fff_0000_1000);
        assert_eq!(bench.read(msr), Some(0x7fff_0000_1000));
        for bad in [0x8000_0000_0000, 0xffff_7fff_ffff_ffff, 1 << 63] {
            assert!(!bench.write(msr, bad), "{msr:#x} = {bad:#x}");
        }
        assert_eq!(bench.hv.machine.base(base), 0x7fff_0000_1000);
    }
}

#[test]
fn fixed_values() {
    let mut bench = Bench::new(false).with_handler();
    for (msr, value) in [
        (0x1b, 0xfee0_0900),
        (0x3a, 1),
        (0x277, 0x0000_0501_0007_0406),
        (0xce, 0),
        (0x140, 0),
        (0x179, 0x0100_0802),
        (0x17a, 0),
        (0x400, 0),
        (0x407, 0),
        (0x198, 0),
        (0x199, 0),
        (0x19c, 0),
        (0x345, 0),
        (0xc000_0080, 0xd01),
        (0x4000_0000, 0),
        (0xc1, 0),
        (0x186, 0),
        (0x38f, 0),
    ] {
        assert_eq!(bench.read(msr), Some(value), "{msr:#x}");
    }
}

#[test]
fn writes_that_are_ignored() {
    let mut bench = Bench::new(false).with_handler();
    for msr in [
        0x199, 0x19a, 0x1b0, 0xe7, 0xe8, 0x400, 0x404, 0xc1, 0x186, 0x38f,
    ] {
        assert!(bench.write(msr, u64::MAX), "{msr:#x}");
    }
    for (msr, allowed) in [
        (0x8b, 0),
        (0xc000_0080, 0xd01),
        (0x140, 0),
        (0x17a, 0),
        (0x401, 0),
    ] {
        assert!(bench.write(msr, allowed), "{msr:#x}");
        assert!(!bench.write(msr, 0x1_0000_0002), "{msr:#x}");
    }
}

#[test]
fn registers_that_fault_whatever_the_host_has() {
    let mut bench = Bench::new(true).with_handler();
    let both = [
        0x33,
        0x3b,
        0x48,
        0x79,
        0xcf,
        0x10a,
        0x10b,
        0x122,
        0x174,
        0x200,
        0x2ff,
        0x6e0,
        0x800,
        0x8ff,
        0xda0,
        0x4000_0001,
        0x4000_02ff,
        0xc000_0081,
        0xc000_0084,
        0xc000_0103,
        0xc001_0010,
        0xc001_0015,
        0xc001_011f,
        0xc001_1027,
        0xc001_1029,
        0x1234_5678,
    ];
    for msr in both {
        bench.hv.machine.set_msr(msr, 1);
        assert_eq!(bench.read(msr), None, "{msr:#x}");
        assert!(!bench.write(msr, 1), "{msr:#x}");
    }
    for msr in [0x49, 0x19a, 0x1b0, 0xe7, 0xe8] {
        assert_eq!(bench.read(msr), None, "{msr:#x}");
    }
    for msr in [
        0x10, 0x1b, 0x3a, 0x49, 0xce, 0x179, 0x198, 0x19c, 0x277, 0x345,
    ] {
        assert!(!bench.write(msr, 0xffff_ffff), "{msr:#x}");
    }
}

#[test]
fn misc_enable_is_the_hosts_with_fixed_bits_and_absent_where_the_host_has_none() {
    let mut bench = Bench::new(false).with_handler();
    assert_eq!(bench.read(0x1a0), None, "XSA-333");
    assert!(!bench.write(0x1a0, 0));
    bench.hv.machine.set_msr(0x1a0, 1 | 1 << 7 | 1 << 18);
    assert_eq!(bench.read(0x1a0), Some(1 | 1 << 11 | 1 << 12 | 1 << 23));
    assert!(bench.write(0x1a0, 0));
    assert_eq!(
        bench.hv.machine.read_msr(0x1a0),
        Some(1 | 1 << 7 | 1 << 18),
        "the host's is untouched"
    );
}

#[test]
fn amd_registers() {
    let mut bench = Bench::amd(true).with_handler();
    for msr in [0x1a0, 0x3a, 0x17, 0x198] {
        assert_eq!(bench.read(msr), None, "{msr:#x}");
    }
    for (msr, value) in [
        (0xc001_0015, 0),
        (0xc001_001f, 0),
        (0xc001_0058, 0),
        (0xc001_0061, 0),
        (0xc001_006b, 0),
        (0xc001_1029, 2),
        (0xc001_0200, 0),
        (0xc001_0004, 0),
        (0x179, 2),
    ] {
        assert_eq!(bench.read(msr), Some(value), "{msr:#x}");
    }
    for msr in [
        0xc001_0015,
        0xc001_001f,
        0xc001_0058,
        0xc001_0061,
        0xc001_1029,
        0xc001_0200,
    ] {
        assert!(bench.write(msr, u64::MAX), "{msr:#x}");
    }
    bench.hv.machine.set_msr(0xc001_0010, u64::MAX);
    bench.hv.machine.set_msr(0xc001_001a, 0x8000_0000);
    assert_eq!(
        bench.read(0xc001_0010),
        Some(1 << 18 | 1 << 20 | 1 << 21 | 1 << 22)
    );
    assert_eq!(bench.read(0xc001_001a), Some(0x8000_0000));
    assert!(!bench.write(0xc001_0010, 0) && !bench.write(0xc001_001a, 0));

    let mut other = Bench::amd(false).with_handler();
    other.hv.machine.set_msr(0xc001_0010, u64::MAX);
    other.hv.machine.set_msr(0xc001_001a, u64::MAX);
    assert_eq!(
        (other.read(0xc001_0010), other.read(0xc001_001a)),
        (None, None)
    );
}

#[test]
fn tsc_aux_and_address_masks_are_32_bits_wide_and_live() {
    let mut bench = Bench::amd(false).with_handler();
    for msr in [
        0xc000_0103,
        0xc001_1027,
        0xc001_1019,
        0xc001_101a,
        0xc001_101b,
    ] {
        bench.hv.machine.set_msr(msr, 0);
        assert!(!bench.write(msr, 1 << 32), "{msr:#x}");
        assert!(bench.write(msr, 0xabcd_ef01), "{msr:#x}");
        assert_eq!(
            bench.hv.machine.read_msr(msr),
            Some(0xabcd_ef01),
            "{msr:#x}"
        );
        bench.hv.machine.set_msr(msr, 5);
        assert_eq!(bench.read(msr), Some(0xabcd_ef01), "{msr:#x}");
    }
    assert_eq!(bench.guest.ctx.tsc_aux, 0xabcd_ef01);
    // The next vCPU gets its own, zeroes included (XSA-444).
    let fresh = crate::domain::VcpuCtx::new(512);
    super::super::msr::load(&bench.hv.machine, &bench.hv.policies.host, &fresh);
    for msr in [0xc000_0103, 0xc001_1027, 0xc001_101b] {
        assert_eq!(bench.hv.machine.read_msr(msr), Some(0), "{msr:#x}");
    }
}

#[test]
fn prediction_barriers_reach_the_processor_and_nothing_else_does() {
    let mut bench = Bench::amd(false).with_handler();
    bench.hv.machine.set_msr(0x49, 0);
    assert!(bench.write(0x49, 1));
    assert_eq!(bench.hv.machine.read_msr(0x49), Some(1));
    assert!(!bench.write(0x49, 2));
    assert_eq!(bench.read(0x49), None);
}

#[test]
fn an_unknown_register_reads_as_zero_until_there_is_a_handler() {
    let mut bench = Bench::new(false);
    bench.hv.machine.set_msr(0x1234, 99);
    assert_eq!(bench.read(0x1234), Some(0));
    assert_eq!(bench.read(0x1235), None, "the host has no such register");
    assert!(!bench.write(0x1234, 1));
    let mut bench = bench.with_handler();
    assert_eq!(bench.read(0x1234), None);
}

#[test]
fn the_hypercall_page_needs_a_writable_page_of_the_guests_own() {
    let mut bench = Bench::new(false).with_handler();
    let page = bench.guest.mfn(DATA);
    let before = bench.hv.machine.words(page)[0].load(Ordering::SeqCst);
    assert!(!bench.write(0x4000_0000, page.addr() | 1), "page 1 of one");
    let table = bench.guest.mfn(bench.guest.l4);
    assert!(!bench.write(0x4000_0000, table.addr()), "a page table");
    assert!(!bench.write(0x4000_0000, 0), "not the guest's");
    assert!(!bench.write(0x4000_0000, !0xfff), "no such frame");
    assert_eq!(
        bench.hv.machine.words(page)[0].load(Ordering::SeqCst),
        before
    );
    assert!(bench.write(0x4000_0000, page.addr()));
    // push rcx; push r11; mov eax, 0
    assert_eq!(
        bench.hv.machine.words(page)[0]
            .load(Ordering::SeqCst)
            .to_le_bytes()[..4],
        [0x51, 0x41, 0x53, 0xb8]
    );
    bench.guest.audit(&bench.hv);
}

#[test]
fn no_register_and_no_value_panics() {
    use proptest::prelude::*;
    for bench in [Bench::new(true), Bench::amd(true)] {
        let bench = std::cell::RefCell::new(bench.with_handler());
        proptest!(|(base in prop::sample::select(std::vec![0_u32, 0x400, 0x800, 0xc000_0000, 0xc001_0000, 0x4000_0000]),
                    offset in 0u32..0x2000, value: u64)| {
            let mut bench = bench.borrow_mut();
            let msr = base + offset;
            let _ = bench.read(msr);
            let _ = bench.write(msr, value);
        });
    }
}

#[test]
fn a_guest_that_is_not_shown_a_register_does_not_find_the_values_of_the_one_before() {
    const REGISTERS: [u32; 3] = [0xc000_0103, 0xc001_1027, 0xc001_101b];
    let mut bench = Bench::amd(false).with_handler();
    for msr in REGISTERS {
        bench.hv.machine.set_msr(msr, 0);
        assert!(bench.write(msr, 7), "{msr:#x}");
    }
    // RDTSCP and breakpoints work in ring 3 whatever CPUID says.
    let hv = &bench.hv;
    let other = hv
        .create_domain(DomainConfig {
            id: DomId(2),
            privileges: Privileges::default(),
            max_vcpus: 1,
            max_evtchn_port: 63,
            max_grant_frames: 1,
            max_maptrack_frames: 1,
            cpu_policy: CpuPolicy::default().into(),
            handle: [0; 16],
            ssidref: 0,
            paused: false,
            hvm: None,
        })
        .expect("domain");
    let vcpu = hv.create_vcpu(&other, VcpuId(0));
    let mut cpu = CpuLocal::new(CpuId(0));
    let mut regs = CpuUserRegs::new_zeroed();
    assert!(hv.switch_in(&mut cpu, &mut regs, &vcpu));
    for msr in REGISTERS {
        assert_eq!(hv.machine.read_msr(msr), Some(0), "{msr:#x}");
    }
}
