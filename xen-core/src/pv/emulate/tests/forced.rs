//! The forced-emulation prefix.

use super::super::forced::invalid_opcode;
use super::*;

const REQUEST: [u8; 7] = [0x0f, 0x0b, b'x', b'e', b'n', 0x0f, 0xa2];

impl Bench {
    fn ud(&mut self) -> bool {
        let guest = &mut self.guest;
        invalid_opcode(
            &self.hv,
            &guest.domain,
            &guest.vcpu,
            &mut guest.ctx,
            &mut guest.regs,
        )
    }
}

#[test]
fn the_prefix_gets_cpuid_in_both_modes() {
    for kernel in [true, false] {
        let mut bench = Bench::new(false);
        bench.guest.ctx.kernel_mode = kernel;
        bench.code(&REQUEST);
        let rip = bench.guest.regs.rip;
        bench.guest.regs.rax = 0x4000_0001;
        assert!(bench.ud());
        assert_eq!(
            (bench.guest.regs.rax, bench.guest.regs.rip),
            (0x4_0011, rip + 7)
        );
        assert_eq!(bench.pending(), None);
        bench.guest.ctx.kernel_mode = true;
    }
}

#[test]
fn xsave_shows_as_enabled_through_the_prefix_before_cr4_is_written() {
    let mut bench = Bench::new(true);
    crate::machine::PvCpu::set_guest_cr4(&bench.hv.machine, 1 << 18);
    bench.code(&REQUEST);
    bench.guest.regs.rax = 1;
    assert!(bench.ud());
    assert_eq!(bench.guest.regs.rcx & 3 << 26, 3 << 26);
}

#[test]
fn anything_else_stays_undefined() {
    let mut bench = Bench::new(true);
    for at in 0..REQUEST.len() {
        let mut bytes = REQUEST;
        bytes[at] ^= 0x40;
        bench.code(&bytes);
        let rip = bench.guest.regs.rip;
        assert!(!bench.ud(), "{bytes:x?}");
        assert_eq!((bench.guest.regs.rip, bench.pending()), (rip, None));
    }
}

#[test]
fn user_mode_under_the_guests_own_faulting_gets_gp_at_the_instruction() {
    let mut bench = Bench::new(true);
    bench.user_mode();
    bench.guest.ctx.misc_features_enables = 1;
    bench.code(&REQUEST);
    let rip = bench.guest.regs.rip;
    assert!(bench.ud());
    assert_eq!(bench.guest.regs.rip, rip + 5);
    assert_eq!(
        bench.pending(),
        Some(PendingException {
            vector: 13,
            error_code: Some(0),
            cr2: 0
        })
    );
}

#[test]
fn a_request_cut_off_by_an_absent_page_is_a_page_fault() {
    let mut bench = Bench::new(true);
    bench.guest.regs.rip = 0x7000;
    assert!(bench.ud());
    assert_eq!(
        bench.pending(),
        Some(PendingException {
            vector: 14,
            error_code: Some(0x14),
            cr2: 0x7000
        })
    );
}
