//! `callback_op` and the older `set_callbacks`: the guest kernel's entry points.

use hypercall_abi::callback::{
    CallbackFlags, CallbackOp, CallbackRegister, CallbackType, CallbackUnregister,
};
use hypercall_abi::errno::Errno;
use hypercall_abi::guest_handle::GuestHandle;

use super::Call;
use crate::domain::{Callback, VcpuCtx};
use crate::guest::GuestAccess;
use crate::machine::Machine;
use crate::num::is_canonical;
use crate::outcome::{HypercallResult, Outcome};

impl<M: Machine> Call<'_, M> {
    pub(super) fn callback_op(&mut self, cmd: u32, arg: u64) -> HypercallResult {
        match CallbackOp(cmd) {
            CallbackOp::REGISTER => {
                let arg: CallbackRegister = self.hv.machine.read(GuestHandle::from_addr(arg))?;
                register(self.ctx, arg.r#type, arg.flags, arg.address)?;
            }
            CallbackOp::UNREGISTER => {
                let arg: CallbackUnregister = self.hv.machine.read(GuestHandle::from_addr(arg))?;
                match arg.r#type {
                    CallbackType::NMI => self.ctx.set_nmi_handler(0),
                    CallbackType::EVENT
                    | CallbackType::FAILSAFE
                    | CallbackType::SYSCALL
                    | CallbackType::SYSENTER
                    | CallbackType::SYSCALL32 => return Err(Errno::EINVAL.into()),
                    _ => return Err(Errno::ENOSYS.into()),
                }
            }
            _ => return Err(Errno::ENOSYS.into()),
        }
        Ok(Outcome::Done(0))
    }

    pub(super) fn set_callbacks(
        &mut self,
        event: u64,
        failsafe: u64,
        syscall: u64,
    ) -> HypercallResult {
        // ABI: the old call reports no errors; an address that is refused leaves the old one.
        for (which, address) in [
            (CallbackType::EVENT, event),
            (CallbackType::FAILSAFE, failsafe),
            (CallbackType::SYSCALL, syscall),
        ] {
            let _ = register(self.ctx, which, 0, address);
        }
        Ok(Outcome::Done(0))
    }
}

fn register(ctx: &mut VcpuCtx, which: CallbackType, flags: u16, address: u64) -> Result<(), Errno> {
    if !is_canonical(address) {
        return Err(Errno::EINVAL);
    }
    let mask_events = flags & CallbackFlags::MASK_EVENTS.bits() != 0;
    let callback = Callback {
        address,
        mask_events,
    };
    match which {
        CallbackType::EVENT => ctx.callbacks.event = callback,
        CallbackType::FAILSAFE => ctx.callbacks.failsafe = callback,
        CallbackType::SYSCALL => ctx.callbacks.syscall = callback,
        CallbackType::SYSENTER => ctx.callbacks.sysenter = callback,
        CallbackType::SYSCALL32 => ctx.callbacks.syscall32 = callback,
        CallbackType::NMI => ctx.set_nmi_handler(address),
        _ => return Err(Errno::ENOSYS),
    }
    Ok(())
}
