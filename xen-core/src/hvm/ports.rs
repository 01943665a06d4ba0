//! Ports, and memory that is none. Nobody answers where no device is: reads are all ones, writes are lost.

use iced_x86::{Instruction, MemorySize, Mnemonic, OpKind, Register};

use super::emulate::{Exit, vector};
use super::lapic::LAPIC_BASE;
use crate::emulate::alu::{self, Op};
use crate::emulate::registers;
use crate::machine::{Machine, PortAccess};
use crate::num::PAGE_SIZE;

/// Elements of a string instruction between two looks at more urgent work.
const STRETCH: u64 = 256;
/// RFLAGS.DF.
const DIRECTION: u64 = 1 << 10;

const fn ones(bytes: u32) -> u64 {
    registers::mask(bytes)
}

impl<M: Machine> Exit<'_, M> {
    /// IN, OUT and their string forms.
    pub(super) fn port(&mut self, access: PortAccess) {
        if access.string {
            self.port_string(access);
            return;
        }
        let bytes = u32::from(access.bytes);
        if access.input {
            let value = self.read_port(access.port, bytes);
            let register = match bytes {
                1 => Register::AL,
                2 => Register::AX,
                _ => Register::EAX,
            };
            registers::write(self.regs, register, value);
        } else {
            let value = self.regs.rax & ones(bytes);
            self.write_port(access.port, bytes, value);
        }
        self.step_over();
    }

    #[expect(clippy::unused_self, reason = "devices will be asked here")]
    fn read_port(&mut self, _port: u16, bytes: u32) -> u64 {
        ones(bytes)
    }

    #[expect(clippy::unused_self, reason = "devices will be told here")]
    fn write_port(&mut self, _port: u16, _bytes: u32, _value: u64) {}

    fn port_string(&mut self, access: PortAccess) {
        let Some(instruction) = self.instruction() else {
            return;
        };
        let bytes = u32::from(access.bytes);
        let address_mask = match instruction.op0_kind() {
            _ if self.hvm.state.is_64bit() && !uses_32bit_address(&instruction) => u64::MAX,
            OpKind::MemoryESDI | OpKind::MemorySegSI => 0xffff,
            _ if matches!(
                instruction.op1_kind(),
                OpKind::MemorySegSI | OpKind::MemoryESDI
            ) =>
            {
                0xffff
            }
            _ => 0xffff_ffff,
        };
        let mut left = if access.repeat {
            self.regs.rcx & address_mask
        } else {
            1
        };
        let mut done = 0;
        while left != 0 && done < STRETCH {
            let operand = if access.input { 0 } else { 1 };
            let Some(at) = self.address(&instruction, operand) else {
                self.inject(vector::UD, None);
                return;
            };
            let Some(view) = self.view() else { return };
            let mut buffer = [0; 4];
            let buffer = &mut buffer[..bytes as usize];
            let result = if access.input {
                let value = self.read_port(access.port, bytes).to_le_bytes();
                buffer.copy_from_slice(&value[..bytes as usize]);
                view.copy_to(&self.hv.machine, at, buffer)
            } else {
                view.copy_from(&self.hv.machine, at, buffer)
            };
            if let Err(fault) = result {
                self.page_fault(fault.addr, fault.write, fault.present);
                return;
            }
            if !access.input {
                let mut value = [0; 8];
                value[..bytes as usize].copy_from_slice(buffer);
                self.write_port(access.port, bytes, u64::from_le_bytes(value));
            }
            let step = if self.regs.rflags & DIRECTION == 0 {
                u64::from(bytes)
            } else {
                u64::from(bytes).wrapping_neg()
            };
            let index = if access.input {
                &mut self.regs.rdi
            } else {
                &mut self.regs.rsi
            };
            *index = *index & !address_mask | index.wrapping_add(step) & address_mask;
            left -= 1;
            done += 1;
            if access.repeat {
                self.regs.rcx = self.regs.rcx & !address_mask | left;
            }
        }
        if left == 0 {
            self.advance(instruction.len() as u64);
        }
    }

    /// The guest's page fault.
    pub(super) fn page_fault(&mut self, addr: u64, write: bool, present: bool) {
        let user = self.hvm.state.cpl == 3;
        let code = u32::from(present) | u32::from(write) << 1 | u32::from(user) << 2;
        self.hvm.state.cr2 = addr;
        self.inject(vector::PF, Some(code));
    }

    /// An access to guest-physical memory that is not there.
    pub(super) fn memory_access(&mut self, physical: u64) {
        let Some(instruction) = self.instruction() else {
            return;
        };
        let Some(bytes) = operand_bytes(&instruction) else {
            self.inject(vector::UD, None);
            return;
        };
        if !self.move_memory(&instruction, physical, bytes) {
            log::debug!(
                "domain {}: {:?} on memory that is not there",
                self.domain.id.0,
                instruction.code()
            );
            self.inject(vector::UD, None);
        }
    }

    fn read_device(&mut self, physical: u64, bytes: u32) -> u64 {
        if self.hvm.lapic.in_memory() && physical & !(PAGE_SIZE - 1) == LAPIC_BASE {
            let offset = (physical & (PAGE_SIZE - 1)) as u32;
            let now = self.hv.machine.now_ns();
            return u64::from(self.hvm.lapic.read_mmio(offset, bytes, now));
        }
        ones(bytes)
    }

    fn write_device(&mut self, physical: u64, bytes: u32, value: u64) {
        if self.hvm.lapic.in_memory() && physical & !(PAGE_SIZE - 1) == LAPIC_BASE {
            let offset = (physical & (PAGE_SIZE - 1)) as u32;
            let now = self.hv.machine.now_ns();
            let effect = self.hvm.lapic.write_mmio(offset, bytes, value as u32, now);
            self.lapic_effect(effect);
        }
    }

    /// Moves and arithmetic with one operand in memory.
    fn move_memory(&mut self, instruction: &Instruction, physical: u64, bytes: u32) -> bool {
        let memory_is = |operand| crate::emulate::decode::is_memory(instruction.op_kind(operand));
        let source = |exit: &Self| match instruction.op1_kind() {
            OpKind::Register => registers::read(exit.regs, instruction.op1_register()),
            _ => instruction.try_immediate(1).ok(),
        };
        let width = instruction.len() as u64;
        match instruction.mnemonic() {
            Mnemonic::Mov if memory_is(0) => {
                let Some(value) = source(self) else {
                    return false;
                };
                self.write_device(physical, bytes, value & ones(bytes));
            }
            Mnemonic::Mov | Mnemonic::Movzx if memory_is(1) => {
                let value = self.read_device(physical, bytes);
                if !registers::write(self.regs, instruction.op0_register(), value) {
                    return false;
                }
            }
            Mnemonic::Movsx | Mnemonic::Movsxd if memory_is(1) => {
                let value = self.read_device(physical, bytes);
                let unused = 64 - bytes * 8;
                let value = (value << unused).cast_signed() >> unused;
                if !registers::write(self.regs, instruction.op0_register(), value.cast_unsigned()) {
                    return false;
                }
            }
            Mnemonic::Cmp
            | Mnemonic::Test
            | Mnemonic::And
            | Mnemonic::Or
            | Mnemonic::Xor
            | Mnemonic::Add
            | Mnemonic::Sub => {
                return self.arithmetic(instruction, physical, bytes);
            }
            Mnemonic::Xchg => {
                let register = if memory_is(0) {
                    instruction.op1_register()
                } else {
                    instruction.op0_register()
                };
                let Some(value) = registers::read(self.regs, register) else {
                    return false;
                };
                let old = self.read_device(physical, bytes);
                self.write_device(physical, bytes, value);
                registers::write(self.regs, register, old);
            }
            Mnemonic::Stosb
            | Mnemonic::Stosw
            | Mnemonic::Stosd
            | Mnemonic::Stosq
            | Mnemonic::Lodsb
            | Mnemonic::Lodsw
            | Mnemonic::Lodsd
            | Mnemonic::Lodsq
            | Mnemonic::Movsb
            | Mnemonic::Movsw
            | Mnemonic::Movsd
            | Mnemonic::Movsq => {
                return self.string(instruction, physical, bytes);
            }
            _ => return false,
        }
        self.advance(width);
        true
    }

    fn arithmetic(&mut self, instruction: &Instruction, physical: u64, bytes: u32) -> bool {
        let (op, stores) = match instruction.mnemonic() {
            Mnemonic::Add => (Op::Add, true),
            Mnemonic::Sub => (Op::Sub, true),
            Mnemonic::And => (Op::And, true),
            Mnemonic::Or => (Op::Or, true),
            Mnemonic::Xor => (Op::Xor, true),
            Mnemonic::Cmp => (Op::Sub, false),
            _ => (Op::And, false),
        };
        let in_memory_first = crate::emulate::decode::is_memory(instruction.op0_kind());
        let other = if in_memory_first {
            match instruction.op1_kind() {
                OpKind::Register => registers::read(self.regs, instruction.op1_register()),
                _ => instruction.try_immediate(1).ok(),
            }
        } else {
            registers::read(self.regs, instruction.op0_register())
        };
        let Some(other) = other else { return false };
        let memory = self.read_device(physical, bytes);
        let (dst, src) = if in_memory_first {
            (memory, other & ones(bytes))
        } else {
            (other, memory)
        };
        let (value, flags) = alu::apply(op, bytes, dst, src, self.regs.rflags);
        self.regs.rflags = flags;
        if stores {
            if in_memory_first {
                self.write_device(physical, bytes, value);
            } else {
                registers::write(self.regs, instruction.op0_register(), value);
            }
        }
        self.advance(instruction.len() as u64);
        true
    }

    /// One element of a string instruction; the guest comes back for the next.
    fn string(&mut self, instruction: &Instruction, physical: u64, bytes: u32) -> bool {
        let repeat = instruction.has_rep_prefix() || instruction.has_repne_prefix();
        let mask = if self.hvm.state.is_64bit() && !uses_32bit_address(instruction) {
            u64::MAX
        } else if matches!(
            (instruction.op0_kind(), instruction.op1_kind()),
            (OpKind::MemoryESDI, _) | (_, OpKind::MemorySegSI)
        ) {
            0xffff
        } else {
            0xffff_ffff
        };
        if repeat && self.regs.rcx & mask == 0 {
            self.advance(instruction.len() as u64);
            return true;
        }
        let Some(view) = self.view() else {
            return false;
        };
        let (mut loads, mut stores) = (false, false);
        match instruction.mnemonic() {
            Mnemonic::Stosb | Mnemonic::Stosw | Mnemonic::Stosd | Mnemonic::Stosq => {
                self.write_device(physical, bytes, self.regs.rax & ones(bytes));
                stores = true;
            }
            Mnemonic::Lodsb | Mnemonic::Lodsw | Mnemonic::Lodsd | Mnemonic::Lodsq => {
                let value = self.read_device(physical, bytes);
                let register = match bytes {
                    1 => Register::AL,
                    2 => Register::AX,
                    4 => Register::EAX,
                    _ => Register::RAX,
                };
                registers::write(self.regs, register, value);
                loads = true;
            }
            _ => {
                loads = true;
                stores = true;
                let (Some(to), Some(from)) =
                    (self.address(instruction, 0), self.address(instruction, 1))
                else {
                    return false;
                };
                if !self.move_element(&view, to, from, physical, bytes) {
                    return true;
                }
            }
        }
        let step = if self.regs.rflags & DIRECTION == 0 {
            u64::from(bytes)
        } else {
            u64::from(bytes).wrapping_neg()
        };
        if stores {
            self.regs.rdi = self.regs.rdi & !mask | self.regs.rdi.wrapping_add(step) & mask;
        }
        if loads {
            self.regs.rsi = self.regs.rsi & !mask | self.regs.rsi.wrapping_add(step) & mask;
        }
        let mut last = true;
        if repeat {
            let left = (self.regs.rcx & mask).wrapping_sub(1);
            self.regs.rcx = self.regs.rcx & !mask | left & mask;
            last = left == 0;
        }
        if last {
            self.advance(instruction.len() as u64);
        }
        true
    }

    /// One element of MOVS, of which one side at least is not memory. False if it faults.
    fn move_element(
        &mut self,
        view: &super::GuestView,
        to: u64,
        from: u64,
        physical: u64,
        bytes: u32,
    ) -> bool {
        use super::walk::Access;
        let machine = &self.hv.machine;
        let count = bytes as usize;
        let mut buffer = [0; 8];
        let source = match view.translate(machine, from, Access::Read) {
            Ok(source) => source,
            Err(fault) => {
                self.page_fault(fault.addr, false, fault.present);
                return false;
            }
        };
        if view.copy_from(machine, from, &mut buffer[..count]).is_err() {
            buffer = self.read_device(source, bytes).to_le_bytes();
        }
        match view.translate(machine, to, Access::Write) {
            Ok(target) => {
                if view.copy_to(machine, to, &buffer[..count]).is_err() {
                    self.write_device(target, bytes, u64::from_le_bytes(buffer));
                }
                let _ = physical;
                true
            }
            Err(fault) => {
                self.page_fault(fault.addr, true, fault.present);
                false
            }
        }
    }
}

fn uses_32bit_address(instruction: &Instruction) -> bool {
    [instruction.op0_kind(), instruction.op1_kind()]
        .iter()
        .any(|kind| matches!(kind, OpKind::MemorySegESI | OpKind::MemoryESEDI))
}

/// Bytes of the operand in memory.
fn operand_bytes(instruction: &Instruction) -> Option<u32> {
    Some(match instruction.memory_size() {
        MemorySize::UInt8 | MemorySize::Int8 => 1,
        MemorySize::UInt16 | MemorySize::Int16 => 2,
        MemorySize::UInt32 | MemorySize::Int32 => 4,
        MemorySize::UInt64 | MemorySize::Int64 => 8,
        _ => return None,
    })
}
