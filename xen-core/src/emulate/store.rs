//! Instructions that write memory once: what they would do to a word, decided without touching it.
//!
//! Used for writes to page tables (abi-requirements 3.7): the operand lies in an aligned 64-bit word whose new value is
//! computed from the old one, so that the caller can store it under its own rules.

use hypercall_abi::arch_x86::CpuUserRegs;
use iced_x86::{Instruction, MemorySize, Mnemonic, OpKind, Register};

use super::alu::{self, Op};
use super::decode::{effective_address, is_memory};
use super::registers;

/// How the operand in memory changes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Action {
    /// Takes this value.
    Replace(u64),
    /// Exchanged with a register.
    Exchange(Register),
    /// Takes the register's value if equal to the accumulator.
    CompareExchange(Register),
    /// Takes the sum; the register takes the old value.
    ExchangeAdd(Register),
    /// Read, changed, written.
    Modify(Op, u64),
    /// String store or move: `Replace`, and the index registers move on.
    String(u64),
}

/// A decoded write.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Store {
    /// Linear address of the operand, naturally aligned.
    pub addr: u64,
    /// Its size: 1, 2, 4 or 8.
    pub bytes: u32,
    action: Action,
    /// MOVS also moves the source pointer.
    moves_source: bool,
}

/// What the operand becomes, given what it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Change {
    /// New value of the operand.
    pub new: u64,
    /// Whether the old value decides: the write must not happen if it has changed meanwhile.
    pub depends: bool,
}

/// Register operand `operand`, if it is a general register of the operand's size.
fn source_register(instruction: &Instruction, operand: u32, bytes: u32) -> Option<Register> {
    let register = instruction.op_register(operand);
    let size = registers::size(register)?;
    (size == bytes).then_some(register)
}

/// Bytes of an integer operand in memory.
fn operand_size(instruction: &Instruction) -> Option<u32> {
    match instruction.memory_size() {
        MemorySize::UInt8 | MemorySize::Int8 => Some(1),
        MemorySize::UInt16 | MemorySize::Int16 => Some(2),
        MemorySize::UInt32 | MemorySize::Int32 => Some(4),
        MemorySize::UInt64 | MemorySize::Int64 => Some(8),
        _ => None,
    }
}

/// The value of source operand 1, register or immediate, as wide as the destination.
fn source(instruction: &Instruction, regs: &CpuUserRegs, bytes: u32) -> Option<u64> {
    match instruction.op_kind(1) {
        OpKind::Register => registers::read(regs, source_register(instruction, 1, bytes)?),
        OpKind::Immediate8
        | OpKind::Immediate16
        | OpKind::Immediate32
        | OpKind::Immediate64
        | OpKind::Immediate8to16
        | OpKind::Immediate8to32
        | OpKind::Immediate8to64
        | OpKind::Immediate32to64 => Some(instruction.immediate(1) & registers::mask(bytes)),
        _ => None,
    }
}

impl Store {
    /// Whether the old value of the operand plays no part at all.
    #[must_use]
    pub const fn replaces(&self) -> bool {
        matches!(self.action, Action::Replace(_) | Action::String(_))
    }

    /// Recognises `instruction`, in 64-bit code, as one that writes one operand in memory. `segment_base` gives FS and GS
    /// bases; `read_source` reads the second memory operand of MOVS.
    pub fn decode(
        instruction: &Instruction,
        regs: &CpuUserRegs,
        segment_base: impl Fn(Register) -> u64,
        read_source: impl FnOnce(u64, u32) -> Option<u64>,
    ) -> Option<Self> {
        if !is_memory(instruction.op_kind(0)) && instruction.mnemonic() != Mnemonic::Xchg {
            return None;
        }
        let bytes = operand_size(instruction)?;
        let mut addr = effective_address(instruction, 0, regs, &segment_base);
        let mut moves_source = false;
        let action = match instruction.mnemonic() {
            Mnemonic::Mov | Mnemonic::Movnti => Action::Replace(source(instruction, regs, bytes)?),
            Mnemonic::Xchg => {
                // Either operand may be the one in memory.
                let (memory, register) = if is_memory(instruction.op_kind(0)) {
                    (0, 1)
                } else {
                    (1, 0)
                };
                addr = effective_address(instruction, memory, regs, &segment_base);
                Action::Exchange(source_register(instruction, register, bytes)?)
            }
            Mnemonic::Cmpxchg => Action::CompareExchange(source_register(instruction, 1, bytes)?),
            Mnemonic::Xadd => Action::ExchangeAdd(source_register(instruction, 1, bytes)?),
            Mnemonic::Inc => Action::Modify(Op::Inc, 0),
            Mnemonic::Dec => Action::Modify(Op::Dec, 0),
            Mnemonic::Neg => Action::Modify(Op::Neg, 0),
            Mnemonic::Not => Action::Modify(Op::Not, 0),
            mnemonic @ (Mnemonic::Bts | Mnemonic::Btr | Mnemonic::Btc) => {
                let op = match mnemonic {
                    Mnemonic::Bts => Op::Bts,
                    Mnemonic::Btr => Op::Btr,
                    _ => Op::Btc,
                };
                let bit = source(instruction, regs, bytes)?;
                if instruction.op_kind(1) == OpKind::Register {
                    // XSA-195: a bit number in a register reaches beyond the operand; the address moves with it, by
                    // whole operands, in either direction.
                    let bits = i64::from(bytes) * 8;
                    let signed = sign_extend(bit, bytes);
                    let offset = signed.div_euclid(bits).wrapping_mul(i64::from(bytes));
                    addr = addr.map(|addr| addr.wrapping_add_signed(offset));
                }
                Action::Modify(op, bit % (u64::from(bytes) * 8))
            }
            Mnemonic::Stosb | Mnemonic::Stosw | Mnemonic::Stosd | Mnemonic::Stosq => {
                if instruction.has_rep_prefix() || instruction.has_repne_prefix() {
                    return None;
                }
                Action::String(regs.rax & registers::mask(bytes))
            }
            Mnemonic::Movsb | Mnemonic::Movsw | Mnemonic::Movsd | Mnemonic::Movsq
                if is_memory(instruction.op_kind(1)) =>
            {
                if instruction.has_rep_prefix() || instruction.has_repne_prefix() {
                    return None;
                }
                moves_source = true;
                let from = effective_address(instruction, 1, regs, &segment_base)?;
                Action::String(read_source(from, bytes)?)
            }
            mnemonic => {
                let op = match mnemonic {
                    Mnemonic::Add => Op::Add,
                    Mnemonic::Adc => Op::Adc,
                    Mnemonic::Sub => Op::Sub,
                    Mnemonic::Sbb => Op::Sbb,
                    Mnemonic::And => Op::And,
                    Mnemonic::Or => Op::Or,
                    Mnemonic::Xor => Op::Xor,
                    _ => return None,
                };
                Action::Modify(op, source(instruction, regs, bytes)?)
            }
        };
        let addr = addr.filter(|addr| addr % u64::from(bytes) == 0)?;
        Some(Self {
            addr,
            bytes,
            action,
            moves_source,
        })
    }

    /// What the write makes of an operand that holds `old`; `None` if it writes nothing (a comparison that fails).
    #[must_use]
    pub fn change(&self, regs: &CpuUserRegs, old: u64) -> Option<Change> {
        let read = |register| registers::read(regs, register).unwrap_or(0);
        Some(match self.action {
            Action::Replace(new) | Action::String(new) => Change {
                new,
                depends: false,
            },
            Action::Exchange(register) => Change {
                new: read(register),
                depends: true,
            },
            Action::CompareExchange(register) => {
                if old != regs.rax & registers::mask(self.bytes) {
                    return None;
                }
                Change {
                    new: read(register),
                    depends: true,
                }
            }
            Action::ExchangeAdd(register) => {
                let (new, _) = alu::apply(Op::Add, self.bytes, old, read(register), regs.rflags);
                Change { new, depends: true }
            }
            Action::Modify(op, source) => {
                let (new, _) = alu::apply(op, self.bytes, old, source, regs.rflags);
                Change { new, depends: true }
            }
        })
    }

    /// Registers and flags after the write met `old`.
    pub fn finish(&self, regs: &mut CpuUserRegs, old: u64) {
        match self.action {
            Action::Replace(_) => {}
            Action::Exchange(register) => {
                registers::write(regs, register, old);
            }
            Action::CompareExchange(_) => {
                let expected = regs.rax & registers::mask(self.bytes);
                regs.rflags = alu::compare(self.bytes, expected, old, regs.rflags);
                if expected != old {
                    registers::write(regs, accumulator(self.bytes), old);
                }
            }
            Action::ExchangeAdd(register) => {
                let added = registers::read(regs, register).unwrap_or(0);
                regs.rflags = alu::apply(Op::Add, self.bytes, old, added, regs.rflags).1;
                registers::write(regs, register, old);
            }
            Action::Modify(op, source) => {
                regs.rflags = alu::apply(op, self.bytes, old, source, regs.rflags).1;
            }
            Action::String(_) => {
                /// RFLAGS.DF.
                const DF: u64 = 1 << 10;
                let bytes = u64::from(self.bytes);
                let step = if regs.rflags & DF != 0 {
                    bytes.wrapping_neg()
                } else {
                    bytes
                };
                regs.rdi = regs.rdi.wrapping_add(step);
                if self.moves_source {
                    regs.rsi = regs.rsi.wrapping_add(step);
                }
            }
        }
    }
}

const fn accumulator(bytes: u32) -> Register {
    match bytes {
        1 => Register::AL,
        2 => Register::AX,
        4 => Register::EAX,
        _ => Register::RAX,
    }
}

const fn sign_extend(value: u64, bytes: u32) -> i64 {
    let unused = 64 - bytes * 8;
    (value << unused).cast_signed() >> unused
}

#[cfg(test)]
mod tests;
