//! Against the data sheet.

use proptest::prelude::*;

use super::*;

/// As a BIOS sets them up: vectors from 0x08 and 0x70, nothing masked.
fn bios() -> Pic {
    let mut pic = Pic::default();
    for (port, words) in [
        (0x20, [0x11, 0x08, 0x04, 0x01]),
        (0xa0, [0x11, 0x70, 0x02, 0x01]),
    ] {
        pic.write(port, words[0]);
        for word in &words[1..] {
            pic.write(port + 1, *word);
        }
    }
    pic
}

fn pulse(pic: &mut Pic, irq: u8) {
    pic.set_line(irq, true);
}

#[test]
fn an_edge_interrupts_once() {
    let mut pic = bios();
    pulse(&mut pic, 1);
    assert!(pic.is_pending());
    assert_eq!(pic.acknowledge(), 0x09);
    assert!(!pic.is_pending());
    pic.write(0x20, 0x20);
    assert!(!pic.is_pending(), "still up, but no edge");
    pic.set_line(1, false);
    pic.set_line(1, true);
    assert!(pic.is_pending());
}

#[test]
fn an_edge_that_goes_is_spurious() {
    let mut pic = bios();
    pulse(&mut pic, 3);
    pic.set_line(3, false);
    assert!(!pic.is_pending());
    assert_eq!(pic.acknowledge(), 0x0f);
    pic.write(0x20, 0x0b);
    assert_eq!(pic.read(0x20), 0, "spurious interrupts are not in service");
}

#[test]
fn a_level_interrupts_as_long_as_it_lasts() {
    let mut pic = bios();
    pic.write(0x4d1, 0x0c);
    pic.set_line(10, true);
    assert_eq!(pic.acknowledge(), 0x72);
    assert!(!pic.is_pending());
    pic.write(0xa0, 0x20);
    pic.write(0x20, 0x20);
    assert!(pic.is_pending());
    pic.set_line(10, false);
    assert!(!pic.is_pending());
}

#[test]
fn the_slave_needs_two_ends() {
    let mut pic = bios();
    pulse(&mut pic, 14);
    assert_eq!(pic.acknowledge(), 0x76);
    pulse(&mut pic, 12);
    assert!(!pic.is_pending(), "the master still serves the slave");
    pulse(&mut pic, 1);
    assert_eq!(pic.acknowledge(), 0x09, "higher at the master");
    pic.write(0x20, 0x20);
    pic.write(0x20, 0x20);
    // The slave itself lets input 4 past input 6.
    assert_eq!(pic.acknowledge(), 0x74);
}

#[test]
fn fully_nested_lets_the_slave_interrupt_itself() {
    let mut pic = bios();
    pic.write(0x20, 0x11);
    for word in [0x08, 0x04, 0x11] {
        pic.write(0x21, word);
    }
    pulse(&mut pic, 14);
    assert_eq!(pic.acknowledge(), 0x76);
    pulse(&mut pic, 12);
    assert_eq!(pic.acknowledge(), 0x74);
    pulse(&mut pic, 15);
    assert!(!pic.is_pending());
}

#[test]
fn registers_can_be_read() {
    let mut pic = bios();
    pic.write(0x21, 0xfb);
    pic.write(0xa1, 0xef);
    assert_eq!((pic.read(0x21), pic.read(0xa1)), (0xfb, 0xef));
    pulse(&mut pic, 0);
    assert_eq!(pic.read(0x20), 0x01, "requests, masked or not");
    pulse(&mut pic, 12);
    assert_eq!(pic.acknowledge(), 0x74);
    pic.write(0xa0, 0x0b);
    assert_eq!(pic.read(0xa0), 0x10, "in service");
    pic.write(0xa0, 0x0a);
    assert_eq!(pic.read(0xa0), 0);
}

#[test]
fn the_edge_and_level_registers_have_fixed_bits() {
    let mut pic = bios();
    pic.write(0x4d0, 0xff);
    pic.write(0x4d1, 0xff);
    assert_eq!((pic.read(0x4d0), pic.read(0x4d1)), (0xf8, 0xde));
}

#[test]
fn automatic_ends_rotate() {
    let mut pic = bios();
    pic.write(0x20, 0x11);
    for word in [0x08, 0x04, 0x03] {
        pic.write(0x21, word);
    }
    pic.write(0x20, 0x80);
    pulse(&mut pic, 3);
    pulse(&mut pic, 4);
    assert_eq!(pic.acknowledge(), 0x0b);
    pic.set_line(3, false);
    pulse(&mut pic, 3);
    assert_eq!(pic.acknowledge(), 0x0c, "3 is the last now");
    assert_eq!(pic.acknowledge(), 0x0b);
    pic.write(0x20, 0x0b);
    assert_eq!(pic.read(0x20), 0);
}

#[test]
fn priorities_can_be_set() {
    let mut pic = bios();
    pic.write(0x20, 0xc3);
    for irq in [0, 3, 4, 7] {
        pulse(&mut pic, irq);
    }
    let mut order = std::vec::Vec::new();
    while pic.is_pending() {
        let vector = pic.acknowledge();
        order.push(vector - 8);
        pic.write(0x20, 0x60 | (vector & 7));
    }
    assert_eq!(order, [4, 7, 0, 3]);
    // End with rotation: the one that ended is the last.
    pic.set_line(7, false);
    pulse(&mut pic, 7);
    assert_eq!(pic.acknowledge(), 0x0f);
    pic.write(0x20, 0xa0);
    for irq in [0, 7] {
        pic.set_line(irq, false);
        pulse(&mut pic, irq);
    }
    assert_eq!(pic.acknowledge(), 0x08);
}

#[test]
fn special_mask_mode_lets_lower_ones_through() {
    let mut pic = bios();
    pulse(&mut pic, 1);
    assert_eq!(pic.acknowledge(), 0x09);
    pulse(&mut pic, 5);
    assert!(!pic.is_pending());
    pic.write(0x21, 0x02);
    assert!(!pic.is_pending());
    pic.write(0x20, 0x68);
    assert!(pic.is_pending());
    pic.write(0x20, 0x48);
    assert!(!pic.is_pending());
}

#[test]
fn polling_acknowledges() {
    let mut pic = bios();
    pic.write(0x20, 0x0c);
    assert_eq!(pic.read(0x20), 0);
    pulse(&mut pic, 6);
    pic.write(0x20, 0x0c);
    assert_eq!(pic.read(0x20), 0x86);
    assert!(!pic.is_pending());
    pic.write(0x20, 0x0b);
    assert_eq!(pic.read(0x20), 0x40);
}

#[test]
fn set_up_without_slave_or_modes() {
    let mut pic = Pic::default();
    pic.write(0x20, 0x12);
    pic.write(0x21, 0x47);
    pic.write(0x21, 0x55);
    assert_eq!(pic.read(0x21), 0x55, "ICW3 and ICW4 were not announced");
    pic.write(0x21, 0);
    pulse(&mut pic, 0);
    assert_eq!(pic.acknowledge(), 0x40);
}

proptest! {
    /// With the reset order of priorities and specific ends: the lowest input wins, and one in service bars those after it.
    #[test]
    fn the_lowest_input_wins(steps in prop::collection::vec((0u8..3, 0u8..8), 1..200)) {
        let mut pic = bios();
        let (mut requested, mut serving, mut masked, mut up) = (0u8, 0u8, 0u8, 0u8);
        for (step, input) in steps {
            let bit = 1u8 << input;
            match step {
                _ if input == CASCADE => {}
                0 => {
                    let level = up & bit == 0;
                    pic.set_line(input, level);
                    up ^= bit;
                    if level { requested |= bit } else { requested &= !bit }
                }
                1 if pic.is_pending() => {
                    let taken = pic.acknowledge() - 8;
                    prop_assert_eq!(u32::from(taken), (requested & !masked).trailing_zeros());
                    requested &= !(1 << taken);
                    serving |= 1 << taken;
                }
                1 => {
                    pic.write(0x20, 0x60 | input);
                    serving &= !bit;
                }
                _ => {
                    masked ^= bit;
                    pic.write(0x21, masked);
                }
            }
            let first = (requested & !masked).trailing_zeros();
            prop_assert_eq!(pic.is_pending(), first < serving.trailing_zeros());
        }
    }

    #[test]
    fn records_hold_everything(writes in prop::collection::vec((0usize..6, any::<u8>(), 0u8..16, any::<bool>()), 0..60)) {
        let mut pic = bios();
        for (port, value, irq, up) in writes {
            pic.write([0x20, 0x21, 0xa0, 0xa1, 0x4d0, 0x4d1][port], value);
            if irq != CASCADE {
                pic.set_line(irq, up);
            }
        }
        let mut other = Pic::default();
        for (instance, record) in (0..).zip(pic.save()) {
            prop_assert_eq!(other.load(instance, &record), Some(()));
        }
        prop_assert!(other.load(2, &pic.save()[0]).is_none());
        prop_assert_eq!(other.is_pending(), pic.is_pending());
        prop_assert_eq!(other.save(), pic.save());
        prop_assert_eq!(other.acknowledge(), pic.acknowledge());
    }
}
