//! Reading and writing registers.

use super::*;
use crate::hvm::lapic::Effect;

#[test]
fn reset_values() {
    let lapic = Lapic::new(3);
    for offset in (0..0x400).step_by(16) {
        let value = match offset {
            0x20 => 6 << 24,
            0x30 => 0x0005_0014,
            0xe0 => u32::MAX,
            0xf0 => 0xff,
            0x320..=0x370 => 0x1_0000,
            _ => 0,
        };
        assert_eq!(read(&lapic, offset), value, "{offset:#x}");
    }
}

#[test]
fn writable_bits() {
    let mut lapic = enabled(0);
    let masks = [
        (0x20, 0xff00_0000),
        (0x30, 0x0005_0014),
        (0x80, 0xff),
        (0xd0, 0xff00_0000),
        (0xe0, 0xffff_ffff),
        (0xf0, 0x3ff),
        (0x310, 0xff00_0000),
        (0x320, 0x7_10ff),
        (0x330, 0x1_17ff),
        (0x340, 0x1_17ff),
        (0x350, 0x1_f7ff),
        (0x360, 0x1_f7ff),
        (0x370, 0x1_10ff),
        (0x3e0, 0xb),
    ];
    for (offset, value) in masks {
        lapic.write_mmio(offset, 4, u32::MAX, 0);
        assert_eq!(read(&lapic, offset), value, "{offset:#x}");
    }
    lapic.write_mmio(0xe0, 4, 0, 0);
    assert_eq!(read(&lapic, 0xe0), 0x0fff_ffff);
}

#[test]
fn narrow_accesses_are_parts_of_one_register() {
    let mut lapic = enabled(0);
    lapic.write_mmio(0x320, 4, 0x1_00ef, 0);
    lapic.write_mmio(0x320, 1, 0x22, 0);
    assert_eq!(read(&lapic, 0x320), 0x1_0022);
    lapic.write_mmio(0x322, 2, 0, 0);
    assert_eq!(read(&lapic, 0x320), 0x22);
    assert_eq!(lapic.read_mmio(0x32, 1, 0), 0x05);
    assert_eq!(lapic.read_mmio(0x31, 2, 0), 0x0500);
    // Across the end of a register, between registers, beyond the last, odd widths.
    for (offset, width) in [
        (0x33, 2),
        (0x34, 4),
        (0x3f0, 4),
        (0xff0, 4),
        (0x30, 3),
        (0x30, 8),
    ] {
        assert_eq!(lapic.read_mmio(offset, width, 0), 0, "{offset:#x}");
        assert_eq!(lapic.write_mmio(offset, width, u32::MAX, 0), Effect::None);
    }
}

#[test]
fn msrs_are_there_only_in_x2apic_mode() {
    let mut lapic = enabled(0);
    assert_eq!(lapic.read_msr(0x802, 0), None);
    assert_eq!(lapic.write_msr(0x808, 0, 0), None);
    let lapic = x2apic(4);
    assert_eq!(lapic.read_msr(0x802, 0), Some(8));
    assert_eq!(lapic.read_msr(0x7ff, 0), None);
    assert_eq!(lapic.read_msr(0x900, 0), None);
}

#[test]
fn readable_and_writable_msrs() {
    let readable = |index: u32| {
        matches!(index, 0x802 | 0x803 | 0x808 | 0x80a | 0x80d | 0x80f)
            || matches!(index, 0x810..=0x828 | 0x830 | 0x832..=0x839 | 0x83e)
    };
    let writable = |index: u32| {
        matches!(index, 0x808 | 0x80b | 0x80f | 0x828 | 0x830)
            || matches!(index, 0x832..=0x838 | 0x83e)
    };
    for index in 0x800..0x900 {
        let lapic = x2apic(0);
        assert_eq!(
            lapic.read_msr(index, 0).is_some(),
            readable(index),
            "{index:#x}"
        );
        // Zero sets no reserved bit; a vector of 0 to oneself is an error of another kind.
        let written = lapic.clone().write_msr(index, 0, 0).is_some();
        assert_eq!(written, writable(index) || index == 0x83f, "{index:#x}");
    }
}

#[test]
fn reserved_bits_of_msrs_fault() {
    let allowed: [(u32, u64); 14] = [
        (0x808, 0xff),
        (0x80b, 0),
        (0x80f, 0x1ff),
        (0x828, 0),
        (0x830, 0xffff_ffff_000c_cfff),
        (0x832, 0x7_10ff),
        (0x833, 0x1_17ff),
        (0x834, 0x1_17ff),
        (0x835, 0x1_f7ff),
        (0x836, 0x1_f7ff),
        (0x837, 0x1_10ff),
        (0x838, 0xffff_ffff),
        (0x83e, 0xb),
        (0x83f, 0xff),
    ];
    for (index, mask) in allowed {
        for bit in 0..64 {
            let mut lapic = x2apic(0);
            let before = lapic.clone();
            let done = lapic.write_msr(index, 1 << bit, 0);
            assert_eq!(done.is_some(), mask & 1 << bit != 0, "{index:#x} bit {bit}");
            if done.is_none() {
                assert_eq!(lapic, before);
            }
        }
    }
}

#[test]
fn the_task_priority_is_also_cr8() {
    let mut lapic = enabled(0);
    lapic.set_tpr(0x70);
    assert_eq!(read(&lapic, 0x80), 0x70);
    lapic.write_mmio(0x80, 4, 0x93, 0);
    assert_eq!(lapic.tpr(), 0x93);
}
