//! `sched_op`: giving up the processor, waiting, shutting down.

use core::sync::atomic::Ordering;

use hypercall_abi::errno::Errno;
use hypercall_abi::guest_handle::GuestHandle;
use hypercall_abi::sched::{
    SchedOp, SchedPinOverride, SchedPoll, SchedRemoteShutdown, SchedShutdown, SchedWatchdog,
};

use super::Call;
use crate::domain::{VcpuFlags, access};
use crate::guest::GuestAccess;
use crate::machine::Machine;
use crate::num::{CpuId, Port};
use crate::outcome::{HypercallResult, Outcome};

/// The most ports that one SCHEDOP_poll may name.
const MAX_POLL_PORTS: u32 = 128;

impl<M: Machine> Call<'_, M> {
    pub(super) fn sched_op(&mut self, cmd: u32, arg: u64) -> HypercallResult {
        let machine = &self.hv.machine;
        match SchedOp(cmd) {
            SchedOp::YIELD => {
                self.vcpu.set_flags(VcpuFlags::YIELDING);
            }
            SchedOp::BLOCK => self.block(),
            SchedOp::SHUTDOWN => {
                let arg: SchedShutdown = machine.read(GuestHandle::from_addr(arg))?;
                // ABI: the reason is one byte wide inside Xen.
                self.hv.shut_down(self.domain, arg.reason.0 & 0xff);
            }
            SchedOp::POLL => {
                let arg: SchedPoll = machine.read(GuestHandle::from_addr(arg))?;
                self.poll(arg)?;
            }
            SchedOp::REMOTE_SHUTDOWN => {
                let arg: SchedRemoteShutdown = machine.read(GuestHandle::from_addr(arg))?;
                let target = self.hv.domains.get(arg.domain_id).ok_or(Errno::ESRCH)?;
                if !access::may_administer(self.domain) {
                    return Err(Errno::EPERM.into());
                }
                // ABI: the caller's own number names nobody.
                if target.id == self.domain.id {
                    return Err(Errno::ESRCH.into());
                }
                self.hv.shut_down(&target, arg.reason.0 & 0xff);
            }
            SchedOp::SHUTDOWN_CODE => {
                let arg: SchedShutdown = machine.read(GuestHandle::from_addr(arg))?;
                let mut ending = self.domain.ending.lock();
                ending.shutdown_code.get_or_insert(arg.reason.0);
            }
            SchedOp::WATCHDOG => {
                let arg: SchedWatchdog = machine.read(GuestHandle::from_addr(arg))?;
                return self.watchdog(arg);
            }
            SchedOp::PIN_OVERRIDE => {
                let arg: SchedPinOverride = machine.read(GuestHandle::from_addr(arg))?;
                self.pin_override(arg.pcpu)?;
            }
            _ => return Err(Errno::ENOSYS.into()),
        }
        Ok(Outcome::Done(0))
    }

    /// Unmasks events and sleeps until one is pending.
    fn block(&mut self) {
        let machine = &self.hv.machine;
        if self.vcpu.hvm.is_some() {
            self.vcpu.set_flags(VcpuFlags::BLOCKED);
            // Its flags decide about interrupts: nothing is unmasked for it.
            if self.hv.has_mail(self.vcpu)
                || self
                    .vcpu
                    .info()
                    .is_some_and(|info| info.upcall_pending(machine))
            {
                self.vcpu.clear_flags(VcpuFlags::BLOCKED);
            }
            return;
        }
        let Some(info) = self.vcpu.info() else { return };
        info.set_upcall_mask(machine, false);
        self.vcpu.set_flags(VcpuFlags::BLOCKED);
        // An event that arrived before the flag was set has woken nobody.
        if info.upcall_pending(machine) {
            self.vcpu.clear_flags(VcpuFlags::BLOCKED);
        }
    }

    fn poll(&mut self, arg: SchedPoll) -> Result<(), Errno> {
        if arg.nr_ports > MAX_POLL_PORTS {
            return Err(Errno::EINVAL);
        }
        let hv = self.hv;
        let mut ports = alloc::vec::Vec::with_capacity(arg.nr_ports as usize);
        for i in 0..arg.nr_ports {
            ports.push(Port(hv.machine.read_at(arg.ports, i.into())?));
        }
        let valid = ports
            .iter()
            .all(|&port| hv.is_valid_port(self.domain, port));
        if !valid {
            return Err(Errno::EINVAL);
        }
        self.vcpu.poll.lock().ports.clone_from(&ports);
        self.vcpu.set_flags(VcpuFlags::BLOCKED | VcpuFlags::POLLING);
        // Only now look: whatever becomes pending from here on finds the flag.
        let deliverable = self
            .vcpu
            .info()
            .is_some_and(|info| info.upcall_due(&hv.machine));
        let pending = ports
            .iter()
            .any(|&port| hv.event_pending_for_poll(self.domain, port));
        let past = arg.timeout != 0 && arg.timeout <= hv.machine.now_ns();
        if deliverable || pending || past {
            self.vcpu
                .clear_flags(VcpuFlags::BLOCKED | VcpuFlags::POLLING);
            return Ok(());
        }
        hv.set_poll_timeout(self.vcpu, arg.timeout);
        Ok(())
    }

    fn watchdog(&mut self, arg: SchedWatchdog) -> HypercallResult {
        let slots = &self.domain.watchdogs;
        if arg.id as usize > slots.len() {
            return Err(Errno::EINVAL.into());
        }
        let deadline = self
            .hv
            .machine
            .now_ns()
            .saturating_add(u64::from(arg.timeout).saturating_mul(1_000_000_000))
            .max(1);
        let Some(index) = (arg.id as usize).checked_sub(1) else {
            // ABI: a new watchdog without time has none left: it fires at once.
            for (i, slot) in slots.iter().enumerate() {
                if slot
                    .compare_exchange(0, deadline, Ordering::SeqCst, Ordering::SeqCst)
                    .is_ok()
                {
                    self.hv.arm_watchdog(self.domain, i, deadline);
                    return Ok(Outcome::Done(i as u64 + 1));
                }
            }
            // ABI: the number is unsigned and 32 bits wide on its way out.
            return Ok(Outcome::Done(u64::from(Errno::ENOSPC.to_ret() as u32)));
        };
        if slots[index].load(Ordering::SeqCst) == 0 {
            return Err(Errno::EINVAL.into());
        }
        if arg.timeout == 0 {
            slots[index].store(0, Ordering::SeqCst);
            self.hv.disarm_watchdog(self.domain, index);
        } else {
            slots[index].store(deadline, Ordering::SeqCst);
            self.hv.arm_watchdog(self.domain, index, deadline);
        }
        Ok(Outcome::Done(0))
    }

    fn pin_override(&mut self, pcpu: i32) -> Result<(), Errno> {
        if !self.domain.privileges.hardware {
            return Err(Errno::EPERM);
        }
        let Ok(cpu) = u32::try_from(pcpu) else {
            // Negative: no more.
            if !self.vcpu.sched.unpin() {
                return Err(Errno::EINVAL);
            }
            self.hv.affinity_changed(self.vcpu);
            return Ok(());
        };
        if !self.hv.sched.online().contains(CpuId(cpu)) {
            return Err(Errno::EINVAL);
        }
        if !self.vcpu.sched.pin(CpuId(cpu)) {
            return Err(Errno::EBUSY);
        }
        // On its way out the vCPU goes there.
        self.hv.affinity_changed(self.vcpu);
        Ok(())
    }
}

#[cfg(test)]
mod tests;
