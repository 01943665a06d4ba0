//! IN, OUT, INS and OUTS.
//!
//! Contract: abi-requirements 5.5. Permission first (virtual IOPL, then the guest's own bitmap), then the port space.
//! Repeated forms do a bounded number of iterations, each complete in the registers, and leave the instruction to be
//! executed again for the rest.

use iced_x86::{Instruction, Mnemonic, OpKind, Register};

use super::fetch::{Operand, linear_address};
use super::{Trap, general_protection_fault, page_fault, port_space, raise_debug};
use crate::domain::PendingException;
use crate::emulate::decode::CodeWidth;
use crate::emulate::registers;
use crate::guest::is_guest_address;
use crate::machine::{GuestFault, Machine, Width};
use crate::num::PAGE_SIZE;
use crate::pv::bounce::ASSIST_ARCHITECTURAL_IOPL;
use crate::pv::debugreg;
use crate::pv::mode::rflags;

/// Iterations of a repeated instruction before the processor looks up again.
const REPEAT_BOUND: u32 = 256;

/// What becomes of RIP.
pub(super) enum Progress {
    /// The instruction is done.
    Done,
    /// Iterations are left: execute it again.
    Again,
}

/// A register used with the address or operand width of the instruction.
fn sized(address_bytes: u32, wide: Register, middle: Register, narrow: Register) -> Register {
    match address_bytes {
        8 => wide,
        4 => middle,
        _ => narrow,
    }
}

impl<M: Machine> Trap<'_, M> {
    /// The privilege level that the guest's mode counts as: a kernel is ring 1, or ring 0 where it asked for the
    /// architectural rules.
    fn assumed_cpl(&self) -> u8 {
        match (
            self.ctx.kernel_mode,
            self.domain.assists(ASSIST_ARCHITECTURAL_IOPL),
        ) {
            (true, true) => 0,
            (true, false) => 1,
            (false, _) => 3,
        }
    }

    /// Whether the virtual IOPL admits the current mode.
    pub(super) fn iopl_permits(&self) -> bool {
        self.ctx.iopl >= self.assumed_cpl()
    }

    /// Whether the guest may touch `bytes` ports from `port` on: by IOPL, or by its own bitmap, which is read now.
    fn io_permitted(&mut self, port: u16, bytes: u32) -> bool {
        self.iopl_permits() || self.bitmap_permits(port, bytes)
    }

    fn bitmap_permits(&mut self, port: u16, bytes: u32) -> bool {
        let first = u32::from(port);
        if first + bytes > self.ctx.io_bitmap_ports {
            return false;
        }
        let at = self.ctx.io_bitmap.wrapping_add(u64::from(first / 8));
        let machine = &self.hv.machine;
        let mut pair = [u8::MAX; 2];
        // The bitmap is the guest kernel's: its page table has to be loaded to look at it.
        let foreign = if self.ctx.kernel_mode {
            None
        } else {
            self.ctx.user_root
        };
        if let (Some(_), Some(kernel)) = (foreign, self.ctx.kernel_root) {
            machine.load_root(kernel);
        }
        for (byte, addr) in pair.iter_mut().zip([at, at.wrapping_add(1)]) {
            // The second byte only counts where the access reaches into it.
            if !is_guest_address(addr)
                || machine
                    .copy_from_guest(addr, core::slice::from_mut(byte))
                    .is_err()
            {
                *byte = u8::MAX;
            }
        }
        if let Some(root) = foreign {
            machine.load_root(root);
        }
        let mask = ((1u32 << bytes) - 1) << (first % 8);
        u32::from(u16::from_le_bytes(pair)) & mask == 0
    }

    /// #DB of I/O breakpoints, which come after the instruction.
    fn note_io_breakpoints(&mut self, port: u16, width: Width) {
        let hit = debugreg::io_breakpoints(self.ctx, port, width.bytes());
        if hit != 0 {
            raise_debug(self.ctx, hit);
        }
    }

    /// IN and OUT: accumulator and an immediate or DX.
    pub(super) fn port_io(
        &mut self,
        instruction: &Instruction,
    ) -> Result<Progress, PendingException> {
        let input = instruction.mnemonic() == Mnemonic::In;
        let (data, port) = if input { (0, 1) } else { (1, 0) };
        let width = match instruction.op_register(data) {
            Register::AL => Width::Byte,
            Register::AX => Width::Word,
            _ => Width::Dword,
        };
        let port = match instruction.op_kind(port) {
            OpKind::Immediate8 => u16::from(instruction.immediate8()),
            _ => (self.regs.rdx & 0xffff) as u16,
        };
        if !self.io_permitted(port, width.bytes()) {
            return Err(general_protection_fault());
        }
        let accumulator = instruction.op_register(data);
        if input {
            let value = port_space::read(self.hv, self.domain, port, width);
            registers::write(self.regs, accumulator, value.into());
        } else {
            let value = registers::read(self.regs, accumulator).unwrap_or(0);
            port_space::write(self.hv, self.domain, port, width, value as u32);
        }
        self.note_io_breakpoints(port, width);
        Ok(Progress::Done)
    }

    /// INS and OUTS, repeated or not.
    pub(super) fn string_io(
        &mut self,
        instruction: &Instruction,
        code: CodeWidth,
    ) -> Result<Progress, PendingException> {
        let (input, width) = match instruction.mnemonic() {
            Mnemonic::Insb => (true, Width::Byte),
            Mnemonic::Insw => (true, Width::Word),
            Mnemonic::Insd => (true, Width::Dword),
            Mnemonic::Outsb => (false, Width::Byte),
            Mnemonic::Outsw => (false, Width::Word),
            _ => (false, Width::Dword),
        };
        let memory = if input { 0 } else { 1 };
        let address_bytes = match instruction.op_kind(memory) {
            OpKind::MemoryESRDI | OpKind::MemorySegRSI => 8,
            OpKind::MemoryESEDI | OpKind::MemorySegESI => 4,
            _ => 2,
        };
        let pointer = if input {
            sized(address_bytes, Register::RDI, Register::EDI, Register::DI)
        } else {
            sized(address_bytes, Register::RSI, Register::ESI, Register::SI)
        };
        let counter = sized(address_bytes, Register::RCX, Register::ECX, Register::CX);
        let repeated = instruction.has_rep_prefix() || instruction.has_repne_prefix();
        let segment = if input {
            Register::ES
        } else {
            instruction.memory_segment()
        };
        let port = (self.regs.rdx & 0xffff) as u16;
        if !self.io_permitted(port, width.bytes()) {
            return Err(general_protection_fault());
        }
        for _ in 0..REPEAT_BOUND {
            if repeated && registers::read(self.regs, counter) == Some(0) {
                return Ok(Progress::Done);
            }
            self.string_iteration(input, width, segment, pointer, port, code)?;
            if repeated {
                let left = registers::read(self.regs, counter)
                    .unwrap_or(0)
                    .wrapping_sub(1);
                registers::write(self.regs, counter, left);
            }
            self.note_io_breakpoints(port, width);
            let trapped = self.ctx.pending_exception.is_some();
            if !repeated || registers::read(self.regs, counter) == Some(0) {
                return Ok(Progress::Done);
            }
            // With TF, and after an I/O breakpoint, each iteration is followed by #DB.
            if trapped || self.regs.rflags & rflags::TF != 0 || self.hv.machine.must_yield() {
                break;
            }
        }
        Ok(Progress::Again)
    }

    fn string_iteration(
        &mut self,
        input: bool,
        width: Width,
        segment: Register,
        pointer: Register,
        port: u16,
        code: CodeWidth,
    ) -> Result<(), PendingException> {
        let machine = &self.hv.machine;
        let offset = registers::read(self.regs, pointer).unwrap_or(0);
        let bytes = width.bytes();
        let size = bytes as usize;
        let operand = Operand {
            segment,
            offset,
            bytes,
            write: input,
        };
        let addr = linear_address(machine, self.ctx, self.regs, code, &operand)
            .ok_or_else(general_protection_fault)?;
        for byte in [addr, addr.wrapping_add(u64::from(bytes) - 1)] {
            if !is_guest_address(byte) {
                return Err(page_fault(
                    GuestFault {
                        addr: byte,
                        write: input,
                        present: true,
                    },
                    false,
                ));
            }
        }
        let mut buffer = [0; 4];
        if input {
            // A device read cannot be undone: be sure first that there is somewhere to put it.
            self.probe_write(addr, size)?;
            let value = port_space::read(self.hv, self.domain, port, width);
            buffer = value.to_le_bytes();
            machine
                .copy_to_guest(addr, &buffer[..size])
                .map_err(|fault| page_fault(fault, false))?;
        } else {
            machine
                .copy_from_guest(addr, &mut buffer[..size])
                .map_err(|fault| page_fault(fault, false))?;
            port_space::write(
                self.hv,
                self.domain,
                port,
                width,
                u32::from_le_bytes(buffer),
            );
        }
        let step = if self.regs.rflags & rflags::DF != 0 {
            u64::from(bytes).wrapping_neg()
        } else {
            u64::from(bytes)
        };
        registers::write(self.regs, pointer, offset.wrapping_add(step));
        Ok(())
    }

    /// Fails as a write to `addr` would, changing nothing.
    fn probe_write(&self, addr: u64, size: usize) -> Result<(), PendingException> {
        let machine = &self.hv.machine;
        let last = addr.wrapping_add(size as u64 - 1);
        let pages = if addr / PAGE_SIZE == last / PAGE_SIZE {
            &[addr][..]
        } else {
            &[addr, last][..]
        };
        for &at in pages {
            let mut byte = [0];
            machine.copy_from_guest(at, &mut byte).map_err(|fault| {
                page_fault(
                    GuestFault {
                        write: true,
                        ..fault
                    },
                    false,
                )
            })?;
            machine
                .copy_to_guest(at, &byte)
                .map_err(|fault| page_fault(fault, false))?;
        }
        Ok(())
    }
}
