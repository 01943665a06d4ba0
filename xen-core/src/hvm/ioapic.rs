//! The I/O APIC of an HVM guest: 48 pins, version 0x11 (Intel 82093AA, without the EOI register of later ones).
//!
//! The levels of its pins are counted by whoever owns the lines ([`super::lines`]); here they are asked for by pin.
//! Contract: public header arch-x86/hvm/save.h for the record.

use hypercall_abi::arch_x86::hvm::save::{HvmHwVioapic, VIOAPIC_NUM_PINS, VioapicRedirEntry};
use hypercall_abi::errno::Errno;

use super::lapic::DeliveryMode;

/// Pins.
pub const PINS: usize = VIOAPIC_NUM_PINS;
/// Guest-physical address of the registers.
pub const IOAPIC_BASE: u64 = 0xfec0_0000;
/// Bytes that they take.
pub const IOAPIC_BYTES: u64 = 0x100;

/// Offset of the index.
const SELECT: u32 = 0;
/// Offset of the register that the index means.
const WINDOW: u32 = 0x10;
/// Index: identification, bits 24 to 27.
const ID: u8 = 0;
/// Index: version and number of pins.
const VERSION: u8 = 1;
/// Index: arbitration, as the identification.
const ARBITRATION: u8 = 2;
/// First index of the redirection entries, two for each pin.
const ENTRIES: u8 = 0x10;
const VERSION_VALUE: u32 = (PINS as u32 - 1) << 16 | 0x11;

/// Redirection entry: the destination is logical.
const LOGICAL: u64 = 1 << 11;
/// Redirection entry: a level-triggered interrupt was accepted and not ended yet; read-only.
const REMOTE_IRR: u64 = 1 << 14;
/// Redirection entry: level-triggered.
const LEVEL: u64 = 1 << 15;
/// Redirection entry: masked.
const MASKED: u64 = 1 << 16;
/// Redirection entry: what a guest writes: vector, delivery, destination mode, polarity, trigger, mask, destination.
const WRITABLE: u64 = 0xff00_0000_0001_afff;

/// An interrupt for local APICs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Delivery {
    /// How it arrives; of those that the I/O APIC has: fixed, lowest priority, NMI. The 8259's way is not sent.
    pub mode: DeliveryMode,
    /// Vector.
    pub vector: u8,
    /// Level-triggered.
    pub level: bool,
    /// Destination.
    pub dest: u8,
    /// It is logical.
    pub logical: bool,
}

/// The I/O APIC.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct IoApic {
    select: u8,
    id: u32,
    entries: [u64; PINS],
}

impl Default for IoApic {
    fn default() -> Self {
        Self {
            select: 0,
            id: 0,
            entries: [MASKED; PINS],
        }
    }
}

impl IoApic {
    /// Reads a register; `offset` from [`IOAPIC_BASE`].
    #[must_use]
    pub fn read(&self, offset: u32) -> u32 {
        match offset {
            SELECT => self.select.into(),
            WINDOW => self.read_selected(),
            _ => 0,
        }
    }

    fn read_selected(&self) -> u32 {
        match self.select {
            ID | ARBITRATION => self.id,
            VERSION => VERSION_VALUE,
            select => self.entry_of(select).map_or(0, |(pin, shift)| {
                #[expect(clippy::cast_possible_truncation, reason = "half of the entry")]
                let half = (self.entries[pin] >> shift) as u32;
                half
            }),
        }
    }

    fn entry_of(&self, select: u8) -> Option<(usize, u32)> {
        let index = select.checked_sub(ENTRIES)?;
        let pin = usize::from(index >> 1);
        (pin < PINS).then_some((pin, u32::from(index & 1) * 32))
    }

    /// Writes a register. `asserted`: the level of the pin that the write is about. Returns what has to be delivered:
    /// unmasking a pin whose line is up delivers.
    pub fn write(
        &mut self,
        offset: u32,
        value: u32,
        asserted: impl FnOnce(usize) -> bool,
    ) -> Option<Delivery> {
        match offset {
            SELECT => {
                self.select = value as u8;
                None
            }
            WINDOW if self.select == ID => {
                self.id = value & 0x0f00_0000;
                None
            }
            WINDOW => {
                let (pin, shift) = self.entry_of(self.select)?;
                let half = 0xffff_ffff << shift;
                let mask = WRITABLE & half;
                let entry = &mut self.entries[pin];
                *entry = (*entry & !mask) | ((u64::from(value) << shift) & mask);
                if *entry & LEVEL == 0 {
                    *entry &= !REMOTE_IRR;
                }
                let wants_level = *entry & (LEVEL | MASKED | REMOTE_IRR) == LEVEL;
                (wants_level && asserted(pin))
                    .then(|| self.send(pin))
                    .flatten()
            }
            _ => None,
        }
    }

    /// The line of `pin` goes up. Masked: an edge is lost, a level is found when the pin is unmasked.
    pub fn raise(&mut self, pin: usize) -> Option<Delivery> {
        let entry = *self.entries.get(pin)?;
        let waits = entry & MASKED != 0 || (entry & LEVEL != 0 && entry & REMOTE_IRR != 0);
        if waits { None } else { self.send(pin) }
    }

    /// A local APIC ended a level-triggered interrupt with `vector`: pins whose line is still up deliver again.
    pub fn end(
        &mut self,
        vector: u8,
        asserted: impl Fn(usize) -> bool,
        mut deliver: impl FnMut(Delivery),
    ) {
        for pin in 0..PINS {
            let entry = &mut self.entries[pin];
            if *entry as u8 != vector || *entry & REMOTE_IRR == 0 {
                continue;
            }
            *entry &= !REMOTE_IRR;
            if *entry & (LEVEL | MASKED) == LEVEL && asserted(pin) {
                self.send(pin).into_iter().for_each(&mut deliver);
            }
        }
    }

    fn send(&mut self, pin: usize) -> Option<Delivery> {
        let entry = &mut self.entries[pin];
        let mode = DeliveryMode::of(*entry as u32);
        let by_vector = matches!(mode, DeliveryMode::Fixed | DeliveryMode::LowestPriority);
        if !by_vector && mode != DeliveryMode::Nmi {
            return None;
        }
        // Only what has a vector is ended.
        let level = *entry & LEVEL != 0 && by_vector;
        if level {
            *entry |= REMOTE_IRR;
        }
        Some(Delivery {
            mode,
            vector: *entry as u8,
            level,
            dest: (*entry >> 56) as u8,
            logical: *entry & LOGICAL != 0,
        })
    }

    /// Where interrupts of the 8259 go through pin 0, if they do: its destination, and whether that is logical.
    #[must_use]
    pub fn extint_destination(&self) -> Option<(u8, bool)> {
        let entry = self.entries[0];
        let open = entry & MASKED == 0 && DeliveryMode::of(entry as u32) == DeliveryMode::ExtInt;
        open.then_some(((entry >> 56) as u8, entry & LOGICAL != 0))
    }

    /// The vector of `pin`, if it is not masked.
    #[must_use]
    pub fn vector(&self, pin: usize) -> Option<u8> {
        let entry = *self.entries.get(pin)?;
        (entry & MASKED == 0).then_some(entry as u8)
    }

    /// The record IOAPIC.
    #[must_use]
    pub fn save(&self) -> HvmHwVioapic {
        HvmHwVioapic {
            base_address: IOAPIC_BASE,
            ioregsel: self.select.into(),
            id: self.id >> 24,
            redirtbl: self.entries.map(VioapicRedirEntry::from_bits),
        }
    }

    /// Takes the record IOAPIC.
    ///
    /// # Errors
    /// `EINVAL` if the registers would be elsewhere.
    pub fn load(&mut self, record: &HvmHwVioapic) -> Result<(), Errno> {
        if record.base_address != IOAPIC_BASE {
            return Err(Errno::EINVAL);
        }
        self.select = record.ioregsel as u8;
        self.id = (record.id & 0xf) << 24;
        for (entry, saved) in self.entries.iter_mut().zip(&record.redirtbl) {
            let mut bits = saved.as_bits() & (WRITABLE | REMOTE_IRR);
            if bits & LEVEL == 0 {
                bits &= !REMOTE_IRR;
            }
            *entry = bits;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::vec::Vec;

    use proptest::prelude::*;

    use super::*;

    fn set(ioapic: &mut IoApic, pin: usize, entry: u64, up: bool) -> Vec<Delivery> {
        let mut out = Vec::new();
        for (half, shift) in [(1, 32), (0, 0)] {
            ioapic.write(SELECT, 0x10 + 2 * pin as u32 + half, |_| up);
            out.extend(ioapic.write(WINDOW, (entry >> shift) as u32, |_| up));
        }
        out
    }

    fn get(ioapic: &mut IoApic, pin: usize) -> u64 {
        let mut half = |half: u32| {
            ioapic.write(SELECT, 0x10 + 2 * pin as u32 + half, |_| false);
            u64::from(ioapic.read(WINDOW))
        };
        half(0) | half(1) << 32
    }

    #[test]
    fn registers() {
        let mut ioapic = IoApic::default();
        ioapic.write(SELECT, 0xffff_ff01, |_| false);
        assert_eq!(ioapic.read(SELECT), 1);
        assert_eq!(ioapic.read(WINDOW), 0x002f_0011);
        ioapic.write(WINDOW, u32::MAX, |_| false);
        assert_eq!(ioapic.read(WINDOW), 0x002f_0011);
        ioapic.write(SELECT, 0, |_| false);
        ioapic.write(WINDOW, u32::MAX, |_| false);
        assert_eq!(ioapic.read(WINDOW), 0x0f00_0000);
        for (select, value) in [(2, 0x0f00_0000), (3, 0), (0x70, 0), (0xff, 0)] {
            ioapic.write(SELECT, select, |_| false);
            ioapic.write(WINDOW, 0x55, |_| false);
            assert_eq!(ioapic.read(WINDOW), value, "{select:#x}");
        }
        assert_eq!(ioapic.read(0x40), 0, "no EOI register");
        assert_eq!(get(&mut ioapic, 47), MASKED);
        set(&mut ioapic, 47, u64::MAX, false);
        assert_eq!(
            get(&mut ioapic, 47),
            0xff00_0000_0001_afff,
            "status and remote IRR are read-only"
        );
    }

    #[test]
    fn an_edge_is_delivered_or_lost() {
        let mut ioapic = IoApic::default();
        assert_eq!(ioapic.raise(4), None);
        assert!(
            set(&mut ioapic, 4, 0x0200_0000_0000_0931, true).is_empty(),
            "lost"
        );
        let delivery = Delivery {
            mode: DeliveryMode::LowestPriority,
            vector: 0x31,
            level: false,
            dest: 2,
            logical: true,
        };
        assert_eq!(ioapic.raise(4), Some(delivery));
        assert_eq!(ioapic.raise(4), Some(delivery));
        assert_eq!(ioapic.raise(48), None);
    }

    #[test]
    fn pins_that_cannot_deliver() {
        let mut ioapic = IoApic::default();
        set(&mut ioapic, 0, 0x0300_0000_0000_0700, false);
        assert_eq!(ioapic.raise(0), None, "the 8259's pin");
        assert_eq!(ioapic.extint_destination(), Some((3, false)));
        set(&mut ioapic, 0, 0x0300_0000_0001_0700, false);
        assert_eq!(ioapic.extint_destination(), None);
        for mode in [2, 3, 5, 6] {
            set(&mut ioapic, 1, mode << 8, false);
            assert_eq!(ioapic.raise(1), None);
        }
        set(&mut ioapic, 1, 4 << 8 | LEVEL, false);
        let delivery = ioapic.raise(1).unwrap();
        assert_eq!((delivery.mode, delivery.level), (DeliveryMode::Nmi, false));
        assert!(ioapic.raise(1).is_some(), "an NMI is not ended");
    }

    #[test]
    fn records() {
        let mut ioapic = IoApic::default();
        set(&mut ioapic, 20, 0x0100_0000_0000_8041, false);
        ioapic.raise(20);
        ioapic.write(SELECT, 0, |_| false);
        ioapic.write(WINDOW, 0x0100_0000, |_| false);
        let mut record = ioapic.save();
        assert_eq!((record.base_address, record.id), (0xfec0_0000, 1));
        let mut other = IoApic::default();
        other.load(&record).unwrap();
        assert_eq!(other, ioapic);
        record.redirtbl = [VioapicRedirEntry::from_bits(!LEVEL); PINS];
        other.load(&record).unwrap();
        assert_eq!(get(&mut other, 3), 0xff00_0000_0001_2fff);
        record.base_address = 0xfec0_1000;
        assert_eq!(other.load(&record), Err(Errno::EINVAL));
    }

    #[derive(Clone, Copy, Debug)]
    enum Step {
        Line(bool),
        Mask(bool),
        End,
    }

    proptest! {
        /// A level-triggered pin: as long as the line is up and the pin is not masked, exactly one interrupt is on its way.
        #[test]
        fn a_level_is_seen_until_it_is_gone(
            steps in prop::collection::vec(
                prop_oneof![
                    any::<bool>().prop_map(Step::Line),
                    any::<bool>().prop_map(Step::Mask),
                    Just(Step::End),
                ],
                1..100,
            ),
        ) {
            let mut ioapic = IoApic::default();
            let entry = 0x0400_0000_0000_8051;
            let (mut up, mut masked, mut pending) = (false, false, false);
            set(&mut ioapic, 30, entry, false);
            for step in steps {
                let mut sent = Vec::new();
                match step {
                    Step::Line(level) => {
                        if level && !up {
                            sent.extend(ioapic.raise(30));
                        }
                        up = level;
                    }
                    Step::Mask(on) => {
                        sent = set(&mut ioapic, 30, entry | if on { MASKED } else { 0 }, up);
                        masked = on;
                    }
                    Step::End => {
                        ioapic.end(0x51, |_| up, |delivery| sent.push(delivery));
                        pending = false;
                    }
                }
                let expected = up && !masked && !pending;
                pending |= expected;
                prop_assert_eq!(sent.len(), usize::from(expected), "{:?}", step);
                prop_assert_eq!(get(&mut ioapic, 30) & REMOTE_IRR != 0, pending);
            }
        }
    }
}
