//! Instructions that name control and debug registers, XSETBV.

use iced_x86::{Instruction, Mnemonic, OpKind, Register};

use super::control::{self, ControlLimits, ControlRegs, Effects, Gp};
use super::emulate::{Exit, vector};
use super::exits::is_kernel;
use crate::emulate::registers;
use crate::machine::{Machine, Segment};

/// CR4.DE: DR4 and DR5 do not exist.
const CR4_DE: u64 = 1 << 3;
/// DR7.GD.
const DR7_DETECT: u64 = 1 << 13;
/// DR6.BD.
const DR6_DETECTED: u64 = 1 << 13;
/// Bits of DR6 that read as one.
const DR6_ONES: u64 = 0xffff_0ff0;
/// Bits of DR6 that can be written.
const DR6_KNOWN: u64 = 0xe00f;
/// Bits of DR7 that can be written.
const DR7_KNOWN: u64 = 0xffff_2bff;
/// Bit 10 of DR7 reads as one.
const DR7_ONES: u64 = 0x400;

impl<M: Machine> Exit<'_, M> {
    /// CPL and the rest of it were checked by the processor for moves; here again, in case another vCPU rewrote the
    /// instruction meanwhile.
    pub(super) fn system_register(&mut self) {
        let Some(instruction) = self.instruction() else {
            return;
        };
        let smsw = instruction.mnemonic() == Mnemonic::Smsw;
        if !is_kernel(&self.hvm.state) && !smsw {
            self.general_protection();
            return;
        }
        match self.do_system_register(&instruction) {
            Ok(()) => {
                if self.hvm.event.is_none() {
                    self.advance(instruction.len() as u64);
                }
            }
            Err(Gp) => self.general_protection(),
        }
    }

    fn do_system_register(&mut self, instruction: &Instruction) -> Result<(), Gp> {
        match instruction.mnemonic() {
            Mnemonic::Clts => self.control(|regs, _| {
                control::clear_task_switched(regs);
                Ok(Effects::empty())
            }),
            Mnemonic::Lmsw => match self.small_operand(instruction) {
                Some(value) => self.control(|regs, _| control::load_machine_status(regs, value)),
                None => Ok(()),
            },
            Mnemonic::Smsw => {
                self.store_machine_status(instruction);
                Ok(())
            }
            Mnemonic::Mov => self.move_system(instruction),
            _ => {
                self.inject(vector::UD, None);
                Ok(())
            }
        }
    }

    fn move_system(&mut self, instruction: &Instruction) -> Result<(), Gp> {
        let (to, from) = (instruction.op0_register(), instruction.op1_register());
        if let Some(value) = registers::read(self.regs, from) {
            let value = if self.hvm.state.is_64bit() {
                value
            } else {
                value & 0xffff_ffff
            };
            return self.write_system(to, value);
        }
        let Some(value) = self.read_system(from) else {
            self.inject(vector::UD, None);
            return Ok(());
        };
        registers::write(self.regs, to, value);
        Ok(())
    }

    fn debug_access_traps(&mut self) -> bool {
        if self.hvm.state.dr7 & DR7_DETECT == 0 {
            return false;
        }
        self.hvm.state.dr7 &= !DR7_DETECT;
        self.hvm.state.dr6 |= DR6_DETECTED;
        self.inject(vector::DB, None);
        true
    }

    /// DR4 and DR5 are other names of DR6 and DR7, unless CR4.DE is set.
    fn debug_register(&self, register: Register) -> Option<u32> {
        let number = match register {
            Register::DR0 => 0,
            Register::DR1 => 1,
            Register::DR2 => 2,
            Register::DR3 => 3,
            Register::DR4 => 4,
            Register::DR5 => 5,
            Register::DR6 => 6,
            Register::DR7 => 7,
            _ => return None,
        };
        if number == 4 || number == 5 {
            return (self.hvm.state.cr4 & CR4_DE == 0).then_some(number + 2);
        }
        Some(number)
    }

    /// Changes control registers by the rules, and does what follows.
    pub(super) fn control(
        &mut self,
        change: impl FnOnce(&mut ControlRegs, &ControlLimits) -> Result<Effects, Gp>,
    ) -> Result<(), Gp> {
        let state = &mut self.hvm.state;
        let mut regs = ControlRegs {
            cr0: state.cr0,
            cr3: state.cr3,
            cr4: state.cr4,
            efer: state.efer,
            cs_l: state.cs.attributes & Segment::LONG != 0,
        };
        let effects = change(&mut regs, &ControlLimits::of(self.policy))?;
        (state.cr0, state.cr3) = (regs.cr0, regs.cr3);
        (state.cr4, state.efer) = (regs.cr4, regs.efer);
        if effects.contains(Effects::CLEAR_CS_L) {
            state.cs.attributes &= !Segment::LONG;
        }
        if effects.contains(Effects::FLUSH_TLB) {
            self.hv.machine.forget_hvm_translations();
        }
        Ok(())
    }

    fn write_system(&mut self, register: Register, value: u64) -> Result<(), Gp> {
        match register {
            Register::CR0 => return self.control(|regs, _| control::write_cr0(regs, value)),
            Register::CR3 => {
                return self.control(|regs, limits| control::write_cr3(regs, limits, value));
            }
            Register::CR4 => {
                return self.control(|regs, limits| control::write_cr4(regs, limits, value));
            }
            Register::CR8 => {
                if value & !0xf != 0 {
                    return Err(Gp);
                }
                self.hvm.lapic.set_tpr((value as u8) << 4);
                return Ok(());
            }
            _ => {}
        }
        let Some(number) = self.debug_register(register) else {
            self.inject(vector::UD, None);
            return Ok(());
        };
        if self.debug_access_traps() {
            return Ok(());
        }
        match number {
            6 | 7 if value >> 32 != 0 => return Err(Gp),
            6 => self.hvm.state.dr6 = value & DR6_KNOWN | DR6_ONES,
            7 => self.hvm.state.dr7 = value & DR7_KNOWN | DR7_ONES,
            number => self.hvm.state.debug_addresses[number as usize] = value,
        }
        Ok(())
    }

    fn read_system(&mut self, register: Register) -> Option<u64> {
        Some(match register {
            Register::CR0 => self.hvm.state.cr0,
            Register::CR2 => self.hvm.state.cr2,
            Register::CR3 => self.hvm.state.cr3,
            Register::CR4 => self.hvm.state.cr4,
            Register::CR8 => u64::from(self.hvm.lapic.tpr() >> 4),
            register => {
                let number = self.debug_register(register)?;
                if self.debug_access_traps() {
                    return Some(0);
                }
                match number {
                    6 => self.hvm.state.dr6,
                    7 => self.hvm.state.dr7,
                    number => self.hvm.state.debug_addresses[number as usize],
                }
            }
        })
    }

    /// The operand of LMSW.
    fn small_operand(&mut self, instruction: &Instruction) -> Option<u16> {
        if instruction.op0_kind() == OpKind::Register {
            return registers::read(self.regs, instruction.op0_register())
                .map(|value| value as u16);
        }
        let at = self.address(instruction, 0)?;
        let mut bytes = [0; 2];
        match self.view()?.copy_from(&self.hv.machine, at, &mut bytes) {
            Ok(()) => Some(u16::from_le_bytes(bytes)),
            Err(fault) => {
                self.page_fault(fault.addr, false, fault.present);
                None
            }
        }
    }

    fn store_machine_status(&mut self, instruction: &Instruction) {
        let cr0 = self.hvm.state.cr0;
        if instruction.op0_kind() == OpKind::Register {
            registers::write(self.regs, instruction.op0_register(), cr0);
            return;
        }
        let (Some(at), Some(view)) = (self.address(instruction, 0), self.view()) else {
            return;
        };
        let bytes = (cr0 as u16).to_le_bytes();
        if let Err(fault) = view.copy_to(&self.hv.machine, at, &bytes) {
            self.page_fault(fault.addr, true, fault.present);
        }
    }

    /// XSETBV.
    pub(super) fn set_xcr(&mut self) {
        let value = self.regs.rdx << 32 | self.regs.rax & 0xffff_ffff;
        let limits = ControlLimits::of(self.policy);
        let index = self.regs.rcx as u32;
        if control::write_xcr(&limits, self.hvm.state.cpl, index, value).is_err() {
            self.general_protection();
            return;
        }
        if self.step_over() {
            *self.xcr0 = value;
            *self.xcr0_accum |= value;
            self.hv.machine.set_xcr0(value);
        }
    }
}
