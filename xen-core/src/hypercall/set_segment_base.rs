//! `set_segment_base`: FS and GS bases, and the GS selector of user mode.

use hypercall_abi::arch_x86::xen_x86_64::SegBase;
use hypercall_abi::errno::Errno;

use super::Call;
use crate::machine::{Machine, SegmentBase};
use crate::num::is_canonical;
use crate::outcome::{HypercallResult, Outcome};
use crate::pv::mm::fill_ldt_for;
use crate::pv::selectors::ring3;

impl<M: Machine> Call<'_, M> {
    pub(super) fn set_segment_base(&mut self, which: u32, base: u64) -> HypercallResult {
        let machine = &self.hv.machine;
        let register = match SegBase(which) {
            SegBase::FS => SegmentBase::Fs,
            SegBase::GS_USER => SegmentBase::InactiveGs,
            SegBase::GS_KERNEL => SegmentBase::Gs,
            SegBase::GS_USER_SEL => {
                let selector = base as u16;
                let selector = if selector > 3 {
                    ring3(selector)
                } else {
                    selector
                };
                fill_ldt_for(self.hv, self.domain, self.ctx, selector);
                // ABI: a selector that cannot be loaded becomes NUL and the call succeeds; Linux BUGs on an error.
                let _ = machine.load_inactive_gs(selector);
                return Ok(Outcome::Done(0));
            }
            _ => return Err(Errno::EINVAL.into()),
        };
        // XSA-193: WRMSR of a non-canonical address faults in ring 0.
        if !is_canonical(base) {
            return Err(Errno::EINVAL.into());
        }
        machine.set_base(register, base);
        Ok(Outcome::Done(0))
    }
}
