//! `update_descriptor`: one segment descriptor, named by its machine address.

use super::Call;
use crate::machine::Machine;
use crate::outcome::{HypercallResult, Outcome};
use crate::pv::mm;

impl<M: Machine> Call<'_, M> {
    pub(super) fn update_descriptor(&mut self, address: u64, descriptor: u64) -> HypercallResult {
        mm::update_descriptor(self.hv, self.domain, address, descriptor)?;
        Ok(Outcome::Done(0))
    }
}
