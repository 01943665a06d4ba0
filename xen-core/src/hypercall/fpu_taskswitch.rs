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

#[cfg(test)]
mod tests {
    use hypercall_abi::xen::HypercallNr;

    use crate::sim::{PvGuest, world};

    #[test]
    fn ts_is_set_and_cleared_in_both_places() {
        let hv = world();
        let mut guest = PvGuest::unprivileged(&hv, 1, 32);
        for (value, on) in [(1, true), (0, false), (2, true), (1 << 32, false)] {
            assert_eq!(
                guest.hypercall(&hv, HypercallNr::FPU_TASKSWITCH, [value, 0, 0, 0, 0, 0]),
                0
            );
            assert_eq!(
                (guest.ctx.task_switched, hv.machine.task_switched(guest.cpu)),
                (on, on)
            );
        }
    }
}
