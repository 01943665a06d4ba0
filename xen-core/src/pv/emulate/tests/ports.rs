//! IN, OUT, INS, OUTS.

use super::*;
use crate::pv::mode::rflags;
use crate::sim::IoAccess;

const IN_AL_DX: &[u8] = &[0xec];
const IN_AX_DX: &[u8] = &[0x66, 0xed];
const IN_EAX_DX: &[u8] = &[0xed];
const OUT_DX_AL: &[u8] = &[0xee];
const OUT_DX_EAX: &[u8] = &[0xef];
const REP_INSB: &[u8] = &[0xf3, 0x6c];
const REP_OUTSD: &[u8] = &[0xf3, 0x6f];

fn bench(dom0: bool) -> Bench {
    let mut bench = Bench::new(dom0);
    bench.guest.ctx.iopl = 1;
    bench
}

impl Bench {
    fn port(&mut self, port: u16, rax: u64) -> &mut Self {
        self.guest.regs.rdx = 0xdead_0000 | u64::from(port);
        self.guest.regs.rax = rax;
        self
    }

    fn input(&mut self, bytes: &[u8], port: u16) -> u64 {
        self.port(port, u64::MAX >> 4).must_run(bytes);
        self.guest.regs.rax
    }
}

#[test]
fn accesses_of_dom0_reach_the_port_with_their_width() {
    let mut bench = bench(true);
    bench.hv.machine.set_port(0x1f0, 0x8765_4321);
    assert_eq!(bench.input(IN_AL_DX, 0x1f0), 0x0fff_ffff_ffff_ff21);
    assert_eq!(bench.input(IN_AX_DX, 0x1f0), 0x0fff_ffff_ffff_4321);
    assert_eq!(bench.input(IN_EAX_DX, 0x1f0), 0x8765_4321);
    bench.port(0x1f0, 0xaabb_ccdd).must_run(OUT_DX_EAX);
    bench.port(0, 0x11).must_run(&[0xe6, 0x80]);
    assert_eq!(
        bench.hv.machine.take_io(),
        [
            IoAccess::PortOut(0x1f0, 0xaabb_ccdd),
            IoAccess::PortOut(0x80, 0x11)
        ]
    );
}

#[test]
fn a_guest_without_rights_reads_ones_and_writes_nowhere() {
    let mut bench = bench(false);
    bench.hv.machine.set_port(0x1f0, 0);
    assert_eq!(bench.input(IN_EAX_DX, 0x1f0), 0xffff_ffff);
    bench.port(0xcf8, 0x8000_0000).must_run(OUT_DX_EAX);
    assert_eq!(bench.input(IN_EAX_DX, 0xcfc), 0xffff_ffff);
    assert_eq!(
        bench.input(IN_EAX_DX, 0xcf8),
        0x8000_0000,
        "the latch is the domain's own"
    );
    bench.port(0xcfc, 1).must_run(OUT_DX_EAX);
    bench.port(0x70, 0x0a).must_run(OUT_DX_AL);
    assert_eq!(bench.input(IN_AL_DX, 0x71) & 0xff, 0xff);
    assert_eq!(bench.hv.machine.take_io(), []);
}

#[test]
fn reserved_ports_are_kept_even_from_dom0() {
    let mut bench = bench(true);
    for port in [0x20, 0x21, 0xa0, 0xa1, 0x40, 0x43, 0x61] {
        bench.hv.machine.set_port(port, 0x55);
        bench.port(port, 0xff).must_run(OUT_DX_AL);
        assert_ne!(bench.input(IN_AL_DX, port) & 0xff, 0x55, "{port:#x}");
    }
    assert_eq!(bench.hv.machine.take_io(), []);
    // A wide access may not reach into one either.
    bench.port(0x3e, 0).must_run(OUT_DX_EAX);
    assert_eq!(bench.hv.machine.take_io(), []);
    bench.port(0xffff, 0).must_run(OUT_DX_EAX);
    assert_eq!(bench.hv.machine.take_io(), []);
}

#[test]
fn dom0_reaches_configuration_space_and_the_cmos_through_the_latches() {
    let mut bench = bench(true);
    bench.hv.machine.set_pci(0, 0x08, 0x10, 0x1234_5678);
    bench.port(0xcf8, 0x8000_0810).must_run(OUT_DX_EAX);
    assert_eq!(bench.input(IN_EAX_DX, 0xcfc), 0x1234_5678);
    bench.port(0xcfc, 0x9abc).must_run(OUT_DX_EAX);
    // Without the enable bit there is nothing.
    bench.port(0xcf8, 0x0000_0810).must_run(OUT_DX_EAX);
    assert_eq!(bench.input(IN_EAX_DX, 0xcfc), 0xffff_ffff);
    bench.port(0x70, 0x8a).must_run(OUT_DX_AL);
    bench.hv.machine.set_port(0x71, 0x26);
    assert_eq!(bench.input(IN_AL_DX, 0x71) & 0xff, 0x26);
    assert_eq!(
        bench.hv.machine.take_io(),
        [
            IoAccess::PciWrite(0, 0x08, 0x10, 0x9abc),
            IoAccess::PortOut(0x70, 0x0a)
        ]
    );
}

#[test]
fn the_pit_of_a_guest_counts() {
    let mut bench = bench(false);
    bench.port(0x61, 1).must_run(OUT_DX_AL);
    bench.port(0x43, 0xb0).must_run(OUT_DX_AL);
    bench.port(0x42, 0xff).must_run(OUT_DX_AL);
    bench.port(0x42, 0x0f).must_run(OUT_DX_AL);
    assert_eq!(bench.input(IN_AL_DX, 0x61) & 0x21, 1);
    bench.hv.machine.advance_ns(10_000_000);
    assert_eq!(bench.input(IN_AL_DX, 0x61) & 0x21, 0x21);
}

#[test]
fn the_virtual_iopl_decides_and_then_the_bitmap() {
    let mut bench = bench(true);
    bench.guest.ctx.iopl = 0;
    bench.port(0x1f0, 0).must_fault(IN_AL_DX);
    bench.guest.ctx.iopl = 2;
    bench.user_mode();
    bench.port(0x1f0, 0).must_fault(IN_AL_DX);
    bench.guest.ctx.iopl = 3;
    bench.port(0x1f0, 0).must_run(IN_AL_DX);
    bench.guest.ctx.iopl = 0;
    let mut bitmap = std::vec![0xff_u8; 128];
    // Ports 0x1f3 to 0x1f6 are granted.
    bitmap[0x1f0 / 8] = 0x87;
    bench.guest.ctx.io_bitmap = bench.guest.put(&bench.hv, DATA, &bitmap[..]);
    bench.guest.ctx.io_bitmap_ports = 1024;
    bench.port(0x1f3, 0).must_run(IN_AL_DX);
    bench.port(0x1f3, 0).must_run(IN_EAX_DX);
    bench.port(0x1f6, 0).must_run(IN_AL_DX);
    for port in [0x1f2, 0x1f4, 0x1f7] {
        bench.port(port, 0).must_fault(IN_EAX_DX);
    }
    bench.port(0x400, 0).must_fault(IN_AL_DX);
    assert_eq!(
        bench.hv.machine.loaded_root(bench.guest.cpu),
        bench.guest.ctx.user_root
    );
    // A bitmap that cannot be read grants nothing.
    bench.guest.ctx.io_bitmap = 0x1000;
    bench.port(0x1f3, 0).must_fault(IN_AL_DX);
    bench.guest.ctx.io_bitmap = 0xffff_8000_0000_0000;
    bench.port(0x1f3, 0).must_fault(IN_AL_DX);
}

#[test]
fn a_repeated_transfer_moves_count_and_pointer_with_each_iteration() {
    let mut bench = bench(true);
    bench.hv.machine.set_port(0x1f0, 0x5a);
    let at = bench.guest.va(DATA);
    bench.port(0x1f0, 0);
    (bench.guest.regs.rcx, bench.guest.regs.rdi) = (5, at);
    bench.must_run(REP_INSB);
    assert_eq!((bench.guest.regs.rcx, bench.guest.regs.rdi), (0, at + 5));
    assert_eq!(bench.guest.load(&bench.hv, at).unwrap(), 0x5a_5a5a_5a5a);

    bench.guest.put(&bench.hv, DATA, &[1_u32, 2, 3]);
    bench.guest.regs.rflags |= rflags::DF;
    (bench.guest.regs.rcx, bench.guest.regs.rsi) = (3, at + 8);
    bench.must_run(REP_OUTSD);
    assert_eq!(bench.guest.regs.rsi, at.wrapping_sub(4));
    let written = bench.hv.machine.take_io();
    assert_eq!(
        written,
        [3, 2, 1].map(|value| IoAccess::PortOut(0x1f0, value))
    );
    // Nothing to do is nothing done.
    bench.must_run(REP_OUTSD);
    assert_eq!(bench.hv.machine.take_io(), []);
}

#[test]
fn a_long_transfer_is_done_in_bounded_parts() {
    let mut bench = bench(true);
    bench.port(0x1f0, 0);
    let at = bench.guest.va(DATA);
    (bench.guest.regs.rcx, bench.guest.regs.rsi) = (1000, at);
    bench.code(&[0xf3, 0x6e]);
    let rip = bench.guest.regs.rip;
    let mut rounds = 0;
    while bench.guest.regs.rip == rip {
        let before = bench.guest.regs.rcx;
        assert_eq!(bench.gp(0), GpOutcome::Emulated);
        assert!(before - bench.guest.regs.rcx <= 256);
        rounds += 1;
    }
    assert!(rounds >= 4);
    assert_eq!(bench.guest.regs.rip, rip + 2);
    assert_eq!((bench.guest.regs.rcx, bench.guest.regs.rsi), (0, at + 1000));
    assert_eq!(bench.hv.machine.take_io().len(), 1000);
}

#[test]
fn a_transfer_stops_at_the_page_that_faults_and_loses_nothing() {
    let mut bench = bench(true);
    bench.port(0x1f0, 0);
    // The guest's tables follow its plain pages and are read-only.
    let page = Pfn(bench.guest.plain_pages() - 1);
    let at = end_of(&bench, page, 2);
    (bench.guest.regs.rcx, bench.guest.regs.rdi) = (8, at);
    let fault = PendingException {
        vector: 14,
        error_code: Some(7),
        cr2: at + 2,
    };
    assert_eq!(bench.run(REP_INSB), GpOutcome::InjectOther(fault));
    assert_eq!((bench.guest.regs.rcx, bench.guest.regs.rdi), (6, at + 2));
    assert_eq!(bench.guest.regs.rip, bench.guest.va(CODE));
    // Into the hypervisor's part: not touched.
    bench.guest.regs.rdi = 0xffff_8000_0000_0000;
    assert!(matches!(
        bench.run(REP_INSB),
        GpOutcome::InjectOther(PendingException { vector: 14, .. })
    ));
    assert_eq!(bench.guest.regs.rcx, 6);
}

#[test]
fn an_io_breakpoint_raises_debug_after_the_access() {
    let mut bench = bench(true);
    bench.guest.ctx.cr4 = 1 << 3;
    crate::pv::debugreg::set(&mut bench.guest.ctx, 1, 0x1f0).unwrap();
    // Breakpoint 1: I/O, two bytes, enabled.
    crate::pv::debugreg::set(&mut bench.guest.ctx, 7, 4 | 2 << 20 | 1 << 22).unwrap();
    bench.port(0x1f2, 0).must_run(IN_AL_DX);
    assert_eq!(bench.pending(), None);
    bench.port(0x1f1, 0).must_run(IN_AL_DX);
    assert_eq!(bench.pending().unwrap().vector, 1);
    assert_eq!(bench.guest.ctx.debug_regs[6] & 0xf, 2);
}
