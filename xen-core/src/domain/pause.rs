//! Pausing: by the toolstack, which counts (public header domctl.h, XEN_DOMCTL_pausedomain), and by operations that need
//! a domain at rest.

use alloc::sync::Arc;
use core::sync::atomic::{AtomicU32, Ordering};

use hypercall_abi::errno::Errno;

use super::{Domain, Vcpu, VcpuFlags};
use crate::hypervisor::Hypervisor;
use crate::machine::Machine;
use crate::outcome::Stop;

/// The most pauses that a domain can have.
const MAX_PAUSES: u32 = 255;

impl<M: Machine> Hypervisor<M> {
    /// Pauses `domain` once more. When it returns `Ok`, none of its vCPUs executes the guest.
    ///
    /// # Errors
    /// `EOVERFLOW`; preempted while a vCPU is still on its way off another processor: nothing was counted yet, the
    /// call is to be made again.
    pub fn pause(&self, domain: &Arc<Domain>) -> Result<(), Stop> {
        self.stop_vcpus(domain, &domain.pause_count, MAX_PAUSES)
    }

    /// Takes one pause back; with the last one the domain goes on.
    ///
    /// # Errors
    /// `EINVAL` if it is not paused.
    pub fn unpause(&self, domain: &Arc<Domain>) -> Result<(), Errno> {
        self.let_vcpus_go(domain, &domain.pause_count)?;
        Ok(())
    }

    /// Does `work` while no vCPU of `domain` executes the guest; toolstacks do not see that as a pause. The caller is
    /// not of that domain.
    ///
    /// # Errors
    /// As `work`; preempted as [`Hypervisor::pause`].
    pub fn at_rest<T>(
        &self,
        domain: &Arc<Domain>,
        work: impl FnOnce() -> Result<T, Stop>,
    ) -> Result<T, Stop> {
        self.stop_vcpus(domain, &domain.holds, u32::MAX)?;
        let result = work();
        self.let_vcpus_go(domain, &domain.holds)?;
        result
    }

    /// Does `work` while `vcpu`, which is not the `caller`, does not execute the guest.
    ///
    /// # Errors
    /// As `work`; preempted while it is on its way off another processor, or if the caller is itself to stop: two vCPUs
    /// that stop each other would wait for ever.
    pub fn vcpu_at_rest<T>(
        &self,
        domain: &Arc<Domain>,
        vcpu: &Arc<Vcpu>,
        caller: &Vcpu,
        work: impl FnOnce() -> Result<T, Stop>,
    ) -> Result<T, Stop> {
        {
            // One of the caller's own domain cannot stop it at the same time.
            let _life = domain.ending.lock();
            if caller.flags().contains(VcpuFlags::PAUSED) {
                return Err(Stop::Preempted);
            }
            vcpu.set_flags(VcpuFlags::PAUSED);
        }
        if vcpu.is_running() {
            self.kick_vcpu(vcpu);
            return Err(Stop::Preempted);
        }
        let result = work();
        {
            let _life = domain.ending.lock();
            if !domain.is_paused() {
                vcpu.clear_flags(VcpuFlags::PAUSED);
            }
        }
        self.make_runnable(vcpu);
        result
    }

    /// Stops `domain` for good.
    ///
    /// # Errors
    /// Preempted as [`Hypervisor::pause`].
    pub(super) fn stop_for_good(&self, domain: &Arc<Domain>) -> Result<(), Stop> {
        self.stop_vcpus(domain, &domain.holds, u32::MAX)
    }

    fn stop_vcpus(&self, domain: &Arc<Domain>, count: &AtomicU32, most: u32) -> Result<(), Stop> {
        // The lock keeps pauses and their ends apart.
        {
            let _life = domain.ending.lock();
            if count.load(Ordering::SeqCst) >= most {
                return Err(Errno::EOVERFLOW.into());
            }
            for vcpu in domain.vcpus() {
                vcpu.set_flags(VcpuFlags::PAUSED);
            }
            if !domain.vcpus().any(|vcpu| vcpu.is_running()) {
                count.fetch_add(1, Ordering::SeqCst);
                return Ok(());
            }
        }
        for vcpu in domain.vcpus() {
            self.kick_vcpu(vcpu);
        }
        Err(Stop::Preempted)
    }

    fn let_vcpus_go(&self, domain: &Arc<Domain>, count: &AtomicU32) -> Result<(), Errno> {
        {
            let _life = domain.ending.lock();
            let left = count
                .load(Ordering::SeqCst)
                .checked_sub(1)
                .ok_or(Errno::EINVAL)?;
            count.store(left, Ordering::SeqCst);
            if domain.pause_count.load(Ordering::SeqCst) == 0 {
                domain.has_run.store(true, Ordering::SeqCst);
            }
            if domain.is_paused() {
                return Ok(());
            }
            for vcpu in domain.vcpus() {
                vcpu.clear_flags(VcpuFlags::PAUSED);
            }
        }
        for vcpu in domain.vcpus() {
            self.make_runnable(vcpu);
        }
        Ok(())
    }
}
