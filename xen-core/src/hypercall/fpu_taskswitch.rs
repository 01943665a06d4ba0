//! `fpu_taskswitch`: the virtual CR0.TS.

use super::Call;
use crate::machine::Machine;
use crate::outcome::{HypercallResult, Outcome};
use crate::pv::fpu;

impl<M: Machine> Call<'_, M> {
    pub(super) fn fpu_taskswitch(&mut self, set: u32) -> HypercallResult {
        fpu::set_task_switched(&self.hv.machine, self.ctx, set != 0);
        Ok(Outcome::Done(0))
    }
}
