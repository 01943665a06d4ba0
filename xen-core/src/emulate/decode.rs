//! From a snapshot of bytes to an instruction.

use hypercall_abi::arch_x86::CpuUserRegs;
use iced_x86::{Decoder, DecoderError, DecoderOptions, Instruction, OpKind, Register};

use super::registers;

/// The longest instruction (SDM volume 2, 2.3.11).
pub const MAX_LENGTH: usize = 15;

/// Width of the code that an instruction belongs to: L and D of its code segment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CodeWidth {
    /// 16-bit compatibility code.
    Bits16,
    /// 32-bit compatibility code.
    Bits32,
    /// 64-bit code.
    Bits64,
}

impl CodeWidth {
    const fn bitness(self) -> u32 {
        match self {
            Self::Bits16 => 16,
            Self::Bits32 => 32,
            Self::Bits64 => 64,
        }
    }
}

/// Why there is no instruction.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DecodeError {
    /// The instruction goes on after the last byte of the snapshot.
    Truncated,
    /// No such instruction, or longer than any may be.
    Invalid,
}

/// Decodes the instruction that `bytes`, found at `rip`, begin with. Never looks beyond 15 bytes.
///
/// # Errors
/// See [`DecodeError`].
pub fn decode(bytes: &[u8], rip: u64, width: CodeWidth) -> Result<Instruction, DecodeError> {
    let bytes = bytes.get(..MAX_LENGTH).unwrap_or(bytes);
    let mut decoder = Decoder::with_ip(width.bitness(), bytes, rip, DecoderOptions::NONE);
    let instruction = decoder.decode();
    match decoder.last_error() {
        DecoderError::None => Ok(instruction),
        DecoderError::NoMoreBytes if bytes.len() < MAX_LENGTH => Err(DecodeError::Truncated),
        _ => Err(DecodeError::Invalid),
    }
}

/// Linear address of memory operand `operand` in 64-bit code. FS and GS bases come from `segment_base`; all others are
/// flat, whatever the prefix says.
#[must_use]
pub fn effective_address(
    instruction: &Instruction,
    operand: u32,
    regs: &CpuUserRegs,
    segment_base: impl Fn(Register) -> u64,
) -> Option<u64> {
    if !is_memory(instruction.op_kind(operand)) {
        return None;
    }
    instruction.virtual_address(operand, 0, |register, _, _| match register {
        Register::FS | Register::GS => Some(segment_base(register)),
        Register::CS | Register::DS | Register::ES | Register::SS => Some(0),
        register => registers::read(regs, register),
    })
}

/// Whether an operand of this kind is in memory.
#[must_use]
pub const fn is_memory(kind: OpKind) -> bool {
    matches!(
        kind,
        OpKind::Memory
            | OpKind::MemorySegSI
            | OpKind::MemorySegESI
            | OpKind::MemorySegRSI
            | OpKind::MemoryESDI
            | OpKind::MemoryESEDI
            | OpKind::MemoryESRDI
    )
}

#[cfg(test)]
mod tests {
    use iced_x86::Mnemonic;
    use proptest::prelude::*;
    use zerocopy::FromZeros;

    use super::*;

    #[test]
    fn a_prefix_of_an_instruction_is_truncated() {
        assert_eq!(
            decode(&[0x0f], 0, CodeWidth::Bits64),
            Err(DecodeError::Truncated)
        );
        assert_eq!(
            decode(&[], 0, CodeWidth::Bits64),
            Err(DecodeError::Truncated)
        );
        let wrmsr = decode(&[0x0f, 0x30], 0, CodeWidth::Bits64).unwrap();
        assert_eq!((wrmsr.mnemonic(), wrmsr.len()), (Mnemonic::Wrmsr, 2));
    }

    #[test]
    fn fifteen_prefixes_are_invalid_not_truncated() {
        assert_eq!(
            decode(&[0x66; 15], 0, CodeWidth::Bits64),
            Err(DecodeError::Invalid)
        );
        assert_eq!(
            decode(&[0x66; 64], 0, CodeWidth::Bits64),
            Err(DecodeError::Invalid)
        );
    }

    #[test]
    fn lock_on_an_instruction_that_cannot_lock_is_invalid() {
        assert_eq!(
            decode(&[0xf0, 0x0f, 0x30], 0, CodeWidth::Bits64),
            Err(DecodeError::Invalid)
        );
    }

    #[test]
    fn addresses_use_base_index_scale_displacement_and_gs() {
        let mut regs = CpuUserRegs::new_zeroed();
        regs.rdi = 0x1000;
        regs.r12 = 3;
        // mov gs:[rdi+r12*8+0x10], eax
        let insn = decode(&[0x65, 0x42, 0x89, 0x44, 0xe7, 0x10], 0, CodeWidth::Bits64).unwrap();
        assert_eq!(
            effective_address(&insn, 0, &regs, |_| 0x10_0000),
            Some(0x10_1028)
        );
        // mov ss:[rdi], eax: the base of SS plays no part.
        let insn = decode(&[0x36, 0x89, 0x07], 0, CodeWidth::Bits64).unwrap();
        assert_eq!(
            effective_address(&insn, 0, &regs, |_| 0x10_0000),
            Some(0x1000)
        );
        // mov [rip+4], eax at 0x2000, six bytes long
        let insn = decode(&[0x89, 0x05, 4, 0, 0, 0], 0x2000, CodeWidth::Bits64).unwrap();
        assert_eq!(effective_address(&insn, 0, &regs, |_| 0), Some(0x200a));
    }

    proptest! {
        #[test]
        fn any_bytes_decode_or_fail(bytes in proptest::collection::vec(any::<u8>(), 0..20), rip: u64) {
            for width in [CodeWidth::Bits16, CodeWidth::Bits32, CodeWidth::Bits64] {
                if let Ok(insn) = decode(&bytes, rip, width) {
                    prop_assert!(insn.len() >= 1 && insn.len() <= bytes.len().min(MAX_LENGTH));
                }
            }
        }
    }
}
