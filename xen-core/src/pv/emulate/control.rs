//! Control registers as a guest kernel sees them.
//!
//! Contract: abi-requirements 5.1 (CR0, CR2, CR3), 5.2 (CR4), 5.1 XSETBV.

use iced_x86::Register;

use super::io::Progress;
use super::{Trap, general_protection_fault, undefined_instruction};
use crate::cpu_policy::cr4;
use crate::domain::PendingException;
use crate::machine::Machine;
use crate::num::Mfn;
use crate::outcome::Stop;
use crate::pv::fpu;
use crate::pv::mm::{in_stretches, new_kernel_root};

/// CR0.TS.
const CR0_TS: u64 = 1 << 3;
impl<M: Machine> Trap<'_, M> {
    const fn cr0_view(&self, host_cr0: u64) -> u64 {
        (host_cr0 & !CR0_TS) | if self.ctx.task_switched { CR0_TS } else { 0 }
    }

    pub(super) fn read_control(&self, register: Register) -> Result<u64, PendingException> {
        let machine = &self.hv.machine;
        match register {
            Register::CR0 => Ok(self.cr0_view(machine.cr0())),
            Register::CR2 => Ok(self.vcpu.info().map_or(0, |info| info.cr2(machine))),
            Register::CR3 => Ok(self.ctx.kernel_root.map_or(0, Mfn::addr)),
            Register::CR4 => Ok(cr4::view(machine.cr4(), self.ctx.cr4)),
            _ => Err(general_protection_fault()),
        }
    }

    pub(super) fn write_control(
        &mut self,
        register: Register,
        value: u64,
    ) -> Result<Progress, PendingException> {
        let machine = &self.hv.machine;
        match register {
            Register::CR0 => {
                if (value ^ self.cr0_view(machine.cr0())) & !CR0_TS != 0 {
                    return Err(general_protection_fault());
                }
                fpu::set_task_switched(machine, self.ctx, value & CR0_TS != 0);
            }
            Register::CR2 => {
                if let Some(info) = self.vcpu.info() {
                    info.set_cr2(machine, value);
                }
            }
            Register::CR3 => {
                let mfn = Mfn::from_addr(value);
                let done = in_stretches(self.hv, |budget| {
                    new_kernel_root(self.hv, self.domain, self.ctx, mfn, budget)
                });
                match done {
                    Ok(()) => {}
                    Err(Stop::Preempted) => return Ok(Progress::Again),
                    Err(Stop::Fail(_)) => return Err(general_protection_fault()),
                }
            }
            Register::CR4 => {
                self.ctx.cr4 = self.hv.policies.guest_cr4(&self.domain.cpu_policy(), value);
                machine.set_guest_cr4(self.ctx.cr4);
            }
            _ => return Err(general_protection_fault()),
        }
        Ok(Progress::Done)
    }

    /// XSETBV: index in ECX, value in EDX:EAX (XSA-54).
    pub(super) fn xsetbv(&mut self) -> Result<(), PendingException> {
        if self.ctx.cr4 & cr4::OSXSAVE == 0 {
            return Err(undefined_instruction());
        }
        let value = (self.regs.rdx & 0xffff_ffff) << 32 | (self.regs.rax & 0xffff_ffff);
        let allowed = self.domain.cpu_policy().xcr0_mask() & self.hv.machine.host_xcr0();
        if self.regs.rcx & 0xffff_ffff != 0 || !fpu::is_valid_xcr0(value) || value & !allowed != 0 {
            return Err(general_protection_fault());
        }
        self.ctx.xcr0 = value;
        self.ctx.xcr0_accum |= value;
        self.hv.machine.set_xcr0(value);
        Ok(())
    }
}
