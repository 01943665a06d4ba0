//! Reading the log, and pressing debug keys.

use hypercall_abi::errno::Errno;
use hypercall_abi::guest_handle::GuestHandle;
use hypercall_abi::sysctl::{Sysctl, SysctlDebugKeys, SysctlReadconsole};

use super::Call;
use crate::guest::GuestAccess;
use crate::machine::Machine;
use crate::outcome::{HypercallResult, Outcome};

impl<M: Machine> Call<'_, M> {
    pub(super) fn read_console(
        &self,
        at: GuestHandle<SysctlReadconsole>,
        mut arg: SysctlReadconsole,
    ) -> Result<(), Errno> {
        let hv = self.hv;
        let resume = (arg.incremental != 0).then_some(arg.index);
        let (bytes, end) = hv.console.read_ring(resume, false, arg.count as usize);
        hv.machine.write_bytes(arg.buffer.addr(), &bytes)?;
        arg.count = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        arg.index = end;
        hv.machine.write(at, &arg)?;
        if arg.clear != 0 {
            // Only what the caller has got is forgotten.
            let _ = hv.console.read_ring(Some(end), true, 0);
        }
        Ok(())
    }

    /// Presses keys in order. A key can print a lot, so more urgent work may come between two of them; what is left
    /// is then noted in the caller's structure.
    pub(super) fn press_keys(
        &self,
        handle: GuestHandle<Sysctl>,
        at: GuestHandle<SysctlDebugKeys>,
        mut arg: SysctlDebugKeys,
    ) -> HypercallResult {
        let machine = &self.hv.machine;
        while arg.nr_keys != 0 {
            let key: u8 = machine.read(arg.keys)?;
            self.hv.debug_key(key);
            arg.keys = GuestHandle::from_addr(arg.keys.addr().wrapping_add(1));
            arg.nr_keys -= 1;
            if arg.nr_keys != 0 && machine.must_yield() {
                machine.write(at, &arg)?;
                return Ok(Outcome::Again([handle.addr(), 0, 0, 0, 0, 0]));
            }
        }
        Ok(Outcome::Done(0))
    }
}
