//! Fixed ACPI description table (ACPI 6.5, 5.2.9).

use super::tables::HEADER_SIZE;
use crate::boot::bytes::{u8_at, u32_at, u64_at};

/// A register in one of ACPI's address spaces (generic address structure, 5.2.3.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Register {
    /// 0 memory, 1 ports, 2 PCI configuration space.
    pub space: u8,
    /// Width in bits.
    pub width: u8,
    /// Address.
    pub address: u64,
}

impl Register {
    /// Memory.
    pub const MEMORY: u8 = 0;
    /// Ports.
    pub const PORT: u8 = 1;
    /// PCI configuration space: device in bits 32 to 47, function in 16 to 31, offset in 0 to 15.
    pub const PCI: u8 = 2;

    /// The port of a register in port space.
    pub fn port(&self) -> Option<u16> {
        u16::try_from(self.address)
            .ok()
            .filter(|&port| self.space == Self::PORT && port != 0)
    }
}

/// The fields in use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Fadt {
    /// Address of the DSDT.
    pub dsdt: u64,
    /// Address of the FACS.
    pub facs: u64,
    /// Interrupt of power management events.
    pub sci: u16,
    /// Port that switches ACPI mode on, and the value for it.
    pub smi_command: u32,
    /// Value that switches ACPI mode on.
    pub acpi_enable: u8,
    /// First power management control register.
    pub pm1a_control: Option<Register>,
    /// Second one, if there is one.
    pub pm1b_control: Option<Register>,
    /// Power management timer.
    pub pm_timer: Option<Register>,
    /// The timer has 32 bits, not 24.
    pub pm_timer_is_32_bit: bool,
    /// Writing `reset_value` here restarts the machine.
    pub reset: Option<Register>,
    /// Value for the reset register.
    pub reset_value: u8,
    /// Firmware without the PC's old fixed hardware registers.
    pub hardware_reduced: bool,
    /// There is no CMOS clock.
    pub no_cmos_clock: bool,
}

const FLAG_TIMER_32_BIT: u32 = 1 << 8;
const FLAG_RESET_SUPPORTED: u32 = 1 << 10;
const FLAG_HARDWARE_REDUCED: u32 = 1 << 20;
const BOOT_FLAG_NO_CMOS_CLOCK: u8 = 1 << 5;

/// Reads the table's body (after the header).
pub fn parse(body: &[u8]) -> Option<Fadt> {
    // Offsets below are the specification's, which count from the header.
    let at = |offset: usize| offset - HEADER_SIZE;
    let flags = u32_at(body, at(112)).unwrap_or(0);
    let wide = |offset: usize, narrow: usize| {
        let address = u64_at(body, at(offset)).filter(|&address| address != 0);
        address
            .or_else(|| u32_at(body, at(narrow)).map(u64::from))
            .unwrap_or(0)
    };
    let register = |extended: usize, narrow: usize, width: u8| {
        let generic = generic_address(body, at(extended)).filter(|register| register.address != 0);
        generic.or_else(|| {
            let address = u64::from(u32_at(body, at(narrow))?);
            (address != 0).then_some(Register {
                space: Register::PORT,
                width,
                address,
            })
        })
    };
    let reset = generic_address(body, at(116))
        .filter(|r| flags & FLAG_RESET_SUPPORTED != 0 && r.address != 0);
    Some(Fadt {
        dsdt: wide(140, 40),
        facs: wide(132, 36),
        sci: u16::try_from(u32_at(body, at(46))? & 0xffff).ok()?,
        smi_command: u32_at(body, at(48))?,
        acpi_enable: u8_at(body, at(52))?,
        pm1a_control: register(172, 64, 16),
        pm1b_control: register(184, 68, 16),
        pm_timer: register(208, 76, 32),
        pm_timer_is_32_bit: flags & FLAG_TIMER_32_BIT != 0,
        reset,
        reset_value: u8_at(body, at(128)).unwrap_or(0),
        hardware_reduced: flags & FLAG_HARDWARE_REDUCED != 0,
        no_cmos_clock: u8_at(body, at(109)).unwrap_or(0) & BOOT_FLAG_NO_CMOS_CLOCK != 0,
    })
}

fn generic_address(body: &[u8], offset: usize) -> Option<Register> {
    Some(Register {
        space: u8_at(body, offset)?,
        width: u8_at(body, offset + 1)?,
        address: u64_at(body, offset + 4)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec;

    fn put(body: &mut [u8], offset: usize, value: &[u8]) {
        let at = offset - HEADER_SIZE;
        body[at..at + value.len()].copy_from_slice(value);
    }

    fn table() -> Vec<u8> {
        let mut body = std::vec![0; 244 - HEADER_SIZE];
        put(&mut body, 40, &0x7fe_0000u32.to_le_bytes());
        put(&mut body, 46, &9u16.to_le_bytes());
        put(&mut body, 48, &0xb2u32.to_le_bytes());
        put(&mut body, 52, &[2]);
        put(&mut body, 64, &0x604u32.to_le_bytes());
        put(&mut body, 76, &0x608u32.to_le_bytes());
        put(
            &mut body,
            112,
            &(FLAG_RESET_SUPPORTED | FLAG_TIMER_32_BIT).to_le_bytes(),
        );
        put(&mut body, 116, &[1, 8, 0, 0, 0xf9, 0x0c, 0, 0, 0, 0, 0, 0]);
        put(&mut body, 128, &[0x0f]);
        body
    }

    #[test]
    fn usual_table() {
        let fadt = parse(&table()).unwrap();
        assert_eq!(fadt.dsdt, 0x7fe_0000);
        assert_eq!(fadt.sci, 9);
        assert_eq!((fadt.smi_command, fadt.acpi_enable), (0xb2, 2));
        assert_eq!(fadt.pm1a_control.unwrap().port(), Some(0x604));
        assert_eq!(fadt.pm1b_control, None);
        assert_eq!(
            fadt.pm_timer,
            Some(Register {
                space: 1,
                width: 32,
                address: 0x608
            })
        );
        assert!(fadt.pm_timer_is_32_bit);
        assert_eq!(fadt.reset.unwrap().port(), Some(0xcf9));
        assert_eq!(fadt.reset_value, 0x0f);
    }

    #[test]
    fn wide_fields_win_and_short_tables_do_without() {
        let mut body = table();
        put(&mut body, 140, &0x1_2345_0000u64.to_le_bytes());
        put(&mut body, 172, &[0, 16, 0, 0, 0, 0, 0, 0xfe, 0, 0, 0, 0]);
        let fadt = parse(&body).unwrap();
        assert_eq!(fadt.dsdt, 0x1_2345_0000);
        assert_eq!(
            fadt.pm1a_control.unwrap(),
            Register {
                space: 0,
                width: 16,
                address: 0xfe00_0000
            }
        );
        let short = parse(&table()[..116 - HEADER_SIZE]).unwrap();
        assert_eq!(short.reset, None);
        assert_eq!(short.pm1a_control.unwrap().port(), Some(0x604));
        assert_eq!(parse(&[0; 8]), None);
    }
}
