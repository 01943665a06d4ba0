//! Control and debug registers, CPUID, TSC, interrupt flag, software interrupts, fetching.

use super::*;
use crate::pv::mode::rflags;

const CLI: &[u8] = &[0xfa];
const STI: &[u8] = &[0xfb];
const CLTS: &[u8] = &[0x0f, 0x06];
const WBINVD: &[u8] = &[0x0f, 0x09];
const XSETBV: &[u8] = &[0x0f, 0x01, 0xd1];
const CPUID: &[u8] = &[0x0f, 0xa2];
const RDTSC: &[u8] = &[0x0f, 0x31];
const RDTSCP: &[u8] = &[0x0f, 0x01, 0xf9];

#[test]
fn instructions_that_are_not_on_the_list_stay_faults() {
    let mut bench = Bench::new(true);
    for bytes in [
        &[0xf4][..],               // hlt
        &[0x0f, 0x01, 0x10],       // lgdt [rax]
        &[0x0f, 0x01, 0x18],       // lidt [rax]
        &[0x0f, 0x00, 0xd8],       // ltr ax
        &[0x0f, 0x00, 0xd0],       // lldt ax
        &[0x0f, 0x01, 0x38],       // invlpg [rax]
        &[0x0f, 0x01, 0xf8],       // swapgs
        &[0x0f, 0x01, 0xc8],       // monitor
        &[0x0f, 0x01, 0xc9],       // mwait
        &[0x0f, 0x33],             // rdpmc
        &[0x0f, 0x08],             // invd
        &[0x48, 0xcf],             // iretq
        &[0x44, 0x0f, 0x20, 0xc0], // mov rax, cr8
        &[0x8e, 0xd8],             // mov ds, eax
        &[0x48, 0x89, 0x00],       // mov [rax], rax
        &[0x06],                   // no such instruction
    ] {
        bench.must_fault(bytes);
    }
}

#[test]
fn user_mode_may_do_none_of_the_kernels_instructions() {
    let mut bench = Bench::new(true);
    bench.user_mode();
    for bytes in [
        &[0x0f, 0x32][..],
        &[0x0f, 0x30],
        CLI,
        STI,
        CLTS,
        WBINVD,
        XSETBV,
        &[0x0f, 0x20, 0xc0],
        &[0x0f, 0x22, 0xe0],
        &[0x0f, 0x21, 0xf8],
        &[0xe4, 0x60],
        &[0x6c],
    ] {
        bench.must_fault(bytes);
    }
    bench.must_run(RDTSC);
    bench.must_run(CPUID);
}

#[test]
fn cr0_shows_the_virtual_ts_and_only_that_changes() {
    let mut bench = Bench::new(false);
    bench.guest.ctx.task_switched = true;
    bench.must_run(&[0x0f, 0x20, 0xc0]);
    assert_eq!(bench.guest.regs.rax, 0x8005_003b);
    bench.guest.regs.rax &= !8;
    bench.must_run(&[0x0f, 0x22, 0xc0]);
    assert!(!bench.guest.ctx.task_switched);
    bench.guest.regs.rax ^= 1 << 16;
    bench.must_fault(&[0x0f, 0x22, 0xc0]);
    bench.guest.ctx.task_switched = true;
    bench.must_run(CLTS);
    assert!(!bench.guest.ctx.task_switched && !bench.hv.machine.task_switched(bench.guest.cpu));
}

#[test]
fn cr2_and_cr3_are_the_virtual_ones() {
    let mut bench = Bench::new(false);
    bench.guest.regs.rbx = 0x1234;
    bench.must_run(&[0x0f, 0x22, 0xd3]);
    bench.must_run(&[0x0f, 0x20, 0xd0]);
    assert_eq!(bench.guest.regs.rax, 0x1234);
    let root = bench.guest.ctx.kernel_root.unwrap();
    bench.must_run(&[0x0f, 0x20, 0xd9]);
    assert_eq!(bench.guest.regs.rcx, root.addr());
    bench.must_run(&[0x0f, 0x22, 0xd9]);
    assert_eq!(bench.guest.ctx.kernel_root, Some(root));
    // A page of data is no L4 table.
    bench.guest.regs.rcx = bench.guest.mfn(DATA).addr();
    bench.must_fault(&[0x0f, 0x22, 0xd9]);
    bench.guest.audit(&bench.hv);
}

#[test]
fn cr4_keeps_the_guests_bits_and_drops_the_rest() {
    let mut bench = Bench::new(false);
    bench.guest.regs.rax = u64::MAX;
    bench.must_run(&[0x0f, 0x22, 0xe0]);
    assert_eq!(bench.guest.ctx.cr4, 1 << 2 | 1 << 3 | 1 << 16 | 1 << 18);
    bench.must_run(&[0x0f, 0x20, 0xe3]);
    // The simulated host has PGE, OSFXSR, OSXMMEXCPT and PAE; PGE (bit 7) is not the guest's business.
    assert_eq!(
        bench.guest.regs.rbx,
        bench.guest.ctx.cr4 | 1 << 5 | 1 << 9 | 1 << 10
    );
}

#[test]
fn xsetbv_checks_everything_first() {
    let mut bench = Bench::new(false);
    let set = |bench: &mut Bench, index: u64, value: u64| {
        bench.guest.regs.rcx = index;
        bench.guest.regs.rax = value & 0xffff_ffff;
        bench.guest.regs.rdx = value >> 32;
        bench.run(XSETBV)
    };
    let undefined = PendingException {
        vector: 6,
        error_code: None,
        cr2: 0,
    };
    assert_eq!(set(&mut bench, 0, 3), GpOutcome::InjectOther(undefined));
    bench.guest.ctx.cr4 = 1 << 18;
    for (index, value) in [
        (1, 3),
        (0, 0),
        (0, 2),
        (0, 5),
        (0, 7),
        (0, 0xe3),
        (0, 1 << 62 | 1),
        (0, 1 << 9 | 3),
    ] {
        assert_eq!(
            set(&mut bench, index, value),
            GpOutcome::Inject,
            "XCR{index} = {value:#x}"
        );
        assert_eq!(bench.guest.ctx.xcr0, 1);
    }
    assert_eq!(set(&mut bench, 0, 3), GpOutcome::Emulated);
    assert_eq!((bench.guest.ctx.xcr0, bench.guest.ctx.xcr0_accum), (3, 3));
    assert_eq!(set(&mut bench, 0, 1), GpOutcome::Emulated);
    assert_eq!((bench.guest.ctx.xcr0, bench.guest.ctx.xcr0_accum), (1, 3));
}

#[test]
fn debug_registers_follow_the_hypercalls_rules() {
    let mut bench = Bench::new(false);
    let gp = GpOutcome::Inject;
    let ud = GpOutcome::InjectOther(PendingException {
        vector: 6,
        error_code: None,
        cr2: 0,
    });
    bench.guest.regs.rax = 0x1000;
    bench.must_run(&[0x0f, 0x23, 0xc0]);
    assert_eq!(bench.guest.ctx.debug_regs[0], 0x1000);
    bench.guest.regs.rax = 0xffff_8100_0000_0000;
    assert_eq!(bench.run(&[0x0f, 0x23, 0xc0]), gp);
    bench.guest.regs.rax = 1 << 13;
    assert_eq!(bench.run(&[0x0f, 0x23, 0xf8]), gp, "general detect");
    bench.guest.regs.rax = 1 << 32;
    assert_eq!(bench.run(&[0x0f, 0x23, 0xf0]), gp, "upper half of DR6");
    bench.guest.regs.rax = 1;
    bench.must_run(&[0x0f, 0x23, 0xf8]);
    bench.must_run(&[0x0f, 0x21, 0xfb]);
    assert_eq!(bench.guest.regs.rbx, 0x401);
    assert_eq!(bench.hv.machine.debug_regs(bench.guest.cpu).addr[0], 0x1000);
    // DR5 is DR7 until CR4.DE.
    bench.must_run(&[0x0f, 0x21, 0xe9]);
    assert_eq!(bench.guest.regs.rcx, 0x401);
    bench.guest.ctx.cr4 = 1 << 3;
    assert_eq!(bench.run(&[0x0f, 0x21, 0xe9]), ud);
}

#[test]
fn cli_and_sti_do_nothing_where_the_virtual_iopl_allows_it() {
    let mut bench = Bench::new(false);
    bench.must_fault(CLI);
    bench.guest.ctx.iopl = 1;
    for bytes in [CLI, STI] {
        let flags = bench.guest.regs.rflags;
        bench.must_run(bytes);
        assert_eq!(bench.guest.regs.rflags, flags);
    }
    bench.user_mode();
    bench.must_fault(CLI);
    bench.guest.ctx.iopl = 3;
    bench.must_run(CLI);
}

#[test]
fn wbinvd_flushes_only_for_the_domain_with_devices() {
    for dom0 in [false, true] {
        let mut bench = Bench::new(dom0);
        bench.must_run(WBINVD);
        bench.must_run(&[0xf3, 0x0f, 0x09]);
        assert_eq!(bench.hv.machine.cache_flushes(), if dom0 { 2 } else { 0 });
    }
}

#[test]
fn cpuid_writes_four_registers_and_clears_their_upper_halves() {
    let mut bench = Bench::new(false);
    let regs = &mut bench.guest.regs;
    regs.rax = 0xffff_ffff_4000_0000;
    (regs.rbx, regs.rcx, regs.rdx) = (u64::MAX, 0, u64::MAX);
    bench.must_run(CPUID);
    let regs = &bench.guest.regs;
    assert_eq!(
        [regs.rax, regs.rbx, regs.rcx, regs.rdx],
        [0x4000_0005, 0x566e_6558, 0x6558_4d4d, 0x4d4d_566e]
    );
    bench.user_mode();
    bench.guest.ctx.misc_features_enables = 1;
    bench.must_fault(CPUID);
}

#[test]
fn the_tsc_is_read_where_tsd_does_not_forbid_it() {
    let mut bench = Bench::new(false);
    bench.hv.machine.advance_ns(0x5_0000_0000);
    bench.guest.ctx.tsc_aux = 7;
    bench.guest.ctx.cr4 = 1 << 2;
    bench.must_run(RDTSCP);
    let regs = &bench.guest.regs;
    assert!(regs.rdx >= 5 && regs.rax <= u64::from(u32::MAX) && regs.rcx == 7);
    bench.user_mode();
    bench.must_fault(RDTSC);
    bench.guest.ctx.cr4 = 0;
    bench.must_run(RDTSC);
}

#[test]
fn retiring_clears_rf_and_single_steps_with_tf() {
    let mut bench = Bench::new(false);
    bench.guest.regs.rflags |= rflags::RF | rflags::TF;
    bench.must_run(CLTS);
    assert_eq!(bench.guest.regs.rflags & rflags::RF, 0);
    assert_eq!(
        bench.pending(),
        Some(PendingException {
            vector: 1,
            error_code: None,
            cr2: 0
        })
    );
    assert_eq!(bench.guest.ctx.debug_regs[6] & 1 << 14, 1 << 14);
}

#[test]
fn software_interrupts_take_their_vector_from_the_instruction() {
    let mut bench = Bench::new(false);
    for vector in all_bytes() {
        bench.guest.ctx.traps[usize::from(vector)].flags = 3;
        bench.code(&[0xcd, vector]);
        let next_rip = bench.guest.regs.rip + 2;
        // The error code of a processor, and that of an emulator with a known bug.
        for scale in [8, 16] {
            let code = u32::from(vector) * scale + 2;
            assert_eq!(
                bench.gp(code),
                GpOutcome::SoftwareInterrupt { vector, next_rip }
            );
        }
    }
    bench.code(&[0x48, 0x66, 0xcd, 0x21]);
    let next_rip = bench.guest.regs.rip + 4;
    assert_eq!(
        bench.gp(0x21 * 8 + 2),
        GpOutcome::SoftwareInterrupt {
            vector: 0x21,
            next_rip
        }
    );
}

#[test]
fn software_interrupts_need_a_gate_that_the_mode_may_use() {
    let mut bench = Bench::new(false);
    let refused = GpOutcome::InjectOther(PendingException {
        vector: 13,
        error_code: Some(0x21 * 8 + 2),
        cr2: 0,
    });
    for (dpl, kernel, user) in [
        (0, false, false),
        (1, true, false),
        (2, true, false),
        (3, true, true),
    ] {
        bench.guest.ctx.traps[0x21].flags = dpl;
        for (kernel_mode, allowed) in [(true, kernel), (false, user)] {
            bench.guest.ctx.kernel_mode = kernel_mode;
            bench.code(&[0xcd, 0x21]);
            // Refused, the fault names the right gate whatever the emulator said.
            let outcome = bench.gp(0x21 * 16 + 2);
            assert_eq!(
                outcome == refused,
                !allowed,
                "DPL {dpl}, kernel {kernel_mode}"
            );
        }
    }
    bench.guest.ctx.kernel_mode = true;
}

#[test]
fn a_software_interrupt_whose_bytes_are_gone_goes_by_its_error_code() {
    let mut bench = Bench::new(false);
    bench.guest.ctx.traps[0x80].flags = 3;
    bench.guest.regs.rip = 0x1000;
    assert_eq!(
        bench.gp(0x80 * 8 + 2),
        GpOutcome::SoftwareInterrupt {
            vector: 0x80,
            next_rip: 0x1002
        }
    );
}

#[test]
fn other_error_codes_belong_to_the_guest() {
    let mut bench = Bench::new(true);
    bench.code(CLTS);
    for code in [0x10, 0x14, 1, 3, 0xe033] {
        assert_eq!(bench.gp(code), GpOutcome::Inject, "{code:#x}");
    }
}

#[test]
fn a_fetch_that_faults_is_the_guests_page_fault() {
    let mut bench = Bench::new(true);
    bench.guest.regs.rip = 0x1000;
    let fault = PendingException {
        vector: 14,
        error_code: Some(0x14),
        cr2: 0x1000,
    };
    assert_eq!(bench.gp(0), GpOutcome::InjectOther(fault));
    // In the hypervisor's part nothing is read, whatever is mapped there.
    bench.guest.regs.rip = 0xffff_8300_0000_0000;
    let fault = PendingException {
        vector: 14,
        error_code: Some(0x15),
        cr2: 0xffff_8300_0000_0000,
    };
    assert_eq!(bench.gp(0), GpOutcome::InjectOther(fault));
}

#[test]
fn an_instruction_that_ends_with_its_page_needs_nothing_of_the_next() {
    let mut bench = Bench::new(true);
    let page = Pfn(bench.guest.plain_pages() - 1);
    let at = end_of(&bench, page, 2);
    bench.code_at(at, CLTS);
    assert_eq!(bench.gp(0), GpOutcome::Emulated);
    assert_eq!(bench.guest.regs.rip, at + 2);
}

#[test]
fn a_code_segment_beyond_the_gdt_is_not_looked_at() {
    let mut bench = Bench::new(true);
    for selector in [0x0010, 0xe000, 0xe03b, 0xffff, 0x0007, 0] {
        bench.guest.regs.cs = selector;
        bench.must_fault(CLTS);
    }
    // Compatibility code wraps at 4 GiB and finds nothing there.
    bench.guest.regs.cs = 0xe023;
    bench.code(CLTS);
    assert!(matches!(
        bench.gp(0),
        GpOutcome::InjectOther(PendingException { vector: 14, .. })
    ));
}

#[test]
fn random_instructions_never_panic() {
    use proptest::prelude::*;
    let bench = std::cell::RefCell::new(Bench::new(true));
    proptest!(|(bytes in proptest::collection::vec(any::<u8>(), 1..16), prefix in 0usize..4,
                values in proptest::array::uniform8(any::<u64>()), code in 0u32..4, kernel: bool)| {
        let mut bench = bench.borrow_mut();
        let mut all: Vec<u8> = [&[][..], &[0x0f], &[0xf3, 0x0f], &[0x0f, 0x01]][prefix].into();
        all.extend_from_slice(&bytes);
        let regs = &mut bench.guest.regs;
        [regs.rax, regs.rcx, regs.rdx, regs.rbx, regs.rsi, regs.rdi, regs.r8, regs.r9] = values;
        bench.guest.ctx.kernel_mode = kernel;
        bench.guest.ctx.iopl = 3;
        bench.code(&all);
        let _ = bench.gp(code);
        bench.pending();
    });
    bench.borrow_mut().guest.ctx.kernel_mode = true;
}
