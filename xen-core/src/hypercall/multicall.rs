//! `multicall`: a batch of hypercalls.

use hypercall_abi::errno::Errno;
use hypercall_abi::guest_handle::GuestHandle;
use hypercall_abi::xen::{HypercallNr, MulticallEntry};

use super::table::argument_count;
use super::{Args, Call};
use crate::guest::GuestAccess;
use crate::machine::Machine;
use crate::outcome::{HypercallResult, Outcome, Stop};

impl<M: Machine> Call<'_, M> {
    pub(super) fn multicall(
        &mut self,
        entries: GuestHandle<MulticallEntry>,
        count: u32,
    ) -> HypercallResult {
        for i in 0..count {
            let at = u64::from(i);
            if i > 0 && self.hv.machine.must_yield() {
                return Self::multicall_again(entries, count, i);
            }
            let mut entry = self.hv.machine.read_at(entries, at)?;
            let nr = HypercallNr(entry.op);
            let args = entry.args;
            let result = if nr == HypercallNr::MULTICALL {
                // No nesting.
                Err(Stop::Fail(Errno::EINVAL))
            } else {
                self.route(nr, Args(args))
            };
            match result {
                Ok(Outcome::Done(value)) => entry.result = value,
                Err(Stop::Fail(errno)) => entry.result = errno.to_ret() as u64,
                Ok(Outcome::Again(args)) => {
                    let used = argument_count(nr);
                    for (to, from) in entry.args.iter_mut().zip(args).take(used) {
                        *to = from;
                    }
                    self.hv.machine.write_at(entries, at, &entry)?;
                    return Self::multicall_again(entries, count, i);
                }
                Err(Stop::Preempted) => return Self::multicall_again(entries, count, i),
                // XSA-213: the registers are another context's now, and may be in another address space than the one
                // that the rest of the batch was given in.
                Ok(Outcome::NoReturn) => {
                    if self.ctx.kernel_mode {
                        // ABI: the result of iret is what it loaded into RAX.
                        entry.result = self.regs.rax;
                        let _ = self.hv.machine.write_at(entries, at, &entry);
                    }
                    return Ok(Outcome::NoReturn);
                }
            }
            self.hv.machine.write_at(entries, at, &entry)?;
        }
        Ok(Outcome::Done(0))
    }

    fn multicall_again(
        entries: GuestHandle<MulticallEntry>,
        count: u32,
        done: u32,
    ) -> HypercallResult {
        let next = entries.offset(done.into()).ok_or(Errno::EFAULT)?;
        Ok(Outcome::Again([next, u64::from(count - done), 0, 0, 0, 0]))
    }
}
