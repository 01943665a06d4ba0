//! `stack_switch`: the stack for entries from guest user mode.

use super::Call;
use crate::machine::Machine;
use crate::outcome::{HypercallResult, Outcome};
use crate::pv::selectors::ring3;

impl<M: Machine> Call<'_, M> {
    pub(super) fn stack_switch(&mut self, ss: u64, sp: u64) -> HypercallResult {
        self.ctx.kernel_ss = ring3(ss as u16).into();
        self.ctx.kernel_sp = sp;
        Ok(Outcome::Done(0))
    }
}
