//! `set_timer_op`: the one-shot timer before vcpu_op had one.

use super::Call;
use crate::machine::Machine;
use crate::outcome::{HypercallResult, Outcome};

impl<M: Machine> Call<'_, M> {
    /// `deadline_ns` is absolute system time; 0 disarms.
    pub(super) fn set_timer_op(&mut self, deadline_ns: u64) -> HypercallResult {
        if deadline_ns == 0 {
            self.hv.stop_singleshot(self.vcpu);
        } else {
            self.hv.set_singleshot(self.vcpu, deadline_ns);
        }
        Ok(Outcome::Done(0))
    }
}
