//! #GP in ring 3: a software interrupt, a privileged instruction to emulate, or the guest's own fault.
//!
//! Contract: abi-requirements 5.1 and 2.6.

use alloc::sync::Arc;

use hypercall_abi::arch_x86::CpuUserRegs;
use iced_x86::{Instruction, Mnemonic, Register};

use super::fetch::{FetchError, Fetched, Snapshot};
use super::io::Progress;
use super::{Trap, VECTOR_GP, cpuid, general_protection_fault, undefined_instruction};
use crate::cpu_policy::{Via, cr4};
use crate::domain::{Domain, PendingException, Vcpu, VcpuCtx};
use crate::emulate::decode::CodeWidth;
use crate::emulate::registers;
use crate::hypervisor::Hypervisor;
use crate::machine::Machine;
use crate::pv::{debugreg, fpu};

/// Error code: the event came from outside the program.
const ERROR_EXTERNAL: u32 = 1;
/// Error code: it names a gate of the IDT.
const ERROR_IDT: u32 = 2;

/// What becomes of a #GP.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum GpOutcome {
    /// The instruction was emulated; registers are up to date.
    Emulated,
    /// `int n`: enter the guest's handler of `vector`, if it may, from `next_rip`.
    SoftwareInterrupt {
        /// n.
        vector: u8,
        /// Where the instruction after it is.
        next_rip: u64,
    },
    /// The guest gets this #GP.
    Inject,
    /// The guest gets another exception.
    InjectOther(PendingException),
}

/// Deals with a #GP in ring 3.
pub fn general_protection<M: Machine>(
    hv: &Hypervisor<M>,
    domain: &Arc<Domain>,
    vcpu: &Arc<Vcpu>,
    ctx: &mut VcpuCtx,
    regs: &mut CpuUserRegs,
    error_code: u32,
) -> GpOutcome {
    if error_code & ERROR_EXTERNAL != 0 {
        return GpOutcome::Inject;
    }
    if error_code & ERROR_IDT != 0 {
        return software_interrupt(hv, ctx, regs, error_code);
    }
    if error_code != 0 {
        return GpOutcome::Inject;
    }
    let fetched =
        Snapshot::take(&hv.machine, ctx, regs).and_then(|snapshot| snapshot.decode(regs.rip));
    let Fetched { instruction, width } = match fetched {
        Ok(fetched) => fetched,
        Err(FetchError::Fault(exception)) => return GpOutcome::InjectOther(exception),
        Err(FetchError::Unusable) => return GpOutcome::Inject,
    };
    let mut trap = Trap {
        hv,
        domain,
        vcpu,
        ctx,
        regs,
    };
    match trap.execute(&instruction, width) {
        Ok(Progress::Done) => {
            trap.retire(instruction.len(), width);
            GpOutcome::Emulated
        }
        Ok(Progress::Again) => {
            // An iteration is an instruction boundary to the debugger.
            trap.retire(0, width);
            GpOutcome::Emulated
        }
        Err(exception) if exception == general_protection_fault() => GpOutcome::Inject,
        Err(exception) => GpOutcome::InjectOther(exception),
    }
}

/// `int n`. The vector is what the instruction says; the error code is asked only where the bytes cannot be read, since
/// an emulator is known to get it wrong.
fn software_interrupt<M: Machine>(
    hv: &Hypervisor<M>,
    ctx: &VcpuCtx,
    regs: &CpuUserRegs,
    error_code: u32,
) -> GpOutcome {
    let fetched =
        Snapshot::take(&hv.machine, ctx, regs).and_then(|snapshot| snapshot.decode(regs.rip));
    let (vector, length) = match fetched {
        Ok(fetched) if fetched.instruction.mnemonic() == Mnemonic::Int => (
            fetched.instruction.immediate8(),
            fetched.instruction.len() as u64,
        ),
        _ => (((error_code >> 3) & 0xff) as u8, 2),
    };
    // A guest kernel counts as ring 1, guest user mode as ring 3.
    let cpl = if ctx.kernel_mode { 1 } else { 3 };
    if ctx.traps[usize::from(vector)].flags & 3 < cpl {
        let code = u32::from(vector) << 3 | ERROR_IDT;
        return GpOutcome::InjectOther(PendingException {
            vector: VECTOR_GP,
            error_code: Some(code),
            cr2: 0,
        });
    }
    GpOutcome::SoftwareInterrupt {
        vector,
        next_rip: regs.rip.wrapping_add(length),
    }
}

const fn control_number(register: Register) -> Option<Register> {
    match register {
        Register::CR0 | Register::CR2 | Register::CR3 | Register::CR4 => Some(register),
        _ => None,
    }
}

const fn debug_number(register: Register) -> Option<u32> {
    match register {
        Register::DR0 => Some(0),
        Register::DR1 => Some(1),
        Register::DR2 => Some(2),
        Register::DR3 => Some(3),
        Register::DR4 => Some(4),
        Register::DR5 => Some(5),
        Register::DR6 => Some(6),
        Register::DR7 => Some(7),
        _ => None,
    }
}

/// A bad debug register is #UD if there is none, else #GP.
fn debug_fault(errno: hypercall_abi::errno::Errno) -> PendingException {
    if errno == hypercall_abi::errno::Errno::ENODEV {
        undefined_instruction()
    } else {
        general_protection_fault()
    }
}

impl<M: Machine> Trap<'_, M> {
    /// Executes one of the instructions that we emulate.
    fn execute(
        &mut self,
        instruction: &Instruction,
        width: CodeWidth,
    ) -> Result<Progress, PendingException> {
        match instruction.mnemonic() {
            Mnemonic::In | Mnemonic::Out => return self.port_io(instruction),
            Mnemonic::Insb
            | Mnemonic::Insw
            | Mnemonic::Insd
            | Mnemonic::Outsb
            | Mnemonic::Outsw
            | Mnemonic::Outsd => return self.string_io(instruction, width),
            Mnemonic::Cpuid if !cpuid::faults_in_user_mode(self.ctx) => {
                cpuid::execute(self, Via::Fault);
            }
            Mnemonic::Rdtsc => self.read_tsc()?,
            Mnemonic::Rdtscp => {
                self.read_tsc()?;
                self.regs.rcx = self.ctx.tsc_aux.into();
            }
            // The virtual interrupt flag is in shared memory; the real one is not the guest's.
            Mnemonic::Cli | Mnemonic::Sti if self.iopl_permits() => {}
            // XSA-105: everything else is for the guest's kernel.
            _ if !self.ctx.kernel_mode => return Err(general_protection_fault()),
            Mnemonic::Rdmsr => {
                let value = self
                    .read_msr(self.regs.rcx as u32)
                    .ok_or_else(general_protection_fault)?;
                self.set_edx_eax(value);
            }
            Mnemonic::Wrmsr => {
                let value = self.edx_eax();
                if !self.write_msr(self.regs.rcx as u32, value) {
                    return Err(general_protection_fault());
                }
            }
            Mnemonic::Mov => return self.move_special(instruction),
            Mnemonic::Clts => fpu::set_task_switched(&self.hv.machine, self.ctx, false),
            Mnemonic::Wbinvd | Mnemonic::Wbnoinvd => {
                // Only a domain with devices can have memory that is mapped uncached.
                if self.domain.privileges.hardware {
                    self.hv.machine.flush_caches();
                }
            }
            Mnemonic::Xsetbv => self.xsetbv()?,
            _ => return Err(general_protection_fault()),
        }
        Ok(Progress::Done)
    }

    const fn edx_eax(&self) -> u64 {
        (self.regs.rdx & 0xffff_ffff) << 32 | (self.regs.rax & 0xffff_ffff)
    }

    const fn set_edx_eax(&mut self, value: u64) {
        self.regs.rax = value & 0xffff_ffff;
        self.regs.rdx = value >> 32;
    }

    fn read_tsc(&mut self) -> Result<(), PendingException> {
        if !self.ctx.kernel_mode && self.ctx.cr4 & cr4::TSD != 0 {
            return Err(general_protection_fault());
        }
        self.set_edx_eax(self.hv.machine.tsc());
        Ok(())
    }

    /// MOV to or from a control or debug register.
    fn move_special(&mut self, instruction: &Instruction) -> Result<Progress, PendingException> {
        let (to, from) = (instruction.op0_register(), instruction.op1_register());
        if let Some(control) = control_number(from) {
            let value = self.read_control(control)?;
            registers::write(self.regs, to, value);
        } else if let Some(control) = control_number(to) {
            let value = registers::read(self.regs, from).ok_or_else(general_protection_fault)?;
            return self.write_control(control, value);
        } else if let Some(number) = debug_number(from) {
            let value = debugreg::get(self.ctx, number).map_err(debug_fault)?;
            registers::write(self.regs, to, value);
        } else if let Some(number) = debug_number(to) {
            let value = registers::read(self.regs, from).ok_or_else(general_protection_fault)?;
            debugreg::set(self.ctx, number, value).map_err(debug_fault)?;
            self.hv
                .machine
                .load_debug_regs(&debugreg::hardware_regs(self.ctx));
        } else {
            return Err(general_protection_fault());
        }
        Ok(Progress::Done)
    }
}
