//! The base MSR, resets, and saved records.

use hypercall_abi::errno::Errno;

use super::*;
use crate::hvm::lapic::{APIC_BASE_BSP, APIC_BASE_ENABLED, APIC_BASE_EXTD, Effect, LAPIC_BASE};

#[test]
fn only_the_first_vcpu_boots() {
    assert_eq!(Lapic::new(0).apic_base(), 0xfee0_0900);
    assert_eq!(Lapic::new(1).apic_base(), 0xfee0_0800);
}

#[test]
fn transitions_between_modes_are_those_of_the_manual() {
    // SDM volume 3, figure 11-27: disabled, (invalid), xAPIC, x2APIC.
    let state = [
        0,
        APIC_BASE_EXTD,
        APIC_BASE_ENABLED,
        APIC_BASE_ENABLED | APIC_BASE_EXTD,
    ];
    let legal = [
        (0, [true, false, true, false]),
        (2, [true, false, true, true]),
        (3, [true, false, false, true]),
    ];
    for (from, allowed) in legal {
        for (to, allowed) in allowed.into_iter().enumerate() {
            let mut lapic = Lapic::new(1);
            if from != 2 {
                lapic.set_apic_base(LAPIC_BASE | state[from], true).unwrap();
            }
            let before = lapic.clone();
            let done = lapic.set_apic_base(LAPIC_BASE | state[to], true);
            assert_eq!(done.is_some(), allowed, "{from} to {to}");
            if !allowed {
                assert_eq!(lapic, before);
            }
        }
    }
}

#[test]
fn the_registers_cannot_be_moved() {
    let mut lapic = Lapic::new(0);
    assert_eq!(lapic.set_apic_base(0xfed0_0900, true), None);
    assert_eq!(lapic.set_apic_base(0xfee0_0901, true), None);
    assert_eq!(lapic.set_apic_base(1 << 60 | 0xfee0_0900, true), None);
    assert_eq!(lapic.set_apic_base(0xfee0_0d00, false), None, "no x2APIC");
    assert_eq!(lapic.set_apic_base(0xfee0_0900, false), Some(()));
}

#[test]
fn enabling_resets() {
    let mut lapic = enabled(2);
    lapic.write_mmio(0x80, 4, 0x50, 0);
    lapic.set_apic_base(LAPIC_BASE, true).unwrap();
    assert!(!lapic.in_memory() && !lapic.is_enabled_sw());
    lapic
        .set_apic_base(LAPIC_BASE | APIC_BASE_ENABLED | APIC_BASE_BSP, true)
        .unwrap();
    assert_eq!(read(&lapic, 0x80), 0);
    assert_eq!(read(&lapic, 0xf0), 0xff);
    assert_eq!(lapic.apic_base(), 0xfee0_0900);
}

#[test]
fn init_keeps_the_mode_and_the_id() {
    let mut lapic = x2apic(5);
    lapic.accept(0x40, false);
    lapic.init();
    assert!(lapic.x2apic() && lapic.pending().is_none());
    assert_eq!(lapic.read_msr(0x802, 0), Some(10));
    assert_eq!(lapic.read_msr(0x80d, 0), Some(1 << 10));
    let mut lapic = enabled(1);
    lapic.write_mmio(0x20, 4, 0x7700_0000, 0);
    lapic.init();
    assert_eq!(read(&lapic, 0x20), 0x7700_0000);
    lapic.reset();
    assert_eq!(read(&lapic, 0x20), 0x0200_0000);
}

#[test]
fn a_saved_apic_goes_on_where_it_was() {
    for mut lapic in [enabled(3), x2apic(3)] {
        let x2apic = lapic.x2apic();
        let mut write = |offset: u32, value: u32| {
            if x2apic {
                lapic
                    .write_msr(0x800 + (offset >> 4), value.into(), 1000)
                    .unwrap();
            } else {
                lapic.write_mmio(offset, 4, value, 1000);
            }
        };
        write(0x80, 0x35);
        write(0x320, 0x2_00ec);
        write(0x350, 0x700);
        write(0x3e0, 0xa);
        write(0x380, 1000);
        lapic.accept(0x61, true);
        lapic.accept(0x91, false);
        lapic.acknowledge(0x91);
        let now_ns = 1000 + 10 * 128 * 400;
        let mut other = Lapic::new(3);
        other.load(&lapic.save()).unwrap();
        other.load_regs(&lapic.save_regs(now_ns), now_ns);
        assert_eq!(other, lapic);
        assert_eq!(other.save().timer_divisor, 128);
        assert_eq!(other.save().disabled, 0);
    }
}

#[test]
fn records_say_how_it_is_disabled() {
    let mut lapic = Lapic::new(0);
    assert_eq!(lapic.save().disabled, 2);
    lapic.set_apic_base(LAPIC_BASE, true).unwrap();
    assert_eq!(lapic.save().disabled, 3);
}

#[test]
fn hostile_records_are_refused_or_masked() {
    let mut lapic = Lapic::new(1);
    let mut record = lapic.save();
    for base in [0xfee0_0400, 0xfee0_0802, 0xfed0_0800] {
        record.apic_base_msr = base;
        assert_eq!(lapic.load(&record), Err(Errno::EINVAL));
    }
    let mut regs = lapic.save_regs(0);
    regs.data.fill(0xff);
    lapic.load_regs(&regs, 0);
    for (offset, value) in [
        (0x20, 0xff00_0000),
        (0xf0, 0x3ff),
        (0x320, 0x7_10ff),
        (0x3e0, 0xb),
    ] {
        assert_eq!(read(&lapic, offset), value, "{offset:#x}");
    }
    assert_eq!(read(&lapic, 0x300) & 0x1000, 0);
}

#[test]
fn an_id_in_x2apic_mode_is_not_for_the_record_to_say() {
    let mut lapic = x2apic(1);
    let mut regs = lapic.save_regs(0);
    regs.data[0x20] = 9;
    lapic.load_regs(&regs, 0);
    assert_eq!(lapic.read_msr(0x802, 0), Some(2));
    lapic.set_apic_base(LAPIC_BASE, true).unwrap();
    lapic
        .set_apic_base(LAPIC_BASE | APIC_BASE_ENABLED, true)
        .unwrap();
    assert_eq!(lapic.write_mmio(0xd0, 4, u32::MAX, 0), Effect::Identity);
    assert_eq!(lapic.identity().logical_id, 0xff);
}
