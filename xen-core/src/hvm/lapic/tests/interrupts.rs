//! Requests, priorities, ends and commands.

use std::collections::BTreeSet;
use std::vec::Vec;

use proptest::prelude::*;

use super::*;
use crate::hvm::lapic::{DeliveryMode, Effect, Ipi, LapicIdentity, Shorthand};

#[derive(Clone, Copy, Debug)]
enum Step {
    Accept(u8, bool),
    Take,
    Eoi,
    Tpr(u8),
    Software(bool),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        6 => (16u8..=255, any::<bool>()).prop_map(|(vector, level)| Step::Accept(vector, level)),
        4 => Just(Step::Take),
        3 => Just(Step::Eoi),
        2 => any::<u8>().prop_map(Step::Tpr),
        1 => any::<bool>().prop_map(Step::Software),
    ];
    prop::collection::vec(step, 1..200)
}

/// The rules of SDM volume 3, 11.8, on sets.
#[derive(Default)]
struct Model {
    requested: BTreeSet<u8>,
    serving: BTreeSet<u8>,
    level: BTreeSet<u8>,
    tpr: u8,
    enabled: bool,
}

impl Model {
    fn priority(&self) -> u8 {
        let serving = self.serving.last().copied().unwrap_or(0) / 16;
        if self.tpr / 16 >= serving {
            self.tpr
        } else {
            serving * 16
        }
    }

    fn pending(&self) -> Option<u8> {
        let vector = *self.requested.last()?;
        (self.enabled && vector / 16 > self.priority() / 16).then_some(vector)
    }
}

fn words(set: &BTreeSet<u8>) -> [u32; 8] {
    let mut words = [0; 8];
    for &vector in set {
        words[usize::from(vector) / 32] |= 1 << (vector % 32);
    }
    words
}

fn shown(lapic: &Lapic, base: u32) -> [u32; 8] {
    core::array::from_fn(|word| read(lapic, base + 16 * word as u32))
}

proptest! {
    #[test]
    fn follows_the_priority_rules(steps in steps()) {
        let mut lapic = enabled(0);
        let mut model = Model { enabled: true, ..Model::default() };
        for step in steps {
            match step {
                Step::Accept(vector, level) => {
                    let new = lapic.accept(vector, level);
                    prop_assert_eq!(new, model.enabled && !model.requested.contains(&vector));
                    if model.enabled {
                        model.requested.insert(vector);
                        model.level.remove(&vector);
                        if level {
                            model.level.insert(vector);
                        }
                    }
                }
                Step::Take => {
                    if let Some(vector) = lapic.pending() {
                        lapic.acknowledge(vector);
                        model.requested.remove(&vector);
                        model.serving.insert(vector);
                    }
                }
                Step::Eoi => {
                    let ended = model.serving.pop_last();
                    let effect = ended.map_or(Effect::None, |vector| Effect::Eoi {
                        vector,
                        level: model.level.contains(&vector),
                    });
                    prop_assert_eq!(lapic.write_mmio(0xb0, 4, 0, 0), effect);
                }
                Step::Tpr(tpr) => {
                    lapic.write_mmio(0x80, 4, tpr.into(), 0);
                    model.tpr = tpr;
                }
                Step::Software(on) => {
                    lapic.write_mmio(0xf0, 4, if on { 0x1ff } else { 0xff }, 0);
                    model.enabled = on;
                }
            }
            prop_assert_eq!(lapic.pending(), model.pending());
            prop_assert_eq!(lapic.ppr(), model.priority());
            prop_assert_eq!(read(&lapic, 0xa0), u32::from(model.priority()));
            prop_assert_eq!(shown(&lapic, 0x100), words(&model.serving));
            prop_assert_eq!(shown(&lapic, 0x180), words(&model.level));
            prop_assert_eq!(shown(&lapic, 0x200), words(&model.requested));
        }
    }

    #[test]
    fn an_identity_survives_its_word(
        id in any::<u16>(),
        logical_id in any::<u8>(),
        model in 0u8..16,
        flags in 0u8..8,
    ) {
        let identity = LapicIdentity {
            id,
            logical_id,
            model,
            x2apic: flags & 1 != 0,
            hw_enabled: flags & 2 != 0,
            sw_enabled: flags & 4 != 0,
        };
        prop_assert_eq!(LapicIdentity::unpack(identity.pack()), identity);
    }
}

#[test]
fn nothing_arrives_before_software_enables_it() {
    let mut lapic = Lapic::new(0);
    assert!(!lapic.accept(0x40, false));
    assert_eq!(lapic.write_mmio(0xf0, 4, 0x1ff, 0), Effect::Enabled);
    assert_eq!(lapic.pending(), None);
    assert!(lapic.accept(0x40, false));
    assert_eq!(lapic.pending(), Some(0x40));
    assert_eq!(lapic.write_mmio(0xf0, 4, 0xff, 0), Effect::Identity);
    assert_eq!(lapic.pending(), None);
}

#[test]
fn a_request_that_is_gone_is_not_put_in_service() {
    let mut lapic = enabled(0);
    lapic.acknowledge(0x40);
    assert_eq!(lapic.eoi(), None);
}

#[test]
fn illegal_vectors_are_errors_and_interrupt_once() {
    let mut lapic = enabled(0);
    lapic.write_mmio(0x370, 4, 0xfe, 0);
    assert!(lapic.accept(15, false));
    assert_eq!(read(&lapic, 0x280), 0x40);
    assert_eq!(lapic.pending(), Some(0xfe));
    lapic.acknowledge(0xfe);
    lapic.eoi();
    assert!(!lapic.accept(3, false), "the bit is set already");
    // Sending one is another error.
    assert_eq!(lapic.write_mmio(0x300, 4, 0x0f, 0), Effect::None);
    assert_eq!(read(&lapic, 0x280), 0x60);
    assert_eq!(lapic.pending(), Some(0xfe));
    lapic.write_mmio(0x280, 4, 0, 0);
    assert_eq!(read(&lapic, 0x280), 0);
}

#[test]
fn an_illegal_vector_for_errors_ends_there() {
    let mut lapic = enabled(0);
    lapic.write_mmio(0x370, 4, 5, 0);
    lapic.write_mmio(0x300, 4, 2, 0);
    assert_eq!(read(&lapic, 0x280), 0x60);
    assert_eq!(lapic.pending(), None);
}

#[test]
fn commands_are_decoded() {
    let mut lapic = enabled(0);
    lapic.write_mmio(0x310, 4, 0x0412_3456, 0);
    assert_eq!(read(&lapic, 0x310), 0x0400_0000);
    let ipi = Ipi {
        mode: DeliveryMode::Fixed,
        vector: 0xf3,
        assert: true,
        level: false,
        shorthand: Shorthand::None,
        dest: 4,
        logical: false,
    };
    assert_eq!(lapic.write_mmio(0x300, 4, 0x50f3, 0), Effect::Ipi(ipi));
    assert_eq!(read(&lapic, 0x300), 0x40f3, "never busy");
    let init = Ipi {
        mode: DeliveryMode::Init,
        vector: 0,
        level: true,
        ..ipi
    };
    assert_eq!(lapic.write_mmio(0x300, 4, 0xc500, 0), Effect::Ipi(init));
    assert_eq!(
        lapic.write_mmio(0x300, 4, 0x8500, 0),
        Effect::None,
        "deasserted"
    );
    let start = Ipi {
        mode: DeliveryMode::StartUp,
        vector: 0x99,
        assert: false,
        ..ipi
    };
    assert_eq!(lapic.write_mmio(0x300, 4, 0x699, 0), Effect::Ipi(start));
    let others = Ipi {
        mode: DeliveryMode::Nmi,
        vector: 0,
        assert: false,
        shorthand: Shorthand::AllButSelf,
        logical: true,
        ..ipi
    };
    assert_eq!(lapic.write_mmio(0x300, 4, 0xc_0c00, 0), Effect::Ipi(others));
    assert_eq!(lapic.write_mmio(0x300, 4, 0x240, 0), Effect::None, "no SMI");
}

#[test]
fn a_vector_to_oneself_is_requested_at_once() {
    let mut lapic = enabled(0);
    assert_eq!(lapic.write_mmio(0x300, 4, 0x4_0071, 0), Effect::None);
    assert_eq!(lapic.pending(), Some(0x71));
    let mut lapic = x2apic(1);
    assert_eq!(lapic.write_msr(0x83f, 0x72, 0), Some(Effect::None));
    assert_eq!(lapic.pending(), Some(0x72));
    // The register is only there in x2APIC mode.
    let mut lapic = enabled(0);
    lapic.write_mmio(0x3f0, 4, 0x73, 0);
    assert_eq!(lapic.pending(), None);
}

#[test]
fn x2apic_commands_have_long_destinations() {
    let mut lapic = x2apic(0);
    let Some(Effect::Ipi(ipi)) = lapic.write_msr(0x830, 0x0000_0104_0000_00f3, 0) else {
        panic!("nothing is sent");
    };
    assert_eq!((ipi.dest, ipi.logical), (0x104, false));
    assert_eq!(lapic.read_msr(0x830, 0), Some(0x0000_0104_0000_00f3));
}

fn xapic(id: u16, logical_id: u8, model: u8) -> LapicIdentity {
    LapicIdentity {
        id,
        logical_id,
        model,
        x2apic: false,
        hw_enabled: true,
        sw_enabled: true,
    }
}

#[test]
fn physical_destinations_are_ids_or_everybody() {
    let target = xapic(4, 0, 0xf);
    assert!(target.matches(4, false) && target.matches(0xff, false));
    assert!(!target.matches(5, false));
    let target = x2apic(2).identity();
    assert!(target.x2apic && target.matches(4, false) && target.matches(u32::MAX, false));
    assert!(!target.matches(0xff, false) && !target.matches(0x104, false));
}

#[test]
fn logical_destinations_follow_the_model() {
    // Flat: any common bit.
    assert!(xapic(0, 0b0110, 0xf).matches(0b0010, true));
    assert!(!xapic(0, 0b0110, 0xf).matches(0b1001, true));
    assert!(!xapic(0, 0, 0xf).matches(0xff, true));
    // Clusters: the same cluster and a common bit; 0xff everybody.
    assert!(xapic(0, 0x32, 0).matches(0x36, true));
    assert!(!xapic(0, 0x32, 0).matches(0x26, true));
    assert!(!xapic(0, 0x32, 0).matches(0x3d, true));
    assert!(xapic(0, 0x32, 0).matches(0xff, true));
    // Other models are reserved.
    assert!(!xapic(0, 0xff, 5).matches(0xff, true));
    // x2APIC: cluster in the upper half, 16 bits in the lower.
    let target = x2apic(9).identity();
    assert_eq!(target.id, 18);
    assert!(target.matches(0x1_0004, true) && target.matches(0x1_ffff, true));
    assert!(!target.matches(0x1_0008, true) && !target.matches(0x0_0004, true));
    assert!(target.matches(u32::MAX, true));
}

#[test]
fn shorthands_need_no_destination() {
    let target = xapic(2, 1, 0xf);
    let ipi = |shorthand| Ipi {
        mode: DeliveryMode::Fixed,
        vector: 0x40,
        assert: true,
        level: false,
        shorthand,
        dest: 2,
        logical: false,
    };
    let met = |shorthand| [true, false].map(|sender| ipi(shorthand).means(target, sender));
    assert_eq!(met(Shorthand::None), [true, true]);
    assert_eq!(met(Shorthand::OnlySelf), [true, false]);
    assert_eq!(met(Shorthand::All), [true, true]);
    assert_eq!(met(Shorthand::AllButSelf), [false, true]);
}

#[test]
fn pins_show_their_use() {
    let mut lapic = enabled(0);
    assert!(!lapic.accepts_extint() && !lapic.lint1_is_nmi());
    lapic.write_mmio(0x350, 4, 0x700, 0);
    lapic.write_mmio(0x360, 4, 0x400, 0);
    assert!(lapic.accepts_extint() && lapic.lint1_is_nmi());
    // Software disables: all local vectors are masked, and stay so if written.
    lapic.write_mmio(0xf0, 4, 0xff, 0);
    assert_eq!(read(&lapic, 0x350), 0x1_0700);
    lapic.write_mmio(0x350, 4, 0x700, 0);
    assert_eq!(read(&lapic, 0x350), 0x1_0700);
    assert!(!lapic.accepts_extint());
    lapic.set_apic_base(0xfee0_0100, true).unwrap();
    assert!(lapic.accepts_extint(), "nothing is in the way of an 8259");
}
