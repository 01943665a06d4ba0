//! Memory-type registers and the page attribute table of a vCPU (SDM volume 3, 12.11 and 12.12).
//!
//! They are state that a guest can read back and nothing more: all its memory is write-back, whatever they say.

use hypercall_abi::arch_x86::hvm::save::{HvmHwMtrr, MTRR_VCNT, NUM_FIXED_MSR};
use hypercall_abi::errno::Errno;

/// IA32_MTRRCAP.
pub const MTRR_CAP: u32 = 0xfe;
/// IA32_MTRR_DEF_TYPE.
pub const MTRR_DEF_TYPE: u32 = 0x2ff;
/// IA32_PAT.
pub const PAT: u32 = 0x277;
/// First of the variable ranges: base, mask, base, ...
const VARIABLE_FIRST: u32 = 0x200;
/// Last of the variable ranges.
const VARIABLE_LAST: u32 = VARIABLE_FIRST + 2 * MTRR_VCNT as u32 - 1;
/// The fixed ranges, in the order of the saved record.
const FIXED: [u32; NUM_FIXED_MSR] = [
    0x250, 0x258, 0x259, 0x268, 0x269, 0x26a, 0x26b, 0x26c, 0x26d, 0x26e, 0x26f,
];

/// IA32_MTRRCAP: eight variable ranges, fixed ranges, write combining.
const CAPABILITIES: u64 = MTRR_VCNT as u64 | 1 << 8 | 1 << 10;
/// IA32_PAT after reset: WB, WT, UC-, UC, and these again.
pub const PAT_RESET: u64 = 0x0007_0406_0007_0406;
/// IA32_MTRR_DEF_TYPE: type, fixed ranges enabled, enabled.
const DEF_TYPE_BITS: u64 = 0xff | 1 << 10 | 1 << 11;
/// Reserved bits of the base of a variable range, besides those above the address width.
const BASE_RESERVED: u64 = 0xf00;
/// Reserved bits of the mask of a variable range, besides those above the address width.
const MASK_RESERVED: u64 = 0x7ff;

/// The registers.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MemoryTypes {
    address_bits: u32,
    pat: u64,
    def_type: u64,
    fixed: [u64; NUM_FIXED_MSR],
    variable: [u64; 2 * MTRR_VCNT],
}

impl MemoryTypes {
    /// The registers after a reset, for a guest whose physical addresses have `address_bits` bits.
    #[must_use]
    pub const fn new(address_bits: u32) -> Self {
        Self {
            address_bits,
            pat: PAT_RESET,
            def_type: 0,
            fixed: [0; NUM_FIXED_MSR],
            variable: [0; 2 * MTRR_VCNT],
        }
    }

    /// Whether `msr` is one of the memory-type registers; PAT is not.
    #[must_use]
    pub fn is_mtrr(msr: u32) -> bool {
        matches!(
            msr,
            MTRR_CAP | MTRR_DEF_TYPE | VARIABLE_FIRST..=VARIABLE_LAST
        ) || FIXED.contains(&msr)
    }

    /// Page attribute table, which the processor needs too.
    #[must_use]
    pub const fn pat(&self) -> u64 {
        self.pat
    }

    /// Reads a register. None: #GP, or none of ours.
    #[must_use]
    pub fn read(&self, msr: u32) -> Option<u64> {
        match msr {
            PAT => Some(self.pat),
            MTRR_CAP => Some(CAPABILITIES),
            MTRR_DEF_TYPE => Some(self.def_type),
            VARIABLE_FIRST..=VARIABLE_LAST => Some(self.variable[(msr - VARIABLE_FIRST) as usize]),
            _ => fixed_index(msr).map(|index| self.fixed[index]),
        }
    }

    /// Writes a register. None: #GP and nothing changed, or none of ours.
    pub fn write(&mut self, msr: u32, value: u64) -> Option<()> {
        match msr {
            PAT if is_valid_pat(value) => self.pat = value,
            MTRR_DEF_TYPE if value & !DEF_TYPE_BITS == 0 && is_mtrr_type(value as u8) => {
                self.def_type = value;
            }
            VARIABLE_FIRST..=VARIABLE_LAST if self.is_valid_range(msr, value) => {
                self.variable[(msr - VARIABLE_FIRST) as usize] = value;
            }
            _ => {
                let index = fixed_index(msr)?;
                if !value.to_le_bytes().into_iter().all(is_mtrr_type) {
                    return None;
                }
                self.fixed[index] = value;
            }
        }
        Some(())
    }

    fn is_valid_range(&self, msr: u32, value: u64) -> bool {
        let too_high = value.checked_shr(self.address_bits).unwrap_or(0) != 0;
        let is_base = msr & 1 == 0;
        !too_high
            && if is_base {
                value & BASE_RESERVED == 0 && is_mtrr_type(value as u8)
            } else {
                value & MASK_RESERVED == 0
            }
    }

    /// The record MTRR.
    #[must_use]
    pub const fn save(&self) -> HvmHwMtrr {
        HvmHwMtrr {
            msr_pat_cr: self.pat,
            msr_mtrr_var: self.variable,
            msr_mtrr_fixed: self.fixed,
            msr_mtrr_cap: CAPABILITIES,
            msr_mtrr_def_type: self.def_type,
        }
    }

    /// Takes the record MTRR; a register that cannot have the record's value keeps its own.
    ///
    /// # Errors
    /// `EINVAL` if the record comes from a guest with more variable ranges.
    pub fn load(&mut self, record: &HvmHwMtrr) -> Result<(), Errno> {
        if record.msr_mtrr_cap & 0xff > MTRR_VCNT as u64 {
            return Err(Errno::EINVAL);
        }
        let _ = self.write(PAT, record.msr_pat_cr);
        for (msr, value) in FIXED.into_iter().zip(record.msr_mtrr_fixed) {
            let _ = self.write(msr, value);
        }
        for (msr, value) in (VARIABLE_FIRST..).zip(record.msr_mtrr_var) {
            let _ = self.write(msr, value);
        }
        let _ = self.write(MTRR_DEF_TYPE, record.msr_mtrr_def_type);
        Ok(())
    }
}

/// Whether IA32_PAT can have this value: each byte a type that exists.
#[must_use]
pub fn is_valid_pat(value: u64) -> bool {
    let is_type = |byte| is_mtrr_type(byte) || byte == 7;
    value.to_le_bytes().into_iter().all(is_type)
}

/// Uncached, write-combining, write-through, write-protected, write-back.
const fn is_mtrr_type(byte: u8) -> bool {
    matches!(byte, 0 | 1 | 4 | 5 | 6)
}

fn fixed_index(msr: u32) -> Option<usize> {
    FIXED.iter().position(|&fixed| fixed == msr)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn after_reset() {
        let types = MemoryTypes::new(40);
        assert_eq!(types.read(0xfe), Some(0x508));
        assert_eq!(types.read(0x277), Some(0x0007_0406_0007_0406));
        for msr in (0x200..0x300).filter(|&msr| MemoryTypes::is_mtrr(msr)) {
            assert_eq!(types.read(msr), Some(0), "{msr:#x}");
        }
        let existing = (0..0x300).filter(|&msr| MemoryTypes::is_mtrr(msr)).count();
        assert_eq!(existing, 1 + 16 + 11 + 1);
        assert_eq!(types.read(0x210), None);
        assert_eq!(types.read(0x251), None);
    }

    #[test]
    fn types_that_do_not_exist_fault() {
        for byte in 0..=255u64 {
            let exists = matches!(byte, 0 | 1 | 4 | 5 | 6);
            let mut types = MemoryTypes::new(40);
            assert_eq!(types.write(0x2ff, byte).is_some(), exists);
            assert_eq!(types.write(0x200, 0x10_0000 | byte).is_some(), exists);
            for place in 0..8 {
                assert_eq!(types.write(0x268, byte << (8 * place)).is_some(), exists);
                let pat = (PAT_RESET & !(0xff << (8 * place))) | byte << (8 * place);
                assert_eq!(types.write(0x277, pat).is_some(), exists || byte == 7);
            }
        }
    }

    #[test]
    fn reserved_bits_fault() {
        for bit in 0..64 {
            let mut types = MemoryTypes::new(40);
            let value = 1 << bit;
            assert_eq!(
                types.write(0x2ff, value).is_some(),
                matches!(bit, 0 | 2 | 10 | 11)
            );
            assert_eq!(
                types.write(0x20e, value).is_some(),
                matches!(bit, 0 | 2 | 12..40)
            );
            assert_eq!(types.write(0x20f, value).is_some(), matches!(bit, 11..40));
            assert_eq!(types.write(0xfe, value), None);
        }
    }

    #[test]
    fn the_builder_sets_only_the_default_type() {
        let mut record = MemoryTypes::new(40).save();
        record.msr_mtrr_def_type = 0x806;
        let mut types = MemoryTypes::new(40);
        types.load(&record).unwrap();
        assert_eq!(types.read(0x2ff), Some(0x806));
        assert_eq!(types.save(), record);
    }

    #[test]
    fn a_record_cannot_bring_what_a_guest_could_not_write() {
        let mut types = MemoryTypes::new(40);
        let mut record = types.save();
        record.msr_mtrr_cap = 9;
        assert_eq!(types.load(&record), Err(Errno::EINVAL));
        record.msr_mtrr_cap = 8;
        record.msr_pat_cr = 2;
        record.msr_mtrr_var = [u64::MAX; 16];
        record.msr_mtrr_fixed = [0x0606_0606_0606_0606; 11];
        types.load(&record).unwrap();
        assert_eq!(types.pat(), PAT_RESET);
        assert_eq!(types.read(0x200), Some(0));
        assert_eq!(types.read(0x26f), Some(0x0606_0606_0606_0606));
    }

    proptest! {
        #[test]
        fn what_was_written_is_read_and_saved(
            writes in prop::collection::vec((0x1f0u32..0x310, any::<u64>(), 0u32..64), 0..200),
        ) {
            let mut types = MemoryTypes::new(46);
            for (msr, value, shift) in writes {
                let value = value >> shift & 0x0000_3f06_0406_0506;
                let before = types.clone();
                match types.write(msr, value) {
                    Some(()) => prop_assert_eq!(types.read(msr), Some(value)),
                    None => prop_assert_eq!(&types, &before),
                }
            }
            let mut other = MemoryTypes::new(46);
            prop_assert!(other.load(&types.save()).is_ok());
            prop_assert_eq!(other, types);
        }
    }
}
