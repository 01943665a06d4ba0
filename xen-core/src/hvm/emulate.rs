//! What the emulation of one instruction has at hand.

use alloc::sync::Arc;

use hypercall_abi::arch_x86::CpuUserRegs;
use iced_x86::{Instruction, Register};

use super::exits::Fatal;
use super::vcpu::HvmVcpu;
use super::walk::GuestView;
use crate::cpu_policy::CpuPolicy;
use crate::domain::{Domain, Vcpu};
use crate::emulate::decode::{self, CodeWidth, DecodeError, MAX_LENGTH};
use crate::emulate::registers;
use crate::hypervisor::Hypervisor;
use crate::machine::{EventKind, HvmEvent, HvmState, Machine, Segment};
use crate::num::PAGE_SIZE;

/// Exception vectors (SDM volume 3, table 6-1).
pub(super) mod vector {
    /// Debug.
    pub const DB: u8 = 1;
    /// Invalid opcode.
    pub const UD: u8 = 6;
    /// General protection.
    pub const GP: u8 = 13;
    /// Page fault.
    pub const PF: u8 = 14;
}

/// RFLAGS.TF.
const TRAP: u64 = 1 << 8;
/// RFLAGS.RF.
const RESUME: u64 = 1 << 16;
/// DR6.BS.
const DR6_SINGLE_STEP: u64 = 1 << 14;
/// Double fault.
const DF: u8 = 8;

/// An exit of a vCPU, being handled on its processor.
#[derive(Debug)]
pub(super) struct Exit<'a, M> {
    pub(super) hv: &'a Hypervisor<M>,
    pub(super) domain: &'a Arc<Domain>,
    pub(super) vcpu: &'a Arc<Vcpu>,
    pub(super) hvm: &'a mut HvmVcpu,
    pub(super) regs: &'a mut CpuUserRegs,
    pub(super) policy: &'a CpuPolicy,
    /// XCR0 of the guest, and all bits it ever had.
    pub(super) xcr0: &'a mut u64,
    pub(super) xcr0_accum: &'a mut u64,
    pub(super) tsc_aux: &'a mut u32,
    /// Length of the instruction, where the processor told.
    pub(super) length: Option<u8>,
    /// Why the domain cannot go on.
    pub(super) fatal: Option<Fatal>,
}

impl<M: Machine> Exit<'_, M> {
    /// The address space that runs, with its own rights.
    pub(super) fn view(&self) -> Option<GuestView> {
        let root = self.domain.hvm.as_ref()?.p2m.root();
        Some(GuestView::current(root, &self.hvm.state, self.regs.rflags))
    }

    fn width(&self) -> CodeWidth {
        match self.hvm.state.bitness() {
            64 => CodeWidth::Bits64,
            32 => CodeWidth::Bits32,
            _ => CodeWidth::Bits16,
        }
    }

    /// Decodes the instruction at RIP. `None` if it cannot be read or is none: its fault is pending then.
    pub(super) fn instruction(&mut self) -> Option<Instruction> {
        let base = if self.hvm.state.is_64bit() {
            0
        } else {
            self.hvm.state.cs.base
        };
        let at = base.wrapping_add(self.regs.rip);
        let mut bytes = [0; MAX_LENGTH];
        let view = self.view()?;
        let machine = &self.hv.machine;
        // What lies on the next page is read only if the instruction goes on there.
        let here = ((PAGE_SIZE - at % PAGE_SIZE) as usize).min(MAX_LENGTH);
        let mut known = here;
        if view.fetch(machine, at, &mut bytes[..here]).is_err() {
            self.inject(vector::GP, Some(0));
            return None;
        }
        loop {
            match decode::decode(&bytes[..known], self.regs.rip, self.width()) {
                Ok(instruction) => return Some(instruction),
                Err(DecodeError::Truncated) if known < MAX_LENGTH => {
                    let next = at.wrapping_add(known as u64);
                    if view.fetch(machine, next, &mut bytes[known..]).is_err() {
                        self.inject(vector::GP, Some(0));
                        return None;
                    }
                    known = MAX_LENGTH;
                }
                Err(_) => {
                    self.inject(vector::UD, None);
                    return None;
                }
            }
        }
    }

    /// Steps over the instruction that left the guest. False if it cannot be read: its fault is pending then.
    pub(super) fn step_over(&mut self) -> bool {
        let length = match self.length {
            Some(length) => u64::from(length),
            None => match self.instruction() {
                Some(instruction) => instruction.len() as u64,
                None => return false,
            },
        };
        self.advance(length);
        true
    }

    /// Goes on `length` bytes further.
    pub(super) fn advance(&mut self, length: u64) {
        let next = self.regs.rip.wrapping_add(length);
        self.regs.rip = if self.hvm.state.is_64bit() {
            next
        } else {
            next & 0xffff_ffff
        };
        self.regs.rflags &= !RESUME;
        self.hvm.state.interrupt_shadow = false;
        if self.regs.rflags & TRAP != 0 {
            self.hvm.state.dr6 |= DR6_SINGLE_STEP;
            self.inject(vector::DB, None);
        }
    }

    /// An exception goes in next. One that meets another on its way is a double fault, and then the end (SDM volume 3,
    /// table 6-5).
    pub(super) fn inject(&mut self, vector: u8, error_code: Option<u32>) {
        let new = HvmEvent {
            kind: EventKind::Exception,
            vector,
            // Real mode pushes none.
            error_code: error_code.filter(|_| self.hvm.state.cr0 & HvmState::CR0_PE != 0),
        };
        let event = match self.hvm.event {
            Some(old) if old.kind == EventKind::Exception => {
                if old.vector == DF {
                    self.fatal = Some(Fatal::TripleFault);
                    return;
                }
                if is_contributory(old.vector) && is_contributory(vector)
                    || old.vector == vector::PF && (is_contributory(vector) || vector == vector::PF)
                {
                    HvmEvent {
                        kind: EventKind::Exception,
                        vector: DF,
                        error_code: Some(0),
                    }
                } else {
                    new
                }
            }
            _ => new,
        };
        self.hvm.event = Some(event);
    }

    /// #GP(0).
    pub(super) fn general_protection(&mut self) {
        self.inject(vector::GP, Some(0));
    }

    /// Base of a segment as addresses are computed: in 64-bit code only FS and GS have one.
    pub(super) fn segment(&self, register: Register) -> Segment {
        let state = &self.hvm.state;
        match register {
            Register::CS => state.cs,
            Register::SS => state.ss,
            Register::ES => state.es,
            Register::FS => state.fs,
            Register::GS => state.gs,
            _ => state.ds,
        }
    }

    fn segment_base(&self, register: Register) -> u64 {
        let flat = self.hvm.state.is_64bit() && !matches!(register, Register::FS | Register::GS);
        if flat { 0 } else { self.segment(register).base }
    }

    /// Linear address of a memory operand.
    pub(super) fn address(&self, instruction: &Instruction, operand: u32) -> Option<u64> {
        let address = instruction.virtual_address(operand, 0, |register, _, _| match register {
            Register::CS
            | Register::SS
            | Register::DS
            | Register::ES
            | Register::FS
            | Register::GS => Some(self.segment_base(register)),
            register => registers::read(self.regs, register),
        })?;
        Some(if self.hvm.state.is_64bit() {
            address
        } else {
            address & 0xffff_ffff
        })
    }
}

/// Exceptions of which two make a double fault.
const fn is_contributory(vector: u8) -> bool {
    matches!(vector, 0 | 10..=13)
}
