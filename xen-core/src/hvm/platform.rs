//! The devices of an HVM guest that the hypervisor emulates, wired to each other: which port and address is whose, which
//! interrupt of which device reaches which pin. What is not here is the device model's.
//!
//! Contract: the platform that hvmloader describes to its guests: PIIX3 with an I/O APIC; SCI at interrupt 9.

use hypercall_abi::arch_x86::hvm::save::HvmSaveCode;
use hypercall_abi::errno::Errno;
use zerocopy::{FromBytes, IntoBytes};

use super::hpet::{HPET_BASE, HPET_BYTES, Hpet, HpetRoute, TIMERS};
use super::ioapic::{Delivery, IOAPIC_BASE, IOAPIC_BYTES, IoApic};
use super::lines::{Lines, PinChange};
use super::pic::Pic;
use super::pit::Pit;
use super::pmtimer::PmTimer;
use super::rtc::Rtc;

/// ISA interrupt of the PIT.
const PIT_IRQ: u8 = 0;
/// ISA interrupt of the clock.
const RTC_IRQ: u8 = 8;
/// ISA interrupt of ACPI events.
const SCI_IRQ: u8 = 9;
/// Index of the clock's registers.
const RTC_INDEX: u16 = 0x70;
/// Register of the clock.
const RTC_DATA: u16 = 0x71;

/// A moment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Now {
    /// System time, ns.
    pub system_ns: u64,
    /// UTC since 1970, ns.
    pub wall_ns: i64,
}

/// What leaves the platform.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PlatformEvent {
    /// An interrupt for local APICs.
    Deliver(Delivery),
    /// The guest set its clock by so many seconds; device models are told (IOREQ_TYPE_TIMEOFFSET).
    TimeOffset(i64),
}

/// The devices.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Platform {
    lines: Lines,
    ioapic: IoApic,
    pic: Pic,
    pit: Pit,
    rtc: Rtc,
    hpet: Hpet,
    /// HVM_PARAM_HPET_ENABLED.
    has_hpet: bool,
    pm: PmTimer,
    /// Whether the platform holds interrupt 9 up.
    sci: bool,
    /// Pin that each of the HPET's timers holds up.
    hpet_up: [Option<u8>; TIMERS],
}

impl Platform {
    /// The devices after power-on; the clock is `time_offset` seconds ahead of the host's.
    #[must_use]
    pub fn new(time_offset: i64, now: Now) -> Self {
        Self {
            lines: Lines::default(),
            ioapic: IoApic::default(),
            pic: Pic::default(),
            pit: Pit::default(),
            rtc: Rtc::new(time_offset, now.wall_ns),
            hpet: Hpet::default(),
            has_hpet: true,
            pm: PmTimer::new(now.system_ns),
            sci: false,
            hpet_up: [None; TIMERS],
        }
    }

    /// HVM_PARAM_HPET_ENABLED: without it reads of the HPET give all ones.
    pub const fn set_hpet(&mut self, present: bool) {
        self.has_hpet = present;
    }

    /// HVM_PARAM_ACPI_IOPORTS_LOCATION.
    pub const fn set_acpi_ports(&mut self, location: u8) {
        self.pm.set_ports(location);
    }

    /// Sets how many seconds the guest's clock is ahead (XEN_DOMCTL_settimeoffset).
    pub const fn set_time_offset(&mut self, offset: i64) {
        self.rtc.set_offset(offset);
    }

    /// An interrupt of the 8259 waits for the processor that takes them.
    #[must_use]
    pub fn pic_pending(&self) -> bool {
        self.pic.is_pending()
    }

    /// That processor takes it; returns the vector.
    pub fn pic_acknowledge(&mut self) -> u8 {
        self.pic.acknowledge()
    }

    /// Where interrupts of the 8259 go through the I/O APIC: destination, and whether it is logical. A local APIC can
    /// take them without.
    #[must_use]
    pub fn extint_destination(&self) -> Option<(u8, bool)> {
        self.ioapic.extint_destination()
    }

    /// Reads `width` bytes from `port`. None: the device model's.
    pub fn port_read(
        &mut self,
        port: u16,
        width: u32,
        now: Now,
        mut out: impl FnMut(PlatformEvent),
    ) -> Option<u32> {
        if self.pm.is_at(port, width) {
            let value = self.pm.read(port, width, now.system_ns);
            self.follow_sci(&mut out);
            return Some(value);
        }
        if width != 1 {
            return None;
        }
        let value = match port {
            _ if Pic::is_at(port) => self.pic.read(port),
            _ if Pit::is_at(port) => self.pit.read(port, now.system_ns),
            RTC_DATA if self.rtc.is_selected() => {
                let value = self.rtc.read(now.wall_ns);
                self.follow_rtc(&mut out);
                value
            }
            _ => return None,
        };
        Some(value.into())
    }

    /// Writes `width` bytes to `port`. False: the device model is to have it (too).
    pub fn port_write(
        &mut self,
        port: u16,
        width: u32,
        value: u32,
        now: Now,
        mut out: impl FnMut(PlatformEvent),
    ) -> bool {
        if self.pm.is_at(port, width) {
            self.pm.write(port, width, value, now.system_ns);
            self.follow_sci(&mut out);
            return true;
        }
        if width != 1 {
            return false;
        }
        let value = value as u8;
        match port {
            _ if Pic::is_at(port) => self.pic.write(port, value),
            _ if Pit::is_at(port) => self.pit.write(port, value, now.system_ns),
            RTC_INDEX => {
                self.rtc.select(value);
                return self.rtc.is_selected();
            }
            RTC_DATA if self.rtc.is_selected() => {
                let delta = self.rtc.write(value, now.wall_ns);
                self.follow_rtc(&mut out);
                if delta != 0 {
                    out(PlatformEvent::TimeOffset(delta));
                }
            }
            _ => return false,
        }
        true
    }

    /// Reads `width` bytes at guest-physical `address`. None: the device model's.
    #[must_use]
    pub fn memory_read(&self, address: u64, width: u32, now: Now) -> Option<u64> {
        if let Some(offset) = within(address, IOAPIC_BASE, IOAPIC_BYTES) {
            return Some(self.ioapic.read(offset as u32).into());
        }
        let offset = within(address, HPET_BASE, HPET_BYTES)?;
        let value = self.hpet.read(offset, width, now.system_ns);
        Some(value.filter(|_| self.has_hpet).unwrap_or(u64::MAX))
    }

    /// Writes `width` bytes at guest-physical `address`. False: the device model's.
    pub fn memory_write(
        &mut self,
        address: u64,
        width: u32,
        value: u64,
        now: Now,
        mut out: impl FnMut(PlatformEvent),
    ) -> bool {
        if let Some(offset) = within(address, IOAPIC_BASE, IOAPIC_BYTES) {
            let lines = &self.lines;
            let up = |pin| lines.is_up(pin);
            if let Some(delivery) = self.ioapic.write(offset as u32, value as u32, up) {
                out(PlatformEvent::Deliver(delivery));
            }
            return true;
        }
        let Some(offset) = within(address, HPET_BASE, HPET_BYTES) else {
            return false;
        };
        if self.has_hpet {
            let effect = self.hpet.write(offset, width, value, now.system_ns);
            if let Some(legacy) = effect.legacy {
                self.pit.set_replaced(legacy, now.system_ns);
            }
            for timer in (0..TIMERS).filter(|timer| effect.lowered >> timer & 1 != 0) {
                self.lower_hpet(timer, &mut out);
            }
        }
        true
    }

    /// A local APIC ended a level-triggered interrupt.
    pub fn end_of_interrupt(&mut self, vector: u8, mut out: impl FnMut(PlatformEvent)) {
        let lines = &self.lines;
        self.ioapic.end(
            vector,
            |pin| lines.is_up(pin),
            |delivery| out(PlatformEvent::Deliver(delivery)),
        );
    }

    /// Sets an INTx pin of a PCI device (XEN_DMOP_set_pci_intx_level).
    ///
    /// # Errors
    /// `EINVAL` no such device or pin.
    pub fn set_intx(
        &mut self,
        device: u8,
        pin: u8,
        up: bool,
        mut out: impl FnMut(PlatformEvent),
    ) -> Result<(), Errno> {
        let (ioapic, pic) = (&mut self.ioapic, &mut self.pic);
        self.lines.set_intx(device, pin, up, |change| {
            apply(ioapic, pic, change, &mut out)
        })
    }

    /// Sets an ISA interrupt (XEN_DMOP_set_isa_irq_level).
    ///
    /// # Errors
    /// `EINVAL` no such interrupt.
    pub fn set_isa(
        &mut self,
        irq: u8,
        up: bool,
        mut out: impl FnMut(PlatformEvent),
    ) -> Result<(), Errno> {
        let (ioapic, pic) = (&mut self.ioapic, &mut self.pic);
        self.lines
            .set_isa(irq, up, |change| apply(ioapic, pic, change, &mut out))
    }

    /// Leads a PCI link to an ISA interrupt (XEN_DMOP_set_pci_link_route).
    ///
    /// # Errors
    /// `EINVAL` no such link or interrupt.
    pub fn set_route(
        &mut self,
        link: u8,
        irq: u8,
        mut out: impl FnMut(PlatformEvent),
    ) -> Result<(), Errno> {
        let (ioapic, pic) = (&mut self.ioapic, &mut self.pic);
        self.lines
            .set_route(link, irq, |change| apply(ioapic, pic, change, &mut out))
    }

    /// Sets a GSI for event channels (HVM_PARAM_CALLBACK_IRQ).
    ///
    /// # Errors
    /// `EINVAL` no such pin, or it was not up.
    pub fn set_gsi(
        &mut self,
        gsi: usize,
        up: bool,
        mut out: impl FnMut(PlatformEvent),
    ) -> Result<(), Errno> {
        let (ioapic, pic) = (&mut self.ioapic, &mut self.pic);
        self.lines
            .set_gsi(gsi, up, |change| apply(ioapic, pic, change, &mut out))
    }

    /// The power button (XEN_DOMCTL_SENDTRIGGER_POWER), or the sleep button.
    pub fn press(&mut self, power: bool, mut out: impl FnMut(PlatformEvent)) {
        if power {
            self.pm.press_power();
        } else {
            self.pm.press_sleep();
        }
        self.follow_sci(&mut out);
    }

    /// System time at which [`expired`](Self::expired) has something to do.
    #[must_use]
    pub fn deadline(&self, now: Now) -> Option<u64> {
        let clock = self.rtc.deadline(now.wall_ns).map(|due| {
            let wait = due.saturating_sub(now.wall_ns).max(0);
            now.system_ns.saturating_add(wait.unsigned_abs())
        });
        [
            self.pit.deadline(),
            clock,
            self.hpet.deadline(),
            self.pm.deadline(now.system_ns),
        ]
        .into_iter()
        .flatten()
        .min()
    }

    /// Lets timers fire that are due. An early or a repeated call is harmless.
    pub fn expired(&mut self, now: Now, mut out: impl FnMut(PlatformEvent)) {
        if self.pit.expired(now.system_ns) {
            self.pulse(PIT_IRQ, &mut out);
        }
        let again = self.rtc.update(now.wall_ns);
        if again && self.rtc.interrupts() {
            self.drive_isa(RTC_IRQ, false, &mut out);
        }
        self.follow_rtc(&mut out);
        let mut fired = [None; TIMERS];
        self.hpet.expired(now.system_ns, |timer, route, level| {
            fired[timer] = Some((route, level));
        });
        for (timer, event) in fired.into_iter().enumerate() {
            match event {
                Some((HpetRoute::Isa(irq), _)) => self.pulse(irq, &mut out),
                Some((HpetRoute::Gsi(pin), true)) if self.hpet_up[timer].is_none() => {
                    self.hpet_up[timer] = Some(pin);
                    // A pin that exists can go up.
                    let _ = self.set_gsi(pin.into(), true, &mut out);
                }
                Some((HpetRoute::Gsi(pin), false)) => {
                    let delivery = self.ioapic.raise(pin.into());
                    delivery
                        .into_iter()
                        .for_each(|delivery| out(PlatformEvent::Deliver(delivery)));
                }
                _ => {}
            }
        }
        self.pm.update(now.system_ns);
        self.follow_sci(&mut out);
    }

    fn lower_hpet(&mut self, timer: usize, out: &mut impl FnMut(PlatformEvent)) {
        if let Some(pin) = self.hpet_up[timer].take() {
            // It was up.
            let _ = self.set_gsi(pin.into(), false, out);
        }
    }

    fn drive_isa(&mut self, irq: u8, up: bool, out: &mut impl FnMut(PlatformEvent)) {
        // The platform's own interrupts exist.
        let _ = self.set_isa(irq, up, out);
    }

    fn pulse(&mut self, irq: u8, out: &mut impl FnMut(PlatformEvent)) {
        self.drive_isa(irq, false, out);
        self.drive_isa(irq, true, out);
    }

    fn follow_rtc(&mut self, out: &mut impl FnMut(PlatformEvent)) {
        // While the HPET has interrupt 8, the clock does not reach it.
        if !self.hpet.is_legacy() {
            let up = self.rtc.interrupts();
            self.drive_isa(RTC_IRQ, up, out);
        }
    }

    fn follow_sci(&mut self, out: &mut impl FnMut(PlatformEvent)) {
        let up = self.pm.sci();
        if core::mem::replace(&mut self.sci, up) != up {
            self.drive_isa(SCI_IRQ, up, out);
        }
    }

    /// The records of all devices: type, instance and body of each.
    pub fn save(&mut self, now: Now, mut record: impl FnMut(HvmSaveCode, u16, &[u8])) {
        for (instance, pic) in (0..).zip(self.pic.save()) {
            record(HvmSaveCode::PIC, instance, pic.as_bytes());
        }
        record(HvmSaveCode::IOAPIC, 0, self.ioapic.save().as_bytes());
        let (pci, isa, links) = self.lines.save();
        record(HvmSaveCode::PCI_IRQ, 0, pci.as_bytes());
        record(HvmSaveCode::ISA_IRQ, 0, isa.as_bytes());
        record(HvmSaveCode::PCI_LINK, 0, links.as_bytes());
        record(HvmSaveCode::PIT, 0, self.pit.save().as_bytes());
        record(HvmSaveCode::RTC, 0, self.rtc.save(now.wall_ns).as_bytes());
        record(
            HvmSaveCode::HPET,
            0,
            self.hpet.save(now.system_ns).as_bytes(),
        );
        record(
            HvmSaveCode::PMTIMER,
            0,
            self.pm.save(now.system_ns).as_bytes(),
        );
    }

    /// Takes a record of a device; returns whether it is one.
    ///
    /// # Errors
    /// `EINVAL` another length, no such instance, or a state that cannot be.
    pub fn load(
        &mut self,
        code: HvmSaveCode,
        instance: u16,
        body: &[u8],
        now: Now,
    ) -> Result<bool, Errno> {
        match code {
            HvmSaveCode::PIC => self
                .pic
                .load(instance, &parse(body)?)
                .ok_or(Errno::EINVAL)?,
            HvmSaveCode::IOAPIC => self.ioapic.load(&parse(body)?)?,
            HvmSaveCode::PCI_IRQ => self.lines.load_pci(&parse(body)?),
            HvmSaveCode::ISA_IRQ => self.lines.load_isa(&parse(body)?),
            HvmSaveCode::PCI_LINK => self.lines.load_links(&parse(body)?)?,
            HvmSaveCode::PIT => self.pit.load(&parse(body)?, now.system_ns),
            HvmSaveCode::RTC => self.rtc.load(&parse(body)?, now.wall_ns),
            HvmSaveCode::HPET => {
                self.hpet.load(&parse(body)?, now.system_ns);
                self.pit.set_replaced(self.hpet.is_legacy(), now.system_ns);
            }
            HvmSaveCode::PMTIMER => {
                self.pm.load(&parse(body)?, now.system_ns);
                // The record ISA_IRQ has the line.
                self.sci = self.pm.sci();
            }
            _ => return Ok(false),
        }
        Ok(true)
    }
}

fn parse<T: FromBytes>(body: &[u8]) -> Result<T, Errno> {
    T::read_from_bytes(body).map_err(|_| Errno::EINVAL)
}

fn within(address: u64, base: u64, bytes: u64) -> Option<u64> {
    address.checked_sub(base).filter(|&offset| offset < bytes)
}

fn apply(
    ioapic: &mut IoApic,
    pic: &mut Pic,
    change: PinChange,
    out: &mut impl FnMut(PlatformEvent),
) {
    match change {
        PinChange::IoApicUp(pin) => {
            if let Some(delivery) = ioapic.raise(pin) {
                out(PlatformEvent::Deliver(delivery));
            }
        }
        PinChange::Pic { irq, up } => pic.set_line(irq, up),
    }
}

#[cfg(test)]
mod tests;
