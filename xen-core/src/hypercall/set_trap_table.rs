//! `set_trap_table`: the guest's exception handlers.

use hypercall_abi::arch_x86::TrapInfo;
use hypercall_abi::errno::Errno;
use hypercall_abi::guest_handle::GuestHandle;
use zerocopy::FromZeros;

use super::Call;
use crate::guest::GuestAccess;
use crate::machine::Machine;
use crate::num::is_canonical;
use crate::outcome::{HypercallResult, Outcome};
use crate::pv::selectors::ring3;

impl<M: Machine> Call<'_, M> {
    pub(super) fn set_trap_table(&mut self, traps: GuestHandle<TrapInfo>) -> HypercallResult {
        if traps.is_null() {
            self.ctx.traps.fill(TrapInfo::new_zeroed());
            return Ok(Outcome::Done(0));
        }
        let mut index = 0u64;
        loop {
            let mut trap = self.hv.machine.read_at(traps, index)?;
            if trap.address == 0 {
                return Ok(Outcome::Done(0));
            }
            if !is_canonical(trap.address) {
                return Err(Errno::EINVAL.into());
            }
            trap.cs = ring3(trap.cs);
            self.ctx.traps[usize::from(trap.vector)] = trap;
            index += 1;
            // The list is as long as the guest likes: look up after each entry.
            if self.hv.machine.must_yield() {
                let next = traps.offset(index).ok_or(Errno::EFAULT)?;
                return Ok(Outcome::Again([next, 0, 0, 0, 0, 0]));
            }
        }
    }
}
