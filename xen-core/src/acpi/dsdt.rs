//! The one object that is read from the DSDT without an interpreter: `_S5_`, the sleep type of "off" (ACPI 6.5, 7.4.2).
//!
//! Firmware writes it as a plain package of constants, and all small systems read it this way: search for the name,
//! check that it is defined by NameOp, and take the package's first elements.

use crate::boot::bytes::u8_at;

/// Values of the SLP_TYP field for the two power management control registers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SleepType {
    /// For PM1a.
    pub a: u8,
    /// For PM1b.
    pub b: u8,
}

const NAME_OP: u8 = 0x08;
const PACKAGE_OP: u8 = 0x12;
const BYTE_PREFIX: u8 = 0x0a;
const WORD_PREFIX: u8 = 0x0b;
const DWORD_PREFIX: u8 = 0x0c;
const ZERO_OP: u8 = 0x00;
const ONE_OP: u8 = 0x01;

/// Finds the object in the table's body.
pub fn find_s5(body: &[u8]) -> Option<SleepType> {
    body.windows(4)
        .enumerate()
        .filter(|(_, name)| name == b"_S5_")
        .find_map(|(at, _)| {
            // NameOp directly before, or before the root prefix.
            let before = |distance| at.checked_sub(distance).and_then(|at| u8_at(body, at));
            let defined = before(1) == Some(NAME_OP)
                || (before(1) == Some(b'\\') && before(2) == Some(NAME_OP));
            if defined {
                package(body.get(at + 4..)?)
            } else {
                None
            }
        })
}

/// The first two constants of a package.
fn package(aml: &[u8]) -> Option<SleepType> {
    if u8_at(aml, 0)? != PACKAGE_OP {
        return None;
    }
    // PkgLength: the two top bits of the first byte count the bytes that follow.
    let length_bytes = 1 + usize::from(u8_at(aml, 1)? >> 6);
    let count = u8_at(aml, 1 + length_bytes)?;
    let (a, rest) = constant(aml.get(2 + length_bytes..)?)?;
    // A package with a single element serves both registers.
    let b = if count > 1 { constant(rest)?.0 } else { a };
    // Seven is the largest sleep type.
    (a <= 7 && b <= 7).then_some(SleepType { a, b })
}

/// An integer constant that fits a byte, and what follows.
fn constant(aml: &[u8]) -> Option<(u8, &[u8])> {
    let (value, size) = match u8_at(aml, 0)? {
        ZERO_OP => (0, 1),
        ONE_OP => (1, 1),
        BYTE_PREFIX => (u8_at(aml, 1)?, 2),
        WORD_PREFIX => (u8_at(aml, 1)?, 3),
        DWORD_PREFIX => (u8_at(aml, 1)?, 5),
        _ => return None,
    };
    Some((value, aml.get(size..)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_that_firmware_uses() {
        let plain = [
            0x08, b'_', b'S', b'5', b'_', 0x12, 0x06, 0x04, 0x00, 0x00, 0x00, 0x00,
        ];
        assert_eq!(find_s5(&plain), Some(SleepType { a: 0, b: 0 }));
        let bytes = [
            0x08, b'\\', b'_', b'S', b'5', b'_', 0x12, 0x0a, 0x04, 0x0a, 5, 0x0a, 5, 0x0a, 0, 0x0a,
            0,
        ];
        assert_eq!(find_s5(&bytes), Some(SleepType { a: 5, b: 5 }));
        let long = [
            0x08, b'_', b'S', b'5', b'_', 0x12, 0x4a, 0x01, 0x02, 0x0b, 7, 0, 0x01, 0,
        ];
        assert_eq!(find_s5(&long), Some(SleepType { a: 7, b: 1 }));
        let single = [0x08, b'_', b'S', b'5', b'_', 0x12, 0x04, 0x01, 0x0a, 3, 0];
        assert_eq!(find_s5(&single), Some(SleepType { a: 3, b: 3 }));
    }

    #[test]
    fn mentions_that_are_no_definition() {
        assert_eq!(find_s5(b"x_S5_x"), None);
        assert_eq!(find_s5(&[0x08, b'_', b'S', b'5', b'_', 0x12]), None);
        assert_eq!(
            find_s5(&[0x08, b'_', b'S', b'5', b'_', 0x12, 0x04, 0x01, 0x0a, 9, 0]),
            None
        );
        // The real one comes after a mention.
        let two = [
            b'_', b'S', b'5', b'_', 0, 0x08, b'_', b'S', b'5', b'_', 0x12, 0x04, 0x01, 0x0a, 3, 0,
        ];
        assert_eq!(find_s5(&two), Some(SleepType { a: 3, b: 3 }));
    }
}
