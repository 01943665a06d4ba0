//! `iret`: see [`crate::pv::iret`].

use super::Call;
use crate::machine::Machine;
use crate::outcome::{HypercallResult, Outcome};
use crate::pv::bounce::ASSIST_ARCHITECTURAL_IOPL;
use crate::pv::iret;

impl<M: Machine> Call<'_, M> {
    pub(super) fn iret(&mut self) -> HypercallResult {
        let iopl = self.domain.assists(ASSIST_ARCHITECTURAL_IOPL);
        let info = self.vcpu.info();
        if let Err(error) = iret::iret(&self.hv.machine, iopl, info, self.ctx, self.regs) {
            self.ctx.fatal = Some(crate::domain::Fatal::Iret(error));
        }
        Ok(Outcome::NoReturn)
    }
}
