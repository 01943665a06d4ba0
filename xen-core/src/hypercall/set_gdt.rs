//! `set_gdt`: replaces the guest's part of the GDT.

use hypercall_abi::errno::Errno;
use hypercall_abi::guest_handle::GuestHandle;

use super::Call;
use crate::domain::{GDT_GUEST_FRAMES, MAX_GDT_ENTRIES};
use crate::guest::GuestAccess;
use crate::machine::Machine;
use crate::outcome::{HypercallResult, Outcome};
use crate::pv::mm;

impl<M: Machine> Call<'_, M> {
    pub(super) fn set_gdt(&mut self, frames: GuestHandle<u64>, entries: u32) -> HypercallResult {
        if entries > MAX_GDT_ENTRIES {
            return Err(Errno::EINVAL.into());
        }
        let mut list = [0; GDT_GUEST_FRAMES];
        let count = entries.div_ceil(512) as usize;
        for (i, frame) in list.iter_mut().enumerate().take(count) {
            *frame = self.hv.machine.read_at(frames, i as u64)?;
        }
        mm::load_gdt(self.hv, self.domain, self.ctx, &list, entries)?;
        Ok(Outcome::Done(0))
    }
}
