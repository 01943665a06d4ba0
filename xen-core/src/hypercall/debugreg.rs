//! `set_debugreg` and `get_debugreg`.

use super::Call;
use crate::machine::Machine;
use crate::outcome::{HypercallResult, Outcome};
use crate::pv::debugreg;

impl<M: Machine> Call<'_, M> {
    pub(super) fn set_debugreg(&mut self, register: u32, value: u64) -> HypercallResult {
        debugreg::set(self.ctx, register, value)?;
        self.hv
            .machine
            .load_debug_regs(&debugreg::hardware_regs(self.ctx));
        Ok(Outcome::Done(0))
    }

    pub(super) fn get_debugreg(&mut self, register: u32) -> HypercallResult {
        Ok(Outcome::Done(debugreg::get(self.ctx, register)?))
    }
}
