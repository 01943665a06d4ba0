//! The two 8259A interrupt controllers of an HVM guest (Intel's data sheet of the 8259A; ELCR as in the PIIX3).

use hypercall_abi::arch_x86::hvm::save::HvmHwVpic;

/// Input of the master that the slave is at.
const CASCADE: u8 = 2;
/// ICW1 and not OCW2 or OCW3.
const ICW1: u8 = 1 << 4;
/// OCW3 and not OCW2.
const OCW3: u8 = 1 << 3;
/// ICW1: ICW4 follows.
const ICW1_ICW4: u8 = 1 << 0;
/// ICW1: there is no slave, so no ICW3.
const ICW1_SINGLE: u8 = 1 << 1;
/// ICW4: the end of an interrupt comes with its acknowledgement.
const ICW4_AUTO_EOI: u8 = 1 << 1;
/// ICW4: the slave may interrupt while one of its interrupts is in service.
const ICW4_FULLY_NESTED: u8 = 1 << 4;

/// Which command word comes next.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Expects {
    /// Operation command words.
    Operation,
    /// Vectors.
    Icw2,
    /// Cascade.
    Icw3,
    /// Modes.
    Icw4,
}

/// One controller.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Controller {
    master: bool,
    /// Requests.
    irr: u8,
    /// Masked.
    imr: u8,
    /// In service.
    isr: u8,
    /// Vector of input 0.
    base: u8,
    /// Levels of the inputs.
    lines: u8,
    /// Level-triggered inputs.
    elcr: u8,
    expects: Expects,
    single: bool,
    needs_icw4: bool,
    /// Input with the highest priority.
    highest: u8,
    read_isr: bool,
    poll: bool,
    auto_eoi: bool,
    rotate_on_auto_eoi: bool,
    fully_nested: bool,
    special_mask: bool,
}

impl Controller {
    const fn new(master: bool) -> Self {
        Self {
            master,
            irr: 0,
            imr: 0,
            isr: 0,
            base: 0,
            lines: 0,
            elcr: if master { 1 << CASCADE } else { 0 },
            expects: Expects::Operation,
            single: false,
            needs_icw4: false,
            highest: 0,
            read_isr: false,
            poll: false,
            auto_eoi: false,
            rotate_on_auto_eoi: false,
            fully_nested: false,
            special_mask: false,
        }
    }

    /// Place in the order of priority, 0 first, of the first input in `inputs`; 8 if there is none.
    fn first(&self, inputs: u8) -> u8 {
        inputs.rotate_right(self.highest.into()).trailing_zeros() as u8
    }

    const fn input_at(&self, place: u8) -> u8 {
        (place + self.highest) & 7
    }

    /// The input that may interrupt now.
    fn pending(&self) -> Option<u8> {
        let place = self.first(self.irr & !self.imr);
        if place == 8 {
            return None;
        }
        let mut serving = self.isr;
        if self.special_mask {
            serving &= !self.imr;
        }
        if self.master && self.fully_nested {
            serving &= !(1 << CASCADE);
        }
        (place < self.first(serving)).then(|| self.input_at(place))
    }

    fn set_line(&mut self, input: u8, up: bool) {
        let bit = 1 << input;
        let was = self.lines & bit != 0;
        if up {
            self.lines |= bit;
            if !was || self.elcr & bit != 0 {
                self.irr |= bit;
            }
        } else {
            self.lines &= !bit;
            // A request has to stay up until it is acknowledged.
            self.irr &= !bit;
        }
    }

    /// Acknowledges `input`.
    fn take(&mut self, input: u8) {
        let bit = 1 << input;
        if self.elcr & bit == 0 {
            self.irr &= !bit;
        }
        if !self.auto_eoi {
            self.isr |= bit;
        } else if self.rotate_on_auto_eoi {
            self.highest = (input + 1) & 7;
        }
    }

    fn write_command(&mut self, value: u8) {
        if value & ICW1 != 0 {
            // Edge detection starts anew: what is up already is no edge.
            self.irr &= self.elcr & self.lines;
            self.imr = 0;
            self.isr = 0;
            self.highest = 0;
            self.read_isr = false;
            self.poll = false;
            self.special_mask = false;
            self.auto_eoi = false;
            self.rotate_on_auto_eoi = false;
            self.fully_nested = false;
            self.single = value & ICW1_SINGLE != 0;
            self.needs_icw4 = value & ICW1_ICW4 != 0;
            self.expects = Expects::Icw2;
        } else if value & OCW3 != 0 {
            if value & 1 << 2 != 0 {
                self.poll = true;
            }
            if value & 1 << 1 != 0 {
                self.read_isr = value & 1 != 0;
            }
            if value & 1 << 6 != 0 {
                self.special_mask = value & 1 << 5 != 0;
            }
        } else {
            self.end(value);
        }
    }

    /// OCW2.
    fn end(&mut self, value: u8) {
        let (operation, level) = (value >> 5, value & 7);
        let rotate = operation & 4 != 0;
        match operation {
            0 | 4 => self.rotate_on_auto_eoi = rotate,
            // Not specific: the one with the highest priority in service.
            1 | 5 => {
                let mut serving = self.isr;
                if self.special_mask {
                    serving &= !self.imr;
                }
                let place = self.first(serving);
                if place == 8 {
                    return;
                }
                let input = self.input_at(place);
                self.isr &= !(1 << input);
                if rotate {
                    self.highest = (input + 1) & 7;
                }
            }
            3 | 7 => {
                self.isr &= !(1 << level);
                if rotate {
                    self.highest = (level + 1) & 7;
                }
            }
            // Set priority.
            6 => self.highest = (level + 1) & 7,
            _ => {}
        }
    }

    fn write_data(&mut self, value: u8) {
        match self.expects {
            Expects::Operation => self.imr = value,
            Expects::Icw2 => {
                self.base = value & 0xf8;
                self.expects = if self.single {
                    self.after_icw3()
                } else {
                    Expects::Icw3
                };
            }
            // Where the slave is, is wired.
            Expects::Icw3 => self.expects = self.after_icw3(),
            Expects::Icw4 => {
                self.fully_nested = value & ICW4_FULLY_NESTED != 0;
                self.auto_eoi = value & ICW4_AUTO_EOI != 0;
                self.expects = Expects::Operation;
            }
        }
    }

    const fn after_icw3(&self) -> Expects {
        if self.needs_icw4 {
            Expects::Icw4
        } else {
            Expects::Operation
        }
    }

    /// A read while polling acknowledges; else None.
    fn poll(&mut self) -> Option<u8> {
        if !core::mem::take(&mut self.poll) {
            return None;
        }
        Some(match self.pending() {
            Some(input) => {
                self.take(input);
                0x80 | input
            }
            None => 0,
        })
    }

    const fn elcr_mask(&self) -> u8 {
        if self.master { 0xf8 } else { 0xde }
    }

    fn set_elcr(&mut self, value: u8) {
        self.elcr = value & self.elcr_mask();
        if self.master {
            self.elcr |= 1 << CASCADE;
        }
    }

    fn save(&self) -> HvmHwVpic {
        let next = match self.expects {
            Expects::Operation => 0,
            Expects::Icw2 => 1,
            Expects::Icw3 => 2,
            Expects::Icw4 => 3,
        };
        let state = next | u8::from(self.needs_icw4) << 2 | u8::from(self.single) << 3;
        HvmHwVpic {
            irr: self.irr,
            imr: self.imr,
            isr: self.isr,
            irq_base: self.base,
            bits: state | self.highest << 4,
            bits1: u8::from(self.read_isr)
                | u8::from(self.poll) << 1
                | u8::from(self.auto_eoi) << 2
                | u8::from(self.rotate_on_auto_eoi) << 3
                | u8::from(self.fully_nested) << 4
                | u8::from(self.special_mask) << 5
                | u8::from(self.master) << 6,
            elcr: self.elcr,
            int_output: self.pending().is_some().into(),
        }
    }

    fn load(&mut self, record: &HvmHwVpic) {
        let bit = |number: u8| record.bits1 & 1 << number != 0;
        self.irr = record.irr;
        self.imr = record.imr;
        self.isr = record.isr;
        self.base = record.irq_base & 0xf8;
        self.set_elcr(record.elcr);
        self.lines = record.irr & self.elcr;
        self.expects = match record.bits & 3 {
            0 => Expects::Operation,
            1 => Expects::Icw2,
            2 => Expects::Icw3,
            _ => Expects::Icw4,
        };
        self.needs_icw4 = record.bits & 1 << 2 != 0;
        self.single = record.bits & 1 << 3 != 0;
        self.highest = record.bits >> 4 & 7;
        self.read_isr = bit(0);
        self.poll = bit(1);
        self.auto_eoi = bit(2);
        self.rotate_on_auto_eoi = bit(3);
        self.fully_nested = bit(4);
        self.special_mask = bit(5);
    }
}

/// Both controllers.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Pic {
    master: Controller,
    slave: Controller,
}

impl Default for Pic {
    fn default() -> Self {
        Self {
            master: Controller::new(true),
            slave: Controller::new(false),
        }
    }
}

impl Pic {
    /// Whether the controllers are at `port`.
    #[must_use]
    pub const fn is_at(port: u16) -> bool {
        matches!(port, 0x20 | 0x21 | 0xa0 | 0xa1 | 0x4d0 | 0x4d1)
    }

    /// Input `irq`, 0 to 15, goes up or down.
    pub fn set_line(&mut self, irq: u8, up: bool) {
        match irq {
            0..8 => self.master.set_line(irq, up),
            8..16 => self.slave.set_line(irq - 8, up),
            _ => {}
        }
        self.cascade();
    }

    /// The slave's output is an input of the master.
    fn cascade(&mut self) {
        let up = self.slave.pending().is_some();
        self.master.set_line(CASCADE, up);
    }

    /// Whether an interrupt waits for the processor.
    #[must_use]
    pub fn is_pending(&self) -> bool {
        self.master.pending().is_some()
    }

    /// The processor acknowledges; returns the vector. What has gone in the meantime is input 7: a spurious interrupt.
    pub fn acknowledge(&mut self) -> u8 {
        let vector = match self.master.pending() {
            Some(CASCADE) => {
                self.master.take(CASCADE);
                let input = self.slave.pending();
                if let Some(input) = input {
                    self.slave.take(input);
                }
                self.slave.base + input.unwrap_or(7)
            }
            Some(input) => {
                self.master.take(input);
                self.master.base + input
            }
            None => self.master.base + 7,
        };
        self.cascade();
        vector
    }

    /// Reads a byte from a port of [`is_at`](Self::is_at).
    pub fn read(&mut self, port: u16) -> u8 {
        let value = match port {
            0x4d0 => return self.master.elcr & self.master.elcr_mask(),
            0x4d1 => return self.slave.elcr & self.slave.elcr_mask(),
            _ => {
                let controller = self.controller(port);
                match controller.poll() {
                    Some(answer) => answer,
                    None if port & 1 != 0 => controller.imr,
                    None if controller.read_isr => controller.isr,
                    None => controller.irr,
                }
            }
        };
        self.cascade();
        value
    }

    /// Writes a byte to a port of [`is_at`](Self::is_at).
    pub fn write(&mut self, port: u16, value: u8) {
        match port {
            0x4d0 => self.master.set_elcr(value),
            0x4d1 => self.slave.set_elcr(value),
            _ => {
                let controller = self.controller(port);
                if port & 1 != 0 {
                    controller.write_data(value);
                } else {
                    controller.write_command(value);
                }
            }
        }
        self.cascade();
    }

    const fn controller(&mut self, port: u16) -> &mut Controller {
        if port & 0x80 != 0 {
            &mut self.slave
        } else {
            &mut self.master
        }
    }

    /// The records PIC: instance 0 the master, 1 the slave.
    #[must_use]
    pub fn save(&self) -> [HvmHwVpic; 2] {
        [self.master.save(), self.slave.save()]
    }

    /// Takes a record PIC; there is no third.
    pub fn load(&mut self, instance: u16, record: &HvmHwVpic) -> Option<()> {
        match instance {
            0 => self.master.load(record),
            1 => self.slave.load(record),
            _ => return None,
        }
        Some(())
    }
}

#[cfg(test)]
mod tests;
