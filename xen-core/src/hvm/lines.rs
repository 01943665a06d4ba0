//! Interrupt lines of an HVM guest: PCI INTx and ISA lines, and the pins of I/O APIC and 8259 that they lead to.
//!
//! A PCI pin leads to an I/O APIC pin of its own (16 to 47) and through one of four links to an ISA interrupt of the
//! 8259. Several lines can meet in a pin, so pins are counted. Contract: public header hvm/dm_op.h and
//! arch-x86/hvm/save.h (records PCI_IRQ, ISA_IRQ, PCI_LINK).

use hypercall_abi::arch_x86::hvm::save::{HvmHwIsaIrqs, HvmHwPciIrqs, HvmHwPciLink};
use hypercall_abi::errno::Errno;

use super::ioapic::PINS;

/// Devices on the bus.
pub const PCI_DEVICES: u8 = 32;
/// INTx pins of a device, and links.
pub const PCI_PINS: u8 = 4;
/// ISA interrupts.
pub const ISA_IRQS: u8 = 16;

/// A pin that went up or down.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PinChange {
    /// Pin of the I/O APIC: up. Going down is of no interest to it.
    IoApicUp(usize),
    /// Input of the 8259.
    Pic {
        /// Which, 0 to 15.
        irq: u8,
        /// Up.
        up: bool,
    },
}

/// The lines.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Lines {
    /// A bit for each pin of each device.
    pci: u128,
    /// A bit for each ISA interrupt.
    isa: u16,
    /// ISA interrupt of each link; 0: none.
    route: [u8; PCI_PINS as usize],
    /// Lines of each link that are up.
    link_up: [u16; PCI_PINS as usize],
    /// Lines of each input of the 8259 that are up.
    pic_up: [u16; ISA_IRQS as usize],
    /// Lines of each pin of the I/O APIC that are up.
    pin_up: PinCounts,
}

/// Lines up by pin.
#[derive(Clone, PartialEq, Eq, Debug)]
struct PinCounts([u16; PINS]);

impl Default for PinCounts {
    fn default() -> Self {
        Self([0; PINS])
    }
}

/// The I/O APIC pin of a PCI pin.
#[must_use]
pub fn gsi_of_intx(device: u8, pin: u8) -> usize {
    let slot = u32::from(device) * 4 + u32::from(device >> 3) + u32::from(pin);
    (slot & 31) as usize + 16
}

/// The I/O APIC pin of an ISA interrupt: the timer is at pin 2.
#[must_use]
pub fn gsi_of_isa(irq: u8) -> usize {
    match irq {
        0 => 2,
        _ => irq.into(),
    }
}

impl Lines {
    /// Whether `pin` of the I/O APIC is up.
    #[must_use]
    pub fn is_up(&self, pin: usize) -> bool {
        self.pin_up.0.get(pin).is_some_and(|&count| count != 0)
    }

    /// Sets an INTx pin of a PCI device (XEN_DMOP_set_pci_intx_level); `change` is told of pins that follow.
    ///
    /// # Errors
    /// `EINVAL` no such device or pin.
    pub fn set_intx(
        &mut self,
        device: u8,
        pin: u8,
        up: bool,
        mut change: impl FnMut(PinChange),
    ) -> Result<(), Errno> {
        if device >= PCI_DEVICES || pin >= PCI_PINS {
            return Err(Errno::EINVAL);
        }
        let bit = 1 << (device * 4 + pin);
        if (self.pci & bit != 0) == up {
            return Ok(());
        }
        self.pci ^= bit;
        self.count(gsi_of_intx(device, pin), up, &mut change);
        let link = usize::from((device + pin) & 3);
        let changed = step(&mut self.link_up[link], up);
        let irq = self.route[link];
        if changed && irq != 0 {
            self.count_isa(irq, up, &mut change);
        }
        Ok(())
    }

    /// Sets an ISA interrupt (XEN_DMOP_set_isa_irq_level); `change` is told of pins that follow.
    ///
    /// # Errors
    /// `EINVAL` no such interrupt.
    pub fn set_isa(
        &mut self,
        irq: u8,
        up: bool,
        mut change: impl FnMut(PinChange),
    ) -> Result<(), Errno> {
        if irq >= ISA_IRQS {
            return Err(Errno::EINVAL);
        }
        let bit = 1 << irq;
        if (self.isa & bit != 0) != up {
            self.isa ^= bit;
            self.count_isa(irq, up, &mut change);
        }
        Ok(())
    }

    /// Leads a link to another ISA interrupt, 0 to none (XEN_DMOP_set_pci_link_route).
    ///
    /// # Errors
    /// `EINVAL` no such link or interrupt.
    pub fn set_route(
        &mut self,
        link: u8,
        irq: u8,
        mut change: impl FnMut(PinChange),
    ) -> Result<(), Errno> {
        if link >= PCI_PINS || irq >= ISA_IRQS {
            return Err(Errno::EINVAL);
        }
        let link = usize::from(link);
        let old = core::mem::replace(&mut self.route[link], irq);
        if old == irq || self.link_up[link] == 0 {
            return Ok(());
        }
        if old != 0 {
            self.count_isa(old, false, &mut change);
        }
        if irq != 0 {
            self.count_isa(irq, true, &mut change);
        }
        Ok(())
    }

    /// One line more or less on an ISA interrupt: its I/O APIC pin and its input of the 8259.
    fn count_isa(&mut self, irq: u8, up: bool, change: &mut impl FnMut(PinChange)) {
        self.count(gsi_of_isa(irq), up, change);
        self.count_pic(irq, up, change);
    }

    fn count(&mut self, pin: usize, up: bool, change: &mut impl FnMut(PinChange)) {
        if step(&mut self.pin_up.0[pin], up) && up {
            change(PinChange::IoApicUp(pin));
        }
    }

    fn count_pic(&mut self, irq: u8, up: bool, change: &mut impl FnMut(PinChange)) {
        if step(&mut self.pic_up[usize::from(irq)], up) {
            change(PinChange::Pic { irq, up });
        }
    }

    /// One line more or less on a GSI without a device's line, as for event channels (HVM_PARAM_CALLBACK_IRQ).
    ///
    /// # Errors
    /// `EINVAL` no such pin, or nothing to take back.
    pub fn set_gsi(
        &mut self,
        gsi: usize,
        up: bool,
        mut change: impl FnMut(PinChange),
    ) -> Result<(), Errno> {
        match self.pin_up.0.get(gsi) {
            None => return Err(Errno::EINVAL),
            Some(0) if !up => return Err(Errno::EINVAL),
            Some(_) => {}
        }
        self.count(gsi, up, &mut change);
        if let Ok(irq @ 0..ISA_IRQS) = u8::try_from(gsi) {
            self.count_pic(irq, up, &mut change);
        }
        Ok(())
    }

    /// The records PCI_IRQ, ISA_IRQ and PCI_LINK.
    #[must_use]
    pub fn save(&self) -> (HvmHwPciIrqs, HvmHwIsaIrqs, HvmHwPciLink) {
        #[expect(clippy::cast_possible_truncation, reason = "halves")]
        let pad = [self.pci as u64, (self.pci >> 64) as u64];
        (
            HvmHwPciIrqs { pad },
            HvmHwIsaIrqs {
                pad: [self.isa.into()],
            },
            HvmHwPciLink {
                route: self.route,
                pad0: [0; 4],
            },
        )
    }

    /// Takes the record PCI_IRQ; the counts follow.
    pub fn load_pci(&mut self, record: &HvmHwPciIrqs) {
        self.pci = u128::from(record.pad[0]) | u128::from(record.pad[1]) << 64;
        self.recount();
    }

    /// Takes the record ISA_IRQ; the counts follow.
    pub fn load_isa(&mut self, record: &HvmHwIsaIrqs) {
        self.isa = record.pad[0] as u16;
        self.recount();
    }

    /// Takes the record PCI_LINK; the counts follow.
    ///
    /// # Errors
    /// `EINVAL` a link leads to no ISA interrupt.
    pub fn load_links(&mut self, record: &HvmHwPciLink) -> Result<(), Errno> {
        if record.route.iter().any(|&irq| irq >= ISA_IRQS) {
            return Err(Errno::EINVAL);
        }
        self.route = record.route;
        self.recount();
        Ok(())
    }

    fn recount(&mut self) {
        self.link_up = [0; PCI_PINS as usize];
        self.pic_up = [0; ISA_IRQS as usize];
        self.pin_up = PinCounts::default();
        for device in 0..PCI_DEVICES {
            for pin in 0..PCI_PINS {
                if self.pci & 1 << (device * 4 + pin) != 0 {
                    self.pin_up.0[gsi_of_intx(device, pin)] += 1;
                    self.link_up[usize::from((device + pin) & 3)] += 1;
                }
            }
        }
        for (&irq, &up) in self.route.iter().zip(&self.link_up) {
            if irq != 0 && up != 0 {
                self.pin_up.0[gsi_of_isa(irq)] += 1;
                self.pic_up[usize::from(irq)] += 1;
            }
        }
        for irq in (0..ISA_IRQS).filter(|irq| self.isa & 1 << irq != 0) {
            self.pin_up.0[gsi_of_isa(irq)] += 1;
            self.pic_up[usize::from(irq)] += 1;
        }
    }
}

/// Counts one line more or less; returns whether the sum of the lines changes.
const fn step(count: &mut u16, up: bool) -> bool {
    if up {
        *count += 1;
        *count == 1
    } else {
        *count -= 1;
        *count == 0
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::vec::Vec;

    use proptest::prelude::*;

    use super::*;

    #[derive(Clone, Copy, Debug)]
    enum Step {
        Intx(u8, u8, bool),
        Isa(u8, bool),
        Route(u8, u8),
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            5 => (0u8..32, 0u8..4, any::<bool>()).prop_map(|(d, p, up)| Step::Intx(d, p, up)),
            3 => (0u8..16, any::<bool>()).prop_map(|(irq, up)| Step::Isa(irq, up)),
            1 => (0u8..4, 0u8..16).prop_map(|(link, irq)| Step::Route(link, irq)),
        ];
        prop::collection::vec(step, 1..150)
    }

    proptest! {
        /// A pin is up as long as any line that leads to it is, and whoever listens to the changes knows it.
        #[test]
        fn pins_are_the_sum_of_their_lines(steps in steps()) {
            let mut lines = Lines::default();
            let mut intx = BTreeSet::new();
            let mut isa = BTreeSet::new();
            let mut route = [0u8; 4];
            let mut pic = BTreeSet::new();
            for step in steps {
                let mut changes = Vec::new();
                let before: Vec<_> = (0..PINS).map(|pin| lines.is_up(pin)).collect();
                match step {
                    Step::Intx(device, pin, up) => {
                        lines.set_intx(device, pin, up, |change| changes.push(change)).unwrap();
                        if up { intx.insert((device, pin)); } else { intx.remove(&(device, pin)); }
                    }
                    Step::Isa(irq, up) => {
                        lines.set_isa(irq, up, |change| changes.push(change)).unwrap();
                        if up { isa.insert(irq); } else { isa.remove(&irq); }
                    }
                    Step::Route(link, irq) => {
                        lines.set_route(link, irq, |change| changes.push(change)).unwrap();
                        route[usize::from(link)] = irq;
                    }
                }
                let mut irqs = isa.clone();
                for &(device, pin) in &intx {
                    irqs.insert(route[usize::from((device + pin) % 4)]);
                }
                if !isa.contains(&0) {
                    irqs.remove(&0);
                }
                let mut up: BTreeSet<usize> = irqs.iter().map(|&irq| gsi_of_isa(irq)).collect();
                up.extend(intx.iter().map(|&(device, pin)| gsi_of_intx(device, pin)));
                for change in changes {
                    match change {
                        PinChange::IoApicUp(pin) => {
                            // A link can leave a pin and another come to it in one step.
                            prop_assert!(up.contains(&pin) && (!before[pin] || matches!(step, Step::Route(..))));
                        }
                        PinChange::Pic { irq, up: true } => prop_assert!(pic.insert(irq)),
                        PinChange::Pic { irq, up: false } => prop_assert!(pic.remove(&irq)),
                    }
                }
                for pin in 0..PINS {
                    prop_assert_eq!(lines.is_up(pin), up.contains(&pin), "pin {}", pin);
                }
                prop_assert_eq!(&pic, &irqs);
                // A saved state counts the same.
                let (pci_record, isa_record, link_record) = lines.save();
                let mut other = Lines::default();
                other.load_links(&link_record).unwrap();
                other.load_isa(&isa_record);
                other.load_pci(&pci_record);
                prop_assert_eq!(&other, &lines);
            }
        }
    }

    #[test]
    fn devices_are_spread_over_the_pins() {
        assert_eq!(gsi_of_intx(0, 0), 16);
        assert_eq!(gsi_of_intx(3, 0), 28);
        assert_eq!(gsi_of_intx(8, 0), 17);
        assert_eq!(gsi_of_intx(31, 3), 16 + ((124 + 3 + 3) & 31));
        assert_eq!((gsi_of_isa(0), gsi_of_isa(9)), (2, 9));
    }

    #[test]
    fn what_does_not_exist_is_refused() {
        let mut lines = Lines::default();
        assert_eq!(lines.set_intx(32, 0, true, |_| {}), Err(Errno::EINVAL));
        assert_eq!(lines.set_intx(0, 4, true, |_| {}), Err(Errno::EINVAL));
        assert_eq!(lines.set_isa(16, true, |_| {}), Err(Errno::EINVAL));
        assert_eq!(lines.set_route(4, 0, |_| {}), Err(Errno::EINVAL));
        assert_eq!(lines.set_route(0, 16, |_| {}), Err(Errno::EINVAL));
        assert_eq!(lines.set_gsi(48, true, |_| {}), Err(Errno::EINVAL));
        assert_eq!(lines.set_gsi(20, false, |_| {}), Err(Errno::EINVAL));
        assert_eq!(lines, Lines::default());
    }

    #[test]
    fn events_share_a_pin_with_devices() {
        let mut lines = Lines::default();
        let mut changes = Vec::new();
        lines
            .set_gsi(28, true, |change| changes.push(change))
            .unwrap();
        lines
            .set_intx(3, 0, true, |change| changes.push(change))
            .unwrap();
        lines
            .set_gsi(28, false, |change| changes.push(change))
            .unwrap();
        assert_eq!(changes, [PinChange::IoApicUp(28)]);
        assert!(lines.is_up(28));
    }
}
