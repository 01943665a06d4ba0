//! `nmi_op`: the NMI handler, before callback_op had it.

use hypercall_abi::errno::Errno;
use hypercall_abi::guest_handle::GuestHandle;
use hypercall_abi::nmi::{NmiOp, XennmiCallback};

use super::Call;
use crate::guest::GuestAccess;
use crate::machine::Machine;
use crate::num::is_canonical;
use crate::outcome::{HypercallResult, Outcome};

impl<M: Machine> Call<'_, M> {
    pub(super) fn nmi_op(&mut self, cmd: u32, arg: GuestHandle<XennmiCallback>) -> HypercallResult {
        match NmiOp(cmd) {
            NmiOp::REGISTER_CALLBACK => {
                let arg = self.hv.machine.read(arg)?;
                if !is_canonical(arg.handler_address) {
                    return Err(Errno::EINVAL.into());
                }
                self.ctx.set_nmi_handler(arg.handler_address);
            }
            NmiOp::UNREGISTER_CALLBACK => self.ctx.set_nmi_handler(0),
            _ => return Err(Errno::ENOSYS.into()),
        }
        Ok(Outcome::Done(0))
    }
}
